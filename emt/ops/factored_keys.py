"""Keys of one or of two factors, whose tensor product is never kept, and the parts in which rows and steps are done."""

from collections.abc import Sequence

import torch
from torch import Tensor

_EXPANDED_ROWS = 4
"""Rows whose keys are expanded to tensor products together."""


def expand(factors: Sequence[Tensor]) -> Tensor:
    """The tensor product of factors (…, key), flat; a single factor is the key."""
    if len(factors) == 1:
        return factors[0]
    a, r = factors
    return (a.unsqueeze(-1) * r.unsqueeze(-2)).flatten(-2)


def through(keys: Tensor, memory: Tensor) -> Tensor:
    """What a memory (row, value, key) returns for keys (row, factor, time, key), (row, time, value)."""
    pieces = [expand(keys[part].unbind(1)) @ memory[part].mT for part in expandable(keys)]
    return torch.cat(pieces)


def through_backward(
    d_values: Tensor, keys: Tensor, memory: Tensor, d_keys: Tensor, d_memory: Tensor | None
) -> None:
    """Add the gradients of `through` to ``d_keys`` and ``d_memory``."""
    for part in expandable(keys):
        d_key = d_values[part] @ memory[part]
        if keys.shape[1] == 1:
            d_keys[part, 0] += d_key
        else:
            d_key = d_key.view(-1, keys.shape[3], keys.shape[3])
            # One row times one matrix for each step: torch is several times slower at columns, and at sums.
            for factor, matrix in enumerate((d_key.mT, d_key)):
                other = keys[part, 1 - factor]
                d_keys[part, factor] += (other.reshape(-1, 1, other.shape[-1]) @ matrix).view_as(other)
        if d_memory is not None:
            d_memory[part] += d_values[part].mT @ expand(keys[part].unbind(1))


def inner_products(x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
    """Inner products of each factor, (row, time of x, time of y), of keys (row, factor, time, key)."""
    return tuple(a @ b.mT for a, b in zip(x.unbind(1), y.unbind(1), strict=True))


def whole_products(inner: tuple[Tensor, ...]) -> Tensor:
    """The inner products of whole keys. The result is new, or the only factor's."""
    return inner[0] if len(inner) == 1 else inner[0] * inner[1]


def inner_products_backward(
    d: Tensor, inner: tuple[Tensor, ...], x: Tensor, y: Tensor, d_x: Tensor, d_y: Tensor
) -> None:
    """Add the gradients of `inner_products` and `whole_products` to ``d_x`` and ``d_y``."""
    each = (d,) if len(inner) == 1 else (d * inner[1], d * inner[0])
    for factor, d_inner in enumerate(each):
        d_x[:, factor] += d_inner @ y[:, factor]
        d_y[:, factor] += d_inner.mT @ x[:, factor]


def blocks(count: int, size: int) -> list[slice]:
    """Slices of at most ``size`` that cover ``count``."""
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]


def parts(rows: Tensor, size: int) -> list[slice]:
    """Rows that are worked on together: on a CPU as many as a core's cache holds."""
    return blocks(len(rows), size if rows.device.type == "cpu" else len(rows))


def expandable(keys: Tensor) -> list[slice]:
    """Rows of keys (row, factor, time, key) that are expanded together: all of them if there is one factor."""
    return parts(keys, _EXPANDED_ROWS if keys.shape[1] > 1 else len(keys))
