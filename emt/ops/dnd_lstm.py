"""The LSTM that takes up what a dictionary recalled, for a whole population: step by step, and a fast exact form.

For each member (Ritter et al. 2018, "Been there, done that: meta-learning with episodic recall", equations 2
and 3), gates in the order of their blocks:

    [f, i, o, r, z]_t = [σ, σ, σ, σ, tanh](x_t W_in + h_{t-1} W_rec + b)    (1)
    c_t = f_t c_{t-1} + i_t z_t + r_t m_t,   m_t = tanh(recalled_t)         (2)
    h_t = o_t tanh(c_t)                                                     (3)
    y_t = h_t W_out + b_out                                                 (4)

What is recalled is a constant: nothing flows back into the memory, and gradients reach it only through the
gate r. It is given for all steps, or looked up by h_{t-1} inside the step.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from emt.ops.precision import plain_matmul

Recall = Callable[[Tensor], Tensor]
"""What is recalled for hidden states: (member, batch, time, unit) → (member, batch, time, unit)."""


class DNDRun(NamedTuple):
    """What the network did: ``outputs`` (member, batch, time, output), and what has (…, time, unit)."""

    outputs: Tensor
    hidden: Tensor
    cell: Tensor
    recalled: Tensor


def dnd_lstm_steps(
    x: Tensor,
    recalled: Tensor | Recall,
    w_in: Tensor,
    w_rec: Tensor,
    w_out: Tensor,
    bias: Tensor,
    b_out: Tensor,
    h0: Tensor,
    c0: Tensor,
) -> DNDRun:
    """Equations (1) to (4), one step after the other; arguments and result as in :func:`dnd_lstm`."""
    h, c, outputs, hidden, cells, found = h0, c0, [], [], [], []
    for t in range(x.shape[2]):
        f, i, o, r, z = (x[:, :, t] @ w_in + h @ w_rec + bias.unsqueeze(1)).chunk(5, dim=-1)
        given = (
            recalled[:, :, t]
            if isinstance(recalled, Tensor)
            else recalled(h.detach().unsqueeze(2)).squeeze(2)
        )
        found.append(given.detach())
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(z) + torch.sigmoid(r) * torch.tanh(found[-1])
        h = torch.sigmoid(o) * torch.tanh(c)
        outputs.append(h @ w_out + b_out.unsqueeze(1))
        hidden.append(h)
        cells.append(c)
    return DNDRun(*(torch.stack(steps, dim=2) for steps in (outputs, hidden, cells, found)))


def dnd_lstm(
    x: Tensor,
    recalled: Tensor | Recall,
    w_in: Tensor,
    w_rec: Tensor,
    w_out: Tensor,
    bias: Tensor,
    b_out: Tensor,
    h0: Tensor,
    c0: Tensor,
) -> DNDRun:
    """Run the network over a sequence; gradients are exact, once differentiable.

    Parameters
    ----------
    x
        Inputs (member, batch, time, in).
    recalled
        What is recalled at each step, (member, batch, time, unit), or a function that finds it for the hidden
        states before some steps.
    w_in, w_rec, w_out
        Weights (member, in, 5 unit), (member, unit, 5 unit) and (member, unit, output), applied from the
        right.
    bias, b_out
        (member, 5 unit) and (member, output).
    h0, c0
        Hidden and cell state before the first step, (member, batch, unit).
    """
    search = None if isinstance(recalled, Tensor) else recalled
    found = recalled if isinstance(recalled, Tensor) else x.new_empty(*x.shape[:3], w_rec.shape[1])
    outputs, hidden, cell = _Run.apply(x, found, search, w_in, w_rec, w_out, bias, b_out, h0, c0)
    return DNDRun(outputs, hidden, cell, found.detach())


class _Arguments(NamedTuple):
    """What `_Run` is applied to, in this order; in the backward pass, whether each is wanted, or its gradient."""

    x: Any = None
    recalled: Any = None
    search: Any = None
    w_in: Any = None
    w_rec: Any = None
    w_out: Any = None
    bias: Any = None
    b_out: Any = None
    h0: Any = None
    c0: Any = None


class _Saved(NamedTuple):
    """What the backward pass needs: arguments, and (time, member, batch, …) of what the steps made.

    ``m`` is tanh of what was recalled, ``tanh_c`` that of the cell. ``hidden`` and ``cells`` hold the states
    before the first step too.
    """

    x: Tensor
    m: Tensor
    w_in: Tensor
    w_rec: Tensor
    w_out: Tensor
    gates: Tensor
    hidden: Tensor
    cells: Tensor
    tanh_c: Tensor


class _Run(torch.autograd.Function):
    """Time comes first inside, so that steps are whole blocks; what needs no earlier step is done for all at once.

    If there is a search it fills ``recalled``.
    """

    @staticmethod
    @plain_matmul()
    def forward(
        ctx: Any,
        x: Tensor,
        recalled: Tensor,
        search: Recall | None,
        w_in: Tensor,
        w_rec: Tensor,
        w_out: Tensor,
        bias: Tensor,
        b_out: Tensor,
        h0: Tensor,
        c0: Tensor,
    ) -> tuple[Tensor, ...]:
        members, batch, steps, _ = x.shape
        units = w_rec.shape[1]
        drive = torch.baddbmm(bias.unsqueeze(1), x.flatten(1, 2), w_in).view(members, batch, steps, -1)
        gates = x.new_empty(steps, members, batch, 5 * units)
        hidden, cells = (x.new_empty(steps + 1, members, batch, units) for _ in range(2))
        tanh_c = torch.empty_like(cells[1:])
        hidden[0], cells[0] = h0, c0
        found = recalled.permute(2, 0, 1, 3)
        m = found.tanh() if search is None else torch.empty_like(tanh_c)
        # Views are made for all steps at once: each costs as much as an operation on a step's numbers.
        runs = drive.permute(2, 0, 1, 3), gates, gates[..., : 4 * units], *gates.chunk(5, dim=-1), m, tanh_c
        states = pairwise(hidden.unbind()), pairwise(cells.unbind())
        steps_of = zip(*(r.unbind() for r in runs), *states, strict=True)
        for t, (d, a, open_gates, f, i, o, r, z, recall, tanh, (h, h_next), (c, c_next)) in enumerate(
            steps_of
        ):
            if search is not None:
                found[t] = search(h.unsqueeze(2)).squeeze(2)
                torch.tanh(found[t], out=recall)
            torch.baddbmm(d, h, w_rec, out=a)
            open_gates.sigmoid_()
            z.tanh_()
            torch.mul(f, c, out=c_next).addcmul_(i, z).addcmul_(r, recall)
            torch.tanh(c_next, out=tanh)
            torch.mul(o, tanh, out=h_next)
        ctx.save_for_backward(*_Saved(x, m, w_in, w_rec, w_out, gates, hidden, cells, tanh_c))
        ctx.set_materialize_grads(False)
        outputs = torch.baddbmm(b_out.unsqueeze(1), _rows(hidden[1:]), w_out).view(members, batch, steps, -1)
        return outputs, hidden[1:].permute(1, 2, 0, 3), cells[1:].permute(1, 2, 0, 3)

    @staticmethod
    @once_differentiable
    @plain_matmul()
    def backward(
        ctx: Any, d_outputs: Tensor | None, d_hidden: Tensor | None, d_cell: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        x, m, w_in, w_rec, w_out, gates, hidden, cells, tanh_c = _Saved(*ctx.saved_tensors)
        (members, batch, steps, _), units, weights = x.shape, tanh_c.shape[-1], w_rec.mT
        dy = (
            x.new_zeros(members, batch * steps, w_out.shape[2])
            if d_outputs is None
            else d_outputs.flatten(1, 2)
        )
        dh_given = torch.bmm(dy, w_out.mT).view(members, batch, steps, units)
        dh_given = dh_given if d_hidden is None else dh_given + d_hidden
        # What each gate's gradient has beside dL/dc, or dL/dh for the output gate, and dL/dc beside dL/dh.
        f, i, o, _, z = gates.chunk(5, dim=-1)
        slopes = torch.addcmul(gates, gates, gates, value=-1).unflatten(-1, (5, units))
        slopes[..., 4, :] = 1 - z.square()
        beside = torch.stack([cells[:-1], z, tanh_c, m, i], dim=-2).mul_(slopes)
        through_h = torch.addcmul(o, o, tanh_c.square(), value=-1)
        da = torch.empty_like(gates)
        d_gates = da.unflatten(-1, (5, units))
        parts = through_h, beside, beside[..., 2, :], f, da, d_gates, d_gates[..., 2, :]
        given, dh, dc = dh_given.unbind(2), dh_given[:, :, -1], torch.zeros_like(cells[0])
        steps_of = list(enumerate(zip(*(p.unbind() for p in parts), strict=True)))
        for t, (via_h, by_c, by_h, forget, d_a, d_open, d_out) in reversed(steps_of):
            dc.addcmul_(dh, via_h)
            if d_cell is not None:
                dc += d_cell[:, :, t]
            torch.mul(dc.unsqueeze(-2), by_c, out=d_open)
            torch.mul(dh, by_h, out=d_out)
            dc *= forget
            if t > 0:
                dh = torch.baddbmm(given[t - 1], d_a, weights)
        after = _rows(da)
        wanted = _Arguments(*ctx.needs_input_grad)
        return _Arguments(
            x=torch.bmm(after, w_in.mT).view(x.shape) if wanted.x else None,
            w_in=torch.bmm(x.flatten(1, 2).mT, after),
            w_rec=torch.bmm(_rows(hidden[:-1]).mT, after),
            w_out=torch.bmm(_rows(hidden[1:]).mT, dy),
            bias=after.sum(dim=1),
            b_out=dy.sum(dim=1),
            h0=torch.bmm(da[0], weights) if wanted.h0 else None,
            c0=dc,
        )


def _rows(x: Tensor) -> Tensor:
    """Return (time, member, batch, …) as rows, (member, batch and time, …)."""
    return x.permute(1, 2, 0, 3).flatten(1, 2)
