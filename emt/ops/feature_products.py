"""Inner products of keys with a query under DPFP, whose features are never built.

With r(z) = [relu(z), relu(−z)] the features of a key are r_n(k) r_{n−j}(k) for j = 1 … ν (Schlag et al. 2021,
arXiv:2102.11174, equation 37), indices modulo 2 d. With u = r(k) ∘ r(q), which is relu([k ∘ q⁺, k ∘ q⁻]) for the
positive and negative parts of q,

    φ(k)·φ(q) = Σ_n u_n Σ_j u_{n−j}                                                                    (1)
    ∂/∂u_n    = Σ_j (u_{n−j} + u_{n+j})                                                                (2)

On a processor rows take turns, since what a few of them need fits into its cache.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_NUMBERS = 200 * 64 * 8
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
        ν, at most 2 d - 1.

    Examples
    --------
    >>> query, key = torch.tensor([1.0, 2.0]), torch.tensor([[3.0, 4.0], [3.0, -4.0]])
    >>> dpfp_products(query, key, nu=1)  # one product of two neighbours each: (3 · 4) (1 · 2), and none that both have
    tensor([24.,  0.])
    """
    products: Tensor = _Products.apply(query.reshape(-1, query.shape[-1]), key.reshape(-1, *key.shape[-2:]), nu)
    return products.reshape(key.shape[:-1])


class _Products(torch.autograd.Function):
    """Of queries (row, channel) and keys (row, time, channel)."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, nu: int) -> Tensor:
        products = key.new_empty(key.shape[:2])
        for part in _turns(key):
            u = _around(*_halves(query[part]), key[part], nu)
            torch.sum(_shifted(u, nu, range(1, nu + 1)).mul_(u[..., nu:-nu]), dim=-1, out=products[part])
        ctx.save_for_backward(query, key)
        ctx.nu = nu
        return products

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_products: Tensor) -> tuple[Tensor, Tensor, None]:
        query, key = ctx.saved_tensors
        nu, size = ctx.nu, query.shape[-1]
        d_query, d_key = torch.empty_like(query), torch.empty_like(key)
        for part in _turns(key):
            q, k = query[part], key[part]
            above, below = _halves(q)
            u = _around(above, below, k, nu)
            d = _shifted(u, nu, [j for j in range(-nu, nu + 1) if j])
            d = torch.ops.aten.threshold_backward(d.mul_(d_products[part].unsqueeze(-1)), u[..., nu:-nu], 0)
            d_above, d_below = d[..., :size], d[..., size:]
            torch.mul(d_above, above.unsqueeze(1), out=d_key[part]).addcmul_(d_below, below.unsqueeze(1))
            # Where a channel of the query is 0, neither half of it passes a gradient.
            d_above.mul_((q > 0).unsqueeze(1)).addcmul_(d_below, (q < 0).to(d).unsqueeze(1))
            torch.sum(d_above.mul_(k), dim=1, out=d_query[part])
        return d_query, d_key, None


def _halves(query: Tensor) -> tuple[Tensor, Tensor]:
    """Return q⁺ and q⁻, of which the second is not positive."""
    return query.clamp(min=0), query.clamp(max=0)


def _around(above: Tensor, below: Tensor, key: Tensor, nu: int) -> Tensor:
    """Return u (row, time, ν + 2 d + ν), its last ν entries once more before it and its first ones after it."""
    size = key.shape[-1]
    u = key.new_empty(*key.shape[:2], 2 * size + 2 * nu)
    torch.mul(key, above.unsqueeze(1), out=u[..., nu : nu + size])
    torch.mul(key, below.unsqueeze(1), out=u[..., nu + size : nu + 2 * size])
    u[..., nu:-nu].clamp_(min=0)
    u[..., :nu] = u[..., 2 * size : 2 * size + nu]
    u[..., -nu:] = u[..., nu : 2 * nu]
    return u


def _shifted(u: Tensor, nu: int, places: Any) -> Tensor:
    """Return Σ_j u_{n−j} over ``places``, (row, time, 2 d)."""
    width = u.shape[-1] - 2 * nu
    first, *others = (u[..., nu - j : nu - j + width] for j in places)
    total = first.clone() if not others else first + others[0]
    for other in others[1:]:
        total += other
    return total


def _turns(key: Tensor) -> Iterator[slice]:
    """Return the rows that are worked on together: all of them, but on a processor those that fit into its cache."""
    size = max(1, _NUMBERS // key[0].numel()) if key.device.type == "cpu" else len(key)
    return (slice(start, start + size) for start in range(0, len(key), size))
