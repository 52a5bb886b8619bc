"""The associative LSTM of a whole population: the equations step by step, and a fast exact form of them.

For each member and batch item (Danihelka et al. 2016, arXiv:1602.03032, section 5), ⊙ being the product of
complex numbers unit by unit, P_s one permutation of the units for each of N copies of the memory:

    [f, i, o; r_in, r_out, u]_t = [σ, σ, σ; bound, bound, bound](x_t W_in + h_{t-1} W_rec + b)      (1)
    c_{s,t} = f ⊙ c_{s,t-1} + P_s r_in ⊙ (i ⊙ u)                                                     (2)
    h_t = o ⊙ bound(1/N Σ_s P_s r_out ⊙ c_{s,t}),   bound(z) = z / max(1, |z|)                       (3)

A vector of complex numbers is its real parts and then its imaginary parts: n units are 2 n numbers.
"""

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from emt.ops.recurrence import Cell, Recurrence

_threshold_backward = torch.ops.aten.threshold_backward


class AssociativeLSTMRun(NamedTuple):
    """What an associative LSTM did: ``hidden`` (member, batch, time, unit), ``cell`` (member, batch, time, copy, unit).

    Their units are numbers, two for each complex unit.
    """

    hidden: Tensor
    cell: Tensor


def associative_lstm_steps(
    x: Tensor,
    w_in: Tensor,
    w_rec: Tensor,
    bias: Tensor,
    permutations: Tensor,
    h0: Tensor | None = None,
    c0: Tensor | None = None,
    steps: int | None = None,
) -> AssociativeLSTMRun:
    """Equations (1) to (3), one step after the other; arguments and result as in :func:`associative_lstm`."""
    (members, batch, given, _), (copies, units) = x.shape, permutations.shape
    h = x.new_zeros(members, batch, 2 * units) if h0 is None else h0
    c = _to_complex(x.new_zeros(members, batch, copies, 2 * units) if c0 is None else c0)
    hidden, cells = [], []
    for t in range(given if steps is None else steps):
        a = h @ w_rec + bias.unsqueeze(1)
        if t < given:
            a = a + x[:, :, t] @ w_in
        f, i, o = torch.sigmoid(a[..., : 3 * units]).chunk(3, dim=-1)
        r_in, r_out, u = _bound(_to_complex(a[..., 3 * units :].unflatten(-1, (3, -1)))).unbind(-2)
        c = f.unsqueeze(-2) * c + r_in[..., permutations] * (i * u).unsqueeze(-2)
        h = _to_real(o * _bound((r_out[..., permutations] * c).mean(dim=-2)))
        hidden.append(h)
        cells.append(_to_real(c))
    return AssociativeLSTMRun(torch.stack(hidden, dim=2), torch.stack(cells, dim=2))


def associative_lstm(
    x: Tensor,
    w_in: Tensor,
    w_rec: Tensor,
    bias: Tensor,
    permutations: Tensor,
    h0: Tensor | None = None,
    c0: Tensor | None = None,
    steps: int | None = None,
) -> AssociativeLSTMRun:
    """Run an associative LSTM over a sequence; gradients are exact, once differentiable.

    Parameters
    ----------
    x
        Inputs (member, batch, time, in). They may cover only the first of ``steps`` steps; later inputs are
        zero.
    w_in, w_rec, bias
        Weights (member, in, 9 n), (member, 2 n, 9 n) and (member, 9 n), applied from the right, for n complex
        units: one number a unit for each of the three gates of (1), then two for each of the three keys and
        values.
    permutations
        P_s for each copy, integers (copy, n): unit k of P_s z is unit ``permutations[s, k]`` of z.
    h0, c0
        Hidden state (member, batch, 2 n) and cell (member, batch, copy, 2 n) before the first step; None
        means zero, and costs nothing.
    steps
        Number of steps, at least the number of inputs; None means the number of inputs.
    """
    kind, further = _cell_of(permutations), None if c0 is None else c0.flatten(2)
    no_readout, steps = w_rec[:, :, :0], x.shape[2] if steps is None else steps
    _, hidden, cell = Recurrence.apply(kind, steps, x, w_in, w_rec, no_readout, bias, None, h0, further)
    return AssociativeLSTMRun(hidden, cell.unflatten(-1, (len(permutations), -1)))


def _to_complex(values: Tensor) -> Tensor:
    return torch.complex(*values.chunk(2, dim=-1))


def _to_real(values: Tensor) -> Tensor:
    return torch.cat([values.real, values.imag], dim=-1)


def _bound(z: Tensor) -> Tensor:
    return z / z.abs().clamp(min=1)


class _AssociativeCell(Cell):
    """Equations (1) to (3) without complex numbers; ``carried`` is dL/dc.

    Blocks of numbers are seen as (…, part, unit, batch), the parts being real and imaginary. A permutation
    moves whole rows of a batch.
    """

    gates = 9 * (1.0,)
    states = 2
    copies: ClassVar[int]
    order: ClassVar[Tensor]
    """Rows of a vector of complex numbers in each copy's order, (copy · part · unit,)."""

    def __init__(self, buffers: Sequence[Tensor], first: Tensor | None, initial: Tensor | None) -> None:
        super().__init__(buffers, first, initial)
        hidden, cell, activated, keys, read = buffers
        gates, norms = activated.chunk(2, dim=2)
        self.open, self.norms = gates, norms.unflatten(2, (3, 1, -1))
        self.outputs, self.read = (buffer.unflatten(2, (2, -1)) for buffer in (hidden, read))
        self.keys, self.cell = keys.unflatten(2, (3, 2, -1)), cell.unflatten(2, (self.copies, 2, -1))
        # Keys in each copy's order are large: made again in the backward pass, always in the same place.
        self.turned = cell.new_empty(cell.shape[1], 2, *self.cell.shape[2:])
        self.products = torch.empty_like(self.cell[0])

    def forward(self, t: int, a: Tensor) -> None:
        (keys, read, h), before, c = (
            (b[t] for b in (self.keys, self.read, self.outputs)),
            self._before(t),
            self.cell[t],
        )
        rows = self.open.shape[2]
        torch.sigmoid(a[:, :rows], out=self.open[t])
        f, i, o = self._gates(t)
        _bound_parts(a[:, rows:].unflatten(1, keys.shape[1:4]), self.norms[t], out=keys)
        r_in, r_out = self._turn(keys)
        if before is None:
            c.zero_()
        else:
            torch.mul(before, f.unsqueeze(1), out=c)
        _add_product(c, r_in, (keys[:, 2] * i).unsqueeze(1))
        torch.mean(_add_product(self.products.zero_(), r_out, c), dim=1, out=read)
        _bound_parts(read, torch.empty_like(o), out=h)
        h.mul_(o)

    def backward(self, t: int, dh: Tensor, da: Tensor, *d_states: Tensor | None) -> None:
        (keys, read), before, c, (d_cell,) = (
            (self.keys[t], self.read[t]),
            self._before(t),
            self.cell[t],
            d_states,
        )
        f, i, o = self._gates(t)
        d_gates, d_keys = da.tensor_split([self.open.shape[2]], dim=1)
        df, di, do = d_gates.chunk(3, dim=1)

        dh, norm = dh.view_as(read), torch.empty_like(o)
        bounded = _bound_parts(read, norm, out=torch.empty_like(read))
        torch.sum(dh * bounded, dim=1, out=do)
        d_read = _bound_backward(dh * o, bounded, norm).div_(self.copies).unsqueeze(1)
        r_in, r_out = self._turn(keys)
        dc = torch.zeros_like(c) if self.carried is None else self.carried.view_as(c)
        if d_cell is not None:
            dc += d_cell.reshape(c.shape)
        _add_product(dc, r_out, d_read, conjugate=True)
        d_bounded = torch.zeros_like(keys)
        torch.sum(_add_product(self.products.zero_(), r_in, dc, conjugate=True), dim=1, out=d_bounded[:, 2])
        # Nothing asks for the keys any more: their place takes their gradients.
        self.turned.zero_()
        _add_product(r_out, c, d_read, conjugate=True)
        _add_product(r_in, (keys[:, 2] * i).unsqueeze(1), dc, conjugate=True)
        d_bounded[:, :2].flatten(2, 3).index_add_(2, self.order, self.turned.flatten(2, 4))

        torch.sum(d_bounded[:, 2] * keys[:, 2], dim=1, out=di)
        d_bounded[:, 2] *= i
        d_keys.copy_(_bound_backward(d_bounded, keys, self.norms[t]).view_as(d_keys))
        if before is None:
            df.zero_()
        else:
            torch.sum(torch.mul(dc, before, out=self.products), dim=(1, 2), out=df)
        torch.ops.aten.sigmoid_backward.grad_input(d_gates, self.open[t], grad_input=d_gates)
        self.carried = dc.mul_(f.unsqueeze(1)).flatten(1, 3)

    def _before(self, t: int) -> Tensor | None:
        """The cell before step ``t``; None where it is zero."""
        if t > 0:
            return self.cell[t - 1]
        return None if self.initial is None else self.initial.view_as(self.cell[0])

    def _gates(self, t: int) -> tuple[Tensor, ...]:
        """f, i and o, (member, 1, unit, batch) each."""
        return self.open[t].unsqueeze(1).chunk(3, dim=2)

    def _turn(self, keys: Tensor) -> tuple[Tensor, ...]:
        """Put r_in and r_out into each copy's order, (member, copy, part, unit, batch) each."""
        torch.index_select(keys[:, :2].flatten(2, 3), 2, self.order, out=self.turned.flatten(2, 4))
        return self.turned.unbind(1)


def _cell_of(permutations: Tensor) -> type[Cell]:
    """Return the cell with these permutations, (copy, n)."""
    copies, units = permutations.shape
    # States; gates and norms of the keys; keys and value; what is read.
    buffers = 1, copies, 3, 3, 1
    order = torch.cat([permutations, permutations + units], dim=1).flatten()
    return type(
        "_AssociativeCell", (_AssociativeCell,), {"copies": copies, "order": order, "buffers": buffers}
    )


def _add_product(total: Tensor, a: Tensor, b: Tensor, *, conjugate: bool = False) -> Tensor:
    """Add a ⊙ b, or ā ⊙ b, to ``total``; parts are the third axis from the end."""
    (real, imaginary), (a_real, a_imaginary), (b_real, b_imaginary) = (z.unbind(-3) for z in (total, a, b))
    sign = -1 if conjugate else 1
    real.addcmul_(a_real, b_real).addcmul_(a_imaginary, b_imaginary, value=-sign)
    imaginary.addcmul_(a_real, b_imaginary).addcmul_(a_imaginary, b_real, value=sign)
    return total


def _bound_parts(z: Tensor, norm: Tensor, out: Tensor) -> Tensor:
    """Put bound(z) into ``out`` and max(1, |z|) into ``norm``; parts are the third axis from the end."""
    real, imaginary = z.split(1, dim=-3)
    torch.mul(real, real, out=norm)
    norm.addcmul_(imaginary, imaginary).sqrt_().clamp_min_(1)
    return torch.div(z, norm, out=out)


def _bound_backward(gradient: Tensor, bounded: Tensor, norm: Tensor) -> Tensor:
    """dL/dz from dL/d bound(z): what is cut to length 1 only turns."""
    along = _threshold_backward((gradient * bounded).sum(dim=-3, keepdim=True), norm, 1)
    return gradient.addcmul(bounded, along, value=-1).div_(norm)
