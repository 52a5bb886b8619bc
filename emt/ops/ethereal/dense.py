"""Networks that write their own weights (`emt.ops.ethereal.forms`), with a matrix for each item: equation (4)."""

import contextlib
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

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
)
from emt.ops.memory_edit import MemoryEdit, along


def ethereal_steps(
    network: Network,
    rule: Rule,
    x: Tensor,
    targets: Tensor | None = None,
    start: Start | None = None,
    edits: Sequence[MemoryEdit | None] = (),
) -> EtherealRun:
    """Equations (1) to (4), one step after the other, with a matrix for each item; arguments as in :func:`ethereal`.

    ``edits`` change what layers write, where each step writes one product, and what they read of it.
    """
    members, batch, steps, _ = x.shape
    if rule.compatibility and rule.normalize:
        network = _with_unit_feedback(network)
    layers, recurrence = network.layers, network.place_of_recurrence
    written = start.written if start is not None and start.written is not None else [None] * len(layers)
    items = [_Items(*one, rule, batch, targets is not None) for one in zip(layers, written, strict=True)]
    sizes = [layer.weight.shape[1:] for layer in layers]
    keys, values, reads = ([x.new_zeros(members, batch, steps, s[axis]) for s in sizes] for axis in (0, 1, 1))
    wrote = [torch.zeros(members, batch, steps, dtype=torch.bool, device=x.device) for _ in layers]
    passes: list[Pass] = []
    cut = None if targets is None or rule.updater == "bptt" else _cut
    hidden, started = (None, None) if start is None else (start.hidden, start.started)
    for t in range(steps):
        _begin(items, edits, t)
        with contextlib.nullcontext() if targets is None else torch.set_grad_enabled(rule.updater != "dfa"):
            step = run_step(network, rule, [item.apply for item in items], x[:, :, t], hidden, started)
        passes.append(step)
        for place in step.keys:
            keys[place][:, :, t] = step.keys[place].detach()
            reads[place][:, :, t] = items[place].read.detach()
        if targets is not None:
            active = has_target(targets[:, :, t])
            error = error_of(rule, step, targets[:, :, t])
            for place, terms in _terms(network, rule, passes, error, started).items():
                if rule.compatibility and place == recurrence and rule.updater != "bptt":
                    continue
                terms, moves, writes = items[place].edited(terms, active)
                items[place].move(_summed(terms), moves)
                if rule.updater != "bptt":
                    values[place][:, :, t] = -terms[-1].delta
                    wrote[place][:, :, t] = (
                        writes if place != recurrence or started is None else writes & started
                    )
        passes[-1] = step if cut is None else cut(step)
        hidden, started = passes[-1].hidden, None
    if rule.updater == "bptt" and targets is not None:
        values = []
    outputs, states = (
        torch.stack([getattr(p, name) for p in passes], dim=2) for name in ("outputs", "hidden")
    )
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


def _begin(items: Sequence["_Items"], edits: Sequence[MemoryEdit | None], step: int) -> None:
    """Let layers take up the part of their edits that is of a step."""
    for item, edit in zip(items, edits, strict=False):
        item.own = None if edit is None else edit.at(step)


class _Product(NamedTuple):
    """k and δ of one step, (member, batch, …), whose outer product is a term of G."""

    key: Tensor
    delta: Tensor


def _cut(step: Pass) -> Pass:
    """Return what is kept of a step whose graph nobody asks for again: it would hold a matrix for each item."""
    return Pass({}, {}, step.hidden.detach(), step.outputs.detach(), None)


def _terms(
    network: Network, rule: Rule, passes: list[Pass], error: Tensor, started: Tensor | None
) -> dict[int, list[_Product]]:
    """Return the k and δ whose products sum to G at the last step, by place."""
    if rule.updater == "dfa":
        last = passes[-1]
        deltas = align(network, rule, last, error, started)
        return {place: [_Product(last.keys[place], delta)] for place, delta in deltas.items()}
    reached = passes if rule.updater == "bptt" else passes[-1:]
    where = [(step, place) for step in reached for place in step.before]
    found = torch.autograd.grad(
        passes[-1].outputs,
        [step.before[place] for step, place in where],
        error,
        retain_graph=True,
        allow_unused=True,
    )
    terms: dict[int, list[_Product]] = {}
    for (step, place), delta in zip(where, found, strict=True):
        if delta is not None:
            terms.setdefault(place, []).append(_Product(step.keys[place].detach(), delta))
    return terms


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
            self.gain = (
                self.gain
                if layer.feedback is None
                else pad(_unit(self.gain[:, :-1]), (0, 0, 0, 1), value=1.0)
            )
        self.trace = self._nothing() if rule.plasticity_gradient else None
        self.coincidence = torch.zeros_like(layer.weight)
        self.read = layer.weight.new_zeros(())
        self.own: MemoryEdit | None = None
        self.hidden: Tensor | None = None

    def edited(self, terms: list[_Product], active: Tensor) -> tuple[list[_Product], Tensor, Tensor]:
        """Return what is written, which items move, and which of them write, (member, batch)."""
        own = self.own
        if own is None:
            return terms, active, active
        moves = active if own.freeze is None else active & ~own.freeze
        writes = active if own.silent is None else active & ~own.silent
        delta = -own.value_of(-terms[-1].delta) * writes.unsqueeze(-1)
        return [terms[-1]._replace(delta=delta)], moves, writes

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
            if self.own is not None:
                hidden = self.hidden
                missed = None if hidden is None else (key.unsqueeze(-2) @ hidden).squeeze(-2)
                self.read = self.own.read(self.read, missed)
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
        self.written = torch.where(self._movable(moves, written), written, self.written)
        if self.own is not None and self.own.hide is not None:
            before = self._nothing() if self.hidden is None else self.hidden
            hidden = self.keep.unsqueeze(1) * before - rule.eta * scaled * along(self.own.hide, scaled)
            self.hidden = torch.where(moves, hidden, before)
        if self.trace is not None:
            self.coincidence -= rule.eta * (mask * self.trace * gradient).mean(dim=1)
            self.trace = torch.where(moves, (1 - rule.forget_rate) * self.trace + gradient, self.trace)

    def _movable(self, moves: Tensor, written: Tensor) -> Tensor:
        """Return which entries move; published items share their bias, so that it moves in all where it does in one."""
        if not self.rule.compatibility:
            return moves
        bias = moves.any(dim=1, keepdim=True).expand_as(moves)
        return torch.cat([moves.expand(-1, -1, written.shape[2] - 1, -1), bias], dim=2)

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


def _summed(terms: list[_Product]) -> Tensor:
    """Return Σ k δᵀ, (member, batch, key, value)."""
    total = torch.zeros(())
    for key, delta in terms:
        total = key.unsqueeze(-1) * delta.unsqueeze(-2) + total.to(key)
    return total


def _with_unit_feedback(network: Network) -> Network:
    inner, recurrence = network.inner, network.recurrence
    inner = tuple(
        layer._replace(feedback=_unit(layer.feedback)) for layer in inner if layer.feedback is not None
    )
    return network._replace(inner=inner, recurrence=recurrence)


def _unit(x: Tensor) -> Tensor:
    """Return each member's tensor over its norm."""
    return x / (x.flatten(1).norm(dim=1)[:, None, None] + 1e-6)
