"""Conditions on the state: parts of it get the content of another trial's, or none."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emt.interventions import states as edits
from emt.interventions.condition import Condition
from emt.interventions.driver import UneditedRun, run_between
from emt.interventions.queries import Answers, Array, Queries
from emt.interventions.scores import Outcome, score
from emt.interventions.states import StateEdit, parts_of
from emt.models.base import Context, Model
from emt.record import Loaded, to_array
from emt.streams import stream
from emt.tasks.base import Batch


class Exchanged:
    """Members and trials, parts of whose states are exchanged; runs are cut where that is done."""

    def __init__(
        self,
        loaded: Loaded,
        batch: Batch,
        inputs: Tensor,
        context: Context,
        answers: Answers,
        queries: Queries,
        seed: int,
    ) -> None:
        self.model: Model = loaded.model
        self.inputs, self.context = inputs, context
        self.steps, self.answers, self.queries, self.seed = batch.steps, answers, queries, seed
        self.shown = batch.padded_inputs(loaded.task.input_channels)[0]
        self.parts = parts_of(self.model)
        self.unedited = UneditedRun(self.model, inputs, context)

    def run(self, condition: Condition) -> Outcome:
        """Return the outcome of a condition, which is on no write."""
        after = condition.after
        rows = self._sources(after) if condition.edit == "shuffle" else None
        before = self.unedited.state(after)
        state = {**before, **self._edit(condition, rows)(before)}
        outputs, _ = run_between(self.model, self.inputs, self.context, state, after, self.steps)
        counterfactual = None if rows is None else self._answers_of(rows, after)
        scores = score(to_array(outputs), self.answers, self.queries, after, counterfactual)
        source = np.full(len(self.queries.sequence), -1) if rows is None else rows[self.queries.sequence]
        nothing = np.full(len(source), np.nan)
        return Outcome(scores, source, nothing, np.full(scores["right"].shape, np.nan))

    def _edit(self, condition: Condition, rows: NDArray[np.int64] | None) -> StateEdit:
        names = self.parts.get(condition.part, (condition.part,))
        if rows is not None:
            return edits.shuffle(names, torch.tensor(rows))
        if condition.edit == "unchanged":
            return edits.unchanged()
        return {"zero": edits.zero, "mean": edits.mean}[condition.edit](names)

    def _sources(self, after: int) -> NDArray[np.int64]:
        """Return for each sequence another one, the same for all parts of the state that are changed at a step."""
        order = stream("intervention", self.seed, "test", after).permutation(len(self.shown))
        rows = np.empty_like(order)
        rows[order] = np.roll(order, 1)
        return rows

    def _answers_of(self, rows: NDArray[np.int64], after: int) -> Array:
        """Return what sources answer, (batch, time, target); NaN where what comes after the change differs."""
        same = np.array([self._alike(row, source, after) for row, source in enumerate(rows.tolist())])
        return np.where(same[:, None, None], self.answers.targets[rows], np.nan)

    def _alike(self, row: int, source: int, after: int) -> bool:
        """Whether two sequences have the same inputs, context and judged steps after a number of steps."""
        pairs = [self.shown, self.answers.judged, *(to_array(c[0]) for c in self.context.values())]
        return all(np.array_equal(values[row, after:], values[source, after:]) for values in pairs)
