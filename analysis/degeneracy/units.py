"""How far apart are the weights of two networks, whose units have no names? Distances after matching units.

Which units of two networks answer to each other is not known, and the best of all matchings cannot be searched for (a
quadratic assignment problem). It is found by a heuristic: units are assigned by the correlation of their activity over
the same trials, and then reassigned by what their weights gain, given where all others are, until nothing is gained. A
copy with other units in other places has the distance 0; of unrelated networks a smaller distance may exist than the
one that is found, so distances are upper bounds.

What else than the order of units changes nothing (`emt.trace.Symmetry`) is also taken away: signs of units where their
nonlinearity is odd, positive scales where they are rectified (copies of these are at a distance of 0 to rounding).
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from analysis.errors import AnalysisError
from analysis.parallel import counted
from emt import trace
from emt.trace import Symmetry

Array = NDArray[np.float64]

MOST_ROUNDS = 30
"""Reassignments; three to six are enough as a rule."""

MOST_STATES = 5_000
"""States over which activities are correlated."""

MOST_SWEEPS, SAME_SCALE = 2_000, 1e-13
"""Steps to the scales of least norm, and the relative change at which they are found."""

KINDS = {False: ("recurrence", "incoming", "readout"), True: ("recurrence",)}
"""Weights of a distance, by whether it is of recurrent weights alone."""


@dataclass(frozen=True)
class Units:
    """Units of one network.

    Attributes
    ----------
    activity
        (state, unit), the same trials and steps for all networks; of variance one, or of zero where a unit is silent.
    recurrence
        Weights from units, (gate, unit, from_unit).
    incoming
        From inputs and biases, (gate, unit, source).
    readout
        (output, unit).
    symmetry
        Which changes of units change nothing.
    """

    activity: Array
    recurrence: Array
    incoming: Array
    readout: Array
    symmetry: Symmetry

    @property
    def count(self) -> int:
        """Number of units."""
        return self.recurrence.shape[1]

    def reordered(self, matching: "Matching") -> "Units":
        """Return the network with unit ``order[i]`` times ``signs[i]`` in place i."""
        order, signs = matching.order, matching.signs
        rows = self.row_signs(signs)
        return Units(
            self.activity[:, order] * signs,
            self.recurrence[:, order][:, :, order] * rows * signs,
            self.incoming[:, order] * rows,
            self.readout[:, order] * signs,
            self.symmetry,
        )

    def row_signs(self, signs: Array) -> Array:
        """Return what incoming weights of units with these signs are multiplied by, (gate, unit, 1)."""
        signed = np.isin(np.arange(len(self.recurrence)), self.symmetry.signed)
        return np.where(signed[:, None], signs, 1.0)[..., None]


@dataclass(frozen=True)
class Matching:
    """Which units of a second network are those of a first.

    Attributes
    ----------
    order
        For each unit of the first its unit of the second.
    signs
        What that one is multiplied by, 1 or -1.
    """

    order: NDArray[np.intp]
    signs: Array


def units_of(recording: xr.DataTree) -> list[Units]:
    """Return the units of each recorded member, in a normal form where their scale changes nothing.

    Raises
    ------
    AnalysisError
        If the trace has no weights of units.
    """
    symmetry = trace.about(recording).symmetry
    if symmetry is None or "readout" not in recording:
        kind = trace.about(recording).model.get("type", "")
        raise AnalysisError(f"no distances of weights: no symmetry of units is known for the model {kind!r}")
    present = trace.present_steps(recording)
    hidden = recording["hidden"].to_numpy()[:, present].astype(float)
    hidden = hidden[:, np.linspace(0, hidden.shape[1] - 1, min(hidden.shape[1], MOST_STATES)).astype(int)]
    recurrence, incoming, readout = (
        recording[name].to_numpy().astype(float) for name in ("recurrence", "incoming", "readout")
    )
    return [
        _normal(hidden[place], recurrence[place], incoming[place], readout[place], symmetry)
        for place in range(len(hidden))
    ]


def _normal(activity: Array, recurrence: Array, incoming: Array, readout: Array, symmetry: Symmetry) -> Units:
    """Return units of activity of variance one; where units have scales, with the weights of least norm."""
    spread = activity.std(axis=0)
    activity = (activity - activity.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    if symmetry.acts == "scale":
        scale = least_norm_scales(recurrence, incoming, readout)
        recurrence = recurrence * scale[:, None] / scale
        incoming, readout = incoming * scale[:, None], readout / scale
    return Units(activity, recurrence, incoming, readout, symmetry)


def least_norm_scales(recurrence: Array, incoming: Array, readout: Array) -> Array:
    """Return what units are multiplied by, (unit,), so that the sum of all squared weights is least.

    With b the squares of the scales the sum is Σ_ij S_ij b_i / b_j + Σ_i (p_i b_i + q_i / b_i), convex in log b: S are
    squared weights between units, p those of inputs and biases, q those of the readout. It is least where of each unit
    incoming and outgoing weights have one norm. A scale by activity would let a unit that is hardly ever active have
    weights that outweigh those of all others.
    """
    between = np.sum(recurrence**2, axis=0)
    np.fill_diagonal(between, 0.0)
    into, out = np.sum(incoming**2, axis=(0, 2)), np.sum(readout**2, axis=0)
    squares = np.ones(len(between))
    for _ in range(MOST_SWEEPS):
        sent, received = between.T @ squares + out, between @ (1 / squares) + into
        # A unit without incoming or outgoing weights has no scale.
        known = (sent > 0) & (received > 0)
        wanted = np.where(known, np.sqrt(sent / np.where(known, received, 1.0)), squares)
        step = np.log(wanted / squares) / 2
        squares = squares * np.exp(step)
        if np.abs(step).max() < SAME_SCALE:
            break
    return np.sqrt(squares)


def match_units(first: Units, second: Units) -> Matching:
    """Return the units of the second network that answer to those of the first (a heuristic, see above).

    Examples
    --------
    ``second.reordered(match_units(first, second))`` is as near to ``first`` as was found.
    """
    correlation = first.activity.T @ second.activity / len(first.activity)
    best = _assign(correlation, np.zeros_like(correlation), first.symmetry)
    distance = squared_distance(first, second.reordered(best))
    for _ in range(MOST_ROUNDS):
        found = _assign(*_gains(first, second, best), first.symmetry)
        nearer = squared_distance(first, second.reordered(found))
        if not nearer < distance:
            break
        best, distance = found, nearer
    return best


def _assign(odd: Array, even: Array, symmetry: Symmetry) -> Matching:
    """Return the units (column) with the largest sum of gains in their places (row), and their signs.

    A gain is ``even``, whatever the sign, plus ``odd`` times the sign.
    """
    with_signs = symmetry.acts == "sign"
    gain = even + (np.abs(odd) if with_signs else odd)
    order, first = np.empty(len(gain), dtype=np.intp), 0
    for size in symmetry.blocks or (len(gain),):
        block = slice(first, first + size)
        order[block] = first + linear_sum_assignment(gain[block, block], maximize=True)[1]
        first += size
    chosen = odd[np.arange(len(gain)), order]
    return Matching(order, np.where(with_signs & (chosen < 0), -1.0, 1.0))


def _gains(first: Units, second: Units, placed: Matching) -> tuple[Array, Array]:
    """Return what each unit of the second network (column) gains in each place (row), the others being placed.

    The gain is the scalar product of the weights with those of the first network, as (odd, even) in the unit's sign.
    """
    order, signs = placed.order, placed.signs
    rows = first.recurrence @ (second.recurrence[:, :, order] * signs).swapaxes(1, 2)
    rows += first.incoming @ second.incoming.swapaxes(1, 2)
    columns = first.recurrence.swapaxes(1, 2) @ (second.recurrence[:, order] * second.row_signs(signs))
    signed = np.isin(np.arange(len(rows)), first.symmetry.signed)
    odd = rows[signed].sum(axis=0) + columns.sum(axis=0) + first.readout.T @ second.readout
    return odd, rows[~signed].sum(axis=0)


def squared_distance(first: Units, second: Units, recurrent: bool = False) -> float:
    """Return the sum of squared differences of all weights of units, or of recurrent ones."""
    return float(
        sum(np.sum((getattr(first, name) - getattr(second, name)) ** 2) for name in KINDS[recurrent])
    )


def weight_distances(members: Sequence[Units], seed: int = 0) -> dict[str, Array]:
    """Return distances of the weights of all pairs of members (member, member), after matching units.

    ``weights`` is the Frobenius norm d of the difference of all weights of units, ``weights_per_unit`` d over the
    number of units, ``weights_relative`` d / √(‖A‖² + ‖B‖²), 0 for copies and 1 for orthogonal ones; ``recurrent…`` is
    the same of recurrent weights alone, and ``unmatched`` the relative distance of all weights with units in a random
    order.
    """
    count = len(members)
    names = [f"{kind}{end}" for kind in ("weights", "recurrent") for end in ("", "_per_unit", "_relative")]
    found = {name: np.zeros((count, count)) for name in (*names, "unmatched")}
    rng = np.random.default_rng(seed)
    for i, j in counted(list(itertools.combinations(range(count), 2)), "pairs of members"):
        first, second = members[i], members[j]
        matched = second.reordered(match_units(first, second))
        random = second.reordered(Matching(rng.permutation(second.count), np.ones(second.count)))
        for kind, recurrent in (("weights", False), ("recurrent", True)):
            distance = np.sqrt(squared_distance(first, matched, recurrent))
            values = distance, distance / first.count, distance / _norm(first, second, recurrent)
            for name, value in zip((kind, f"{kind}_per_unit", f"{kind}_relative"), values, strict=True):
                found[name][i, j] = found[name][j, i] = value
        apart = np.sqrt(squared_distance(first, random)) / _norm(first, second, False)
        found["unmatched"][i, j] = found["unmatched"][j, i] = apart
    return found


def _norm(first: Units, second: Units, recurrent: bool) -> float:
    """Return √(‖A‖² + ‖B‖²)."""
    squares = sum(np.sum(getattr(one, name) ** 2) for one in (first, second) for name in KINDS[recurrent])
    return float(np.sqrt(squares)) or 1.0
