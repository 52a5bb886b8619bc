"""One read after the last step of a linear memory, without the memory: the query is swept back through the writes.

A read M_T q = Σ_t W_t v_t weighs the value of write t by W_t = c_t (z_t·k_t), where z_T = q and

    z_{t−1} = w_t (z_t − b_t (z_t·k_t) k_t)                                                    (9)

is the query as the memory before step t sees it. That takes O(time · key) operations.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def last_read_weights(
    query: Tensor,
    key: Tensor,
    log_keep: Tensor | None = None,
    erase: Tensor | None = None,
    strength: Tensor | None = None,
) -> Tensor:
    """Return how much of each written value a read after the last step returns, (…, time).

    Parameters
    ----------
    query
        (…, key).
    key, log_keep, erase, strength
        As for `emt.ops.linear_memory.forms.linear_memory`, with one decay for all channels.

    Examples
    --------
    >>> k = torch.tensor([[1.0, 0.0], [1.0, 0.0]])  # a key and the same again, which replaces it
    >>> last_read_weights(k[0], k, erase=torch.ones(2))
    tensor([0., 1.])
    """
    leading, (steps, size) = key.shape[:-2], key.shape[-2:]
    keys = key.reshape(-1, steps, size).transpose(0, 1).contiguous()
    keep, erases = (
        None if s is None else s.expand(*leading, steps).reshape(-1, steps).T.contiguous()
        for s in (None if log_keep is None else log_keep.exp(), erase)
    )
    found = _Sweep.apply(query.expand(*leading, size).reshape(-1, size), keys, keep, erases)
    weights = found.T.reshape(*leading, steps)
    return weights if strength is None else strength * weights


class _Sweep(torch.autograd.Function):
    """The products z_t·k_t, (time, row), of queries (row, key), keys (time, row, key), w and b (time, row)."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, keys: Tensor, keep: Tensor | None, erase: Tensor | None) -> Tensor:
        products, swept = keys.new_empty(keys.shape[:2]), torch.empty_like(keys)
        z = query
        for t in reversed(range(len(keys))):
            swept[t] = z
            torch.sum(z * keys[t], dim=-1, out=products[t])
            if erase is not None:
                z = torch.addcmul(z, (erase[t] * products[t]).unsqueeze(-1), keys[t], value=-1)
            if keep is not None:
                z = keep[t].unsqueeze(-1) * z
        ctx.save_for_backward(keys, keep, erase, products, swept)
        return products

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_products: Tensor) -> tuple[Tensor | None, ...]:
        keys, keep, erase, products, swept = ctx.saved_tensors
        d_keys, d_z = torch.empty_like(keys), torch.zeros_like(swept[0])
        d_keep, d_erase = (None if s is None else torch.empty_like(s) for s in (keep, erase))
        for t in range(len(keys)):
            k, d = keys[t], d_products[t]
            if d_keep is not None:
                # The gradient by w itself takes what w multiplies.
                kept = swept[t]
                if erase is not None:
                    kept = torch.addcmul(kept, (erase[t] * products[t]).unsqueeze(-1), k, value=-1)
                d_keep[t] = (d_z * kept).sum(dim=-1)
                d_z = keep[t].unsqueeze(-1) * d_z
            if d_erase is not None:
                along = (d_z * k).sum(dim=-1)
                d_erase[t] = -products[t] * along
                d = d - erase[t] * along
                torch.mul(d_z, (-erase[t] * products[t]).unsqueeze(-1), out=d_keys[t])
                d_keys[t].addcmul_(d.unsqueeze(-1), swept[t])
            else:
                torch.mul(d.unsqueeze(-1), swept[t], out=d_keys[t])
            d_z = torch.addcmul(d_z, d.unsqueeze(-1), k)
        return d_z, d_keys, d_keep, d_erase
