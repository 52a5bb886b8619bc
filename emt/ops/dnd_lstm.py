"""The LSTM that takes up what a dictionary recalled, for a whole population: step by step, and a fast exact form.

For each member (Ritter et al. 2018, "Been there, done that: meta-learning with episodic recall", equations 2 and 3),
gates in the order of their blocks:

    [f, i, o, r, z]_t = [σ, σ, σ, σ, tanh](d_t + h_{t-1} W_rec)         (1)
    c_t = f_t c_{t-1} + i_t z_t + r_t m_t                               (2)
    h_t = o_t tanh(c_t)                                                 (3)

The recalled m_t is a constant: nothing flows back into the memory, and gradients reach it only through the gate r.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from emt.ops.precision import plain_matmul


class DNDRun(NamedTuple):
    """What the network did: ``hidden`` and ``cell``, (member, batch, time, unit) each."""

    hidden: Tensor
    cell: Tensor


def dnd_lstm_steps(drive: Tensor, recalled: Tensor, w_rec: Tensor, h0: Tensor, c0: Tensor) -> DNDRun:
    """Equations (1) to (3), one step after the other; arguments and result as in :func:`dnd_lstm`."""
    h, c, hidden, cells = h0, c0, [], []
    for t in range(drive.shape[2]):
        f, i, o, r, z = (drive[:, :, t] + h @ w_rec).chunk(5, dim=-1)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(z) + torch.sigmoid(r) * recalled[:, :, t].detach()
        h = torch.sigmoid(o) * torch.tanh(c)
        hidden.append(h)
        cells.append(c)
    return DNDRun(torch.stack(hidden, dim=2), torch.stack(cells, dim=2))


def dnd_lstm(drive: Tensor, recalled: Tensor, w_rec: Tensor, h0: Tensor, c0: Tensor) -> DNDRun:
    """Run the network over a sequence; gradients are exact, once differentiable.

    Parameters
    ----------
    drive
        What inputs and biases add to each gate, d (member, batch, time, 5 unit).
    recalled
        m (member, batch, time, unit).
    w_rec
        (member, unit, 5 unit), applied from the right.
    h0, c0
        Hidden and cell state before the first step, (member, batch, unit).
    """
    return DNDRun(*_Run.apply(drive, recalled, w_rec, h0, c0))


class _Run(torch.autograd.Function):
    """Time comes first inside, so that steps are whole blocks; what needs no earlier step is done for all at once."""

    @staticmethod
    @plain_matmul()
    def forward(
        ctx: Any, drive: Tensor, recalled: Tensor, w_rec: Tensor, h0: Tensor, c0: Tensor
    ) -> tuple[Tensor, Tensor]:
        members, batch, steps, width = drive.shape
        units = width // 5
        gates = drive.new_empty(steps, members, batch, width)
        hidden, cells = (drive.new_empty(steps + 1, members, batch, units) for _ in range(2))
        tanh_c = torch.empty_like(cells[1:])
        hidden[0], cells[0] = h0, c0
        m = recalled.permute(2, 0, 1, 3)
        runs = [x.unbind() for x in (drive.permute(2, 0, 1, 3), gates, hidden, cells, tanh_c, m)]
        for d, a, h, c, tanh, recall, h_next, c_next in zip(*runs, runs[2][1:], runs[3][1:], strict=False):
            torch.baddbmm(d, h, w_rec, out=a)
            a[..., : 4 * units].sigmoid_()
            a[..., 4 * units :].tanh_()
            f, i, o, r, z = a.chunk(5, dim=-1)
            torch.mul(f, c, out=c_next).addcmul_(i, z).addcmul_(r, recall)
            torch.tanh(c_next, out=tanh)
            torch.mul(o, tanh, out=h_next)
        ctx.save_for_backward(m, w_rec, gates, hidden, cells, tanh_c)
        ctx.set_materialize_grads(False)
        return hidden[1:].permute(1, 2, 0, 3), cells[1:].permute(1, 2, 0, 3)

    @staticmethod
    @once_differentiable
    @plain_matmul()
    def backward(ctx: Any, d_hidden: Tensor | None, d_cell: Tensor | None) -> tuple[Tensor | None, ...]:
        m, w_rec, gates, hidden, cells, tanh_c = ctx.saved_tensors
        units, weights = tanh_c.shape[-1], w_rec.mT
        dh_given, dc_given = (None if d is None else d.permute(2, 0, 1, 3) for d in (d_hidden, d_cell))
        given = (torch.zeros_like(tanh_c) if dh_given is None else dh_given).unbind()
        # What each gate's gradient has beside dL/dc, or dL/dh for the output gate, and dL/dc beside dL/dh.
        f, i, o, _, z = gates.chunk(5, dim=-1)
        slopes = torch.addcmul(gates, gates, gates, value=-1).unflatten(-1, (5, units))
        slopes[..., 4, :] = 1 - z.square()
        beside = torch.stack([cells[:-1], z, tanh_c, m, i], dim=-2).mul_(slopes)
        through_h = torch.addcmul(o, o, tanh_c.square(), value=-1)
        da = torch.empty_like(gates)
        d_gates = da.unflatten(-1, (5, units))
        parts = through_h, beside, beside[..., 2, :], f, da, d_gates, d_gates[..., 2, :]
        steps_of = list(enumerate(zip(*(x.unbind() for x in parts), strict=True)))
        dh, dc = given[-1], torch.zeros_like(cells[0])
        for t, (via_h, by_c, by_h, forget, d_a, d_open, d_out) in reversed(steps_of):
            dc.addcmul_(dh, via_h)
            if dc_given is not None:
                dc += dc_given[t]
            torch.mul(dc.unsqueeze(-2), by_c, out=d_open)
            torch.mul(dh, by_h, out=d_out)
            dc *= forget
            if t > 0:
                dh = torch.baddbmm(given[t - 1], d_a, weights)
        d_h0 = torch.bmm(da[0], weights) if ctx.needs_input_grad[3] else None
        before, after = (x.transpose(0, 1).flatten(1, 2) for x in (hidden[:-1], da))
        return da.permute(1, 2, 0, 3), None, before.mT @ after, d_h0, dc
