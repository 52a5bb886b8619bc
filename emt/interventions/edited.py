"""Conditions on writes and reads: which of each sequence are changed, and what its answer should become."""

import copy
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emt.interventions.condition import Condition
from emt.interventions.donors import Donors
from emt.interventions.driver import shown
from emt.interventions.queries import Answers, Array, Queries
from emt.interventions.scores import SCORES, Outcome, score
from emt.interventions.targets import Mask, Targets, sources_of, targets_of
from emt.interventions.write_edits import Edits, WriteEdits
from emt.models.base import Context, Log, Model
from emt.models.memory_edits import context_with
from emt.record import to_array
from emt.streams import stream
from emt.tasks.base import Batch

EPSILON = 1e-3
"""The linear estimate is of edges 1 ± this, in float64."""


@dataclass(frozen=True)
class Edited:
    """Members and trials whose writes and reads are changed; all runs end with the last query."""

    model: Model
    inputs: Tensor
    context: Context
    batch: Batch
    answers: Answers
    queries: Queries
    seed: int

    @cached_property
    def edits(self) -> WriteEdits:
        """What makes edits of memories."""
        return WriteEdits(self.model, self._run({})[1], self.queries)

    @cached_property
    def targets(self) -> Targets:
        """The writes that queries are about."""
        mixes = max(int(rule.get("mixes", 1)) for rule in self.model.memories.values())
        return targets_of(self.batch, self.queries, mixes)

    @cached_property
    def written(self) -> Mask:
        """Steps at which some memory of some member writes, (query, time); none after the last query."""
        found = np.zeros((self.batch.sequences, self.targets.earlier.shape[1]), bool)
        for writes in self.edits.writes.values():
            there = to_array(writes.written).any(axis=0)
            found[:, : there.shape[1]] |= there
        return found[self.queries.sequence]

    @cached_property
    def right_answers(self) -> NDArray[np.int64]:
        """Number of the right answer of each query, (query,): equal answers have equal numbers."""
        targets = self.answers.targets[self.queries.sequence, self.queries.step]
        return np.unique(targets, axis=0, return_inverse=True)[1].ravel()

    @property
    def erases(self) -> bool:
        """Whether some write erases, so that one that is skipped is another thing than one of no strength."""
        return any(bool((writes.erase != 0).any()) for writes in self.edits.writes.values())

    def run(self, condition: Condition) -> Outcome:
        """Return the outcome of a condition, scores being means over its draws."""
        draws = [self._run_draw(condition, draw) for draw in range(condition.draws)]
        scores = {name: np.mean([one.scores[name] for one in draws], axis=0) for name in draws[0].scores}
        rescaled = np.mean([one.rescaled for one in draws if one.rescaled is not None], axis=0)
        errors = np.max([one.read_error for one in draws if one.read_error is not None], axis=0)
        return draws[0]._replace(scores=scores, rescaled=rescaled, read_error=errors)

    def _run_draw(self, condition: Condition, draw: int) -> Outcome:
        generator = stream(f"intervention.{condition.target}", self.seed, "test", draw)
        chosen = self._chosen(condition, generator)
        if condition.edit != "freeze":
            chosen = chosen & self.written
        source = np.full(len(self.queries.step), -1)
        if condition.source:
            source = self._sources(condition.source == "same answer")
            chosen = chosen & (source >= 0)[:, None]
        # Without such a write nothing is changed, and nothing can be said.
        missing = np.asarray(~chosen.any(axis=1) & (condition.edit != "unchanged"))
        members = self.model.members
        if missing.all():
            shape = (members, len(missing))
            scores = {name: np.full(shape, np.nan) for name in (*SCORES, "linear_margin", "share")}
            rescaled = error = np.full(members, np.nan)
        else:
            edits = self._edits_of(condition, chosen, source, generator)
            outputs, log = self._run(edits)
            wanted = self._wanted(source) if condition.source else None
            scores = score(outputs, self.answers, self.queries, 0, wanted)
            scores["linear_margin"] = self._linear_margin(condition, chosen)
            scores = {name: np.where(missing, np.nan, values) for name, values in scores.items()}
            rescaled, error = self._rescaled(log), to_array(self.edits.read_error(edits, log))
        known = np.where(source >= 0, self.queries.sequence[source], -1)
        scores["share"] = self._share(condition, chosen)
        return Outcome(scores, known, self.targets.lag(chosen), self._sizes(chosen), rescaled, error)

    def _run(self, edits: Edits, model: Model | None = None) -> tuple[Array, Log]:
        """Return the outputs up to the last query, (member, batch, time, output), and the log."""
        model, steps = model or self.model, int(self.queries.step.max()) + 1
        inputs = shown(self.inputs, 0, steps)
        inputs = inputs.to(model.like) if inputs.is_floating_point() else inputs
        context = {name: values[:, :, :steps] for name, values in self.context.items()}
        with torch.no_grad():
            outputs, _, log = model(inputs, None, steps, context_with(context, edits))
        return to_array(outputs), log

    def _edits_of(
        self, condition: Condition, chosen: Mask, source: NDArray[np.int64], generator: np.random.Generator
    ) -> Edits:
        edits, rows = self.edits, self._by_sequence(chosen)
        match condition.edit:
            case "unchanged":
                return edits.nothing()
            case "scale":
                return edits.scale(condition, rows)
            case "skip" | "freeze":
                return edits.skip(condition, rows)
            case "add":
                return edits.add(self._directions(self._found(condition, chosen), generator))
            case "give":
                return edits.add(self._exchanged(self._found(condition, chosen), source))
        return edits.swap(condition, rows, self._donors(chosen, source))

    def _found(self, condition: Condition, chosen: Mask) -> dict[str, Tensor]:
        """Return what queries read of chosen writes, (member, batch, …) by memory.

        Of a linear memory what they lose without them, W v; of a dictionary, which would return another value in
        their place, all that is read where that is another thing without them.
        """
        cut = Condition("", "scale", condition.part, target=condition.target, at="query")
        whole = self._read_unchanged
        rest = self.edits.read_at_query(self._run(self.edits.scale(cut, self._by_sequence(chosen)))[1])
        lost = {name: whole[name] - rest[name] for name in whole}
        return {
            name: loss
            if self.model.memories[name]["kind"] == "linear"
            else whole[name] * (loss != 0).any(dim=-1, keepdim=True)
            for name, loss in lost.items()
        }

    @cached_property
    def _read_unchanged(self) -> dict[str, Tensor]:
        """What queries read where edits change nothing, (member, batch, …) by memory."""
        return self.edits.read_at_query(self._run(self.edits.nothing())[1])

    def _directions(self, found: dict[str, Tensor], generator: np.random.Generator) -> dict[str, Tensor]:
        """Return vectors of the lengths of others, in directions that are drawn, the same in all members."""
        given = {}
        for name, own in found.items():
            drawn = torch.tensor(generator.standard_normal(own.shape[1:])).to(own)
            unit = drawn / drawn.norm(dim=-1, keepdim=True)
            given[name] = own.norm(dim=-1, keepdim=True) * unit
        return given

    def _exchanged(self, found: dict[str, Tensor], source: NDArray[np.int64]) -> dict[str, Tensor]:
        """Return what makes each query's read that of its source: what that finds, less what it finds itself."""
        rows = np.arange(self.batch.sequences)
        has = np.flatnonzero(source >= 0)
        rows[self.queries.sequence[has]] = self.queries.sequence[source[has]]
        return {name: own[:, torch.tensor(rows)] - own for name, own in found.items()}

    def _linear_margin(self, condition: Condition, chosen: Mask) -> Array:
        """Return the linear estimate of the change of margin where edges of queries are cut; NaN elsewhere."""
        linear = all(rule["kind"] == "linear" for rule in self.model.memories.values())
        if condition.edit != "scale" or condition.at != "query" or not linear:
            return np.full((self.model.members, len(chosen)), np.nan)
        margins = []
        for amount in (1 - EPSILON, 1 + EPSILON):
            edge = Condition("", "scale", condition.part, amount=amount, at="query", hold=condition.hold)
            edits = self._precise.scale(edge, self._by_sequence(chosen))
            outputs, _ = self._run(edits, self._precise.model)
            margins.append(score(outputs, self.answers, self.queries)["margin"])
        slope: Array = (margins[1] - margins[0]) / (2 * EPSILON)
        return (condition.amount - 1) * slope

    @cached_property
    def _precise(self) -> WriteEdits:
        """The members in float64."""
        model = copy.deepcopy(self.model).double()
        return WriteEdits(model, self._run({}, model)[1], self.queries)

    def _rescaled(self, log: Log) -> Array:
        """Return at which share of steps memories are divided by more than one, (member,); NaN without a norm."""
        if "hold" not in self.model.edits:
            return np.full(self.model.members, np.nan)
        keeps = [to_array(log[f"memory/{name}/write_keep"]) for name in self.model.memories]
        shares = [(keep < 1 - 1e-6).reshape(len(keep), -1).mean(axis=1) for keep in keeps]
        return np.mean(shares, axis=0)

    def _share(self, condition: Condition, chosen: Mask) -> Array:
        """Return the share of weight of chosen writes in the unedited reads, (member, query); NaN without any."""
        if condition.edit == "freeze" or not chosen.any():
            return np.full((self.model.members, len(chosen)), np.nan)
        shares = to_array(self.edits.shares(self._by_sequence(chosen)))[:, self.queries.sequence]
        return np.where(chosen.any(axis=1), shares, np.nan)

    def _sizes(self, chosen: Mask) -> Array:
        """Return the mean size of chosen writes, all memories together, (member, query); NaN without any."""
        chosen = chosen[:, : int(self.queries.step.max()) + 1]
        squares = sum(to_array(writes.norms()) ** 2 for writes in self.edits.writes.values())
        norms = np.sqrt(np.asarray(squares))[:, self.queries.sequence]
        count = chosen.sum(axis=1)
        total = (norms * chosen).sum(axis=2)
        return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)

    def _chosen(self, condition: Condition, generator: np.random.Generator) -> Mask:
        """Return the writes that a condition is on, (query, time)."""
        target, (queried, earlier) = condition.target, (self.targets.queried, self.targets.earlier)
        steps = np.arange(earlier.shape[1])
        if condition.edit == "freeze":
            return np.broadcast_to(steps >= condition.after, earlier.shape)
        if target.startswith("lag "):
            return earlier & (self.queries.step[:, None] - steps == int(target.removeprefix("lag ")))
        if target in ("other", "but other"):
            other = self.targets.other(generator)
            has = other.any(axis=1, keepdims=True)
            return other if target == "other" else earlier & ~other & has
        known = {"queried": queried, "but queried": earlier & ~queried, "all": earlier, "": earlier & False}
        return known[target]

    def _sources(self, same_answer: bool) -> NDArray[np.int64]:
        generator = stream("intervention.source", self.seed, "test", int(same_answer))
        return sources_of(self.targets.queried, self.right_answers, same_answer, generator)

    def _donors(self, chosen: Mask, source: NDArray[np.int64]) -> Donors:
        """Return which write gives its content to each chosen one: the sources' queried writes, in their order."""
        size, steps = self.batch.sequences, int(self.queries.step.max()) + 1
        sequence, step = np.tile(np.arange(size)[:, None], steps), np.tile(np.arange(steps), (size, 1))
        for query in np.flatnonzero((source >= 0) & chosen.any(axis=1)):
            row = self.queries.sequence[query]
            own = np.flatnonzero(chosen[query])
            theirs = np.flatnonzero(self.targets.queried[source[query]])
            # Windows of neighbouring items overlap, so that another item may have fewer writes to itself.
            own, theirs = own[: len(theirs)], theirs[: len(own)]
            sequence[row, own], step[row, own] = self.queries.sequence[source[query]], theirs
        return Donors(torch.tensor(sequence), torch.tensor(step), self.edits.signs)

    def _wanted(self, source: NDArray[np.int64]) -> Array:
        """Return the answers of sources, (batch, time, target), at the queries of those that get their content."""
        wanted = np.full(self.answers.targets.shape, np.nan)
        queries = self.queries
        for query in np.flatnonzero(source >= 0):
            there = source[query]
            given = self.answers.targets[queries.sequence[there], queries.step[there]]
            wanted[queries.sequence[query], queries.step[query]] = given
        return wanted

    def _by_sequence(self, chosen: Mask) -> Mask:
        """Return chosen writes by sequence, (batch, time), up to the last query."""
        rows = np.zeros((self.batch.sequences, chosen.shape[1]), bool)
        rows[self.queries.sequence] = chosen
        return rows[:, : int(self.queries.step.max()) + 1]
