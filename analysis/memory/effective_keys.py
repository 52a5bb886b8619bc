"""Replay of linear memories whose transitions differ between key channels, or erase elsewhere than they write.

What a write at step i is at step t is v_i e_iᵀ with an *effective key* e_i. It starts as c_i k_i, and a later
step makes of it

    e_i ← w ∘ e_i - b (x·e_i) y,

its dot product with x being taken before the decay. So the memory is M_t = Σ_i v_i e_iᵀ, and the weight of the
write in a read is q·e_i: the rule (1) of `analysis.memory.replay` row by row, which nothing is divided by and
which needs no memory of a value times a key.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from analysis.memory.log import Array, MemoryLog


def effective_keys(
    log: MemoryLog, columns: NDArray[np.intp], steps: NDArray[np.intp]
) -> Iterator[tuple[NDArray[np.intp], Array]]:
    """Yield the effective keys of writes after each of some steps, and the places that have the step.

    Parameters
    ----------
    log
        The log of a linear memory.
    columns
        Steps of the writes.
    steps
        In any order, several alike or not; -1 is before the first step.

    Yields
    ------
    places, keys
        Where in ``steps`` it stands, and the keys (member, batch, column, key), zero for writes yet to come.
    """
    key = log.key[:, :, :, 0]
    keep, query, erased = log.transition
    query = log.erase[..., None] * query
    effective = np.zeros((*key.shape[:2], len(columns), key.shape[-1]))
    for t in range(-1, int(steps.max(initial=-1)) + 1):
        if t >= 0:
            overlap = effective @ query[:, :, t, :, None]
            effective = keep[:, :, t, None] * effective - overlap * erased[:, :, t, None]
            effective[:, :, columns == t] = (log.strength[:, :, t, None] * key[:, :, t])[:, :, None]
        places = np.flatnonzero(steps == t)
        if len(places):
            yield places, effective


def effective_weights(log: MemoryLog, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Array:
    """Return the weight of each write in each read of some steps, (member, batch, row, read, column)."""
    queries = log.query[:, :, rows][..., 0, :]
    weights = np.zeros((*queries.shape[:-1], len(columns)))
    for places, keys in effective_keys(log, columns, log.last_write(rows)):
        weights[:, :, places] = queries[:, :, places] @ np.swapaxes(keys, -1, -2)[:, :, None]
    return weights


def effective_contents(log: MemoryLog, columns: NDArray[np.intp], steps: NDArray[np.intp]) -> Array:
    """Return what the memory held after some steps, (member, batch, step, value, key)."""
    values = np.swapaxes(log.value[:, :, columns], -1, -2)
    contents = np.zeros((*values.shape[:2], len(steps), values.shape[2], log.key.shape[-1]))
    for places, keys in effective_keys(log, columns, steps):
        contents[:, :, places] = (values @ keys)[:, :, None]
    return contents
