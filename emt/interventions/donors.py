"""Writes that give their values or keys to those of other sequences, and the sign that they are read with."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from emt.interventions.memories import Writes, product


@dataclass(frozen=True)
class Donors:
    """Writes of other sequences by the writes that get their content, (batch, time): sequence and step.

    With ``signs``, of weights in the query's read by memory (`read_signs`), values get the sign by which they are
    read as in their own sequence: v kᵀ = (−v)(−k)ᵀ, so the sign of a value says nothing without that of its key.
    """

    sequence: Tensor
    step: Tensor
    signs: Mapping[str, Tensor] | None = None

    def given(self, content: Tensor) -> Tensor:
        """Return for each write that of its donor, of what all write: (member, batch, time, …)."""
        return content[:, self.sequence, self.step]

    def values(self, name: str, value: Tensor) -> Tensor:
        """Return the values that writes of the memory of a name get, of values (member, batch, time, head, value)."""
        given = self.given(value)
        if self.signs is None or name not in self.signs:
            return given
        signs = self.signs[name]
        return given * (signs * self.given(signs)).unsqueeze(-1)


def read_signs(weight: Tensor) -> Tensor:
    """Return the sign of each write in the query's reads, (member, batch, time, head), of their weights.

    Of several reads that with the largest weight counts; a weight of zero has the sign 1.
    """
    largest = weight.abs().argmax(dim=-1, keepdim=True)
    sign = weight.gather(-1, largest).squeeze(-1).sign()
    return torch.where(sign == 0, torch.ones_like(sign), sign)


def read_weights(writes: Writes, query: Tensor, reads: str) -> Tensor | None:
    """Return the weight of each write in the query's reads, (member, batch, time, head, read); None if undefined.

    W_ti = c_i k_i · g with g = q_t led back through the steps between, g ← w ∘ g − b (y · g) x.

    Parameters
    ----------
    writes
        The log of a memory.
    query
        Step of each sequence's query, (batch,); -1 without one.
    reads
        Whether a step reads "before" or "after" its own write.
    """
    if writes.kind != "linear" or writes.by_entry:
        return None
    steps = writes.value.shape[2]
    at = query.clamp(min=0)
    asked = writes.query[:, torch.arange(len(at), device=at.device), at]
    whole = product(asked)
    led = torch.zeros_like(whole)
    weight = whole.new_zeros(*writes.strength.shape, whole.shape[-2])
    for step in reversed(range(steps)):
        key, c = writes.key_at(step).unsqueeze(-2), writes.strength[:, :, step, :, None]
        if reads == "after":
            led = torch.where((query == step)[None, :, None, None, None], whole, led)
        weight[:, :, step] = c * (key * led).sum(dim=-1)
        led = _led_back(writes, led, step)
        if reads == "before":
            led = torch.where((query == step)[None, :, None, None, None], whole, led)
    return weight


def _led_back(writes: Writes, led: Tensor, step: int) -> Tensor:
    keep, key = writes.keep[:, :, step].unsqueeze(-2), writes.key_at(step).unsqueeze(-2)
    look = keep * key if writes.look is None else writes.look[:, :, step].unsqueeze(-2)
    take = key if writes.take is None else writes.take[:, :, step].unsqueeze(-2)
    erased = writes.erase[:, :, step, :, None, None] * (take * led).sum(dim=-1, keepdim=True)
    return keep * led - erased * look
