"""A network of three layers as a memory, which an LSTM writes and reads at every step (see `emt.models.mnm`).

Nothing of it is parallel in time: what is read enters the next step, and both reads and writes pass through tanh.
Of a training step only the states at every `KEPT`-th step are kept; the steps between are run again on the way back,
since each has three matrices for each row.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from emt.ops.memory_edit import MemoryEdit

LAYERS = 3

KEPT = 20
"""Steps between two states that are kept for the way back."""


class Weights(NamedTuple):
    """Slow weights, each applied from the right, (member, in, out) or (member, out).

    ``recurrent`` of [h, recalled] to the LSTM's gates; ``interact`` of h to the rate vector and each head's write key,
    write value and read key; ``rate`` of the rate vector to β; ``target`` of a value to the targets of all layers;
    ``memory`` the memory's first weights.
    """

    recurrent: Tensor
    interact: tuple[Tensor, Tensor]
    rate: tuple[Tensor, Tensor]
    target: tuple[Tensor, Tensor]
    memory: tuple[Tensor, ...]


class Memory(NamedTuple):
    """States: h and c (member, batch, unit), what was recalled (member, batch, value), and the memory.

    ``layers`` hold what is added to the first weights of each, (member, batch, value, key).
    """

    hidden: Tensor
    cell: Tensor
    recalled: Tensor
    layers: tuple[Tensor, ...]


class Step(NamedTuple):
    """What a step did: its states, its meta loss (member, batch), β, and what each layer wrote and read."""

    hidden: Tensor
    cell: Tensor
    recalled: Tensor
    miss: Tensor
    strength: Tensor
    keys: Tensor
    values: Tensor
    queries: Tensor
    reads: Tensor


def neural_memory(
    weights: Weights,
    drive: Tensor,
    start: Memory,
    writes: Tensor | None,
    edits: Sequence[MemoryEdit | None] = (None,) * LAYERS,
    kept: int = KEPT,
) -> tuple[Step, Memory]:
    """Run the LSTM and its memory.

    Parameters
    ----------
    weights, start
        See `Weights` and `Memory`.
    drive
        What inputs add to the LSTM's gates, (member, batch, time, 4 unit).
    writes
        Steps that write, (member, batch, time); None: all.
    edits
        What is changed of each layer's writes and reads; of one head only.
    kept
        Steps between two states that are kept for the way back.

    Returns
    -------
    run, last
        Each entry (member, batch, time, …); keys, values, queries and reads of the layers (member, batch, time,
        layer, head, channel), reads without the share of the first weights. And the states after the last step.
    """
    pieces, state, hidden = [], start, _nothing_hidden(start, edits)
    for first in range(0, drive.shape[2], kept):
        steps = range(first, min(first + kept, drive.shape[2]))
        call = weights, drive, state, writes, edits, hidden, steps
        if torch.is_grad_enabled() and drive.shape[2] > kept:
            part, state, hidden = checkpoint(_run, *call, use_reentrant=False, preserve_rng_state=False)
        else:
            part, state, hidden = _run(*call)
        pieces.append(part)
    return Step(*(torch.cat(parts, dim=2) for parts in zip(*pieces, strict=True))), state


def _nothing_hidden(start: Memory, edits: Sequence[MemoryEdit | None]) -> list[Tensor | None]:
    return [
        torch.zeros_like(layer) if edit is not None and edit.hide is not None else None
        for layer, edit in zip(start.layers, edits, strict=True)
    ]


def _run(
    weights: Weights,
    drive: Tensor,
    state: Memory,
    writes: Tensor | None,
    edits: Sequence[MemoryEdit | None],
    hidden: list[Tensor | None],
    steps: range,
) -> tuple[Step, Memory, list[Tensor | None]]:
    """Run some steps; ``hidden`` is what blind reads miss of each layer."""
    done = []
    for t in steps:
        now = [None if edit is None else edit.at(t) for edit in edits]
        there = None if writes is None else writes[:, :, t]
        step, state, hidden = _step(weights, drive[:, :, t], state, there, now, hidden)
        done.append(step)
    return Step(*(torch.stack(parts, dim=2) for parts in zip(*done, strict=True))), state, hidden


def _step(
    weights: Weights,
    drive: Tensor,
    state: Memory,
    there: Tensor | None,
    edits: Sequence[MemoryEdit | None],
    hidden: list[Tensor | None],
) -> tuple[Step, Memory, list[Tensor | None]]:
    gates = torch.baddbmm(drive, torch.cat([state.hidden, state.recalled], dim=-1), weights.recurrent)
    entry, forget, new, out = gates.chunk(4, dim=-1)
    c = torch.sigmoid(forget) * state.cell + torch.sigmoid(entry) * new.tanh()
    h = torch.sigmoid(out) * c.tanh()
    size = state.recalled.shape[-1]
    together = _affine(h, weights.interact).tanh()
    rate, heads = together[..., :size], together[..., size:].unflatten(-1, (-1, 3, size))
    key, value, query = heads.unbind(3)
    beta = torch.sigmoid(_affine(rate, weights.rate)).squeeze(-1)
    strength = 2 * beta / (key.shape[2] * size)
    strength = strength if there is None else strength * there
    keys, found = _forward(key, state.layers, weights.memory)
    targets = _affine(value.flatten(1, 2), weights.target).unflatten(1, value.shape[1:3])
    errors = [g - a for g, a in zip(targets.chunk(LAYERS, dim=-1), found, strict=True)]
    layers, written, hidden = _write(state.layers, keys, errors, strength, edits, hidden)
    asked, reads, recalled = _read(query, layers, weights.memory, edits, hidden)
    miss = (_forward(key, layers, weights.memory)[1][-1] - value).square().mean(dim=(2, 3))
    step = Step(h, c, recalled, miss, strength, *written, torch.stack(asked, 2), torch.stack(reads, 2))
    return step, Memory(h, c, recalled, tuple(layers)), hidden


def _affine(x: Tensor, parts: tuple[Tensor, Tensor]) -> Tensor:
    return torch.baddbmm(parts[1].unsqueeze(1), x, parts[0])


def _forward(
    key: Tensor, layers: Sequence[Tensor], first: Sequence[Tensor]
) -> tuple[list[Tensor], list[Tensor]]:
    """Return what each layer is given and what it makes of it, (member, batch, head, channel) each."""
    given, made = [], []
    for place, (layer, base) in enumerate(zip(layers, first, strict=True)):
        given.append(key)
        # Two products: what is written is much smaller at first than what it is added to.
        key = _of_first(key, base) + key @ layer.mT
        key = key if place == LAYERS - 1 else key.tanh()
        made.append(key)
    return given, made


def _of_first(key: Tensor, weight: Tensor) -> Tensor:
    """Return keys (member, batch, head, key) times the first weights (member, key, value) of a layer."""
    return torch.bmm(key.flatten(1, 2), weight).unflatten(1, key.shape[1:3])


def _write(
    layers: Sequence[Tensor],
    keys: list[Tensor],
    values: list[Tensor],
    strength: Tensor,
    edits: Sequence[MemoryEdit | None],
    hidden: list[Tensor | None],
) -> tuple[list[Tensor], tuple[Tensor, Tensor], list[Tensor | None]]:
    """Return the layers after a write, with what was written and what blind reads miss of it."""
    left, missed = [], []
    keys, values = list(keys), list(values)
    for place, (layer, edit, unseen) in enumerate(zip(layers, edits, hidden, strict=True)):
        amount = strength
        if edit is not None:
            keys[place] = edit.key_of(keys[place].squeeze(2)).unsqueeze(2)
            values[place] = edit.value_of(values[place].squeeze(2)).unsqueeze(2)
            amount = strength if edit.silent is None else strength.masked_fill(edit.silent, 0.0)
        added = (amount[..., None, None] * values[place]).mT @ keys[place]
        left.append(layer + added)
        hide = None if edit is None else edit.hide
        missed.append(None if unseen is None or hide is None else unseen + hide[..., None, None] * added)
    return left, (torch.stack(keys, 2), torch.stack(values, 2)), missed


def _read(
    query: Tensor,
    layers: Sequence[Tensor],
    first: Sequence[Tensor],
    edits: Sequence[MemoryEdit | None],
    hidden: list[Tensor | None],
) -> tuple[list[Tensor], list[Tensor], Tensor]:
    """Return queries and reads of each layer, (member, batch, head, channel), and what all heads recall on average."""
    asked, reads = [], []
    for place, (layer, base, edit, unseen) in enumerate(zip(layers, first, edits, hidden, strict=True)):
        asked.append(query)
        own, read = _of_first(query, base), query @ layer.mT
        if edit is not None:
            missed = None if unseen is None else (query @ unseen.mT).squeeze(2)
            read = edit.read(read.squeeze(2), missed).unsqueeze(2)
        reads.append(read)
        query = own + read
        query = query if place == LAYERS - 1 else query.tanh()
    return asked, reads, query.mean(dim=2)
