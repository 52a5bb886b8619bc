"""Conditions on writes: which writes of each sequence get which values, and what its answer should become."""

from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emt.interventions.condition import Condition
from emt.interventions.driver import run_edited
from emt.interventions.memories import Writes, writes_of
from emt.interventions.queries import Answers, Array, Queries
from emt.interventions.scores import SCORES, Outcome, score
from emt.interventions.states import unchanged
from emt.interventions.targets import Mask, Targets, sources_of, targets_of
from emt.interventions.writes import Donors, Rewriting, jolted, read_signs, scaled
from emt.models.base import Context, Model
from emt.record import to_array
from emt.streams import stream
from emt.tasks.base import Batch


@dataclass(frozen=True)
class Rewritten:
    """Members and trials whose writes are changed; all runs are cut after every step up to the last query."""

    model: Model
    inputs: Tensor
    context: Context
    batch: Batch
    answers: Answers
    queries: Queries
    seed: int

    @cached_property
    def writes(self) -> dict[str, Writes]:
        """What the memories write in the unedited run."""
        with torch.no_grad():
            _, _, log = self.model(self.inputs, None, self.batch.steps, self.context)
        return writes_of(self.model, log)

    @cached_property
    def targets(self) -> Targets:
        """The writes that queries are about."""
        mixes = max(int(rule.get("mixes", 1)) for rule in self.model.memories.values())
        return targets_of(self.batch, self.queries, mixes)

    @cached_property
    def query_steps(self) -> Tensor:
        """Step of each sequence's query, (batch,); -1 without one."""
        steps = np.full(self.batch.sequences, -1)
        steps[self.queries.sequence] = self.queries.step
        return torch.tensor(steps)

    @cached_property
    def right_answers(self) -> NDArray[np.int64]:
        """Number of the right answer of each query, (query,): equal answers have equal numbers."""
        targets = self.answers.targets[self.queries.sequence, self.queries.step]
        return np.unique(targets, axis=0, return_inverse=True)[1].ravel()

    def run(self, condition: Condition) -> Outcome:
        """Return the outcome of a condition, scores being means over its draws."""
        draws = [self._run_draw(condition, draw) for draw in range(condition.draws)]
        scores = {name: np.mean([one.scores[name] for one in draws], axis=0) for name in SCORES}
        return draws[0]._replace(scores=scores)

    def _run_draw(self, condition: Condition, draw: int) -> Outcome:
        generator = stream(f"intervention.{condition.target}", self.seed, "test", draw)
        chosen = self._chosen(condition.target, generator)
        source = np.full(len(self.queries.step), -1)
        if condition.edit == "swap":
            source = self._sources(condition.source == "same answer")
            chosen = chosen & (source >= 0)[:, None]
        cuts = int(self.queries.step.max())
        edits = dict.fromkeys(range(1, cuts + 1), unchanged())
        if condition.edit != "unchanged":
            edits = self._rewriting(condition, chosen, source).edits(cuts)
        outputs, _ = run_edited(self.model, self.inputs, self.batch.steps, self.context, edits)
        wanted = self._wanted(source) if condition.edit == "swap" else None
        scores = score(to_array(outputs), self.answers, self.queries, 0, wanted)
        # Without such a write nothing was changed, and nothing can be said.
        missing = (condition.edit != "unchanged") & ~chosen.any(axis=1)
        scores = {name: np.where(missing, np.nan, values) for name, values in scores.items()}
        known = np.where(source >= 0, self.queries.sequence[source], -1)
        return Outcome(scores, known, self.targets.lag(chosen), self._sizes(chosen))

    def _sizes(self, chosen: Mask) -> Array:
        """Return the mean size of chosen writes, all memories together, (member, query); NaN without any."""
        squares = sum(to_array(writes.norms()) ** 2 for writes in self.writes.values())
        norms = np.sqrt(np.asarray(squares))[:, self.queries.sequence]
        count = chosen.sum(axis=1)
        total = (norms * chosen).sum(axis=2)
        return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)

    def _chosen(self, target: str, generator: np.random.Generator) -> Mask:
        """Return the writes that a condition is on, (query, time)."""
        queried, earlier = self.targets.queried, self.targets.earlier
        if target.startswith("lag "):
            steps = np.arange(earlier.shape[1])
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

    def _rewriting(self, condition: Condition, chosen: Mask, source: NDArray[np.int64]) -> Rewriting:
        rows = torch.tensor(self._by_sequence(chosen))
        memories = self.writes
        if condition.part in memories:
            memories = {condition.part: memories[condition.part]}
        if condition.edit == "swap":
            values = self._donors(condition, chosen, source).values
        elif condition.edit == "jolt":
            values = lambda name: jolted(partial(self._directions, name))  # noqa: E731
        else:
            values = lambda name: scaled(condition.amount)  # noqa: E731
        return Rewriting(memories, rows, values, self.query_steps, condition.at)

    def _directions(self, name: str, step: int) -> Tensor:
        own = self.writes[name].value[:, :, step]
        generator = stream(f"intervention.direction.{name}", self.seed, "test", step)
        return torch.tensor(generator.standard_normal(own.shape[1:]))[None].to(own).expand_as(own)

    def _donors(self, condition: Condition, chosen: Mask, source: NDArray[np.int64]) -> Donors:
        """Return which write gives its value to each chosen one: the sources' queried writes, in their order."""
        size, steps = self.batch.sequences, chosen.shape[1]
        sequence, step = np.tile(np.arange(size)[:, None], steps), np.tile(np.arange(steps), (size, 1))
        for query in np.flatnonzero((source >= 0) & chosen.any(axis=1)):
            row = self.queries.sequence[query]
            own = np.flatnonzero(chosen[query])
            sequence[row, own] = self.queries.sequence[source[query]]
            step[row, own] = np.flatnonzero(self.targets.queried[source[query]])
        return Donors(torch.tensor(sequence), torch.tensor(step), self.signs if condition.aligned else None)

    @cached_property
    def signs(self) -> dict[str, Tensor]:
        """Sign of each write in its query's read, by memory (`emt.interventions.writes.read_signs`)."""
        found = {
            name: read_signs(writes, self.query_steps, str(self.model.memories[name]["reads"]))
            for name, writes in self.writes.items()
        }
        return {name: signs for name, signs in found.items() if signs is not None}

    def _wanted(self, source: NDArray[np.int64]) -> Array:
        """Return the answers of sources, (batch, time, target), at the queries of those that get their values."""
        wanted = np.full(self.answers.targets.shape, np.nan)
        queries = self.queries
        for query in np.flatnonzero(source >= 0):
            there = source[query]
            given = self.answers.targets[queries.sequence[there], queries.step[there]]
            wanted[queries.sequence[query], queries.step[query]] = given
        return wanted

    def _by_sequence(self, chosen: Mask) -> Mask:
        rows = np.zeros((self.batch.sequences, chosen.shape[1]), bool)
        rows[self.queries.sequence] = chosen
        return rows
