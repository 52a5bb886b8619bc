"""Linear memories in chunks where each channel of the key has its own decay, or erases have their own vectors.

In a chunk that starts with M₀, with D_{t,i} = w_t ∘ … ∘ w_{i+1}, rows of V being c_t v_t and of X b_t x_t:

    A^{xy}_{ti} = x_t·(D_{t−1,i} ∘ y_i) and A^{xk} for i < t,   A^{qk}_{ti} = q_t·(D_{t,i} ∘ k_i) and A^{qy} for i ≤ t
    (I + A^{xy}) P = A^{xk} V + X̄ M₀ᵀ                          P_t = b_t M_{t−1} x_t           (6)
    R = A^{qk} V − A^{qy} P + Q̄ M₀ᵀ                             reads before: D_{t−1,i}, i < t  (7)
    M_C = M₀ diag(e^{G_C}) + Vᵀ K̃ − Pᵀ Ỹ                                                       (8)

with G the running sum of log w, X̄ = e^{G_{t−1}} ∘ X, Q̄ = e^{G_t} ∘ Q, K̃ = e^{G_C − G} ∘ K, Ỹ likewise. As in
`scalar_keep`, P = P⁰ + W M₀ᵀ. The four A are one product of [Q; X] with [K; Y]. All tensors have the axes
(chunk, row, step, feature).
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from emt.ops.linear_memory.chunks import earlier, later_sum, lower, solve

PAIRWISE_BELOW = 8
"""Steps in a chunk from which decays are factored; in shorter chunks every pair of steps has its own."""


class _Pairs:
    """The products A_ti = l_t·(e^{a_t − g_i} ∘ r_i) of all steps of a chunk, and their gradients.

    Parameters
    ----------
    left_sums, right_sums
        a and g, (chunk, row, step, key), with a_t ≤ g_i wherever ``where`` holds.
    where
        Which products count, bool (left, right).
    middle
        A sum between the smallest and the largest, relative to which decays are factored, (chunk, row, 1, key);
        None where every pair of steps has its own decay.
    """

    def __init__(self, left_sums: Tensor, right_sums: Tensor, where: Tensor, middle: Tensor | None) -> None:
        self.where = where
        self.factored = middle is not None
        if middle is not None:
            self.left, self.right = (left_sums - middle).exp(), (middle - right_sums).exp()
        else:
            exponent = left_sums.unsqueeze(3) - right_sums.unsqueeze(2)
            self.pairs = exponent.clamp_(max=0).exp_().masked_fill_(~where[..., None], 0)

    def products(self, left: Tensor, right: Tensor) -> Tensor:
        """Return A, zero elsewhere."""
        if self.factored:
            products = (self.left * left) @ (self.right * right).mT
        else:
            products = torch.einsum("nrtk,nrtik,nrik->nrti", left, self.pairs, right)
        return products.masked_fill(~self.where, 0)

    def gradients(self, d: Tensor, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradients of l and r; ``d`` that of A."""
        d = d.masked_fill(~self.where, 0)
        if self.factored:
            return self.left * (d @ (self.right * right)), self.right * (d.mT @ (self.left * left))
        return (
            torch.einsum("nrti,nrtik,nrik->nrtk", d, self.pairs, right),
            torch.einsum("nrti,nrtik,nrtk->nrik", d, self.pairs, left),
        )


class _Erases(NamedTuple):
    """``of_reads`` A^{qy}, ``of_writes`` A^{xk}, ``system`` A^{xy}, ``offered`` P⁰, ``erased`` W, ``far`` Ỹ."""

    of_reads: Tensor
    of_writes: Tensor
    system: Tensor
    offered: Tensor
    erased: Tensor
    far: Tensor

    def found(self, starts: Tensor) -> Tensor:
        """Return P, what erases found, (chunk, row, step, value)."""
        return self.offered + self.erased @ starts.mT


class _Parts(NamedTuple):
    """What the equations need of all chunks beside M₀.

    ``reach`` e^{G} of reads, ``grown`` e^{G_{t−1}}, ``left`` e^{G_C − G}, ``total`` e^{G_C}; ``weights``
    A^{qk}; and what erases, if anything does.
    """

    pairs: _Pairs
    reach: Tensor
    grown: Tensor
    left: Tensor
    total: Tensor
    weights: Tensor
    erases: _Erases | None


class VectorKeep(torch.autograd.Function):
    """Reads (chunk, row, step, value) and the last memory (row, value, key)."""

    @staticmethod
    def forward(  # noqa: D102 (described by torch)
        ctx: Any,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        log_keep: Tensor,
        x: Tensor | None,
        y: Tensor | None,
        memory: Tensor,
        before: bool,
    ) -> tuple[Tensor, Tensor]:
        parts = _prepare(query, key, value, log_keep, x, y, before)
        written = value.mT @ (parts.left * key)
        starts, held = query.new_empty(len(query), *memory.shape), memory
        for j, start in enumerate(starts.unbind()):
            start.copy_(held)
            after = torch.addcmul(written[j], held, parts.total[j])
            if parts.erases is not None:
                found = torch.baddbmm(parts.erases.offered[j], parts.erases.erased[j], held.mT)
                after = torch.baddbmm(after, found.mT, parts.erases.far[j], alpha=-1)
            held = after
        reads = parts.weights @ value + (parts.reach * query) @ starts.mT
        if parts.erases is not None:
            reads -= parts.erases.of_reads @ parts.erases.found(starts)
        ctx.before = before
        ctx.save_for_backward(query, key, value, log_keep, x, y, starts)
        return reads, held

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_reads: Tensor, d_last: Tensor) -> tuple[Tensor | None, ...]:  # noqa: D102
        query, key, value, log_keep, x, y, starts = ctx.saved_tensors
        parts = _prepare(query, key, value, log_keep, x, y, ctx.before)
        erases = parts.erases
        d_starts = d_reads.mT @ (parts.reach * query)
        if erases is not None:
            d_read_found = -(erases.of_reads.mT @ d_reads)
            d_starts += d_read_found.mT @ erases.erased
        ends, d_memory = torch.empty_like(starts), d_last
        for j in reversed(range(len(starts))):
            ends[j] = d_memory
            d_before = torch.addcmul(d_starts[j], d_memory, parts.total[j])
            if erases is not None:
                d_before = torch.baddbmm(d_before, d_memory @ erases.far[j].mT, erases.erased[j], alpha=-1)
            d_memory = d_before

        d_value = parts.weights.mT @ d_reads + (parts.left * key) @ ends.mT
        d_far, d_near = parts.reach * (d_reads @ starts), parts.left * (value @ ends)
        products = d_reads @ value.mT
        d_x = d_y = d_near_y = None
        if erases is None:
            d_query, d_key = parts.pairs.gradients(products, query, key)
        else:
            found = erases.found(starts)
            z = solve(erases.system, d_read_found - erases.far @ ends.mT, transposed=True)
            d_value += erases.of_writes.mT @ z
            d_pairs = torch.cat(
                [
                    torch.cat([products, -(d_reads @ found.mT)], dim=-1),
                    torch.cat([z @ value.mT, -(z @ found.mT)], dim=-1),
                ],
                dim=-2,
            )
            d_left, d_right = parts.pairs.gradients(
                d_pairs, torch.cat([query, x], dim=-2), torch.cat([key, y], dim=-2)
            )
            (d_query, d_x), (d_key, d_y) = d_left.chunk(2, dim=-2), d_right.chunk(2, dim=-2)
            d_near_y = -parts.left * (found @ ends)
            d_x, d_y = d_x + parts.grown * (z @ starts), d_y + d_near_y
        d_query, d_key = d_query + d_far, d_key + d_near
        d_sums = -key * d_key
        d_earlier = torch.zeros_like(d_sums)
        (d_earlier if ctx.before else d_sums).add_(query * d_query)
        d_last_sum = (key * d_near).sum(-2, keepdim=True) + parts.total * (starts * ends).sum(
            -2, keepdim=True
        )
        if erases is not None:
            d_sums -= y * d_y
            d_earlier += x * d_x
            d_last_sum += (y * d_near_y).sum(-2, keepdim=True)
        d_sums[..., -1:, :] += d_last_sum
        # What acts on G_{t−1} does not act on the log-decay of step t itself.
        d_keep = later_sum(d_sums + d_earlier) - d_earlier
        return d_query, d_key, d_value, d_keep, d_x, d_y, d_memory, None


def _prepare(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    log_keep: Tensor,
    x: Tensor | None,
    y: Tensor | None,
    before: bool,
) -> _Parts:
    steps, sums = key.shape[2], log_keep.cumsum(dim=2)
    shifted = earlier(sums)
    of_reads, strict = shifted if before else sums, lower(steps, key, strict=True)
    of_queries = lower(steps, key, strict=before)
    middle = sums[:, :, steps // 2, None] if steps >= PAIRWISE_BELOW else None
    common = of_reads.exp(), shifted.exp(), (sums[..., -1:, :] - sums).exp(), sums[..., -1:, :].exp()
    if x is None or y is None:
        pairs = _Pairs(of_reads, sums, of_queries, middle)
        return _Parts(pairs, *common, pairs.products(query, key), None)
    where = torch.cat([of_queries.repeat(1, 2), strict.repeat(1, 2)])
    pairs = _Pairs(torch.cat([of_reads, shifted], dim=2), torch.cat([sums, sums], dim=2), where, middle)
    products = pairs.products(torch.cat([query, x], dim=2), torch.cat([key, y], dim=2))
    (weights, of_reads_erased), (of_writes, system) = (p.chunk(2, dim=-1) for p in products.chunk(2, dim=-2))
    solved = solve(system, torch.cat([of_writes @ value, common[1] * x], dim=-1))
    offered, erased = solved.split([value.shape[-1], key.shape[-1]], dim=-1)
    erases = _Erases(of_reads_erased, of_writes, system, offered, erased, common[2] * y)
    return _Parts(pairs, *common, weights, erases)
