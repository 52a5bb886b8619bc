"""Eigenvalues of what each write does to the old contents of a linear memory: diag(w) - b x yᵀ."""

import numpy as np

from analysis.memory.log import Array, MemoryLog

LARGEST_SOLVED = 2**21
"""Numbers of the matrices whose eigenvalues are taken at once."""


def smallest_eigenvalues(log: MemoryLog) -> Array:
    """Return the smallest eigenvalue, by its real part, of each write's transition, (member, batch, time).

    With one keep a and an erase along the key it is λ = a (1 - b ‖k‖²), the others being a; with several keep
    rates or an erase elsewhere it is that of the matrix. NaN where nothing is written, and for a dictionary.
    Where plasticity is per entry it is a, before the entries' own factors.
    """
    if log.rule["kind"] != "linear":
        return np.full(log.written.shape, np.nan)
    if log.erases_elsewhere:
        return _of_matrices(log)
    squares = np.prod(np.sum(log.key**2, axis=-1), axis=-1)
    return np.where(log.written, log.keep * np.minimum(1 - log.erase * squares, 1.0), np.nan)


def _of_matrices(log: MemoryLog) -> Array:
    keep, query, erased = log.transition
    smallest, places = np.full(log.written.shape, np.nan), np.argwhere(log.written)
    size = max(LARGEST_SOLVED // log.features**2, 1)
    for first in range(0, len(places), size):
        some = tuple(places[first : first + size].T)
        lost = log.erase[some][:, None, None] * query[some][:, :, None] * erased[some][:, None]
        matrices = keep[some][:, :, None] * np.eye(log.features) - lost
        smallest[some] = np.linalg.eigvals(matrices).real.min(axis=-1)
    return smallest
