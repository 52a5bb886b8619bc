"""The rate network of a whole population: the equation step by step, and a fast exact form of it.

For each member, with batch items as rows, a leaky integrator of time constant τ in steps of dt = α τ (as Song,
Yang & Wang 2016 train it):

    h_t = (1 - α) h_{t-1} + α (x_t W_in + r_{t-1} W_rec + b)           (1)
    r_t = f(h_t)                                                      (2)
    y_t = r_t W_out + b_out                                           (3)

where h is the potential, r the rate, and f the rectifier or tanh. With α = 1 the rates are those of an Elman network.
"""

from collections.abc import Sequence
from functools import cache
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from emt.ops.recurrence import Cell, Recurrence

Activation = Literal["relu", "tanh"]


class RateRun(NamedTuple):
    """What a rate network did: ``outputs`` (member, batch, time, output), rates and potentials (…, unit)."""

    outputs: Tensor
    hidden: Tensor
    potential: Tensor


def rate_steps(
    x: Tensor,
    w_in: Tensor,
    w_rec: Tensor,
    w_out: Tensor,
    bias: Tensor | None = None,
    b_out: Tensor | None = None,
    potential: Tensor | None = None,
    steps: int | None = None,
    leak: float = 0.2,
    activation: Activation = "relu",
) -> RateRun:
    """Equations (1) to (3), one step after the other; arguments and result as in :func:`rate`."""
    members, batch, given, _ = x.shape
    h = x.new_zeros(members, batch, w_rec.shape[1]) if potential is None else potential
    rates, potentials = [], []
    for t in range(given if steps is None else steps):
        a = rates_of(h, activation) @ w_rec
        if t < given:
            a = a + x[:, :, t] @ w_in
        if bias is not None:
            a = a + bias.unsqueeze(1)
        h = (1 - leak) * h + leak * a
        potentials.append(h)
        rates.append(rates_of(h, activation))
    outputs = torch.stack([r @ w_out for r in rates], dim=2)
    if b_out is not None:
        outputs = outputs + b_out[:, None, None]
    return RateRun(outputs, torch.stack(rates, dim=2), torch.stack(potentials, dim=2))


def rate(
    x: Tensor,
    w_in: Tensor,
    w_rec: Tensor,
    w_out: Tensor,
    bias: Tensor | None = None,
    b_out: Tensor | None = None,
    potential: Tensor | None = None,
    steps: int | None = None,
    leak: float = 0.2,
    activation: Activation = "relu",
) -> RateRun:
    """Run a rate network with a linear readout over a sequence; gradients are exact, once differentiable.

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
    potential
        Potentials (member, batch, unit) before the first step; None means zero, and costs nothing.
    steps
        Number of steps, at least the number of inputs; None means the number of inputs.
    leak
        α of equation (1), from above 0 to 1.
    activation
        f of equation (2).

    Examples
    --------
    >>> weights = torch.randn(2, 4, 7), torch.randn(2, 7, 7), torch.randn(2, 7, 6)
    >>> rate(torch.randn(2, 3, 5, 4), *weights, steps=9).outputs.shape
    torch.Size([2, 3, 9, 6])
    """
    steps = x.shape[2] if steps is None else steps
    first = None if potential is None else rates_of(potential, activation)
    cell = _cell(leak, activation)
    return RateRun(*Recurrence.apply(cell, steps, x, w_in, w_rec, w_out, bias, b_out, first, potential))


def rates_of(potential: Tensor, activation: Activation) -> Tensor:
    """Return f of potentials, equation (2)."""
    return torch.relu(potential) if activation == "relu" else torch.tanh(potential)


@cache
def _cell(leak: float, activation: Activation) -> type["_RateCell"]:
    """Return the cell of one leak and one f: cells are told apart by their class."""
    return type("_LeakyCell", (_RateCell,), {"leak": leak, "rectified": activation == "relu"})


class _RateCell(Cell):
    """Equations (1) and (2): a potential beside the hidden state, which is the rate."""

    gates = (1.0,)
    buffers = (1, 1)
    states = 2
    leak: ClassVar[float]
    rectified: ClassVar[bool]

    def __init__(self, buffers: Sequence[Tensor], first: Tensor | None, initial: Tensor | None) -> None:
        super().__init__(buffers, first, initial)
        self.potential = buffers[1]

    def forward(self, t: int, a: Tensor) -> None:
        before = self.potential[t - 1] if t > 0 else self.initial
        if before is None:
            torch.mul(a, self.leak, out=self.potential[t])
        else:
            torch.lerp(before, a, self.leak, out=self.potential[t])
        if self.rectified:
            torch.clamp_min(self.potential[t], 0, out=self.hidden[t])
        else:
            torch.tanh(self.potential[t], out=self.hidden[t])

    def backward(self, t: int, dh: Tensor, da: Tensor, *d_states: Tensor | None) -> None:
        (d_potential,) = d_states
        if self.rectified:
            torch.ops.aten.threshold_backward.grad_input(dh, self.hidden[t], 0, grad_input=da)
        else:
            torch.ops.aten.tanh_backward.grad_input(dh, self.hidden[t], grad_input=da)
        for part in (self.carried, d_potential):
            if part is not None:
                da.add_(part)
        self.carried = da * (1 - self.leak)
        da.mul_(self.leak)
