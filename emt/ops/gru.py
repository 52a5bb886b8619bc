"""The GRU network of a whole population: the equations step by step, and a fast exact form of them.

For each member, with batch items as rows, in torch's variant of the gated recurrent unit (Cho et al. 2014,
arXiv:1406.1078, where r_t multiplies h_{t-1} before the product), and gates in torch's order:

    [r, z]_t = σ(x_t W_in^rz + b_in^rz + h_{t-1} W_rec^rz + b_rec^rz)                 (1) reset and update gate
    n_t = tanh(x_t W_in^n + b_in^n + r_t (h_{t-1} W_rec^n + b_rec^n))                 (2) candidate
    h_t = (1 - z_t) n_t + z_t h_{t-1}                                                 (3)
    y_t = h_t W_out + b_out                                                           (4)
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from emt.ops.recurrence import Cell, Recurrence, tanh_of_half


class GRURun(NamedTuple):
    """What a GRU did: ``outputs`` (member, batch, time, output), ``hidden`` (member, batch, time, unit)."""

    outputs: Tensor
    hidden: Tensor


def gru_steps(
    x: Tensor,
    w_in: Tensor,
    w_rec: Tensor,
    w_out: Tensor,
    b_in: Tensor | None = None,
    b_rec: Tensor | None = None,
    b_out: Tensor | None = None,
    h0: Tensor | None = None,
    steps: int | None = None,
) -> GRURun:
    """Equations (1) to (4), one step after the other; arguments and result as in :func:`gru`."""
    members, batch, given, _ = x.shape
    h = x.new_zeros(members, batch, w_rec.shape[1]) if h0 is None else h0
    hidden = []
    for t in range(given if steps is None else steps):
        driven, recurrent = x.new_zeros(members, batch, w_in.shape[2]), h @ w_rec
        if t < given:
            driven = driven + x[:, :, t] @ w_in
        if b_in is not None:
            driven = driven + b_in.unsqueeze(1)
        if b_rec is not None:
            recurrent = recurrent + b_rec.unsqueeze(1)
        (r_in, z_in, n_in), (r_rec, z_rec, n_rec) = driven.chunk(3, dim=-1), recurrent.chunk(3, dim=-1)
        r, z = torch.sigmoid(r_in + r_rec), torch.sigmoid(z_in + z_rec)
        n = torch.tanh(n_in + r * n_rec)
        h = (1 - z) * n + z * h
        hidden.append(h)
    outputs = torch.stack([h @ w_out for h in hidden], dim=2)
    if b_out is not None:
        outputs = outputs + b_out[:, None, None]
    return GRURun(outputs, torch.stack(hidden, dim=2))


def gru(
    x: Tensor,
    w_in: Tensor,
    w_rec: Tensor,
    w_out: Tensor,
    b_in: Tensor | None = None,
    b_rec: Tensor | None = None,
    b_out: Tensor | None = None,
    h0: Tensor | None = None,
    steps: int | None = None,
) -> GRURun:
    """Run a GRU with a linear readout over a sequence; gradients are exact, once differentiable.

    Parameters
    ----------
    x
        Inputs (member, batch, time, in). They may cover only the first of ``steps`` steps; later inputs are
        zero.
    w_in, w_rec, w_out
        Weights (member, in, 3 unit), (member, unit, 3 unit) and (member, unit, output), applied from the
        right. A readout of no outputs leaves it out.
    b_in, b_rec, b_out
        Biases (member, 3 unit), (member, 3 unit) and (member, output); None means zero, and costs nothing.
    h0
        Hidden state (member, batch, unit) before the first step; None means zero, and costs nothing.
    steps
        Number of steps, at least the number of inputs; None means the number of inputs.

    Examples
    --------
    Two members of 7 units run over 5 inputs and 4 silent steps:

    >>> w_in, w_rec, w_out = torch.randn(2, 4, 21), torch.randn(2, 7, 21), torch.randn(2, 7, 6)
    >>> gru(torch.randn(2, 3, 5, 4), w_in, w_rec, w_out, steps=9).outputs.shape
    torch.Size([2, 3, 9, 6])
    """
    steps, units = x.shape[2] if steps is None else steps, w_rec.shape[1]
    bias = None
    if b_in is not None or b_rec is not None:
        bias = (0 if b_in is None else _driven(b_in, units)) + (
            0 if b_rec is None else pad(b_rec, (units, 0))
        )
    return GRURun(
        *Recurrence.apply(_GRUCell, steps, x, _driven(w_in, units), w_rec, w_out, bias, b_out, h0, None)
    )


def _driven(weights: Tensor, units: int) -> Tensor:
    """Columns [r, z, n] of the inputs in the order of a cell's pre-activations, [n, r, z, 0]."""
    return pad(weights.roll(units, dims=-1), (0, units))


class _GRUCell(Cell):
    """Equations (1) to (3). Pre-activations are what inputs add to n, r, z, and what h_{t-1} adds to n before its gate.

    h_{t-1} reaches h_t through z_t too: ``direct`` is dL/dh_t z_t.
    """

    gates = (2.0, 1.0, 1.0, 1.0)
    buffers = (1, 2, 1, 1)

    def __init__(self, buffers: Sequence[Tensor], first: Tensor | None, initial: Tensor | None) -> None:
        super().__init__(buffers, first, initial)
        _, self.open, self.candidate, self.recurrent = buffers

    def forward(self, t: int, a: Tensor) -> None:
        units, n, before = self.hidden.shape[2], self.candidate[t], self.previous(t)
        torch.sigmoid(a[:, units : 3 * units], out=self.open[t])
        r, z = self.open[t].chunk(2, dim=1)
        self.recurrent[t] = a[:, 3 * units :]
        torch.addcmul(a[:, :units], r, self.recurrent[t], value=2, out=n)
        tanh_of_half(n, out=n)
        if before is None:
            torch.addcmul(n, z, n, value=-1, out=self.hidden[t])
        else:
            torch.lerp(n, before, z, out=self.hidden[t])

    def backward(self, t: int, dh: Tensor, da: Tensor, *d_states: Tensor | None) -> None:
        (r, z), n, before = self.open[t].chunk(2, dim=1), self.candidate[t], self.previous(t)
        dn, dr, dz, d_recurrent = da.chunk(4, dim=1)
        self.direct = dh * z
        _tanh_backward(dh - self.direct, n, grad_input=dn)
        torch.mul(dn, r, out=d_recurrent)
        _sigmoid_backward(dn * self.recurrent[t], r, grad_input=dr)
        _sigmoid_backward(dh * (-n if before is None else before - n), z, grad_input=dz)


_sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
_tanh_backward = torch.ops.aten.tanh_backward.grad_input
