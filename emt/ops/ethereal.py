"""Networks that write their own weights while they read: each item's weights step by step, and an exact low-rank form.

For each member and batch item, [x, 1] being an input with a one for the bias, which is the last row of W:

    h_t = tanh([c_{t-1}, 1] W_h)                                            (1)
    c⁰_t = [x_t, h_t],  cˡ_t = φ([cˡ⁻¹_t, 1] W_l) (+ c⁰_t),  c_t = c^L_t      (2)
    y_t = [c_t, 1] W_o,  e_t = softmax(y_t) − target_t, or y_t − target_t     (3)

Before the first step there is no c, and h is zero. With k_t the input of a layer and δ_t its error, which the updater
gives, each item's weights are W_t = W + D_t, where D_0 = 0 and

    G_t = k_t δ_tᵀ,  D_{t+1} = E∘D_t − η P∘G_t,                             (4)

P being A and E being 1 − f at plastic entries (mask M), and both one elsewhere. Steps without a target change nothing.
At the end of a sequence what was written is merged, and plastic entries are wiped: W ← (1 − M)∘(W + mean over items D).

The updaters differ in δ. Feedback alignment (dfa, Nøkland 2016): δ = e B for a fixed random B, times φ' if asked for,
and δ = e for the output. ``backprop``: the gradient of the loss of step t, c_{t-1} being a constant, so that W_h is
reached and nothing before. ``bptt``: the same without that cut; then G_t is a sum over the steps so far.

The low-rank form never builds D. With c_ts = (1 − f)^(steps with a target between s and t), a layer's output is

    k_t W − η Σ_{s<t} δ_s ∘ [k_s·k_t + (k_s∘k_t)(M∘(A c_ts − 1))]              (5)

and what flows back through it d Wᵀ − η Σ_{s<t} k_s ∘ [δ_s·d + (δ_s∘d)(M∘(A c_ts − 1))ᵀ].                        (6)
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.functional import pad

Updater = Literal["dfa", "backprop", "bptt"]


class Rule(NamedTuple):
    """How a network runs and learns.

    Attributes
    ----------
    updater
        Where errors come from.
    eta
        η.
    forget_rate
        f.
    derivative
        Whether errors of feedback alignment are multiplied by the activation's derivative.
    rectifies
        Whether φ is a rectifier and not the GELU.
    residual
        Whether c⁰ is added to the output of each layer.
    writes
        Whether a sequence uses what it wrote, W + D_t, and not W.
    grad_clip
        Largest change of a plastic entry over η; 0 for no bound.
    clip_weights
        Bound of all entries of W + D; 0 for none.
    normalize
        Whether W + D is divided by its norm after each step, item by item, biases apart.
    self_grad
        Bound of what a layer beside the output adds to the error of feedback alignment.
    plasticity_gradient
        Whether the gradient of A is wanted.
    compatibility
        Whether the six defects of the published program are kept (`emt.models.ethereal`).
    """

    updater: Updater
    eta: float
    forget_rate: float = 0.0
    derivative: bool = False
    rectifies: bool = False
    residual: bool = False
    writes: bool = True
    grad_clip: float = 0.0
    clip_weights: float = 0.0
    normalize: bool = False
    self_grad: float = 0.0
    plasticity_gradient: bool = False
    compatibility: bool = False


class Layer(NamedTuple):
    """One layer of every member.

    Attributes
    ----------
    weight
        W, (member, key, value): a row for each input and, the last one, for the bias.
    mask
        M, (member, key, value), ones and zeros; None for a layer without plastic entries.
    plasticity
        A, a number or (member, key, value).
    feedback
        B, (member, output, value); None for layers that see the error itself.
    """

    weight: Tensor
    mask: Tensor | None = None
    plasticity: Tensor | float = 1.0
    feedback: Tensor | None = None


class Network(NamedTuple):
    """The layers of (2), W_o, W_h where there is recurrence, and one that adds to the error where there is one."""

    inner: tuple[Layer, ...]
    output: Layer
    recurrence: Layer | None = None
    critic: Layer | None = None

    @property
    def layers(self) -> tuple[Layer, ...]:
        """All layers: inner, output, recurrence, critic."""
        return *self.inner, self.output, *(one for one in (self.recurrence, self.critic) if one is not None)


class Start(NamedTuple):
    """Where a sequence goes on.

    ``hidden`` c (member, batch, value); ``started``, whether a step came before, (member, batch); ``written`` D of each
    layer (member, batch, key, value), None for zero.
    """

    hidden: Tensor
    started: Tensor
    written: tuple[Tensor, ...] | None


@dataclass(frozen=True)
class EtherealRun:
    """What a network did; a tuple has an entry for each of `Network.layers`.

    Attributes
    ----------
    outputs, hidden
        y and c, (member, batch, time, …).
    keys, values, reads
        k, −δ and k_t D_t, (member, batch, time, …). ``values`` is empty where steps write sums of products (bptt).
    wrote
        Which steps write, (member, batch, time) for each layer.
    written
        Returns D after the last step, (member, batch, key, value) for each layer.
    merged
        Returns the mean of D over items, (member, key, value) for each layer.
    plasticity_gradients
        Returns the gradient of A, (member, key, value) for each layer with plastic entries; None for others. It is that
        of the losses of later steps by the direct way, each write being a constant but for its A:
        −η Σ_t G_t ∘ Σ_{s<t} c_ts G_s, the mean over items.
    """

    outputs: Tensor
    hidden: Tensor
    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    reads: tuple[Tensor, ...]
    wrote: tuple[Tensor, ...]
    written: Callable[[], tuple[Tensor, ...]]
    merged: Callable[[], tuple[Tensor, ...]]
    plasticity_gradients: Callable[[], tuple[Tensor | None, ...]]


LONGEST = 256
"""Steps up to which the low-rank form, whose cost grows with their square, is used: it needs no time at a width of 100
and is as fast as the other at about 1,000."""


class _Pass(NamedTuple):
    """One step: of each layer, by place, the input with its one and the output before φ; c; y; what adds to e."""

    keys: dict[int, Tensor]
    before: dict[int, Tensor]
    hidden: Tensor
    outputs: Tensor
    addition: Tensor | None


Apply = Callable[[Tensor], tuple[Tensor, Tensor]]
"""A layer: input (member, batch, in) → the input with its one, and the output."""


def ethereal(
    network: Network, rule: Rule, x: Tensor, targets: Tensor | None = None, start: Start | None = None
) -> EtherealRun:
    """Run networks over a sequence in which they learn, in the form that is faster.

    Parameters
    ----------
    network
        The layers.
    rule
        How they learn.
    x
        Inputs (member, batch, time, channel).
    targets
        Ids of classes (member, batch, time), -1 where there is none, for the cross entropy; or vectors (member, batch,
        time, output), NaN where there is none, for half the squared distance. Without them nothing is learnt, and the
        outputs are differentiable by all arguments.
    start
        Where the sequence goes on; None for its beginning, which costs nothing.
    """
    plain = not (rule.grad_clip or rule.clip_weights or rule.normalize or rule.compatibility)
    low_rank = plain and rule.updater != "bptt" and targets is not None and start is None and x.shape[2] <= LONGEST
    return (ethereal_low_rank if low_rank else ethereal_steps)(network, rule, x, targets, start)


def ethereal_steps(
    network: Network, rule: Rule, x: Tensor, targets: Tensor | None = None, start: Start | None = None
) -> EtherealRun:
    """Equations (1) to (4), one step after the other, with a matrix for each item; arguments as in :func:`ethereal`."""
    members, batch, steps, _ = x.shape
    if rule.compatibility and rule.normalize:
        network = _with_unit_feedback(network)
    layers, depth = network.layers, len(network.inner)
    written = start.written if start is not None and start.written is not None else [None] * len(layers)
    items = [_Items(*one, rule, batch, targets is not None) for one in zip(layers, written, strict=True)]
    sizes = [layer.weight.shape[1:] for layer in layers]
    keys, values, reads = ([x.new_zeros(members, batch, steps, s[axis]) for s in sizes] for axis in (0, 1, 1))
    wrote = [torch.zeros(members, batch, steps, dtype=torch.bool, device=x.device) for _ in layers]
    passes: list[_Pass] = []
    hidden, started = (None, None) if start is None else (start.hidden, start.started)
    for t in range(steps):
        with contextlib.nullcontext() if targets is None else torch.set_grad_enabled(rule.updater != "dfa"):
            if hidden is not None and targets is not None and rule.updater != "bptt":
                hidden = hidden.detach()
            step = _pass(network, rule, [item.apply for item in items], x[:, :, t], hidden, started)
        passes.append(step)
        for place in step.keys:
            keys[place][:, :, t] = step.keys[place].detach()
            reads[place][:, :, t] = items[place].read.detach()
        if targets is not None:
            active = has_target(targets[:, :, t])
            error = _error(rule, step, targets[:, :, t])
            for place, terms in _terms(network, rule, passes, error, started).items():
                if rule.compatibility and place == depth + 1 and rule.updater != "bptt":
                    continue
                items[place].move(_summed(terms), active)
                if rule.updater != "bptt":
                    values[place][:, :, t] = -terms[-1][1]
                    wrote[place][:, :, t] = active if place != depth + 1 or started is None else active & started
        hidden, started = step.hidden, None
    if rule.updater == "bptt" and targets is not None:
        values = []
    outputs, states = (torch.stack([getattr(p, name) for p in passes], dim=2) for name in ("outputs", "hidden"))
    return EtherealRun(
        outputs=outputs if targets is None else outputs.detach(),
        hidden=states if targets is None else states.detach(),
        keys=tuple(keys),
        values=tuple(values),
        reads=tuple(reads),
        wrote=tuple(wrote),
        written=lambda: tuple(i.contents() for i in items),
        merged=lambda: tuple(i.merged() for i in items),
        plasticity_gradients=lambda: tuple(i.plasticity_gradient() for i in items),
    )


def ethereal_low_rank(
    network: Network, rule: Rule, x: Tensor, targets: Tensor | None = None, start: Start | None = None
) -> EtherealRun:
    """Equations (5) and (6) for a sequence from its beginning, with targets; arguments as in :func:`ethereal`."""
    assert targets is not None
    assert start is None
    with torch.no_grad():
        products = [_Products(layer, rule, targets, x) for layer in network.layers]
        passes: list[_Pass] = []
        for t in range(x.shape[2]):
            hidden = passes[-1].hidden if passes else None
            step = _pass(network, rule, [partial(p.apply, t) for p in products], x[:, :, t], hidden, None)
            error = _error(rule, step, targets[:, :, t])
            if rule.updater == "dfa":
                deltas = _align(network, rule, step, error, None)
            else:
                deltas = _propagate(network, rule, step, error, [partial(p.back, t) for p in products])
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


def has_target(targets: Tensor) -> Tensor:
    """Return whether there is a target, (member, batch, …) bool, for ids of classes or vectors."""
    return ~targets.isnan().any(dim=-1) if targets.is_floating_point() else targets >= 0


def _pass(
    network: Network, rule: Rule, apply: list[Apply], x: Tensor, hidden: Tensor | None, started: Tensor | None
) -> _Pass:
    """Equations (1) to (3) at one step.

    ``hidden`` is c_{t-1}, None where no item has had a step; ``started`` tells which items have, None for all.
    """
    depth, keys, before = len(network.inner), dict[int, Tensor](), dict[int, Tensor]()
    h = x.new_zeros(*x.shape[:-1], network.inner[0].weight.shape[1] - 1 - x.shape[-1])
    if network.recurrence is not None and hidden is not None:
        keys[depth + 1], before[depth + 1] = apply[depth + 1](hidden)
        h = before[depth + 1].tanh()
        h = h if started is None else h * started[..., None]
    c = first = torch.cat([x, h], dim=-1)
    for i in range(depth):
        keys[i], before[i] = apply[i](c)
        c = before[i].relu() if rule.rectifies else functional.gelu(before[i])
        c = c + first if rule.residual else c
    keys[depth], before[depth] = apply[depth](c)
    addition = None
    if network.critic is not None:
        last = len(network.layers) - 1
        keys[last], before[last] = apply[last](c)
        addition = before[last]
    return _Pass(keys, before, c, before[depth], addition)


def _error(rule: Rule, step: _Pass, target: Tensor) -> Tensor:
    """Return e of (3), (member, batch, output), zero where there is no target."""
    outputs, there = step.outputs.detach(), has_target(target)[..., None]
    if target.is_floating_point():
        error = outputs - target
    else:
        error = outputs.softmax(dim=-1) - (target[..., None] == torch.arange(outputs.shape[-1]).to(target)).to(outputs)
    if step.addition is not None:
        error = error + step.addition.detach().clamp(-rule.self_grad, rule.self_grad)
    return torch.where(there, error, 0.0)


def _terms(
    network: Network, rule: Rule, passes: list[_Pass], error: Tensor, started: Tensor | None
) -> dict[int, list[tuple[Tensor, Tensor]]]:
    """Return the (k, δ) whose products sum to G at the last step, by place."""
    if rule.updater == "dfa":
        last = passes[-1]
        deltas = _align(network, rule, last, error, started)
        return {place: [(last.keys[place], delta)] for place, delta in deltas.items()}
    reached = passes if rule.updater == "bptt" else passes[-1:]
    where = [(step, place) for step in reached for place in step.before if place <= len(network.inner) + 1]
    found = torch.autograd.grad(
        passes[-1].outputs, [step.before[place] for step, place in where], error, retain_graph=True, allow_unused=True
    )
    terms: dict[int, list[tuple[Tensor, Tensor]]] = {}
    for (step, place), delta in zip(where, found, strict=True):
        if delta is not None:
            terms.setdefault(place, []).append((step.keys[place].detach(), delta))
    return terms


def _align(network: Network, rule: Rule, step: _Pass, error: Tensor, started: Tensor | None) -> dict[int, Tensor]:
    """Return δ of feedback alignment, (member, batch, value) by place."""
    deltas = {}
    for place, before in step.before.items():
        layer = network.layers[place]
        deltas[place] = error if layer.feedback is None else error @ layer.feedback
        if layer is network.recurrence:
            slope = 1 - before.tanh().square() if rule.derivative else torch.ones_like(before)
            deltas[place] = deltas[place] * (slope if started is None else slope * started[..., None])
        elif layer.feedback is not None and rule.derivative:
            deltas[place] = _slope(rule, deltas[place], before)
    return deltas


def _propagate(
    network: Network, rule: Rule, step: _Pass, error: Tensor, back: list[Callable[[Tensor], Tensor]]
) -> dict[int, Tensor]:
    """Return δ of the loss of one step, c_{t-1} being a constant; ``back`` takes a layer's δ to that of its input."""
    depth, deltas = len(network.inner), {len(network.inner): error}
    d = back[depth](error)
    d_first = torch.zeros_like(d) if rule.residual else None
    for i in reversed(range(depth)):
        if d_first is not None:
            d_first += d
        deltas[i] = _slope(rule, d, step.before[i])
        if i or depth + 1 in step.before:
            d = back[i](deltas[i])
    if depth + 1 in step.before:
        units = step.before[depth + 1].shape[-1]
        d = d if d_first is None else d + d_first
        deltas[depth + 1] = d[..., -units:] * (1 - step.before[depth + 1].tanh().square())
    return deltas


def _slope(rule: Rule, delta: Tensor, before: Tensor) -> Tensor:
    """Return δ φ'."""
    if rule.rectifies:
        return torch.ops.aten.threshold_backward(delta, before, 0)
    return torch.ops.aten.gelu_backward(delta, before)


class _Items:
    """One layer with a matrix D for each item, as equation (4) stands."""

    def __init__(self, layer: Layer, written: Tensor | None, rule: Rule, batch: int, learns: bool) -> None:
        self.layer, self.rule, self.batch, self.asked = layer, rule, batch, learns
        self.written = self._nothing() if written is None and learns else written
        ones = torch.ones_like(layer.weight)
        self.mask = torch.zeros_like(ones) if layer.mask is None else layer.mask
        self.gain, self.keep = ones + (layer.plasticity - 1) * self.mask, ones - rule.forget_rate * self.mask
        self.joint = rule.compatibility and rule.normalize
        if self.joint:
            # The published program divides whatever it finds in a layer by its norm.
            self.keep = ones - _unit(rule.forget_rate * self.mask)
            self.gain = self.gain if layer.feedback is None else pad(_unit(self.gain[:, :-1]), (0, 0, 0, 1), value=1.0)
        self.trace = self._nothing() if rule.plasticity_gradient else None
        self.coincidence = torch.zeros_like(layer.weight)
        self.read = layer.weight.new_zeros(())

    def _nothing(self) -> Tensor:
        members, *shape = self.layer.weight.shape
        return self.layer.weight.new_zeros(members, self.batch, *shape)

    def apply(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return [x, 1] and its product with W + D."""
        key = torch.cat([x, torch.ones_like(x[..., :1])], dim=-1)
        outputs = key @ self.layer.weight
        self.read = torch.zeros_like(outputs)
        if self.written is not None and self.rule.writes:
            self.read = (key.unsqueeze(-2) @ self.written).squeeze(-2)
            outputs = outputs + self.read
        # The first outputs that a gradient is asked for stand in no graph where weights are not trained.
        return key, outputs.requires_grad_() if self.asked and torch.is_grad_enabled() else outputs

    @torch.no_grad()
    def move(self, gradient: Tensor, active: Tensor) -> None:
        """Take up G (member, batch, key, value) of the items that have a target."""
        assert self.written is not None
        rule, gain, mask = self.rule, self.gain.unsqueeze(1), self.mask.unsqueeze(1)
        scaled = gain * gradient
        if rule.compatibility:
            scaled = self._as_published(gradient, gain)
        if rule.grad_clip and self.layer.feedback is not None:
            scaled = torch.where(mask > 0, scaled.clamp(-rule.grad_clip, rule.grad_clip), scaled)
        written = self._bounded(self.keep.unsqueeze(1) * self.written - rule.eta * scaled)
        moves = active[..., None, None]
        self.written = torch.where(moves, written, self.written)
        if self.trace is not None:
            self.coincidence -= rule.eta * (mask * self.trace * gradient).mean(dim=1)
            self.trace = torch.where(moves, (1 - rule.forget_rate) * self.trace + gradient, self.trace)

    def _as_published(self, gradient: Tensor, gain: Tensor) -> Tensor:
        """Return what the published program moves by: means over items, and plastic entries scaled twice."""
        if self.rule.updater != "dfa":
            gradient = torch.cat([gradient[:, :, :-1] / self.batch, gradient[:, :, -1:]], dim=2)
        if self.rule.updater == "backprop":
            gain = gain * (1 + (self.layer.plasticity - 1) * self.mask).unsqueeze(1)
        bias = gradient[:, :, -1:].mean(dim=1, keepdim=True).expand_as(gradient[:, :, -1:])
        return torch.cat([(gain * gradient)[:, :, :-1], bias], dim=2)

    def _bounded(self, written: Tensor) -> Tensor:
        """Return D after normalising and clipping W + D."""
        rule = self.rule
        if not (rule.normalize or rule.clip_weights):
            return written
        weight = self.layer.weight.unsqueeze(1)
        entries, bias = (weight + written).split([weight.shape[2] - 1, 1], dim=2)
        if rule.normalize:
            axes = (1, 2, 3) if self.joint else (2, 3)
            entries = entries / (torch.linalg.vector_norm(entries, dim=axes, keepdim=True) + 1e-6)
            bias = bias / (torch.linalg.vector_norm(bias, dim=3, keepdim=True) + 1e-6) if self.joint else bias
        if rule.clip_weights:
            entries = entries.clamp(-rule.clip_weights, rule.clip_weights)
        return torch.cat([entries, bias], dim=2) - weight

    def contents(self) -> Tensor:
        """Return D, (member, batch, key, value)."""
        return self._nothing() if self.written is None else self.written.detach()

    def merged(self) -> Tensor:
        """Return the mean of D over items at entries that are not plastic, (member, key, value)."""
        return self.contents().mean(dim=1) * (1 - self.mask)

    def plasticity_gradient(self) -> Tensor | None:
        """Return the gradient of A, (member, key, value)."""
        return None if self.layer.mask is None else self.coincidence


def _summed(terms: list[tuple[Tensor, Tensor]]) -> Tensor:
    """Return Σ k δᵀ, (member, batch, key, value)."""
    total = torch.zeros(())
    for key, delta in terms:
        total = key.unsqueeze(-1) * delta.unsqueeze(-2) + total.to(key)
    return total


def _with_unit_feedback(network: Network) -> Network:
    inner, recurrence = network.inner, network.recurrence
    inner = tuple(layer._replace(feedback=_unit(layer.feedback)) for layer in inner if layer.feedback is not None)
    return network._replace(inner=inner, recurrence=recurrence)


def _unit(x: Tensor) -> Tensor:
    """Return each member's tensor over its norm."""
    return x / (x.flatten(1).norm(dim=1)[:, None, None] + 1e-6)


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
        """Take up -δ; it is zero where there is no target."""
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
        plastic *= self.rule.eta * (self.layer.plasticity if self.plastic is None else self.plastic.unsqueeze(1))
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
