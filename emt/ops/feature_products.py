"""Inner products of keys with a query under DPFP, whose features are never built.

With r(z) = [relu(z), relu(−z)] the features of a key are r_n(k) r_{n−j}(k) for j = 1 … ν, indices modulo 2 d (Schlag
et al. 2021, arXiv:2102.11174, equation 37). An entry of r(k) meets one of r(q) only where both have the same sign: w =
relu(k ∘ q), d numbers, holds all that meet. Two neighbours n and n − j of these, indices modulo d, are neighbours in r
if q has the same sign at both, or, across the seam of the two halves (n < j), opposite signs. With m_jn 1 where they
are, else 0,

    φ(k)·φ(q) = Σ_n w_n Σ_j m_jn w_{n−j}                                                              (1)
    ∂/∂w_n    = Σ_j (m_jn w_{n−j} + m_j,n+j w_{n+j})                                                  (2)

On a processor rows take turns, since what a few of them need fits into its cache.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_NUMBERS = 200 * 64 * 16
"""Numbers of keys (row, time, channel) that are worked on together."""


def dpfp_products(query: Tensor, key: Tensor, nu: int) -> Tensor:
    """Return φ(k_t)·φ(q) (1), (…, time), once differentiable.

    Parameters
    ----------
    query
        (…, channel).
    key
        (…, time, channel).
    nu
        ν, less than d.

    Examples
    --------
    >>> query, key = torch.tensor([1.0, 2.0]), torch.tensor([[3.0, 4.0], [3.0, -4.0]])
    >>> dpfp_products(query, key, nu=1)  # one product of two neighbours each: (3 · 4) (1 · 2), and none that both have
    tensor([24.,  0.])
    """
    rows = query.reshape(-1, query.shape[-1]), key.reshape(-1, *key.shape[-2:])
    products: Tensor = _Products.apply(*rows, nu)
    return products.reshape(key.shape[:-1])


class _Products(torch.autograd.Function):
    """Of queries (row, channel) and keys (row, time, channel)."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, nu: int) -> Tensor:
        products = key.new_empty(key.shape[:2])
        for part in _turns(key):
            w = _met(query[part], key[part], nu)
            torch.sum(_earlier(w, query[part], nu).mul_(w[..., nu:-nu]), dim=-1, out=products[part])
        ctx.save_for_backward(query, key)
        ctx.nu = nu
        return products

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_products: Tensor) -> tuple[Tensor, Tensor, None]:
        query, key = ctx.saved_tensors
        d_query, d_key = torch.empty_like(query), torch.empty_like(key)
        for part in _turns(key):
            q, k = query[part], key[part]
            w = _met(q, k, ctx.nu)
            d = _later(w, q, ctx.nu, _earlier(w, q, ctx.nu)).mul_(d_products[part].unsqueeze(-1))
            d = torch.ops.aten.threshold_backward(d, w[..., ctx.nu : -ctx.nu], 0)
            torch.mul(d, q.unsqueeze(1), out=d_key[part])
            torch.sum(d.mul_(k), dim=1, out=d_query[part])
        return d_query, d_key, None


def _met(query: Tensor, key: Tensor, nu: int) -> Tensor:
    """Return w (row, time, ν + d + ν), its last ν entries once more before it and its first ones after it."""
    size = key.shape[-1]
    w = key.new_empty(*key.shape[:2], size + 2 * nu)
    torch.mul(key, query.unsqueeze(1), out=w[..., nu:-nu])
    w[..., nu:-nu].clamp_(min=0)
    w[..., :nu] = w[..., size : size + nu]
    w[..., -nu:] = w[..., nu : 2 * nu]
    return w


def _neighbours(query: Tensor, j: int) -> Tensor:
    """Return m_j, (row, 1, channel)."""
    same = (query > 0) == (query > 0).roll(j, dims=-1)
    same[:, :j].logical_not_()
    return same.to(query).unsqueeze(1)


def _earlier(w: Tensor, query: Tensor, nu: int) -> Tensor:
    """Return Σ_j m_jn w_{n−j}, (row, time, channel)."""
    total = w[..., nu - 1 : -nu - 1] * _neighbours(query, 1)
    for j in range(2, nu + 1):
        total.addcmul_(w[..., nu - j : -nu - j], _neighbours(query, j))
    return total


def _later(w: Tensor, query: Tensor, nu: int, total: Tensor) -> Tensor:
    """Add Σ_j m_j,n+j w_{n+j} to a total (row, time, channel)."""
    width = w.shape[-1] - 2 * nu
    for j in range(1, nu + 1):
        total.addcmul_(w[..., nu + j : nu + j + width], _neighbours(query, j).roll(-j, dims=-1))
    return total


def _turns(key: Tensor) -> Iterator[slice]:
    """Return the rows that are worked on together: all of them, but on a processor those that fit into its cache."""
    size = max(1, _NUMBERS // key[0].numel()) if key.device.type == "cpu" else len(key)
    return (slice(start, start + size) for start in range(0, len(key), size))
