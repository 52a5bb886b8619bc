"""Where a batch is scored, and what outputs are scored against: the right answers, and those of other sequences."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from emt.errors import UserError
from emt.tasks.base import ACCURACY, Batch, Task, one_hot

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Queries:
    """Places in a batch whose answers are scored.

    Attributes
    ----------
    sequence
        Place of each query on the batch axis, (query,).
    step
        Its step; -1 where all judged steps of the sequence count, (query,).
    items
        What it queries, (query, item), -1 after its last item.
    """

    sequence: NDArray[np.int64]
    step: NDArray[np.int64]
    items: NDArray[np.int64]

    def first_step(self, judged: NDArray[np.bool_]) -> int:
        """Return the first step that is scored, of steps that are judged (batch, time)."""
        whole = np.flatnonzero(judged.any(axis=0))
        return int(whole[0] if (self.step < 0).any() else self.step.min())

    def last_step(self, judged: NDArray[np.bool_]) -> int:
        """Return the last step that is scored, of steps that are judged (batch, time)."""
        whole = np.flatnonzero(judged.any(axis=0))
        return int(whole[-1] if (self.step < 0).any() else self.step.max())


@dataclass(frozen=True)
class Answers:
    """What outputs of a batch are scored against.

    Attributes
    ----------
    targets
        (batch, time, target).
    judged
        Steps that enter the accuracy, (batch, time).
    rule
        When an output is right, as a trace has it: by "sign" or "argmax".
    """

    targets: Array
    judged: NDArray[np.bool_]
    rule: Literal["sign", "argmax"]


def answers_of(task: Task, batch: Batch) -> Answers:
    """Return what outputs of a batch, one member wide, are scored against.

    Raises
    ------
    UserError
        If no step is judged: without right answers an intervention has no effect that could be counted.
    """
    judged = np.asarray(batch.judged_steps[0], dtype=bool)
    if not judged.any():
        raise UserError("interventions: expected trials with targets, against which answers are scored")
    known = batch.targets
    targets = known if known.ndim == 4 else one_hot(known, task.output_channels)
    return Answers(targets[0], judged, ACCURACY[task.loss])


def queries_of(batch: Batch, judged: NDArray[np.bool_], items: bool, seed: int) -> Queries:
    """Return a query of each sequence of a batch, one member wide.

    Parameters
    ----------
    batch
        The batch.
    judged
        Steps that enter the accuracy, (batch, time).
    items
        Whether steps that query written items are looked for: the first of consecutive ones that query the
        same; of several in a sequence one is drawn. Sequences without one are left out. Where the task has
        none, or without ``items``, all judged steps of a sequence count.
    seed
        Of this draw.
    """
    asked = event_items(batch.events, "asked", judged.shape)
    first = starts(asked) & judged & seen_before(asked, event_items(batch.events, "written", judged.shape))
    if not items or not first.any():
        rows = np.flatnonzero(judged.any(axis=1))
        return Queries(rows, np.full(len(rows), -1), np.full((len(rows), 1), -1))
    generator = np.random.default_rng(seed)
    rows = np.flatnonzero(first.any(axis=1))
    steps = np.array([generator.choice(np.flatnonzero(first[row])) for row in rows])
    return Queries(rows, steps, asked[rows, steps])


def event_items(
    events: Mapping[str, NDArray[np.int64]], name: str, shape: tuple[int, ...]
) -> NDArray[np.int64]:
    """Return an event of a batch one member wide, (batch, time, item); -1 where it is absent."""
    if name not in events:
        return np.full((*shape, 1), -1)
    event = np.asarray(events[name][0])
    return event if event.ndim == 3 else event[..., None]


def starts(asked: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return the steps that query items, (batch, time), but not the ones of the step before."""
    before = np.concatenate([np.full_like(asked[:, :1], -1), asked[:, :-1]], axis=1)
    return (asked >= 0).any(axis=-1) & (asked != before).any(axis=-1)


def seen_before(asked: NDArray[np.int64], written: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return the steps of which some item was written at an earlier one, (batch, time)."""
    found = np.zeros(asked.shape[:2], bool)
    for row in range(len(asked)):
        first: dict[int, int] = {}
        for step, items in enumerate(written[row].tolist()):
            for item in items:
                first.setdefault(item, step)
        for query in np.flatnonzero((asked[row] >= 0).any(axis=-1)).tolist():
            items = [item for item in asked[row, query].tolist() if item >= 0]
            found[row, query] = any(first.get(item, query) < query for item in items)
    return found
