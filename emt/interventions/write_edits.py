"""What a condition changes of writes and reads, as edits of memories (`emt.ops.memory_edit`)."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emt.interventions.condition import Condition
from emt.interventions.donors import Donors, read_signs, read_weights
from emt.interventions.memories import Writes, writes_of
from emt.interventions.queries import Queries
from emt.models.base import Log, Model
from emt.models.memory_edits import MemoryEdit

Edits = dict[str, MemoryEdit]
Rows = NDArray[Any]


@dataclass(frozen=True)
class WriteEdits:
    """Makes the edits of conditions.

    Attributes
    ----------
    model
        The members.
    log
        Of the run without edits.
    queries
        Places whose answers are scored.
    """

    model: Model
    log: Log
    queries: Queries

    @cached_property
    def writes(self) -> dict[str, Writes]:
        """What the memories write without edits."""
        return writes_of(self.model, self.log)

    @cached_property
    def query_steps(self) -> Tensor:
        """Step of each sequence's query, (batch,); -1 without one."""
        sequences = next(iter(self.writes.values())).written.shape[1]
        steps = np.full(sequences, -1)
        steps[self.queries.sequence] = self.queries.step
        return torch.tensor(steps, device=self.model.like.device)

    @cached_property
    def weights(self) -> dict[str, Tensor]:
        """Weight of each write in its query's reads, by memory (`read_weights`); without undefined ones."""
        found = {
            name: read_weights(writes, self.query_steps, str(self.model.memories[name]["reads"]))
            for name, writes in self.writes.items()
        }
        return {name: weight for name, weight in found.items() if weight is not None}

    @cached_property
    def signs(self) -> dict[str, Tensor]:
        """Sign of each write in its query's read, by memory (`emt.interventions.donors.read_signs`)."""
        return {name: read_signs(weight) for name, weight in self.weights.items()}

    def shares(self, rows: Rows) -> Tensor:
        """Return the share of absolute weight that some writes (batch, time) have in the query's reads.

        (member, batch), the mean over memories, heads and reads; NaN where no memory has weights or nothing is read.
        """
        there = torch.tensor(rows, device=self.model.like.device).to(self.model.like)[:, :, None, None]
        found = [
            ((weight.abs() * there).sum(dim=2) / weight.abs().sum(dim=2)).flatten(2).mean(dim=-1)
            for weight in self.weights.values()
        ]
        if not found:
            return self.model.like.new_full((self.model.members, len(rows)), torch.nan)
        return torch.stack(found).mean(dim=0)

    def nothing(self) -> Edits:
        """Return the edits that change nothing: their run takes the form of computation that edited ones take."""
        return {name: MemoryEdit(scale=self._numbers(name, 1.0)) for name in self.writes}

    def scale(self, condition: Condition, rows: Rows) -> Edits:
        """Return the edits that make writes ``amount`` times as strong: for all that follows, or for some reads."""
        share = (1 - condition.amount) * torch.tensor(rows, device=self.model.like.device)
        edits = self.nothing()
        for name in self._of(condition):
            less = share.to(self.model.like).expand_as(self._numbers(name, 1.0))
            if condition.at == "write":
                edits[name] = MemoryEdit(scale=1 - less)
            else:
                edits[name] = edits[name]._replace(hide=less, blind=self._blind(name, condition.at))
        return self._held(condition, edits)

    def skip(self, condition: Condition, rows: Rows) -> Edits:
        """Return the edits that let writes neither write nor erase, or with "freeze" memories stay as they are."""
        there = torch.tensor(rows, device=self.model.like.device)
        steps = {name: there.expand(self._numbers(name, 1.0).shape) for name in self._of(condition)}
        edits = self.nothing()
        for name, silent in steps.items():
            edits[name] = edits[name]._replace(**{condition.edit: silent})
        return self._held(condition, edits)

    def swap(self, condition: Condition, rows: Rows, donors: Donors) -> Edits:
        """Return the edits that give writes the values of donors, or their keys, or both."""
        there, edits = torch.tensor(rows, device=self.model.like.device), self.nothing()
        aligned = donors if condition.aligned else Donors(donors.sequence, donors.step)
        for name in self._of(condition):
            if condition.edit != "swap key":
                value = aligned.values(name, self.writes[name].value)
                edits[name] = edits[name]._replace(value=self._as_logged(name, "write_value", value, there))
            if condition.edit != "swap":
                key = donors.given(self.writes[name].key)
                edits[name] = edits[name]._replace(key=self._as_logged(name, "write_key", key, there))
        return self._held(condition, edits)

    def add(self, at_query: Mapping[str, Tensor]) -> Edits:
        """Return the edits that add vectors (member, batch, …) by memory to the reads of queries."""
        edits, now = self.nothing(), self.query_steps.clamp(min=0)
        there = torch.arange(len(now), device=now.device)
        for name, vectors in at_query.items():
            added = torch.zeros_like(self.log[f"memory/{name}/read_value"])
            added[:, there, now] = vectors.to(added)
            edits[name] = edits[name]._replace(add=added)
        return edits

    def read_at_query(self, log: Log) -> dict[str, Tensor]:
        """Return what queries read by memory, (member, batch, …); 0 where nothing is read, or without a query."""
        found = {}
        for name in self.writes:
            values = self._at_query(log[f"memory/{name}/read_value"])
            assert values is not None
            read = torch.nan_to_num(values)
            asks = (self.query_steps >= 0).reshape(1, -1, *[1] * (read.ndim - 2))
            found[name] = read * asks
        return found

    def read_error(self, edits: Edits, log: Log) -> Tensor:
        """Return how far an edited run's reads are from what its log says of them, (member,); NaN if undefined.

        The log of an edited run is one of that run: Σ_i W_ti (1 − hide_i) v_i + add is what the query reads. The
        error is the largest, over the largest number read.
        """
        found = [self.query_steps.new_zeros(self.model.members).to(self.model.like)]
        at_query = self.read_at_query(log)
        for name, writes in writes_of(self.model, log).items():
            weight = read_weights(writes, self.query_steps, str(self.model.memories[name]["reads"]))
            if weight is None:
                found.append(torch.full_like(found[0], torch.nan))
                continue
            edit, blind = edits[name], self._at_query(edits[name].blind)
            if edit.hide is not None and blind is not None:
                weight = weight * (1 - edit.hide[..., None, None] * blind[:, :, None, None])
            added, read = self._at_query(edit.add), at_query[name]
            expected = torch.einsum("mbthr,mbthv->mbhrv", weight, writes.value).reshape(read.shape)
            expected = expected if added is None else expected + added
            asks = (self.query_steps >= 0).reshape(1, -1, *[1] * (read.ndim - 2))
            gap = ((expected - read) * asks).abs().flatten(1).amax(dim=1)
            found.append(gap / read.abs().flatten(1).amax(dim=1).clamp(min=torch.finfo(read.dtype).tiny))
        return torch.stack(found).amax(dim=0)

    def _at_query(self, values: Tensor | None) -> Tensor | None:
        """Return values (member, batch, time, …) at the step of each sequence's query, (member, batch, …)."""
        now = self.query_steps.clamp(min=0)
        return None if values is None else values[:, torch.arange(len(now), device=now.device), now]

    def _held(self, condition: Condition, edits: Edits) -> Edits:
        """Return edits that let memories be divided by what they are divided by without edits, if that is wanted."""
        if not condition.hold:
            return edits
        return {
            name: edit._replace(hold=1 / self.log[f"memory/{name}/write_keep"])
            for name, edit in edits.items()
        }

    def _of(self, condition: Condition) -> list[str]:
        return [condition.part] if condition.part in self.writes else list(self.writes)

    def _numbers(self, name: str, value: float) -> Tensor:
        """Return a number for each step, (member, batch, time)."""
        return self.model.like.new_full(self.writes[name].written.shape, value)

    def _blind(self, name: str, at: str) -> Tensor:
        """Return which reads are blind, (member, batch, time, read): at the query, before it, or all of them."""
        query = self.writes[name].query
        steps, asked = torch.arange(query.shape[2], device=query.device), self.query_steps[:, None]
        blind = {"query": steps == asked, "between": steps < asked, "reads": steps >= 0 * asked}[at]
        return blind.to(query)[None, :, :, None].expand(*query.shape[:3], query.shape[4])

    def _as_logged(self, name: str, variable: str, content: Tensor, there: Tensor) -> Tensor:
        """Return content with the axes of the log's variable, NaN elsewhere than at some writes (batch, time)."""
        logged = self.log[f"memory/{name}/{variable}"]
        at = there[None, :, :, *[None] * (logged.ndim - 3)]
        return torch.where(at, content.reshape(logged.shape), torch.nan)
