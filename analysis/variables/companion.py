"""The theory's side: the companion matrix of a linear task and its spectrum in closed form.

A task with a linear operator continues a sequence from a window of its last s vectors of d values. The window
is flattened oldest first, so index = slot · d + bit and slot 0 is the oldest; the next vector is the window
(a row) times the operator f (s·d, d). The companion matrix Φ moves a window (a column) one step on (Karuvally
et al. 2023, Episodic Memory Theory).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.errors import AnalysisError


@dataclass(frozen=True)
class Cycle:
    """Window positions that hand a value on in a circle.

    Attributes
    ----------
    positions
        In order of time: what stands at one position stands at the next one a step later; the last feeds the
        first.
    signs
        Factor ±1 that the value takes on its way to each position.
    """

    positions: NDArray[np.intp]
    signs: NDArray[np.float64]


def companion_matrix(operator: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    """Return Φ (s·d, s·d): each slot takes over the next newer one, the newest slot is f transposed.

    Raises
    ------
    AnalysisError
        If ``operator`` (s·d, d) does not belong to windows of ``length`` vectors.

    Examples
    --------
    Repeat copy of three vectors of one entry: the next vector is the oldest one of the window.

    >>> companion_matrix(np.array([[1.0], [0.0], [0.0]]), 3).tolist()
    [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    size, width = operator.shape
    if size != length * width:
        raise AnalysisError(f"operator: expected shape ({length}·d, d); got {operator.shape}")
    return np.vstack([np.eye(size - width, size, k=width), operator.T])


def companion_cycles(companion: NDArray[np.float64]) -> tuple[Cycle, ...]:
    """Return the cycles of a companion matrix whose operator is a signed selection (one ±1 in each row).

    Each position has one source, so cycles share no position; a position on none holds a value that is never
    read again. Found in linear time by walking back along the sources.

    Raises
    ------
    AnalysisError
        If a row holds anything but a single ±1.

    Examples
    --------
    The next vector is minus the last but one; of three vectors the oldest one is never read:

    >>> operator = np.array([[0.0], [-1.0], [0.0]])
    >>> [cycle] = companion_cycles(companion_matrix(operator, 3))
    >>> cycle.positions.tolist(), cycle.signs.prod().item()
    ([2, 1], -1.0)
    """
    if not (np.count_nonzero(companion, axis=1) == 1).all() or not (np.abs(companion).max(axis=1) == 1).all():
        raise AnalysisError("operator: expected a signed selection, a single ±1 in each column")
    sources = np.abs(companion).argmax(axis=1)
    walk_of = np.full(len(companion), -1)
    cycles = []
    for start in range(len(companion)):
        walk: list[int] = []
        position = start
        while walk_of[position] < 0:
            walk_of[position] = start
            walk.append(position)
            position = int(sources[position])
        if walk_of[position] == start:
            positions = np.array(walk[walk.index(position) :][::-1])
            cycles.append(Cycle(positions, companion[positions, sources[positions]]))
    return tuple(cycles)


def companion_eigenvalues(companion: NDArray[np.float64]) -> NDArray[np.complex128]:
    """Return the spectrum of a signed selection's companion matrix (s·d,), by descending modulus, then angle.

    A cycle of n positions whose signs multiply to σ gives the n-th roots of σ; every other position gives a
    zero. The matrix is often defective, where a numerical spectrum is off by 1e-2 at zero; this one is exact
    to rounding.

    Examples
    --------
    >>> repeat_copy = np.array([[1.0], [0.0], [0.0]])
    >>> companion_eigenvalues(companion_matrix(repeat_copy, 3)).round(3).tolist()
    [(-0.5-0.866j), (1+0j), (-0.5+0.866j)]
    """
    roots = np.concatenate(
        [_roots(len(c.positions), float(np.prod(c.signs))) for c in companion_cycles(companion)]
    )
    roots = roots[np.argsort(np.angle(roots), kind="stable")]
    return np.pad(roots, (0, len(companion) - len(roots)))


def _roots(n: int, sign: float) -> NDArray[np.complex128]:
    return np.exp(1j * np.pi * (2 * np.arange(n) + (sign < 0)) / n)
