"""The LSTM of `emt.ops.lstm` for large layers, given what the inputs add to each gate: x_t W_in + b.

Where inputs are tokens, that is a row of a table, and no product. The recurrence goes through the rows of a
batch as they lie, a step is one product, and the gradient of the weights is one product over all steps at the
end; below some hundred units `emt.ops.lstm.lstm`, which never leaves the cache, is faster.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from emt.ops.recurrence import tanh_of_half


def lstm_of_drive(
    drive: Tensor, w_rec: Tensor, h0: Tensor | None = None, c0: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Run an LSTM; gradients are exact, once differentiable. The plain twin is `emt.ops.lstm.lstm_steps`.

    Parameters
    ----------
    drive
        What is added to the recurrent input of each gate, (member, batch, time, 4 unit), gates in torch's
        order. A tensor that lies in memory with time before batch is not copied.
    w_rec
        Weights (member, unit, 4 unit), applied from the right.
    h0, c0
        Hidden and cell state (member, batch, unit) before the first step; None means zero.

    Returns
    -------
    hidden, cell
        (member, batch, time, unit).
    """
    members, batch, units = drive.shape[0], drive.shape[1], w_rec.shape[1]
    start = [drive.new_zeros(members, batch, units) if s is None else s for s in (h0, c0)]
    hidden, cell = _DrivenLSTM.apply(drive.transpose(1, 2), w_rec, *start)
    return hidden.transpose(1, 2), cell.transpose(1, 2)


class _Arguments(NamedTuple):
    """What `_DrivenLSTM` is applied to, in this order; in the backward pass, the gradient of each."""

    drive: Tensor
    w_rec: Tensor
    h0: Tensor
    c0: Tensor


class _Saved(NamedTuple):
    """What the backward pass needs, (member, time, batch, …) but for the weights.

    ``hidden`` and ``cell`` hold the states before the first step too.
    """

    w_rec: Tensor
    activated: Tensor
    hidden: Tensor
    cell: Tensor
    tanh_cell: Tensor


class _DrivenLSTM(torch.autograd.Function):
    """Equations (1) to (3) of `emt.ops.lstm` with axes (member, time, batch, unit)."""

    @staticmethod
    def forward(ctx: Any, drive: Tensor, w_rec: Tensor, h0: Tensor, c0: Tensor) -> tuple[Tensor, Tensor]:
        members, steps, batch, width = drive.shape
        activated = torch.empty_like(drive, memory_format=torch.contiguous_format)
        hidden, cell = (drive.new_empty(members, steps + 1, batch, width // 4) for _ in range(2))
        tanh_cell = torch.empty_like(cell[:, 1:])
        hidden[:, 0], cell[:, 0] = h0, c0
        sums = drive.new_empty(members, batch, width)
        doubled = sums.chunk(4, dim=-1)[2]
        for t in range(steps):
            torch.baddbmm(drive[:, t], hidden[:, t], w_rec, out=sums)
            doubled.mul_(2)
            torch.sigmoid(sums, out=activated[:, t])
            i, f, g, o = activated[:, t].chunk(4, dim=-1)
            g.mul_(2).sub_(1)
            c, tanh_c = cell[:, t + 1], tanh_cell[:, t]
            torch.mul(i, g, out=c).addcmul_(f, cell[:, t])
            tanh_of_half(torch.mul(c, 2, out=tanh_c), out=tanh_c)
            torch.mul(o, tanh_c, out=hidden[:, t + 1])
        ctx.save_for_backward(*_Saved(w_rec, activated, hidden, cell, tanh_cell))
        ctx.set_materialize_grads(False)
        return hidden[:, 1:], cell[:, 1:]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_hidden: Tensor | None, d_cell: Tensor | None) -> tuple[Tensor | None, ...]:
        w_rec, activated, hidden, cell, tanh_cell = _Saved(*ctx.saved_tensors)
        d_sums = torch.empty_like(activated)
        dh, dc = torch.zeros_like(cell[:, 0]), torch.zeros_like(cell[:, 0])
        back = w_rec.mT.contiguous()
        for t in reversed(range(activated.shape[1])):
            if d_hidden is not None:
                dh += d_hidden[:, t]
            if d_cell is not None:
                dc += d_cell[:, t]
            i, f, g, o = activated[:, t].chunk(4, dim=-1)
            di, df, dg, do = d_sums[:, t].chunk(4, dim=-1)
            _sigmoid_backward(dh * tanh_cell[:, t], o, grad_input=do)
            through = dh.mul_(o)
            dc += _tanh_backward(through, tanh_cell[:, t], grad_input=through)
            _sigmoid_backward(dc * g, i, grad_input=di)
            _tanh_backward(dc * i, g, grad_input=dg)
            _sigmoid_backward(dc * cell[:, t], f, grad_input=df)
            dc *= f
            torch.bmm(d_sums[:, t], back, out=dh)
        d_weights = hidden[:, :-1].flatten(1, 2).mT @ d_sums.flatten(1, 2)
        return _Arguments(drive=d_sums, w_rec=d_weights, h0=dh, c0=dc)


_sigmoid_backward = torch.ops.aten.sigmoid_backward.grad_input
_tanh_backward = torch.ops.aten.tanh_backward.grad_input
