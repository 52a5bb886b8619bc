"""Backpropagation through time by hand, for a whole population, whatever the cell.

A cell maps pre-activations ``a_t = x_t W_in + h_{t-1} W_rec + b`` to the next hidden state; a linear readout gives
``y_t = h_t W_out + b_out``. What makes this form fast, and keeps it exact:

- All is feature-major, ``(member, feature, batch)`` at each step, so products and gates are whole contiguous blocks.
- ``h_{t-1} W_rec`` and ``y_{t-1}`` are one product. So are the two terms of dL/dh_t, and the gradients of both weights.
- Zero states, absent biases and the silent steps after the last input cost nothing.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_MINUS_ONE = torch.tensor(-1.0)

_CACHED_BYTES = 2_500_000
"""Weights of members that are worked on together. Measured: 24 LSTM members of 128 units are 1.1 times as fast in
groups of 8 as all at once, and as in groups of 3."""


class Cell(ABC):
    """One kind of recurrent unit, with buffers (time, member, feature, batch) for what its backward pass needs.

    Attributes
    ----------
    gates
        One factor for each of the equal blocks of pre-activations: 2 where the cell takes its tanh (see
        :func:`tanh_of_half`).
    buffers
        Blocks of units in each buffer. The first ``states`` buffers are results, the hidden state before all.
    """

    gates: ClassVar[tuple[float, ...]]
    buffers: ClassVar[tuple[int, ...]]
    states: ClassVar[int] = 1

    def __init__(self, buffers: Sequence[Tensor], initial: Tensor | None) -> None:
        """Take the buffers, and the initial state beside the hidden one (None: it is zero, or there is none)."""
        self.hidden = buffers[0]
        self.initial = initial
        self.carried: Tensor | None = None
        """In the backward pass, the gradient of that state."""

    @abstractmethod
    def forward(self, t: int, a: Tensor) -> None:
        """Fill the buffers at step ``t`` from scaled pre-activations (member, gate and unit, batch)."""

    @abstractmethod
    def backward(self, t: int, dh: Tensor, da: Tensor, *d_states: Tensor | None) -> None:
        """Write the gradient of the unscaled pre-activations into ``da``, given that of step ``t``'s states."""


def tanh_of_half(doubled: Tensor, out: Tensor) -> None:
    """tanh(a) from 2a; on a CPU as 2 sigmoid(2a) - 1: MKL's tanh takes five times as long where it lacks AVX-512."""
    if out.device.type != "cpu":
        torch.tanh(torch.mul(doubled, 0.5, out=out), out=out)
        return
    torch.sigmoid(doubled, out=out)
    torch.add(_MINUS_ONE, out, alpha=2, out=out)


class Recurrence(torch.autograd.Function):
    """A recurrent network of one kind of cell with a linear readout: (outputs, hidden, further states)."""

    @staticmethod
    def forward(  # noqa: D102 (described by torch)
        ctx: Any,
        kind: type[Cell],
        steps: int,
        x: Tensor,
        w_in: Tensor,
        w_rec: Tensor,
        w_out: Tensor,
        bias: Tensor | None,
        b_out: Tensor | None,
        h0: Tensor | None,
        further: Tensor | None,
    ) -> tuple[Tensor, ...]:
        (members, batch, _, _), (units, width) = x.shape, w_out.shape[1:]
        inputs = x.permute(2, 0, 3, 1).contiguous()
        first, initial = (None if s is None else s.transpose(1, 2).contiguous() for s in (h0, further))
        buffers = [x.new_empty(steps, members, n * units, batch) for n in kind.buffers]
        outputs = x.new_empty(steps, members, width, batch)

        block = w_rec.shape[2] // len(kind.gates)
        scale = torch.cat([x.new_full((block,), factor) for factor in kind.gates])
        drive = _rows(scale * w_in, w_in.new_zeros(*w_in.shape[:2], width))
        weights = _rows(scale * w_rec, w_out)
        offset = None
        if bias is not None or b_out is not None:
            upper = x.new_zeros(members, len(scale)) if bias is None else scale * bias
            lower = x.new_zeros(members, width) if b_out is None else b_out
            offset = torch.cat([upper, lower], dim=1).unsqueeze(2)
        for part in _parts(weights):
            cell = kind([b[:, part] for b in buffers], _at(initial, part))
            run = inputs[:, part], drive[part], weights[part], _at(offset, part), _at(first, part)
            _forward(cell, *run, outputs[:, part])

        ctx.kind = kind
        ctx.save_for_backward(inputs, w_in, w_rec, w_out, first, initial, *buffers)
        ctx.set_materialize_grads(False)
        return outputs.permute(1, 3, 0, 2), *(b.permute(1, 3, 0, 2) for b in buffers[: kind.states])

    @staticmethod
    @once_differentiable
    def backward(  # noqa: D102 (described by torch)
        ctx: Any, d_outputs: Tensor | None, *d_states: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        inputs, w_in, w_rec, w_out, first, initial, *buffers = ctx.saved_tensors
        need_x, _, _, _, need_bias, need_b_out, need_h0, need_further = ctx.needs_input_grad[2:]
        (members, units, width), (steps, _, _, batch), rows = w_out.shape, buffers[0].shape, w_rec.shape[2]
        dy = w_out.new_zeros(1).expand(steps, members, width, batch)
        if d_outputs is not None:
            dy = d_outputs.permute(2, 0, 3, 1)
        states = [None if d is None else d.permute(2, 0, 3, 1) for d in d_states]

        weights = torch.cat([w_rec, w_out], dim=2)
        d = _Gradients(
            weights=w_out.new_zeros(members, rows + width, units),
            drive=w_out.new_zeros(members, w_in.shape[1], rows + width),
            bias=w_out.new_zeros(members, rows) if need_bias else None,
            inputs=torch.empty_like(inputs) if need_x else None,
            first=w_out.new_empty(members, units, batch),
            initial=torch.empty_like(initial) if need_further else None,
        )
        for part in _parts(weights):
            cell = ctx.kind([b[:, part] for b in buffers], _at(initial, part))
            run = inputs[:, part], w_in[part], weights[part], _at(first, part), dy[:, part]
            _backward(cell, *run, [None if s is None else s[:, part] for s in states], d.part(part))
        return (
            None,
            None,
            None if d.inputs is None else d.inputs.permute(1, 3, 0, 2),
            d.drive[:, :, :rows],
            d.weights[:, :rows].transpose(1, 2),
            d.weights[:, rows:].transpose(1, 2),
            d.bias,
            dy.sum(dim=(0, 3)) if need_b_out else None,
            d.first.transpose(1, 2) if need_h0 else None,
            None if d.initial is None else d.initial.transpose(1, 2),
        )


@dataclass(frozen=True)
class _Gradients:
    """Where the backward pass puts what it finds, feature-major; None where nobody asked.

    ``weights`` (member, gate and output, unit), ``drive`` (member, in, gate and output), ``bias`` (member, gate),
    ``inputs`` (time, member, in, batch), ``first`` and ``initial`` (member, unit, batch), each of its own units.
    """

    weights: Tensor
    drive: Tensor
    bias: Tensor | None
    inputs: Tensor | None
    first: Tensor
    initial: Tensor | None

    def part(self, part: slice) -> Self:
        """The same places, of some members."""
        inputs = None if self.inputs is None else self.inputs[:, part]
        bias, initial = _at(self.bias, part), _at(self.initial, part)
        return replace(
            self,
            weights=self.weights[part],
            drive=self.drive[part],
            bias=bias,
            inputs=inputs,
            first=self.first[part],
            initial=initial,
        )


def _forward(
    cell: Cell,
    inputs: Tensor,
    drive: Tensor,
    weights: Tensor,
    offset: Tensor | None,
    first: Tensor | None,
    outputs: Tensor,
) -> None:
    """Run all steps of some members; ``weights`` and ``offset`` hold recurrence and readout, one below the other."""
    rows = weights.shape[1] - outputs.shape[2]
    a = outputs.new_empty(*weights.shape[:2], outputs.shape[3])
    previous = first
    for t in range(len(outputs)):
        start = offset if t >= len(inputs) else _product(offset, drive, inputs[t], out=a)
        if previous is not None:
            _product(start, weights, previous, out=a)
        if t > 0:
            outputs[t - 1] = a[:, rows:]
        cell.forward(t, a[:, :rows])
        previous = cell.hidden[t]
    readout = _product(_at(offset, (slice(None), slice(rows, None))), weights[:, rows:], cell.hidden[-1], out=None)
    outputs[-1] = readout


def _backward(
    cell: Cell,
    inputs: Tensor,
    w_in: Tensor,
    weights: Tensor,
    first: Tensor | None,
    dy: Tensor,
    d_states: Sequence[Tensor | None],
    d: _Gradients,
) -> None:
    """Go back through all steps of some members; ``weights`` holds recurrence and readout side by side."""
    d_hidden, *d_further = d_states
    rows = weights.shape[2] - dy.shape[2]
    g = dy.new_zeros(len(weights), weights.shape[2], dy.shape[3])
    da, dh = g[:, :rows], d.first

    # The last hidden state has a readout but no successor.
    g[:, rows:] = dy[-1]
    d.weights[:, rows:] = torch.bmm(g[:, rows:], cell.hidden[-1].transpose(1, 2))
    torch.bmm(weights[:, :, rows:], g[:, rows:], out=dh)
    for t in reversed(range(len(dy))):
        if d_hidden is not None:
            dh += d_hidden[t]
        cell.backward(t, dh, da, *(None if s is None else s[t] for s in d_further))
        if d.bias is not None:
            d.bias.add_(da.sum(dim=2))
        if t < len(inputs):
            d.drive.baddbmm_(inputs[t], g.transpose(1, 2))
            if d.inputs is not None:
                torch.bmm(w_in, da, out=d.inputs[t])
        previous = cell.hidden[t - 1] if t > 0 else first
        if previous is not None:
            g[:, rows:] = dy[t - 1] if t > 0 else 0
            torch.bmm(weights, g, out=dh)
            d.weights.baddbmm_(g, previous.transpose(1, 2))
    if d.initial is not None and cell.carried is not None:
        d.initial.copy_(cell.carried)


def _parts(weights: Tensor) -> Iterator[slice]:
    """Groups of members that are worked on together: on a CPU, those whose weights fit into a core's cache."""
    members, groups = len(weights), 1
    if weights.device.type == "cpu":
        groups = min(members, -(-weights.numel() * weights.element_size() // _CACHED_BYTES))
    size = -(-members // groups)
    return (slice(start, min(start + size, members)) for start in range(0, members, size))


def _at(value: Tensor | None, index: Any) -> Tensor | None:
    return None if value is None else value[index]


def _product(start: Tensor | None, a: Tensor, b: Tensor, out: Tensor | None) -> Tensor:
    """``start + a @ b`` for each member, into ``out``, which may be ``start`` itself."""
    return torch.bmm(a, b, out=out) if start is None else torch.baddbmm(start, a, b, out=out)


def _rows(*weights: Tensor) -> Tensor:
    """Weights (member, in, out) side by side, one row for each output: (member, all outputs, in)."""
    return torch.cat(weights, dim=2).transpose(1, 2).contiguous()
