"""The Elman network of a whole population: the equation step by step, and a fast exact form of it.

For each member, with batch items as rows (Elman 1990, "Finding structure in time"):

    h_t = f(x_t W_in + h_{t-1} W_rec + b)           (1)
    y_t = h_t W_out + b_out                         (2)

where f is tanh, or relu (Le, Jaitly & Hinton 2015, "A simple way to initialize recurrent networks of
rectified linear units").
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from emt.ops.recurrence import Cell, Recurrence, tanh_of_half

Activation = Literal["tanh", "relu"]


class ElmanRun(NamedTuple):
    """What an Elman network did: ``outputs`` (member, batch, time, output), ``hidden`` (member, batch, time, unit)."""

    outputs: Tensor
    hidden: Tensor


def elman_steps(
    x: Tensor,
    w_in: Tensor,
    w_rec: Tensor,
    w_out: Tensor,
    bias: Tensor | None = None,
    b_out: Tensor | None = None,
    h0: Tensor | None = None,
    steps: int | None = None,
    activation: Activation = "tanh",
) -> ElmanRun:
    """Equations (1) and (2), one step after the other; arguments and result as in :func:`elman`."""
    members, batch, given, _ = x.shape
    h = x.new_zeros(members, batch, w_rec.shape[1]) if h0 is None else h0
    hidden = []
    for t in range(given if steps is None else steps):
        a = h @ w_rec
        if t < given:
            a = a + x[:, :, t] @ w_in
        if bias is not None:
            a = a + bias.unsqueeze(1)
        h = torch.tanh(a) if activation == "tanh" else torch.relu(a)
        hidden.append(h)
    outputs = torch.stack([h @ w_out for h in hidden], dim=2)
    if b_out is not None:
        outputs = outputs + b_out[:, None, None]
    return ElmanRun(outputs, torch.stack(hidden, dim=2))


def elman(
    x: Tensor,
    w_in: Tensor,
    w_rec: Tensor,
    w_out: Tensor,
    bias: Tensor | None = None,
    b_out: Tensor | None = None,
    h0: Tensor | None = None,
    steps: int | None = None,
    activation: Activation = "tanh",
) -> ElmanRun:
    """Run an Elman network with a linear readout over a sequence; gradients are exact, once differentiable.

    Parameters
    ----------
    x
        Inputs (member, batch, time, in). They may cover only the first of ``steps`` steps; later inputs are
        zero.
    w_in, w_rec, w_out
        Weights (member, in, unit), (member, unit, unit) and (member, unit, output), applied from the right. A
        readout of no outputs leaves it out.
    bias, b_out
        Biases (member, unit) and (member, output); None means zero, and costs nothing.
    h0
        Hidden state (member, batch, unit) before the first step; None means zero, and costs nothing.
    steps
        Number of steps, at least the number of inputs; None means the number of inputs.
    activation
        f of equation (1).
    """
    steps = x.shape[2] if steps is None else steps
    cell = {"tanh": _TanhCell, "relu": _ReluCell}[activation]
    return ElmanRun(*Recurrence.apply(cell, steps, x, w_in, w_rec, w_out, bias, b_out, h0, None))


class _TanhCell(Cell):
    """h = tanh(a)."""

    gates = (2.0,)
    buffers = (1,)

    def forward(self, t: int, a: Tensor) -> None:
        tanh_of_half(a, out=self.hidden[t])

    def backward(self, t: int, dh: Tensor, da: Tensor, *d_states: Tensor | None) -> None:
        torch.ops.aten.tanh_backward.grad_input(dh, self.hidden[t], grad_input=da)


class _ReluCell(Cell):
    """h = relu(a)."""

    gates = (1.0,)
    buffers = (1,)

    def forward(self, t: int, a: Tensor) -> None:
        torch.clamp_min(a, 0, out=self.hidden[t])

    def backward(self, t: int, dh: Tensor, da: Tensor, *d_states: Tensor | None) -> None:
        torch.ops.aten.threshold_backward.grad_input(dh, self.hidden[t], 0, grad_input=da)
