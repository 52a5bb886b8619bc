"""What a memory returns for the keys of its own pairs: how well it holds them, and how much of each write is left."""

from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from analysis.memory.capacity_lines import value_floor
from analysis.memory.log import Array, MemoryLog, items_of, normalised
from analysis.memory.replay import match_log


def stored_pairs(
    recording: xr.DataTree, log: MemoryLog, sequence: int, steps: NDArray[np.intp]
) -> NDArray[np.bool_]:
    """Return which writes hold a pair at some steps of a sequence, (step, time).

    They are those that a read of the step finds: of each item of the event ``written`` the last one so far,
    and every write of a task that has no such event.
    """
    written, last = log.written[0, sequence], log.last_write(steps)[:, None]
    found = (np.arange(len(written)) <= last) & written
    if "written" in recording.data_vars:
        found &= _written_again(items_of(recording, "written")[sequence], written) > last
    return np.asarray(found)


def _written_again(items: NDArray[np.int64], written: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return when the last of the items (time, item) of each write is written again, (time,); -1 for no item."""
    again, newest = np.full(len(items), -1), dict[int, int]()
    for t in np.flatnonzero(written)[::-1].tolist():
        held = [item for item in items[t].tolist() if item >= 0]
        again[t] = max((newest.get(item, len(items)) for item in held), default=-1)
        newest |= dict.fromkeys(held, t)
    return again


def key_cosines(keys: Array) -> Array:
    """Return absolute cosines (pair, pair) of keys (pair, factor, key), products of factors."""
    length = np.linalg.norm(keys, axis=-1, keepdims=True)
    unit = np.moveaxis(keys / np.where(length > 0, length, 1.0), -2, 0)
    return np.asarray(np.abs(np.prod(unit @ np.swapaxes(unit, -1, -2), axis=0)))


def key_similarity(keys: Array) -> Array:
    """Return for each of some keys (pair, factor, key) the largest absolute cosine with another, (pair,); 0 for one."""
    cosines = key_cosines(keys)
    np.fill_diagonal(cosines, 0.0)
    return np.asarray(cosines.max(axis=-1, initial=0.0))


@dataclass(frozen=True)
class Held:
    """How a memory held its pairs at one step, read by their own keys.

    Attributes
    ----------
    pairs
        How many there were.
    error
        Squared distance from their values over the squares of these, after the best scaling of all that was
        returned; without scaling it is ``plain_error``.
    floor
        The smallest error of these values from keys of as many features (`value_floor`); NaN for a
        dictionary.
    errors, similarity
        The error of each pair, and the largest |cosine| of its key with another's, (pair,).
    lag, left
        Steps since each pair was written, and the share of it that is left: its weight for its own key, over
        the weight that it had when it was written if nothing else is stored (linear memories), (pair,).
    """

    pairs: int
    error: float
    plain_error: float
    floor: float
    errors: Array
    similarity: Array
    lag: NDArray[np.intp]
    left: Array


def read_own_keys(log: MemoryLog, steps: NDArray[np.intp], pairs: NDArray[np.bool_]) -> list[Held]:
    """Return how the memory of one member and sequence held its pairs at some steps.

    Parameters
    ----------
    log
        The log of one member and one sequence.
    steps
        Steps whose reads' contents are asked for.
    pairs
        The writes that hold pairs at each of them, (step, time).
    """
    written = np.flatnonzero(pairs.any(axis=0))
    if not len(written):
        return []
    shape = (*log.written.shape, len(written))
    # Views without memory of their own: the same keys are asked for at all steps.
    asking = replace(
        log,
        query=np.broadcast_to(log.key[:, :, None, written], (*shape, *log.key.shape[-2:])),
        answer=np.broadcast_to(0.0, (*shape, log.value.shape[-1])),
        answered=np.broadcast_to(True, shape),
    )
    grids = match_log(asking, steps.tolist())
    weight = np.nan_to_num(grids.weight[0, 0])
    values = log.value[0, 0, grids.write_steps]
    returned = np.sum(weight * values, axis=-2) if log.per_entry else weight[..., 0] @ values
    if normalised(log.rule):
        total = returned[..., -1:]
        returned = returned[..., :-1] / np.where(total != 0, total, 1.0)
    own = np.searchsorted(grids.write_steps, written)
    first = np.ones(len(written))
    if log.rule["kind"] == "linear":
        squares = np.prod(np.sum(log.key[0, 0, written] ** 2, axis=-1), axis=-1)
        first = log.strength[0, 0, written] * squares
    shares = np.nan_to_num(grids.mean_weight[0, 0])[:, np.arange(len(written)), own]
    shares = shares / np.where(first != 0, first, 1.0)
    return [
        _held(log, step, written, returned[row], shares[row], held[written])
        for row, (step, held) in enumerate(zip(steps, pairs, strict=True))
        if held.any()
    ]


def _held(
    log: MemoryLog,
    step: np.intp,
    written: NDArray[np.intp],
    returned: Array,
    shares: Array,
    held: NDArray[np.bool_],
) -> Held:
    found, right = returned[held], log.held_value[0, 0, written[held]]
    total, product, square = np.sum(right**2), np.sum(found * right), np.sum(found**2)
    scale = product / square if square > 0 else 0.0
    squares = np.sum(right**2, axis=-1)
    one = np.where(squares > 0, squares, 1.0)
    keys = log.key[0, 0, written[held]]
    whole = total if total > 0 else 1.0
    return Held(
        pairs=int(held.sum()),
        error=float(np.sum((scale * found - right) ** 2) / whole),
        plain_error=float(np.sum((found - right) ** 2) / whole),
        floor=value_floor(right, log.features) if log.rule["kind"] == "linear" else float("nan"),
        errors=np.sum((scale * found - right) ** 2, axis=-1) / one,
        similarity=key_similarity(keys),
        lag=step - written[held],
        left=shares[held],
    )
