"""What an associative memory held and what it returned, rebuilt from the log of its writes and reads in a Trace.

Two kinds of memory are known, and no model. In a ``linear`` one a step that writes the value v under the key
k does

    M_t = E∘(M_{t-1} (diag(w) - b x yᵀ)) + c G∘(v kᵀ)                                                                (1)

with w, b, c the logged ``write_keep``, ``write_erase`` and ``write_strength``, and a read with the query q
returns M q. Where the log names no ``erase_query`` x and ``erase_key`` y they are w ∘ k and k, and where
besides w is one number a the rule is M_t = a E∘(M_{t-1} (I - b k kᵀ)) + …. E and G are one unless plasticity
is per entry (the masks ``keep`` and ``gain``). A step without a key writes nothing, and forgets if its
``write_keep`` is a number. A key with several factors stands for their tensor product.

Rules with x, y or a w by key channel are replayed by `analysis.memory.effective_keys`, the others as follows.
Unrolled, what (1) adds at step i is u_i k_iᵀ with u_t = c_t v_t - b_t Σ_{i<t} d_ti (k_i·k_t) u_i, where d_ti
is the product of a over the steps after i up to t. So U solves a unit triangular system, (I + L) U = diag(c)
V with L_ti = b_t d_ti (k_i·k_t) below the diagonal, and the weight of each write in each read is

    W = S (I + L)⁻¹ diag(c),  S_ti = d_ti (q_t·k_i) for the writes that the read finds,                              (2)

such that W V is what the memory returned. The products d are running products, so that nothing is divided by
what has decayed, and M itself, which has as many entries as a value times all factors of a key, is never
built for (2).

A ``dictionary`` returns the value of its most similar key, first of equals, zero when it is empty; its rule
says how ``similarity`` is measured (cosine, l1, l2, dot) and how many slots it has (``capacity``; the oldest
is dropped). With the ``recall`` "kernel" it returns an average, weighted by 1 / (distance² + 0.001) (Pritzel
et al. 2017), the distance being minus the similarity, or one minus the cosine; with "softmax", as attention
does, by the softmax over writes of ``scale`` times the similarity. Of keys that are equally similar
but for rounding, which recorded in float32 is larger than here, the one whose value was returned counts as
the most similar.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from analysis.errors import AnalysisError
from analysis.memory.effective_keys import effective_contents, effective_weights
from analysis.memory.log import Array, MemoryLog, memory_log, normalised

KERNEL_WIDTH = 1e-3
ROUNDING = 1e-4
"""Relative difference of similarities below which rounding in float32 may have decided."""
SMALLEST = np.finfo(float).tiny
BLOCK = 64
"""Steps over which decays are multiplied at once."""


@dataclass(frozen=True)
class MatchGrids:
    """Which write each read matched; NaN where nothing is read, or no such write is found yet.

    Attributes
    ----------
    read_steps, write_steps
        Steps of the rows and of the columns: those asked for, and all at which some member writes.
    similarity
        Of query and key, (member, batch, row, read, column): their inner product, or what a dictionary
        compares.
    weight
        W of (2), (member, batch, row, read, column, value); the value axis has size 1 unless plasticity is
        per entry.
    mean_weight
        One number for each write, (member, batch, row, read, column): weights averaged over the value axis by
        the squares of what was written, Σ w v² / Σ v²: times that number a write comes nearest to what is
        read of it.
    normaliser
        The sum that each read may be divided by, (member, batch, row, read), or None where the memory keeps
        none; weights are those before any division.
    """

    read_steps: NDArray[np.intp]
    write_steps: NDArray[np.intp]
    similarity: Array
    weight: Array
    mean_weight: Array
    normaliser: Array | None


def replay_memory(recording: xr.DataTree, memory: str, steps: Sequence[int]) -> Array:
    """Return what a memory held after chosen steps: M of the rule (1), as the sum of what its writes added.

    Parameters
    ----------
    recording
        A Trace, or part of one (`analysis.memory.log.select`).
    memory
        Name of the memory.
    steps
        Steps of the trace, in any order.

    Returns
    -------
    contents
        (member, batch, step, value, key), the key axis being the Kronecker product of factors; of a
        dictionary (member, batch, step, slot, value), a slot for each step that writes, NaN where it is not
        held.

    Examples
    --------
    >>> recording = select(trace.load("demo/fast_weights/traces/seq11.nc"), batch=[0])
    >>> replay_memory(recording, "fast", [0, 10]).shape  # member, sequence, step, value, key
    (4, 1, 2, 50, 50)
    """
    log = memory_log(recording, memory)
    wanted = _checked_steps(steps, log)
    return _CONTENTS[log.rule["kind"]](log, wanted)


def match_grids(recording: xr.DataTree, memory: str, steps: Sequence[int] | None = None) -> MatchGrids:
    """Return which write each read of a memory matched, exactly: weights times written values are what it returned.

    Parameters
    ----------
    recording
        A Trace, or part of one (`analysis.memory.log.select`).
    memory
        Name of the memory.
    steps
        Steps whose reads are wanted; without it all steps at which some member reads.

    Examples
    --------
    >>> recording = select(trace.load("demo/fast_weights/traces/seq11.nc"), batch=[0])
    >>> grids = match_grids(recording, "fast", steps=[10])
    >>> grids.mean_weight.shape, grids.read_steps.tolist()
    ((4, 1, 1, 1, 11), [10])
    """
    return match_log(memory_log(recording, memory), steps)


def match_log(log: MemoryLog, steps: Sequence[int] | None = None) -> MatchGrids:
    """Return which write each read of a memory matched, as `match_grids`, from its log."""
    rows = np.flatnonzero(log.answered.any(axis=(0, 1, 3))) if steps is None else _checked_steps(steps, log)
    columns = np.flatnonzero(log.written.any(axis=(0, 1)))
    similarity, weight = _GRIDS[log.rule["kind"]](log, rows, columns)
    found = _found(log, rows, columns)
    return MatchGrids(
        read_steps=rows,
        write_steps=columns,
        similarity=np.where(found, similarity, np.nan),
        weight=np.where(found[..., None], weight, np.nan),
        mean_weight=np.where(found, _mean_weight(weight, log.value[:, :, columns]), np.nan),
        normaliser=log.answer[..., -1][:, :, rows] if normalised(log.rule) else None,
    )


def _mean_weight(weight: Array, values: Array) -> Array:
    """Return weights (…, column, value) averaged by the squares of values (member, batch, column, value)."""
    if weight.shape[-1] == 1:
        return weight[..., 0]
    squares = values**2
    total = squares.sum(axis=-1, keepdims=True)
    share = np.where(total > 0, squares / np.where(total > 0, total, 1.0), 1 / squares.shape[-1])
    return np.asarray((weight * share[:, :, None, None]).sum(axis=-1))


def recall_error(recording: xr.DataTree, memory: str, grids: MatchGrids) -> Array:
    """Return how far weights times written values are from what the memory returned, at most, for each member.

    Returns
    -------
    error
        (member,), relative to the largest value that the member reads anywhere in the recording; 0 for none.

    Examples
    --------
    >>> recording = select(trace.load("demo/fast_weights/traces/seq11.nc"), batch=[0])
    >>> error = recall_error(recording, "fast", match_grids(recording, "fast"))
    >>> error.shape, bool((error < 1e-4).all())
    ((4,), True)
    """
    log = memory_log(recording, memory)
    return relative_error(recall_difference(log, grids), log)


def recall_difference(log: MemoryLog, grids: MatchGrids) -> Array:
    """Return the largest difference of weights times written values and what the memory returned, (member,)."""
    apart = np.abs(recalled_values(log, grids) - log.answer[:, :, grids.read_steps])
    return apart.max(axis=(1, 2, 3, 4), initial=0.0)


def recalled_values(log: MemoryLog, grids: MatchGrids) -> Array:
    """Return weights times written values of each read, (member, batch, row, read, value)."""
    weight, values = np.nan_to_num(grids.weight), log.value[:, :, None, grids.write_steps]
    if log.per_entry:
        return np.asarray(np.sum(weight * values[:, :, :, None], axis=-2))
    return np.asarray(weight[..., 0] @ values)


def relative_error(difference: Array, log: MemoryLog) -> Array:
    """Return differences (member,) relative to the largest value that a member reads anywhere; 0 for none."""
    largest = np.abs(log.answer).max(axis=(1, 2, 3, 4), initial=0.0)
    return np.where(difference > 0, difference / np.where(largest > 0, largest, 1.0), 0.0)


def _checked_steps(steps: Sequence[int], log: MemoryLog) -> NDArray[np.intp]:
    wanted = np.asarray(steps, dtype=np.intp)
    n_steps = log.written.shape[2]
    if wanted.ndim != 1 or (wanted.size and not 0 <= wanted.min() <= wanted.max() < n_steps):
        raise AnalysisError(f"steps: expected steps from 0 to {n_steps - 1}; got {steps}")
    return wanted


def _found(log: MemoryLog, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Return which reads find which writes, (member, batch, row, read, column)."""
    return log.answered[:, :, rows, :, None] & _held(log, log.last_write(rows), columns)[:, :, :, None]


def _held(log: MemoryLog, last: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Return which writes the memory still holds after steps ``last``, (member, batch, step, column)."""
    so_far = log.written.cumsum(axis=-1)
    newer = so_far[:, :, last, None] - so_far[:, :, None, columns]
    known = log.written[:, :, None, columns] & (columns <= last[:, None])
    return known & (newer < (log.rule.get("capacity") or np.inf))


def _gram(left: Array, right: Array) -> Array:
    """Return inner products of tensor products, (…, row, factor, key) with (…, column, factor, key)."""
    return np.prod(np.moveaxis(left, -2, -3) @ np.swapaxes(np.moveaxis(right, -2, -3), -1, -2), axis=-3)


def _decays(keep: Array, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Array:
    """Return d (member, batch, row, column): the product of ``keep`` over the steps after the column's up to the row's.

    It is a running product, a block of steps at a time: all steps at once would need T² numbers.
    """
    decays = np.ones((*keep.shape[:-1], len(rows), len(columns)))
    running = np.ones((*keep.shape[:-1], 1, len(columns)))
    for first in range(0, int(rows.max(initial=-1)) + 1, BLOCK):
        steps = np.arange(first, min(first + BLOCK, keep.shape[-1]))
        products = np.where(steps[:, None] > columns, keep[..., steps, None], 1.0)
        products[..., :1, :] *= running
        products = products.cumprod(axis=-2)
        running = products[..., -1:, :]
        here = np.flatnonzero((rows >= first) & (rows < first + BLOCK))
        decays[..., here, :] = products[..., rows[here] - first, :]
    return decays


def _linear_grids(log: MemoryLog, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> tuple[Array, Array]:
    keys = log.key[:, :, columns]
    queries = log.query[:, :, rows]
    similarity = _gram(queries.reshape(*queries.shape[:2], -1, *queries.shape[4:]), keys)
    similarity = similarity.reshape(*queries.shape[:4], len(columns))
    last = log.last_write(rows)
    strength = log.strength[:, :, None, None, columns]
    if log.per_entry:
        return similarity, _masked_weights(log, queries, last, columns) * strength[..., None]
    if log.erases_elsewhere:
        return similarity, effective_weights(log, rows, columns)[..., None]
    decays = _decays(log.keep, last, columns)[:, :, :, None]
    direct = np.where(_found(log, rows, columns), similarity * decays, 0.0)
    if log.erase.any():
        rows_last = np.moveaxis(direct.reshape(*direct.shape[:2], -1, len(columns)), -1, -2)
        solved = _solve(_coupling(log, columns), rows_last, transposed=True)
        direct = np.moveaxis(solved, -1, -2).reshape(direct.shape)
    return similarity, (direct * strength)[..., None]


def _coupling(log: MemoryLog, columns: NDArray[np.intp]) -> Array:
    """Return L (member, batch, column, column): how much of each write a later one erases."""
    keys, decays = log.key[:, :, columns], _decays(log.keep, columns, columns)
    return np.tril(log.erase[:, :, columns, None] * decays * _gram(keys, keys), -1)


def _solve(lower: Array, right: Array, *, transposed: bool = False) -> Array:
    """Return (I + L)⁻¹ R, or (I + L)⁻ᵀ R, for L (member, batch, column, column) and R (member, batch, column, …)."""
    from scipy.linalg import solve_triangular

    solved = np.empty_like(right)
    for place in np.ndindex(lower.shape[:2]):
        # The diagonal, one, is not read; neither is anything above it.
        solved[place] = solve_triangular(
            lower[place], right[place], trans=int(transposed), lower=True, unit_diagonal=True
        )
    return solved


def _entry_kinds(log: MemoryLog) -> Iterator[tuple[float, Array]]:
    """Yield the values that E takes, and G where E has that value and zero elsewhere, (member, value, key)."""
    shape = next(m.shape for m in (log.gain_mask, log.keep_mask) if m is not None)
    gain, keep = (np.ones(shape) if m is None else m for m in (log.gain_mask, log.keep_mask))
    for keep_here in np.unique(keep).tolist():
        yield keep_here, np.where(keep == keep_here, gain, 0.0)


def _masked_decays(log: MemoryLog, keep: float, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Array:
    return _decays(np.where(log.forgets, keep * log.keep, log.keep), rows, columns)


def _masked_weights(
    log: MemoryLog, queries: Array, last: NDArray[np.intp], columns: NDArray[np.intp]
) -> Array:
    """Return Σ_k E^n G q_k k_k d, one weight for each entry of the value: a sum over entries that are kept alike."""
    total: Any = 0.0
    for keep, gain in _entry_kinds(log):
        overlap = np.einsum(
            "mbtrk,mvk,mbck->mbtrcv", queries[..., 0, :], gain, log.key[:, :, columns, 0], optimize=True
        )
        total = total + overlap * _masked_decays(log, keep, last, columns)[:, :, :, None, :, None]
    return total


def _linear_contents(log: MemoryLog, steps: NDArray[np.intp]) -> Array:
    columns = np.flatnonzero(log.written.any(axis=(0, 1)))
    if log.erases_elsewhere:
        return effective_contents(log, columns, steps)
    keys, *factors = np.moveaxis(log.key[:, :, columns], -2, 0)
    for factor in factors:
        keys = (keys[..., :, None] * factor[..., None, :]).reshape(*keys.shape[:-1], -1)
    written = log.strength[:, :, columns, None] * log.value[:, :, columns]

    def held(added: Array, decays: Array) -> Array:
        """Return Σ_i d_ti u_i k_iᵀ over the writes up to each step."""
        left = np.where(columns <= steps[:, None], decays, 0.0)[..., None, :]
        left = left * np.swapaxes(added, -1, -2)[:, :, None]
        # One product for all steps of a trial: a product for each is ten times slower.
        flat = left.reshape(*left.shape[:2], left.shape[2] * left.shape[3], len(columns))
        contents: Array = (flat @ keys).reshape(*left.shape[:4], keys.shape[-1])
        return contents

    if log.per_entry:
        total: Any = 0.0
        for keep, gain in _entry_kinds(log):
            total = total + gain[:, None, None] * held(written, _masked_decays(log, keep, steps, columns))
        return np.asarray(total)
    added = _solve(_coupling(log, columns), written) if log.erase.any() else written
    return held(added, _decays(log.keep, steps, columns))


def _dictionary_grids(
    log: MemoryLog, rows: NDArray[np.intp], columns: NDArray[np.intp]
) -> tuple[Array, Array]:
    queries, keys = (
        log.query[:, :, rows].reshape(*log.query.shape[:2], -1, log.query.shape[-1]),
        log.key[:, :, columns],
    )
    similarity = np.empty((*queries.shape[:3], len(columns)))
    for place in np.ndindex(similarity.shape[:2]):
        similarity[place] = compare_vectors(queries[place], keys[place][:, 0], log.rule["similarity"])
    similarity = similarity.reshape(*log.query[:, :, rows].shape[:4], len(columns))
    found = _found(log, rows, columns)
    recall = log.rule.get("recall", "nearest")
    if recall == "softmax":
        return similarity, _softmax(log.rule["scale"] * similarity, found)[..., None]
    if recall == "kernel":
        distance = 1 - similarity if log.rule["similarity"] == "cosine" else similarity
        weight = found / (distance**2 + KERNEL_WIDTH)
        return similarity, (weight / np.maximum(weight.sum(axis=-1, keepdims=True), SMALLEST))[..., None]
    return similarity, _nearest(log, np.where(found, similarity, -np.inf), rows, columns)[..., None]


def _softmax(logits: Array, found: NDArray[np.bool_]) -> Array:
    """Return the softmax over the writes that are found, zero if none are."""
    largest = np.where(found, logits, -np.inf).max(axis=-1, keepdims=True, initial=np.finfo(float).min)
    weight = np.where(found, np.exp(np.minimum(logits - largest, 0.0)), 0.0)
    return np.asarray(weight / np.maximum(weight.sum(axis=-1, keepdims=True), SMALLEST))


def _nearest(log: MemoryLog, similarity: Array, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> Array:
    """Return weights (member, batch, row, read, column): one for the most similar key, zero for the others."""
    weight = np.zeros_like(similarity)
    if not len(columns):
        return weight
    largest = similarity.max(axis=-1, keepdims=True)
    near = np.isfinite(similarity) & (similarity >= largest - ROUNDING * (1 + np.abs(largest)))
    best = near.argmax(axis=-1)
    for place in zip(*np.nonzero(near.sum(axis=-1) > 1), strict=True):
        member, batch, row, read = place
        equals = np.flatnonzero(near[place])
        difference = log.value[member, batch, columns[equals]] - log.answer[member, batch, rows[row], read]
        best[place] = equals[np.abs(difference).max(axis=-1).argmin()]
    np.put_along_axis(weight, best[..., None], 1.0, axis=-1)
    return weight


def compare_vectors(queries: Array, keys: Array, similarity: str) -> Array:
    """Return the similarity of queries (row, key) and keys (column, key), larger for more alike.

    Distances are those of torch's `pairwise_distance`, which adds 1e-6 to each difference.
    """
    from scipy.spatial.distance import cdist

    if similarity == "cosine":
        unit = [x / np.maximum(np.linalg.norm(x, axis=-1, keepdims=True), 1e-8) for x in (queries, keys)]
        return unit[0] @ unit[1].T
    if similarity == "dot":
        return queries @ keys.T
    return -cdist(queries + 1e-6, keys, {"l1": "cityblock", "l2": "euclidean"}[similarity])


def _dictionary_contents(log: MemoryLog, steps: NDArray[np.intp]) -> Array:
    columns = np.flatnonzero(log.written.any(axis=(0, 1)))
    held = _held(log, steps, columns)
    return np.where(held[..., None], log.value[:, :, None, columns], np.nan)


_GRIDS: dict[str, Callable[..., tuple[Array, Array]]] = {
    "linear": _linear_grids,
    "dictionary": _dictionary_grids,
}
_CONTENTS: dict[str, Callable[..., Array]] = {"linear": _linear_contents, "dictionary": _dictionary_contents}
