"""Networks that write their own weights, without a matrix for any item: equations (5) and (6) of `emt.ops.ethereal`."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from emt.ops.ethereal.network import (
    EtherealRun,
    Layer,
    Network,
    Pass,
    Rule,
    Start,
    align,
    error_of,
    has_target,
    run_step,
    times_slope,
)


def ethereal_low_rank(
    network: Network, rule: Rule, x: Tensor, targets: Tensor | None = None, start: Start | None = None
) -> EtherealRun:
    """Equations (5) and (6) for a sequence from its beginning, with targets; arguments as in :func:`ethereal`."""
    assert targets is not None
    assert start is None
    with torch.no_grad():
        products = [_Products(layer, rule, targets, x) for layer in network.layers]
        passes: list[Pass] = []
        for t in range(x.shape[2]):
            hidden = passes[-1].hidden if passes else None
            step = run_step(network, rule, [partial(p.apply, t) for p in products], x[:, :, t], hidden, None)
            error = error_of(rule, step, targets[:, :, t])
            if rule.updater == "dfa":
                deltas = align(network, rule, step, error, None)
            else:
                deltas = propagate(network, rule, step, error, [partial(p.back, t) for p in products])
            for place, delta in deltas.items():
                products[place].write(t, delta)
            passes.append(step)
        active = has_target(targets)
        late = active & (torch.arange(x.shape[2], device=x.device) > 0)
        recurrent = [layer is network.recurrence for layer in network.layers]
        return EtherealRun(
            outputs=torch.stack([p.outputs for p in passes], dim=2),
            hidden=torch.stack([p.hidden for p in passes], dim=2),
            keys=tuple(p.keys.transpose(1, 2) for p in products),
            values=tuple(p.values.transpose(1, 2) for p in products),
            reads=tuple(p.reads.transpose(1, 2) for p in products),
            wrote=tuple(late if recurs else active for recurs in recurrent),
            written=lambda: tuple(p.contents() for p in products),
            merged=lambda: tuple(p.merged() for p in products),
            plasticity_gradients=lambda: tuple(p.plasticity_gradient() for p in products),
        )


def propagate(
    network: Network, rule: Rule, step: Pass, error: Tensor, back: list[Callable[[Tensor], Tensor]]
) -> dict[int, Tensor]:
    """Return δ of the loss of one step, c_{t-1} being a constant; ``back`` takes a layer's δ to that of its input."""
    depth, recurrence = len(network.inner), network.place_of_recurrence
    deltas = {depth: error}
    d = d_last = back[depth](error)
    for i in reversed(range(depth)):
        deltas[i] = times_slope(rule, d, step.before[i])
        if i or recurrence in step.before:
            d = back[i](deltas[i])
    if recurrence is not None and recurrence in step.before:
        units = step.before[recurrence].shape[-1]
        d = d + d_last if rule.residual else d
        deltas[recurrence] = d[..., -units:] * (1 - step.before[recurrence].tanh().square())
    return deltas


class _Products:
    """One layer with the keys and values that it has written so far; axes (member, time, batch, …)."""

    def __init__(self, layer: Layer, rule: Rule, targets: Tensor, like: Tensor) -> None:
        self.layer, self.rule = layer, rule
        members, batch, steps, _ = like.shape
        key, value = layer.weight.shape[1:]
        self.keys = like.new_ones(members, steps, batch, key)
        self.values, self.reads = like.new_zeros(2, members, steps, batch, value)
        self.done = has_target(targets).cumsum(dim=2).transpose(1, 2).to(like)
        self.plastic = None
        if layer.mask is not None and isinstance(layer.plasticity, Tensor):
            self.plastic = layer.plasticity * layer.mask

    def apply(self, t: int, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return [x, 1] and equation (5)."""
        key = self.keys[:, t]
        key[..., :-1] = x
        outputs = torch.bmm(key, self.layer.weight)
        if self.rule.writes and t:
            weights = self._weights(t, self.keys[:, :t] * key.unsqueeze(1))
            self.reads[:, t] = (weights * self.values[:, :t]).sum(dim=1).mul_(self.rule.eta)
            outputs += self.reads[:, t]
        return key, outputs

    def back(self, t: int, delta: Tensor) -> Tensor:
        """Return equation (6), without the bias."""
        d = torch.bmm(delta, self.layer.weight.mT)
        if self.rule.writes and t:
            weights = self._weights(t, self.values[:, :t] * delta.unsqueeze(1), transposed=True)
            d += (weights * self.keys[:, :t]).sum(dim=1).mul_(self.rule.eta)
        return d[..., :-1]

    def write(self, t: int, delta: Tensor) -> None:
        """Take up -δ; it is zero if there is no target."""
        torch.neg(delta, out=self.values[:, t])

    def _weights(self, t: int, products: Tensor, transposed: bool = False) -> Tensor:
        """Return the bracket of (5) or (6) for products (member, past, batch, …) of what was written and what asks."""
        dot = products.sum(dim=-1, keepdim=True)
        if self.layer.mask is None:
            return dot
        kept = self._kept(t)
        over = self._times(products, self.layer.mask, transposed)
        if self.plastic is None:
            return over.mul_(self.layer.plasticity * kept - 1).add_(dot)
        return self._times(products, self.plastic, transposed).mul_(kept).sub_(over).add_(dot)

    def _kept(self, t: int) -> Tensor:
        """Return c_ts of all writes before step ``t``, (member, past, batch, 1)."""
        return torch.pow(1 - self.rule.forget_rate, self.done[:, t - 1 : t] - self.done[:, :t]).unsqueeze(-1)

    @staticmethod
    def _times(rows: Tensor, matrix: Tensor, transposed: bool) -> Tensor:
        product = torch.bmm(rows.flatten(1, 2), matrix.mT if transposed else matrix)
        return product.unflatten(1, rows.shape[1:3])

    def contents(self) -> Tensor:
        """Return D, (member, batch, key, value)."""
        keys, values, mask = self.keys.permute(0, 2, 3, 1), self.values.transpose(1, 2), self.layer.mask
        everywhere = self.rule.eta * (keys @ values)
        if mask is None:
            return everywhere
        kept = self._kept(self.keys.shape[1]).permute(0, 2, 3, 1)
        plastic = (kept * keys) @ values
        plastic *= self.rule.eta * (
            self.layer.plasticity if self.plastic is None else self.plastic.unsqueeze(1)
        )
        return torch.where(mask.unsqueeze(1) > 0, plastic, everywhere)

    def merged(self) -> Tensor:
        """Return the mean of D over items at entries that are not plastic, (member, key, value)."""
        rows = self.keys.flatten(1, 2).mT @ self.values.flatten(1, 2)
        rows *= self.rule.eta / self.keys.shape[2]
        return rows if self.layer.mask is None else rows.mul_(1 - self.layer.mask)

    def plasticity_gradient(self) -> Tensor | None:
        """Return the gradient of A, (member, key, value)."""
        if self.layer.mask is None:
            return None
        total = torch.zeros_like(self.layer.weight)
        for t in range(1, self.keys.shape[1]):
            keys, values = (x[:, :t] * x[:, t : t + 1] for x in (self.keys, self.values))
            total += keys.flatten(1, 2).mT @ values.mul_(self._kept(t)).flatten(1, 2)
        return total.mul_(self.layer.mask).mul_(-self.rule.eta / self.keys.shape[2])
