"""Linear memories: a matrix that every step decays, erases from, writes to and reads.

For each sequence, all vectors being columns (fast weights, DeltaNet, Mamba-2, RWKV-7 and others in one rule):

    M_t = M_{t-1} (diag(w_t) − b_t x_t y_tᵀ) + c_t v_t k_tᵀ                                     (1)
    read after the write: r_t = M_t q_t,   before it: r_t = M_{t-1} q_t

Without x and y of their own, x_t = w_t ∘ k_t and y_t = k_t: M decays, then (I − b k kᵀ) erases.

`linear_memory` computes it in chunks: within a chunk the writes are found by one triangular solve, and the
matrix is built at the ends of chunks only (Yang et al. 2024, arXiv:2406.06484, for the delta rule). Its
backward pass, written by hand, stores the inputs and the matrices at the starts of chunks.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from emt.ops.linear_memory.chunks import fold, unfold
from emt.ops.linear_memory.scalar_keep import ScalarKeep
from emt.ops.linear_memory.vector_keep import PAIRWISE_BELOW, VectorKeep

LOWEST_LOG_KEEP = -50.0
"""Smaller decays count as this one, e⁻⁵⁰: sums of logarithms stay finite."""

LARGEST_DECAY = 80.0
"""Decay within a chunk, as −log, up to which factors of its size are floats with an inverse."""


class LinearMemoryRun(NamedTuple):
    """What was read, (…, time, value), and the memory after the last step, (…, value, key)."""

    reads: Tensor
    memory: Tensor


def linear_memory_steps(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    log_keep: Tensor | None = None,
    erase: Tensor | None = None,
    strength: Tensor | None = None,
    memory: Tensor | None = None,
    *,
    erase_query: Tensor | None = None,
    erase_key: Tensor | None = None,
    before: bool = False,
) -> LinearMemoryRun:
    """Run rule (1) step by step: the plain twin of `linear_memory`, with its parameters."""
    held = _start(memory, key, value)
    steps = query.shape[-2]
    keep = torch.ones_like(key) if log_keep is None else _channels(log_keep, key).clamp(LOWEST_LOG_KEEP).exp()
    erases, strengths = (
        query.new_full(query.shape[:-1], default) if given is None else given
        for given, default in ((_erase(erase, erase_query), 0.0), (strength, 1.0))
    )
    reads = []
    for t in range(steps):
        if before:
            reads.append(_times(held, query[..., t, :]))
        w, k, v = keep[..., t, :], key[..., t, :], value[..., t, :]
        x = w * k if erase_query is None else erase_query[..., t, :]
        y = k if erase_key is None else erase_key[..., t, :]
        erased = erases[..., t, None] * _times(held, x)
        written = strengths[..., t, None] * v
        held = held * w[..., None, :] - _outer(erased, y) + _outer(written, k)
        if not before:
            reads.append(_times(held, query[..., t, :]))
    return LinearMemoryRun(torch.stack(reads, dim=-2), held)


def linear_memory(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    log_keep: Tensor | None = None,
    erase: Tensor | None = None,
    strength: Tensor | None = None,
    memory: Tensor | None = None,
    *,
    erase_query: Tensor | None = None,
    erase_key: Tensor | None = None,
    before: bool = False,
    chunk: int | None = None,
) -> LinearMemoryRun:
    """Run rule (1) in chunks of steps; equal to `linear_memory_steps`, gradients included.

    Parameters
    ----------
    query, key
        q and k, (…, time, key).
    value
        v, (…, time, value).
    log_keep
        log w ≤ 0, (…, time), or with a decay for each channel (…, time, key); None: nothing decays.
    erase
        b, (…, time); None: 0, or 1 with ``erase_query`` and ``erase_key``.
    strength
        c, (…, time); None: 1.
    memory
        M before the first step, (…, value, key); None: empty.
    erase_query, erase_key
        x and y, (…, time, key); both or neither.
    before
        Whether a step reads before it writes.
    chunk
        Steps in a chunk; None for 16, or 32 where keys or values have more than 16 numbers. With a decay for
        each channel, chunks are halved until factors of their decays are floats.

    Examples
    --------
    >>> k = torch.eye(3).repeat(2, 1, 1)  # two sequences, three orthonormal keys
    >>> v = torch.randn(2, 3, 4)
    >>> run = linear_memory(k, k, v, erase=torch.ones(2, 3))
    >>> torch.equal(run.reads, v)
    True
    """
    leading, steps = query.shape[:-2], query.shape[-2]
    held = _start(memory, key, value).reshape(-1, value.shape[-1], key.shape[-1])
    written = value if strength is None else strength.unsqueeze(-1) * value
    log_keep = None if log_keep is None else log_keep.clamp(min=LOWEST_LOG_KEEP)
    size = min(chunk or (16 if max(key.shape[-1], value.shape[-1]) <= 16 else 32), steps)
    own_vectors = erase_query is not None and erase_key is not None
    if not own_vectors and (log_keep is None or log_keep.ndim < key.ndim):
        per_step = [None if s is None else fold(s.unsqueeze(-1), leading, size) for s in (log_keep, erase)]
        vectors = [fold(s, leading, size) for s in (query, key, written)]
        reads, last = ScalarKeep.apply(*vectors, *per_step, held, before)
        return LinearMemoryRun(unfold(reads, leading, steps), last.reshape(*leading, *last.shape[1:]))
    keep = torch.zeros_like(key) if log_keep is None else _channels(log_keep, key)
    size = _safe_chunk(keep.detach(), leading, size)
    x, y = erase_query, erase_key
    if not own_vectors and erase is not None:
        x, y = keep.exp() * key, key
    b = _erase(erase, erase_query)
    x = x if b is None or x is None else b.unsqueeze(-1) * x
    inputs = [None if s is None else fold(s, leading, size) for s in (query, key, written, keep, x, y)]
    reads, last = VectorKeep.apply(*inputs, held, before)
    return LinearMemoryRun(unfold(reads, leading, steps), last.reshape(*leading, *last.shape[1:]))


def _safe_chunk(log_keep: Tensor, leading: torch.Size, size: int) -> int:
    """Halve the chunk until no channel decays by more than `LARGEST_DECAY` within it, or chunks are short."""
    while size >= PAIRWISE_BELOW and fold(log_keep, leading, size).sum(dim=2).min() < -LARGEST_DECAY:
        size //= 2
    return max(size, 1)


def _erase(erase: Tensor | None, erase_query: Tensor | None) -> Tensor | None:
    """Return b: one where an erase has its own vectors and nothing is said."""
    return (
        erase_query.new_ones(erase_query.shape[:-1]) if erase is None and erase_query is not None else erase
    )


def _start(memory: Tensor | None, key: Tensor, value: Tensor) -> Tensor:
    empty = (*key.shape[:-2], value.shape[-1], key.shape[-1])
    return key.new_zeros(empty) if memory is None else memory


def _channels(log_keep: Tensor, key: Tensor) -> Tensor:
    """Return a decay for each channel of the key, (…, time, key)."""
    return log_keep if log_keep.ndim == key.ndim else log_keep.unsqueeze(-1).expand_as(key)


def _times(matrix: Tensor, vector: Tensor) -> Tensor:
    return (matrix @ vector.unsqueeze(-1)).squeeze(-1)


def _outer(column: Tensor, row: Tensor) -> Tensor:
    return column.unsqueeze(-1) * row.unsqueeze(-2)
