"""The LSTM network of a whole population: the equations step by step, and a fast exact form of them.

For each member, with batch items as rows (Hochreiter & Schmidhuber 1997; forget gate of Gers et al. 2000),
gates in torch's order:

    [i, f, g, o]_t = [σ, σ, tanh, σ](x_t W_in + h_{t-1} W_rec + b)      (1)
    c_t = f_t c_{t-1} + i_t g_t                                         (2)
    h_t = o_t tanh(c_t)                                                 (3)
    y_t = h_t W_out + b_out                                             (4)
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from emt.ops.recurrence import Cell, Recurrence, tanh_of_half


class LSTMRun(NamedTuple):
    """What an LSTM did: ``outputs`` (member, batch, time, output) and both states (member, batch, time, unit)."""

    outputs: Tensor
    hidden: Tensor
    cell: Tensor


def lstm_steps(
    x: Tensor,
    w_in: Tensor,
    w_rec: Tensor,
    w_out: Tensor,
    bias: Tensor | None = None,
    b_out: Tensor | None = None,
    h0: Tensor | None = None,
    c0: Tensor | None = None,
    steps: int | None = None,
) -> LSTMRun:
    """Equations (1) to (4), one step after the other; arguments and result as in :func:`lstm`."""
    members, batch, given, _ = x.shape
    h, c = (x.new_zeros(members, batch, w_rec.shape[1]) if s is None else s for s in (h0, c0))
    hidden, cells = [], []
    for t in range(given if steps is None else steps):
        a = h @ w_rec
        if t < given:
            a = a + x[:, :, t] @ w_in
        if bias is not None:
            a = a + bias.unsqueeze(1)
        i, f, g, o = a.chunk(4, dim=-1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        hidden.append(h)
        cells.append(c)
    outputs = torch.stack([h @ w_out for h in hidden], dim=2)
    if b_out is not None:
        outputs = outputs + b_out[:, None, None]
    return LSTMRun(outputs, torch.stack(hidden, dim=2), torch.stack(cells, dim=2))


def lstm(
    x: Tensor,
    w_in: Tensor,
    w_rec: Tensor,
    w_out: Tensor,
    bias: Tensor | None = None,
    b_out: Tensor | None = None,
    h0: Tensor | None = None,
    c0: Tensor | None = None,
    steps: int | None = None,
) -> LSTMRun:
    """Run an LSTM with a linear readout over a sequence; gradients are exact, once differentiable.

    Parameters
    ----------
    x
        Inputs (member, batch, time, in). They may cover only the first of ``steps`` steps; later inputs are
        zero.
    w_in, w_rec, w_out
        Weights (member, in, 4 unit), (member, unit, 4 unit) and (member, unit, output), applied from the
        right. A readout of no outputs leaves it out.
    bias, b_out
        Biases (member, 4 unit) and (member, output); None means zero, and costs nothing. Torch's two biases
        only ever act as their sum.
    h0, c0
        Hidden and cell state (member, batch, unit) before the first step; None means zero, and costs nothing.
    steps
        Number of steps, at least the number of inputs; None means the number of inputs.
    """
    steps = x.shape[2] if steps is None else steps
    return LSTMRun(*Recurrence.apply(_LSTMCell, steps, x, w_in, w_rec, w_out, bias, b_out, h0, c0))


class _LSTMCell(Cell):
    """Equations (1) to (3); ``carried`` is dL/dc."""

    gates = (1.0, 1.0, 2.0, 1.0)
    buffers = (1, 1, 4, 1)
    states = 2

    def __init__(self, buffers: Sequence[Tensor], first: Tensor | None, initial: Tensor | None) -> None:
        super().__init__(buffers, first, initial)
        _, self.cell, self.activated, self.tanh_cell = buffers

    def forward(self, t: int, a: Tensor) -> None:
        c, tanh_c = self.cell[t], self.tanh_cell[t]
        torch.sigmoid(a, out=self.activated[t])
        i, f, g, o = self.activated[t].chunk(4, dim=1)
        g.mul_(2).sub_(1)
        torch.mul(i, g, out=c)
        before = self._before(t)
        if before is not None:
            c.addcmul_(f, before)
        torch.mul(c, 2, out=tanh_c)
        tanh_of_half(tanh_c, out=tanh_c)
        torch.mul(o, tanh_c, out=self.hidden[t])

    def backward(self, t: int, dh: Tensor, da: Tensor, *d_states: Tensor | None) -> None:
        (i, f, g, o), tanh_c, before = self.activated[t].chunk(4, dim=1), self.tanh_cell[t], self._before(t)
        di, df, dg, do = da.chunk(4, dim=1)
        dc, (d_cell,) = self.carried, d_states
        _sigmoid_backward(dh * tanh_c, o, do)
        through = dh * o
        _tanh_backward(through, tanh_c, through)
        dc = through if dc is None else dc.add_(through)
        if d_cell is not None:
            dc += d_cell
        _sigmoid_backward(dc * g, i, di)
        _tanh_backward(dc * i, g, dg)
        if before is None:
            df.zero_()
        else:
            _sigmoid_backward(dc * before, f, df)
        self.carried = dc.mul_(f)

    def _before(self, t: int) -> Tensor | None:
        """The cell state before step ``t``; None where it is zero."""
        return self.cell[t - 1] if t > 0 else self.initial


def _sigmoid_backward(gradient: Tensor, value: Tensor, out: Tensor) -> None:
    torch.ops.aten.sigmoid_backward.grad_input(gradient, value, grad_input=out)


def _tanh_backward(gradient: Tensor, value: Tensor, out: Tensor) -> None:
    torch.ops.aten.tanh_backward.grad_input(gradient, value, grad_input=out)
