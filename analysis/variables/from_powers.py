"""The variable memories of a network: in which directions of its state each slot of the window is kept.

A linear network that solves its task, h_{t+1} = W h_t with y_t = C h_t, where y_t is the newest vector of the
window, holds the value that stands at some position now in its output m steps later, once that value has
entered the newest slot. So the rows c_k Wᵐ, m = 1 … s, read the window's positions, whatever the basis: for W
= Q Φ Q⁺ and C = (newest block) Q⁺ they are rows of Q⁺. They form Ψ*. What lasts lies in W's leading invariant
subspace V, and Ψ = V (Ψ* V)⁻¹ holds the states in it that carry one variable each (Karuvally et al. 2023,
Episodic Memory Theory). The smallest such states, (Ψ*)⁺, differ wherever a network is read along other
directions than it is active in. The empirical Φ = Ψ* W Ψ passes values from slot to slot by definition; only
its last d rows are informative: how the next vector follows from the window.

The reference implementation goes the other way: C⁺ for the newest slot and Wᵐ C⁺ for older ones. That agrees
where the basis is orthonormal, and for repeat copy up to a scale; elsewhere it mixes slots, because C⁺ is
orthogonal to the other readouts and not to the other variables.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.errors import AnalysisError
from analysis.variables.companion import Cycle, companion_cycles, companion_matrix
from analysis.variables.subspaces import leading_subspace, principal_subspace

CONDITION_LIMIT = 100.0
"""A basis with a larger condition number, which costs two of float32's seven digits, is called not identifiable."""

RELATIVE_CUT = 1e-6
"""Singular values of Ψ* below this share of the largest count as zero: the weights are float32."""

N_RESIDUAL = 10
"""Directions that describe the activity outside the variable memories."""


@dataclass(frozen=True)
class VariableBasis:
    """Basis of variable memories of one network for one length; n = s·d window positions + residual directions.

    Attributes
    ----------
    kept
        Window positions that are on a cycle of the task, hence remembered for ever.
    basis
        Ψ (unit, n): a column for each window position, zero where it is not kept, then the residual
        directions.
    dual
        Ψ* (n, unit), in the same order; Ψ* Ψ is the identity on what is kept and on the residual directions.
    transition
        The empirical Φ = Ψ* W Ψ (n, n).
    eigenvalues
        Of the empirical Φ on the kept positions.
    gain
        Mean modulus of W's leading eigenvalues, by which each step is divided: a saturating network needs a
        gain above 1, which would blow up the rows of old slots.
    condition_number
        ‖Ψ‖ ‖Ψ*‖ (spectral norms) on the kept positions; infinite where Ψ* cannot tell them apart in V, as
        with fewer units than positions.
    """

    kept: NDArray[np.intp]
    basis: NDArray[np.float64]
    dual: NDArray[np.float64]
    transition: NDArray[np.float64]
    eigenvalues: NDArray[np.complex128]
    gain: float
    condition_number: float

    @property
    def identifiable(self) -> bool:
        """Whether the condition number is within `CONDITION_LIMIT`: otherwise Φ is made of rounding and noise."""
        return self.condition_number <= CONDITION_LIMIT


def find_variable_basis(
    recurrent: NDArray[np.float64],
    readout: NDArray[np.float64],
    operator: NDArray[np.float64],
    hidden: NDArray[np.float64],
) -> VariableBasis:
    """Return the basis of variable memories.

    Parameters
    ----------
    recurrent
        W (unit, unit), acting on columns.
    readout
        C (output, unit).
    operator
        f (s·d, d), a signed selection; d equals the number of outputs.
    hidden
        Recorded states (batch, time, unit), for the residual directions: the leading principal components of
        what the variable memories leave out, up to `N_RESIDUAL`, fewer if there are no more.

    Examples
    --------
    A network that is the task's own shift register, with a unit for each variable:

    >>> repeat_copy, newest = np.array([[1.0], [0.0], [0.0]]), np.array([[0.0, 0.0, 1.0]])
    >>> states = np.random.default_rng(0).normal(size=(4, 6, 3))
    >>> found = find_variable_basis(companion_matrix(repeat_copy, 3), newest, repeat_copy, states)
    >>> np.allclose(found.basis, np.eye(3)), round(found.condition_number, 6)
    (True, 1.0)
    """
    n_positions, width = operator.shape
    if len(readout) != width:
        raise AnalysisError(f"readout: expected {width} outputs, as the operator has; got {len(readout)}")
    cycles = companion_cycles(companion_matrix(operator, n_positions // width))
    kept = np.sort(np.concatenate([cycle.positions for cycle in cycles]))
    gain = _gain(recurrent, len(kept))
    rows = _window_rows(recurrent / gain, readout, cycles, n_positions)[kept]
    lasting = leading_subspace(recurrent, len(kept))[0]
    # Real but for a conjugate pair that V cuts in two; Ψ* Ψ = 1 holds for the real part alone.
    columns = (lasting @ np.linalg.pinv(rows @ lasting, rcond=RELATIVE_CUT)).real
    outside = np.eye(len(recurrent)) - columns @ rows
    residual = _residual_directions(hidden, outside)
    basis = np.hstack([_expand(columns.T, kept, n_positions).T, residual])
    dual = np.vstack([_expand(rows, kept, n_positions), residual.T @ outside])
    transition = dual @ recurrent @ basis
    return VariableBasis(
        kept=kept,
        basis=basis,
        dual=dual,
        transition=transition,
        eigenvalues=np.linalg.eigvals(transition[np.ix_(kept, kept)]).astype(np.complex128),
        gain=gain,
        condition_number=_condition(columns, rows),
    )


def _gain(recurrent: NDArray[np.float64], n: int) -> float:
    return float(np.sort(np.abs(np.linalg.eigvals(recurrent)))[::-1][:n].mean()) or 1.0


def _condition(columns: NDArray[np.float64], rows: NDArray[np.float64]) -> float:
    # The product is a projection: its singular values are zero or at least one.
    if np.linalg.matrix_rank(rows @ columns, tol=0.5) < len(rows):
        return float("inf")
    return float(np.linalg.norm(columns, 2) * np.linalg.norm(rows, 2))


def _residual_directions(hidden: NDArray[np.float64], outside: NDArray[np.float64]) -> NDArray[np.float64]:
    left_out = hidden @ outside.T
    if np.linalg.norm(left_out) <= RELATIVE_CUT * np.linalg.norm(hidden):
        return np.empty((hidden.shape[-1], 0))
    return principal_subspace(left_out, N_RESIDUAL)[0]


def _window_rows(
    step: NDArray[np.float64], readout: NDArray[np.float64], cycles: tuple[Cycle, ...], n_positions: int
) -> NDArray[np.float64]:
    """Return for each position on a cycle the row that reads it from the state (s·d, unit), zero for the others."""
    newest = n_positions - len(readout)
    rows = np.zeros((n_positions, len(step)))
    for cycle in cycles:
        positions, signs = cycle.positions, cycle.signs
        # From a newest slot back in time, around the whole cycle: each position is read one step before the next one.
        start = int(np.flatnonzero(positions >= newest)[0]) - 1
        for i in range(start, start - len(positions), -1):
            following = positions[i + 1]
            seen = readout[following - newest] if following >= newest else rows[following]
            rows[positions[i]] = signs[i + 1] * seen @ step
    return rows


def _expand(rows: NDArray[np.float64], kept: NDArray[np.intp], size: int) -> NDArray[np.float64]:
    expanded = np.zeros((size, rows.shape[1]))
    expanded[kept] = rows
    return expanded
