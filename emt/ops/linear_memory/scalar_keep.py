"""Linear memories in chunks where a step's decay is one number and erases are by the key.

In a chunk that starts with M₀, with G_t = Σ_{s ≤ t} log w_s and d_ti = e^{G_t − G_i} for i ≤ t, else 0:

    L = strictly lower part of diag(b) (d ∘ K Kᵀ)                                              (2)
    (I + L) U = V − diag(b ∘ e^G) K M₀ᵀ        rows of V are c_t v_t                           (3)
    R = (d ∘ Q Kᵀ) U + diag(e^G) Q M₀ᵀ         reads before: d_{t−1,i} and e^{G_{t−1}}         (4)
    M_C = e^{G_C} M₀ + Uᵀ diag(e^{G_C − G}) K                                                  (5)

The solve of (3) does not need M₀: U = U⁰ − W M₀ᵀ with (I + L) [U⁰, W] = [V, diag(b e^G) K] for all chunks at
once, so that two products a chunk are sequential. All tensors have the axes (chunk, row, step, feature).
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from emt.ops.linear_memory.chunks import earlier, later_sum, solve


class _Parts(NamedTuple):
    """What the equations need of all chunks beside M₀.

    ``reach`` e^{G_t} of reads and ``decay`` d of reads, (…, step, 1) and (…, step, step); ``weights`` d ∘ Q Kᵀ;
    ``total`` e^{G_C}; ``left`` e^{G_C − G}, and ``near`` that times K; ``offered`` U⁰. Where anything is
    erased: ``inner`` the strictly lower d, ``similar`` inner ∘ K Kᵀ, ``system`` L, ``grown`` e^G, and
    ``erased`` W.
    """

    reach: Tensor
    decay: Tensor
    weights: Tensor
    total: Tensor
    left: Tensor
    near: Tensor
    offered: Tensor
    inner: Tensor | None
    similar: Tensor | None
    system: Tensor | None
    grown: Tensor
    erased: Tensor | None


class ScalarKeep(torch.autograd.Function):
    """Reads (chunk, row, step, value) and the last memory (row, value, key)."""

    @staticmethod
    def forward(  # noqa: D102 (described by torch)
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        log_keep: Tensor | None,
        erase: Tensor | None,
        memory: Tensor,
        before: bool,
    ) -> tuple[Tensor, Tensor]:
        parts = _prepare(query, key, value, log_keep, erase, before)
        starts = query.new_empty(len(query), *memory.shape)
        held = memory
        for j, start in enumerate(starts.unbind()):
            start.copy_(held)
            written = parts.offered[j]
            if parts.erased is not None:
                written = torch.baddbmm(written, parts.erased[j], held.mT, alpha=-1)
            held = torch.baddbmm(parts.total[j] * held, written.mT, parts.near[j])
        ctx.before = before
        ctx.save_for_backward(query, key, value, log_keep, erase, starts)
        written = parts.offered if parts.erased is None else parts.offered - parts.erased @ starts.mT
        return parts.weights @ written + (parts.reach * query) @ starts.mT, held

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_reads: Tensor, d_last: Tensor) -> tuple[Tensor | None, ...]:  # noqa: D102
        query, key, value, log_keep, erase, starts = ctx.saved_tensors
        parts = _prepare(query, key, value, log_keep, erase, ctx.before)
        d_reads = d_reads.contiguous()
        d_read_writes = parts.weights.mT @ d_reads
        d_starts = d_reads.mT @ (parts.reach * query)
        if parts.erased is not None:
            d_starts -= d_read_writes.mT @ parts.erased
        ends, d_memory = torch.empty_like(starts), d_last
        for j in reversed(range(len(starts))):
            ends[j] = d_memory
            d_before = torch.addcmul(d_starts[j], parts.total[j], d_memory)
            if parts.erased is not None:
                d_before = torch.baddbmm(d_before, d_memory @ parts.near[j].mT, parts.erased[j], alpha=-1)
            d_memory = d_before

        written = parts.offered if parts.erased is None else parts.offered - parts.erased @ starts.mT
        d_written = d_read_writes + parts.near @ ends.mT
        d_value = d_written if parts.system is None else solve(parts.system, d_written, transposed=True)
        d_pairs = d_reads @ written.mT
        d_weights = d_pairs * parts.decay
        d_far, d_near = d_reads @ starts, written @ ends
        d_query = torch.addcmul(d_weights @ key, parts.reach, d_far)
        d_key = torch.addcmul(d_weights.mT @ query, parts.left, d_near)
        d_erase = None
        d_grown, d_similar = 0, None
        if parts.inner is not None and parts.similar is not None and erase is not None:
            # Of L and of diag(b e^G) K, both with the sign of what the solve subtracts.
            d_system, d_erased_keys = d_value @ written.mT, d_value @ starts
            from_start = parts.grown * (key * d_erased_keys).sum(-1, keepdim=True)
            d_similar = d_system * parts.similar
            d_erase = -d_similar.sum(-1, keepdim=True) - from_start
            inner = d_system.mul_(parts.inner).mul_(erase)
            d_key -= (inner + inner.mT) @ key
            d_key.addcmul_(erase * parts.grown, d_erased_keys, value=-1)
            d_grown = -erase * from_start
            d_similar *= -erase
        d_keep = None
        if log_keep is not None:
            d_pairs *= parts.weights
            d_reads_sum = d_pairs.sum(-1, keepdim=True)
            d_reads_sum += parts.reach * (query * d_far).sum(-1, keepdim=True)
            d_near_sum = parts.left * (key * d_near).sum(-1, keepdim=True)
            d_sum = d_grown - d_pairs.sum(-2).unsqueeze(-1) - d_near_sum
            if d_similar is not None:
                d_sum = d_sum + d_similar.sum(-1, keepdim=True) - d_similar.sum(-2).unsqueeze(-1)
            # What acts on G_{t−1} acts on the log-decays before step t only.
            d_sum += _moved_back(d_reads_sum) if ctx.before else d_reads_sum
            d_total = parts.total * (starts * ends).sum((-2, -1), keepdim=True)
            d_sum[..., -1:, :] += d_total + d_near_sum.sum(-2, keepdim=True)
            d_keep = later_sum(d_sum)
        return d_query, d_key, d_value, d_keep, d_erase, d_memory, None


def _prepare(
    query: Tensor, key: Tensor, value: Tensor, log_keep: Tensor | None, erase: Tensor | None, before: bool
) -> _Parts:
    steps = key.shape[2]
    sums = key.new_zeros(1, 1, steps, 1) if log_keep is None else log_keep.cumsum(dim=2)
    of_reads = earlier(sums) if before else sums
    decay = _decays(of_reads, sums, -1 if before else 0)
    left = (sums[..., -1:, :] - sums).exp()
    grown = sums.exp()
    total = grown[..., -1:, :].expand(len(key), -1, -1, -1)
    inner = similar = system = erased = None
    offered = value
    if erase is not None:
        inner = _decays(sums, sums, -1) if before else decay.tril(-1)
        similar = inner * (key @ key.mT)
        system = erase * similar
        solved = solve(system, torch.cat([value, erase * grown * key], dim=-1))
        offered, erased = solved.split([value.shape[-1], key.shape[-1]], dim=-1)
    weights = decay * (query @ key.mT)
    return _Parts(
        of_reads.exp(),
        decay,
        weights,
        total,
        left,
        left * key,
        offered,
        inner,
        similar,
        system,
        grown,
        erased,
    )


def _decays(later: Tensor, sums: Tensor, diagonal: int) -> Tensor:
    """Return exp(later_t − G_i) up to a diagonal, where that is a decay, else 0."""
    # Above the diagonal sums grow. Their exponentials, or those of infinities, would be slow.
    return (later - sums.mT).clamp_(max=0).exp_().tril_(diagonal)


def _moved_back(x: Tensor) -> Tensor:
    """Return x_{t+1} at step t, zero at the last; what stood at the first has no step before it."""
    return torch.cat([x[..., 1:, :], torch.zeros_like(x[..., :1, :])], dim=-2)
