"""What both forms of `emt.ops.ethereal.forms` share: layers, rules, what a run tells, one step forward, errors."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

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
        Whether c⁰ is added once, to the output of the last inner layer.
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
    """The layers of (2), W_o, W_h if there is recurrence, and one that adds to the error if there is one."""

    inner: tuple[Layer, ...]
    output: Layer
    recurrence: Layer | None = None
    critic: Layer | None = None

    @property
    def place_of_recurrence(self) -> int | None:
        """Where `layers` has the recurrence; without one the critic stands there."""
        return None if self.recurrence is None else len(self.inner) + 1

    @property
    def layers(self) -> tuple[Layer, ...]:
        """All layers: inner, output, recurrence, critic."""
        return *self.inner, self.output, *(one for one in (self.recurrence, self.critic) if one is not None)


class Start(NamedTuple):
    """State from which a sequence continues.

    ``hidden`` c (member, batch, value); ``started``, whether a step came before, (member, batch); ``written``
    D of each layer (member, batch, key, value), None for zero.
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
        k, −δ and k_t D_t, (member, batch, time, …). ``values`` is empty where steps write sums of products
        (bptt).
    wrote
        Which steps write, (member, batch, time) for each layer.
    written
        Returns D after the last step, (member, batch, key, value) for each layer.
    merged
        Returns the mean of D over items, (member, key, value) for each layer.
    plasticity_gradients
        Returns the gradient of A, (member, key, value) for each layer with plastic entries; None for others.
        It is that of the losses of later steps by the direct way, each write being a constant but for its A:
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


class Pass(NamedTuple):
    """One step: of each layer, by place, the input with its one and the output before φ; c; y; what adds to e."""

    keys: dict[int, Tensor]
    before: dict[int, Tensor]
    hidden: Tensor
    outputs: Tensor
    addition: Tensor | None


Apply = Callable[[Tensor], tuple[Tensor, Tensor]]
"""A layer: input (member, batch, in) → the input with its one, and the output."""


def has_target(targets: Tensor) -> Tensor:
    """Return whether there is a target, (member, batch, …) bool, for ids of classes or vectors."""
    return ~targets.isnan().any(dim=-1) if targets.is_floating_point() else targets >= 0


def run_step(
    network: Network, rule: Rule, apply: list[Apply], x: Tensor, hidden: Tensor | None, started: Tensor | None
) -> Pass:
    """Equations (1) to (3) at one step.

    ``hidden`` is c_{t-1}, None where no item has had a step; ``started`` tells which items have, None for
    all.
    """
    depth, recurrence = len(network.inner), network.place_of_recurrence
    keys, before = dict[int, Tensor](), dict[int, Tensor]()
    h = x.new_zeros(*x.shape[:-1], network.inner[0].weight.shape[1] - 1 - x.shape[-1])
    if recurrence is not None and hidden is not None:
        keys[recurrence], before[recurrence] = apply[recurrence](hidden)
        h = before[recurrence].tanh()
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
    return Pass(keys, before, c, before[depth], addition)


def error_of(rule: Rule, step: Pass, target: Tensor) -> Tensor:
    """Return e of (3), (member, batch, output), zero if there is no target."""
    outputs, there = step.outputs.detach(), has_target(target)[..., None]
    if target.is_floating_point():
        error = outputs - target
    else:
        error = outputs.softmax(dim=-1) - (
            target[..., None] == torch.arange(outputs.shape[-1]).to(target)
        ).to(outputs)
    if step.addition is not None:
        error = error + step.addition.detach().clamp(-rule.self_grad, rule.self_grad)
    return torch.where(there, error, 0.0)


def align(
    network: Network, rule: Rule, step: Pass, error: Tensor, started: Tensor | None
) -> dict[int, Tensor]:
    """Return δ of feedback alignment, (member, batch, value) by place."""
    deltas = {}
    for place, before in step.before.items():
        layer = network.layers[place]
        deltas[place] = error if layer.feedback is None else error @ layer.feedback
        if layer is network.recurrence:
            slope = 1 - before.tanh().square() if rule.derivative else torch.ones_like(before)
            deltas[place] = deltas[place] * (slope if started is None else slope * started[..., None])
        elif layer.feedback is not None and rule.derivative:
            deltas[place] = times_slope(rule, deltas[place], before)
    return deltas


def times_slope(rule: Rule, delta: Tensor, before: Tensor) -> Tensor:
    """Return δ φ'."""
    if rule.rectifies:
        return torch.ops.aten.threshold_backward(delta, before, 0)
    return torch.ops.aten.gelu_backward(delta, before)
