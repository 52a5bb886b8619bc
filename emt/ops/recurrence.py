"""Backpropagation through time by hand, for a whole population, whatever the cell.

A cell maps pre-activations ``a_t = x_t W_in + h_{t-1} W_rec + b`` to the next hidden state; a linear readout
gives ``y_t = h_t W_out + b_out``. W_rec may be narrower than W_in: the first pre-activations then have no
recurrent term. What makes this form fast, and keeps it exact:

- All is feature-major, ``(member, feature, batch)`` at each step, so products and gates are whole contiguous blocks.
- ``h_{t-1} W_rec`` and ``y_{t-1}`` are one product. So are the two terms of dL/dh_t, and the gradients of both weights.
- Zero states, absent biases and the silent steps after the last input cost nothing.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_MINUS_ONE = torch.tensor(-1.0)

_CACHED_BYTES = 2_500_000
"""Weights of members that are worked on together. Measured: 24 LSTM members of 128 units are 1.1 times as fast in
groups of 8 as all at once, and as in groups of 3."""


class Cell(ABC):
    """One kind of recurrent unit, with buffers (time, member, feature, batch) for what its backward pass needs.

    The gradient of h_{t-1} through the pre-activations of step t is found here, whatever the cell. A cell in
    which h_{t-1} also reaches h_t directly, as in h_t = (1 - z_t) n_t + z_t h_{t-1}, reads it by
    :meth:`previous`, and its ``backward`` sets ``direct`` at every step to the gradient along that path,
    dL/dh_t z_t, which is then added.

    Attributes
    ----------
    gates
        One factor for each of the equal blocks of pre-activations: 2 where the cell takes its tanh (see
        :func:`tanh_of_half`).
    buffers
        Blocks of units in each buffer. The first ``states`` buffers are results, the hidden state before all.
    first, initial
        The hidden state before the first step, and the state beside it (None: it is zero, or there is none).
    carried
        In the backward pass, the gradient of the state beside the hidden one.
    direct
        In the backward pass, the gradient of h_{t-1} that reaches it not through the pre-activations, in a
        tensor of its own; None in a cell without such a path.
    """

    gates: ClassVar[tuple[float, ...]]
    buffers: ClassVar[tuple[int, ...]]
    states: ClassVar[int] = 1

    def __init__(self, buffers: Sequence[Tensor], first: Tensor | None, initial: Tensor | None) -> None:
        """Take the buffers and both states before the first step, feature-major."""
        self.hidden = buffers[0]
        self.first = first
        self.initial = initial
        self.carried: Tensor | None = None
        self.direct: Tensor | None = None

    def previous(self, t: int) -> Tensor | None:
        """The hidden state before step ``t``; None where it is zero."""
        return self.hidden[t - 1] if t > 0 else self.first

    @abstractmethod
    def forward(self, t: int, a: Tensor) -> None:
        """Fill the buffers at step ``t`` from scaled pre-activations (member, gate and unit, batch), leaving those."""

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


class _Arguments(NamedTuple):
    """What `Recurrence` is applied to, in this order; in the backward pass, whether each is wanted, or its gradient."""

    kind: Any = None
    steps: Any = None
    x: Any = None
    w_in: Any = None
    w_rec: Any = None
    w_out: Any = None
    bias: Any = None
    b_out: Any = None
    h0: Any = None
    further: Any = None


class _Saved(NamedTuple):
    """What the backward pass needs beside the cell's buffers; states are feature-major."""

    inputs: Tensor
    w_in: Tensor
    w_rec: Tensor
    w_out: Tensor
    first: Tensor | None
    initial: Tensor | None


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

        block = w_in.shape[2] // len(kind.gates)
        scale = torch.cat([x.new_full((block,), factor) for factor in kind.gates])
        drive = _rows(scale * w_in, w_in.new_zeros(*w_in.shape[:2], width))
        weights = _rows(scale[len(scale) - w_rec.shape[2] :] * w_rec, w_out)
        offset = None
        if bias is not None or b_out is not None:
            upper = x.new_zeros(members, len(scale)) if bias is None else scale * bias
            lower = x.new_zeros(members, width) if b_out is None else b_out
            offset = torch.cat([upper, lower], dim=1).unsqueeze(2)
        for part in _parts(weights):
            cell = kind([b[:, part] for b in buffers], _at(first, part), _at(initial, part))
            _forward(cell, inputs[:, part], drive[part], weights[part], _at(offset, part), outputs[:, part])

        ctx.kind = kind
        ctx.save_for_backward(*_Saved(inputs, w_in, w_rec, w_out, first, initial), *buffers)
        ctx.set_materialize_grads(False)
        return outputs.permute(1, 3, 0, 2), *(b.permute(1, 3, 0, 2) for b in buffers[: kind.states])

    @staticmethod
    @once_differentiable
    def backward(  # noqa: D102 (described by torch)
        ctx: Any, d_outputs: Tensor | None, *d_states: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        count = len(_Saved._fields)
        saved, buffers = _Saved(*ctx.saved_tensors[:count]), ctx.saved_tensors[count:]
        wanted = _Arguments(*ctx.needs_input_grad)
        (members, units, width), (steps, _, _, batch) = saved.w_out.shape, buffers[0].shape
        rows, recurrent = saved.w_in.shape[2], saved.w_rec.shape[2]
        dy = saved.w_out.new_zeros(1).expand(steps, members, width, batch)
        if d_outputs is not None:
            dy = d_outputs.permute(2, 0, 3, 1)
        states = [None if d is None else d.permute(2, 0, 3, 1) for d in d_states]

        weights = torch.cat([saved.w_rec, saved.w_out], dim=2)
        d = _Gradients(
            weights=weights.new_zeros(members, recurrent + width, units),
            drive=weights.new_zeros(members, saved.w_in.shape[1], rows + width),
            bias=weights.new_zeros(members, rows) if wanted.bias else None,
            inputs=torch.empty_like(saved.inputs) if wanted.x else None,
            first=weights.new_empty(members, units, batch),
            initial=None if saved.initial is None or not wanted.further else torch.empty_like(saved.initial),
        )
        for part in _parts(weights):
            cell = ctx.kind([b[:, part] for b in buffers], _at(saved.first, part), _at(saved.initial, part))
            run = saved.inputs[:, part], saved.w_in[part], weights[part], dy[:, part]
            _backward(cell, *run, [None if s is None else s[:, part] for s in states], d.part(part))
        return _Arguments(
            x=None if d.inputs is None else d.inputs.permute(1, 3, 0, 2),
            w_in=d.drive[:, :, :rows],
            w_rec=d.weights[:, :recurrent].transpose(1, 2),
            w_out=d.weights[:, recurrent:].transpose(1, 2),
            bias=d.bias,
            b_out=dy.sum(dim=(0, 3)) if wanted.b_out else None,
            h0=d.first.transpose(1, 2) if wanted.h0 else None,
            further=None if d.initial is None else d.initial.transpose(1, 2),
        )


@dataclass(frozen=True)
class _Gradients:
    """Where the backward pass puts what it finds, feature-major; None where nobody asked.

    ``weights`` (member, gate and output, unit), ``drive`` (member, in, gate and output), ``bias`` (member,
    gate), ``inputs`` (time, member, in, batch), ``first`` and ``initial`` (member, unit, batch), each of its
    own units.
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
    outputs: Tensor,
) -> None:
    """Run all steps of some members; ``weights`` and ``offset`` hold recurrence and readout, one below the other.

    The first ``apart`` pre-activations have no recurrent term.
    """
    rows, apart = drive.shape[1] - outputs.shape[2], drive.shape[1] - weights.shape[1]
    a = outputs.new_empty(*drive.shape[:2], outputs.shape[3])
    lower = a[:, apart:]
    for t in range(len(outputs)):
        start = offset if t >= len(inputs) else _product(offset, drive, inputs[t], out=a)
        previous = cell.previous(t)
        if previous is not None:
            _product(_at(start, (slice(None), slice(apart, None))), weights, previous, out=lower)
        if apart and t == len(inputs):
            a[:, :apart] = 0 if offset is None else offset[:, :apart]
        if t > 0:
            outputs[t - 1] = a[:, rows:]
        cell.forward(t, a[:, :rows])
    readout = weights[:, rows - apart :]
    outputs[-1] = _product(_at(offset, (slice(None), slice(rows, None))), readout, cell.hidden[-1], out=None)


def _backward(
    cell: Cell,
    inputs: Tensor,
    w_in: Tensor,
    weights: Tensor,
    dy: Tensor,
    d_states: Sequence[Tensor | None],
    d: _Gradients,
) -> None:
    """Go back through all steps of some members; ``weights`` holds recurrence and readout side by side."""
    d_hidden, *d_further = d_states
    rows = w_in.shape[2]
    recurrent = weights.shape[2] - dy.shape[2]
    g = dy.new_zeros(len(weights), rows + dy.shape[2], dy.shape[3])
    da, lower, dh = g[:, :rows], g[:, rows - recurrent :], d.first

    # The last hidden state has a readout but no successor.
    g[:, rows:] = dy[-1]
    d.weights[:, recurrent:] = torch.bmm(g[:, rows:], cell.hidden[-1].transpose(1, 2))
    torch.bmm(weights[:, :, recurrent:], g[:, rows:], out=dh)
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
        previous = cell.previous(t)
        if previous is not None:
            g[:, rows:] = dy[t - 1] if t > 0 else 0
            _product(cell.direct, weights, lower, out=dh)
            d.weights.baddbmm_(lower, previous.transpose(1, 2))
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
