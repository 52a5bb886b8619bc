"""Runs in which writes of memories had held something else, by the state alone: no model needs to know of it.

A change comes right after a write (the *total* effect, with all that follows), or right before the query
(``at`` "query", the *direct* effect: whatever was read before, was read as it was), or between the two.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from emt.interventions.memories import Writes, product
from emt.interventions.states import StateEdit
from emt.models.base import State

NewValues = Callable[[Writes, int], Tensor | None]
"""Values (member, batch, head, value) that the writes of a step get instead of theirs; None: they are removed."""


@dataclass(frozen=True)
class Rewriting:
    """Other values for some writes.

    Attributes
    ----------
    memories
        What each memory wrote in the unedited run.
    rows
        Writes that change, (batch, time), bool.
    values
        What they hold instead, by the name of the memory.
    query
        Step of each sequence's query, (batch,).
    at
        When the memory changes: after the "write", before the "query", or "between": after the write, and
        back before the query.
    """

    memories: Mapping[str, Writes]
    rows: Tensor
    values: Callable[[str], NewValues]
    query: Tensor
    at: str = "write"

    def edits(self, cuts: int) -> dict[int, StateEdit]:
        """Return the edit of the state after each of the first ``cuts`` steps, by step."""
        changes = [_Change(self, writes, self.values(name)) for name, writes in self.memories.items()]
        return {after: _joined([c.edit(after) for c in changes]) for after in range(1, cuts + 1)}


def _joined(edits: list[StateEdit]) -> StateEdit:
    def edit(state: State) -> dict[str, Tensor]:
        changed: dict[str, Tensor] = {}
        for one in edits:
            changed |= one({**state, **changed})
        return changed

    return edit


class _Change:
    """The change of one memory, followed through the steps of the unedited run."""

    def __init__(self, rewriting: Rewriting, writes: Writes, values: NewValues) -> None:
        self.rewriting, self.writes, self.values = rewriting, writes, values
        self.followed: Tensor | None = None

    def edit(self, after: int) -> StateEdit:
        """Return the edit after a number of steps; those of earlier steps must have been made before."""
        kinds: dict[str, Callable[[State, int], dict[str, Tensor]]] = {
            "linear": self._linear,
            "dictionary": self._dictionary,
        }
        return lambda state: kinds[self.writes.kind](state, after)

    def _linear(self, state: State, after: int) -> dict[str, Tensor]:
        step, at = after - 1, self.rewriting.at
        new = self._new(step)
        now = (self.rewriting.query == after)[None, :, None, None, None].to(new)
        if at != "write":
            followed = new if self.followed is None else new + self.writes.advance(self.followed, step)
            self.followed = followed
            new = now * followed if at == "query" else new - now * followed
        return self.writes.add_to(state, new)

    def _new(self, step: int) -> Tensor:
        """Return what the writes of a step would have added instead, (member, batch, head, value, key)."""
        values = self.values(self.writes, step)
        own = self.writes.value[:, :, step]
        chosen = self.rewriting.rows[:, step].to(own)[None, :, None, None]
        goal = torch.zeros_like(own) if values is None else values
        return self.writes.change_at(step, own + chosen * (goal - own))

    def _dictionary(self, state: State, after: int) -> dict[str, Tensor]:
        """Return the dictionary in which the newest slot of the rows that wrote in the step before is changed."""
        step = after - 1
        wrote = self.writes.written[:, :, step] & self.rewriting.rows[:, step]
        values = self.values(self.writes, step)
        if values is None:
            # Slots fill from the last one on, so the others move up.
            return {name: _where(wrote, _moved_up(state[name]), state[name]) for name in self.writes.tensors}
        values_name = self.writes.tensors[2]
        slots = state[values_name].clone()
        new = values if slots.ndim == 5 else values.squeeze(2)
        slots[:, :, -1] = _where(wrote, new.to(slots), slots[:, :, -1])
        return {values_name: slots}


def _moved_up(slots: Tensor) -> Tensor:
    """Return slots (member, batch, slot, …) without the last one, behind an empty one."""
    return torch.cat([torch.zeros_like(slots[:, :, :1]), slots[:, :, :-1]], dim=2)


def _where(rows: Tensor, new: Tensor, old: Tensor) -> Tensor:
    """Return new values (member, batch, …) in some rows (member, batch)."""
    return torch.where(rows.reshape(*rows.shape, *[1] * (new.ndim - 2)), new, old)


def removed(writes: Writes, step: int) -> None:
    """Return None: the writes are removed."""


def scaled(amount: float) -> NewValues:
    """Return what makes each write ``amount`` times as strong; 0 removes it."""
    return removed if amount == 0 else (lambda writes, step: amount * writes.value[:, :, step])


def jolted(directions: Callable[[int], Tensor]) -> NewValues:
    """Return what adds another vector of its length to each value; directions (member, batch, head, value) by step."""

    def values(writes: Writes, step: int) -> Tensor:
        own, direction = writes.value[:, :, step], directions(step)
        length = own.norm(dim=-1, keepdim=True) / direction.norm(dim=-1, keepdim=True)
        return own + length * direction

    return values


@dataclass(frozen=True)
class Donors:
    """Writes of other sequences by the writes that get their values, (batch, time): sequence and step.

    ``align`` gives values the sign by which they are read as in their own sequence: v kᵀ = (−v)(−k)ᵀ, so the
    sign of a value says nothing without that of its key. Signs are of weights in the query's read.
    """

    sequence: Tensor
    step: Tensor
    signs: Mapping[str, Tensor] | None = None

    def values(self, name: str) -> NewValues:
        """Return the values for the memory of a name."""

        def given(writes: Writes, step: int) -> Tensor:
            sequence, there = self.sequence[:, step], self.step[:, step]
            value = writes.value[:, sequence, there]
            if self.signs is None or name not in self.signs:
                return value
            signs = self.signs[name]
            return value * (signs[:, :, step] * signs[:, sequence, there]).unsqueeze(-1)

        return given


def read_signs(writes: Writes, query: Tensor, reads: str) -> Tensor | None:
    """Return the sign with which each write is read at the query, (member, batch, time, head); None if undefined.

    W_ti = c_i k_i · g with g = q_t led back through the steps between, g ← w ∘ g − b (y · g) x. Of several
    reads that with the largest weight counts; a weight of zero has the sign 1.
    """
    if writes.kind != "linear" or isinstance(writes.kept, Tensor):
        return None
    steps = writes.value.shape[2]
    at = query.clamp(min=0)
    asked = writes.query[:, torch.arange(len(at)), at]
    whole = product(asked)
    led = torch.zeros_like(whole)
    weight = torch.zeros(*writes.strength.shape, whole.shape[-2], dtype=whole.dtype)
    for step in reversed(range(steps)):
        key, c = writes.key_at(step).unsqueeze(-2), writes.strength[:, :, step, :, None]
        if reads == "after":
            led = torch.where((query == step)[None, :, None, None, None], whole, led)
        weight[:, :, step] = c * (key * led).sum(dim=-1)
        led = _led_back(writes, led, step)
        if reads == "before":
            led = torch.where((query == step)[None, :, None, None, None], whole, led)
    largest = weight.abs().argmax(dim=-1, keepdim=True)
    sign = weight.gather(-1, largest).squeeze(-1).sign()
    return torch.where(sign == 0, torch.ones_like(sign), sign)


def _led_back(writes: Writes, led: Tensor, step: int) -> Tensor:
    keep, key = writes.keep[:, :, step].unsqueeze(-2), writes.key_at(step).unsqueeze(-2)
    look = keep * key if writes.look is None else writes.look[:, :, step].unsqueeze(-2)
    take = key if writes.take is None else writes.take[:, :, step].unsqueeze(-2)
    erased = writes.erase[:, :, step, :, None, None] * (take * led).sum(dim=-1, keepdim=True)
    return keep * led - erased * look
