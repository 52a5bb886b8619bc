"""Reads of a Fast Weight Memory: equations (6) and (3) of `emt.ops.fwm.forms`, and their gradients."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import layer_norm

from emt.ops.factored_keys import (
    blocks,
    inner_products,
    inner_products_backward,
    through,
    through_backward,
    whole_products,
)
from emt.ops.fwm.writing import Gradients, Written, decay_ratios

EPSILON = 1e-5
"""Added to the variance in the layer normalisation, as published."""

_READ_STEPS = 50
"""Steps whose reads are worked on together: what fits a core's cache."""

_norm_backward = torch.ops.aten.native_layer_norm_backward


class Place(NamedTuple):
    """What the reads of some rows refer to: keys, what was written, F_0, and the step of each query (row, query)."""

    keys: Tensor
    written: Written
    memory: Tensor | None
    after: Tensor
    every_step: bool

    @staticmethod
    def of(keys: Tensor, written: Written, memory: Tensor | None, steps: Tensor | None) -> "Place":
        """Return the place of queries asked after these steps, (row, query); None means one query at every step."""
        every = torch.arange(keys.shape[2], device=keys.device).expand(len(keys), -1)
        return Place(keys, written, memory, every if steps is None else steps, steps is None)

    def tiles(self) -> list[tuple[slice, int, Tensor]]:
        """Queries, how many steps they may refer to, and c_j / c_{t+1} for these, (row, query, step)."""
        found = []
        for tile in blocks(self.after.shape[1], _READ_STEPS) if self.every_step else [slice(None)]:
            limit = tile.stop if self.every_step else self.keys.shape[2]
            after = self.after[:, tile]
            now = self.written.log_scale.gather(1, after + 1)
            keys = self.keys[:, :, :limit]
            found.append(
                (tile, limit, decay_ratios(self.written.log_scale, now, after, keys, tile.start or 0))
            )
        return found

    def first_scale(self) -> Tensor:
        """c_1 / c_{t+1} for each query, (row, query, 1)."""
        return (-self.written.log_scale.gather(1, self.after + 1)).exp_().to(self.keys.dtype).unsqueeze(-1)


def blank_queries(keys: Tensor, first: Tensor | None, partners: Tensor) -> Tensor:
    """Queries (row, read, factor, query, key) as far as they are known: n_0, where it is given, and all e_i."""
    size = partners.shape[-1]
    queries = partners.new_empty(*partners.shape[:2], keys.shape[1], partners.shape[2], keys.shape[3])
    queries[:, :, -1, :, -size:] = partners
    if first is not None:
        queries[:, 0, 0, :, :size] = first
    return queries


def read(place: Place, queries: Tensor, values: Tensor, epsilon: float) -> Tensor:
    """Fill ``values`` and the queries after the first; return n_N, (row, query, value)."""
    size, tiles = values.shape[-1:], place.tiles()
    for i, value in enumerate(values.unbind(1)):
        if i > 0:
            queries[:, i, 0, :, : size[0]] = layer_norm(values[:, i - 1], size, eps=epsilon)
        if place.memory is None:
            value.zero_()
        else:
            torch.mul(through(queries[:, i], place.memory), place.first_scale(), out=value)
        for tile, limit, decays in tiles:
            weights = whole_products(inner_products(queries[:, i, :, tile], place.keys[:, :, :limit])).mul_(
                decays
            )
            value[:, tile] += weights @ place.written.added[:, :limit]
    return layer_norm(values[:, -1], size, eps=epsilon)


def read_backward(
    place: Place,
    queries: Tensor,
    values: Tensor,
    d_normal: Tensor,
    d_queries: Tensor,
    d: Gradients,
    epsilon: float,
) -> None:
    """Add gradients through the reads to ``d_queries``, in which n_0 has its own, and to ``d``."""
    size, tiles = values.shape[-1:], place.tiles()
    for i in reversed(range(values.shape[1])):
        _, mean, deviation = torch.native_layer_norm(values[:, i], size, None, None, epsilon)
        norm = values[:, i], size, mean, deviation, None, None, [True, False, False]
        d_value = _norm_backward(d_normal.contiguous(), *norm)[0]
        d.log_scale.scatter_add_(1, place.after + 1, -(d_value * values[:, i]).sum(-1))
        for tile, limit, decays in tiles:
            query, keys, added = (
                queries[:, i, :, tile],
                place.keys[:, :, :limit],
                place.written.added[:, :limit],
            )
            inner = inner_products(query, keys)
            d.added[:, :limit] += (whole_products(inner) * decays).mT @ d_value[:, tile]
            d_weights = (d_value[:, tile] @ added.mT).mul_(decays)
            inner_products_backward(
                d_weights, inner, query, keys, d_queries[:, i, :, tile], d.keys[:, :, :limit]
            )
        if place.memory is not None:
            d_base = d_value * place.first_scale()
            through_backward(d_base, queries[:, i], place.memory, d_queries[:, i], d.memory)
        d_normal = d_queries[:, i, 0, :, : size[0]]
