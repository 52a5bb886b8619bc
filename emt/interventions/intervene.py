"""Interventions on loaded members: all conditions are run on one batch, and scored (`emt.effects`)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from emt import effects
from emt.interventions.condition import Condition
from emt.interventions.conditions import check_conditions, default_conditions
from emt.interventions.exchanged import Exchanged
from emt.interventions.kinds import KINDS
from emt.interventions.queries import Answers, answers_of, queries_of
from emt.interventions.rewritten import Rewritten
from emt.interventions.scores import SCORES
from emt.progress import Progress
from emt.record import Loaded, to_tensors
from emt.tasks.base import Batch


def intervene(
    loaded: Loaded,
    batch: Batch,
    conditions: Sequence[Condition] | None = None,
    about: Mapping[str, Any] | None = None,
    *,
    kinds: Sequence[str] = KINDS,
    seed: int = 0,
) -> xr.Dataset:
    """Run members with something changed, each condition on the same trials, and score their answers.

    Parameters
    ----------
    loaded
        The members.
    batch
        One batch, (1, batch, time, …), which every member sees.
    conditions
        What is changed; without it what the model and the task have of ``kinds``.
    about
        What the effects say of themselves beside model, task and conditions.
    kinds
        Kinds of conditions, where none are given.
    seed
        Of the draws of sources and queries.

    Returns
    -------
    Dataset
        As `emt.effects` has it.

    Raises
    ------
    UserError
        If the trials have no right answers, or a condition is not one that these members can have.

    Examples
    --------
    ``intervene(loaded, batch, [cut(8), Condition("memory lost", "shuffle", "memory", 8, cut(8).name)])``
    """
    answers = answers_of(loaded.task, batch)
    queries = queries_of(batch, answers.judged, bool(loaded.model.memories), seed)
    if conditions is None:
        last_step = queries.last_step(answers.judged)
        conditions = default_conditions(loaded.model, queries, last_step, kinds)
    check_conditions(conditions, loaded.model, queries, batch.steps)
    inputs, context = to_tensors(loaded, batch)
    exchanged = Exchanged(loaded, batch, inputs, context, answers, queries, seed)
    rewritten = Rewritten(loaded.model, inputs, context, batch, answers, queries, seed)
    outcomes = []
    with Progress("conditions", len(conditions)) as progress:
        for done, condition in enumerate(conditions, 1):
            outcomes.append((exchanged if condition.kind == "states" else rewritten).run(condition))
            progress.update(done)
    variables: dict[str, NDArray[Any]] = {
        name: np.stack([one.scores[name] for one in outcomes], axis=1).astype(np.float32) for name in SCORES
    }
    variables |= {name: np.stack([getattr(one, name) for one in outcomes]) for name in ("source", "lag")}
    variables["norm"] = np.stack([one.norm for one in outcomes], axis=1).astype(np.float32)
    variables |= {"sequence": queries.sequence, "step": queries.step, "item": queries.items[:, 0]}
    content = {
        **loaded.labels,
        "trials": batch.sequences,
        "accuracy": answers.rule,
        "chance": _chance(answers),
        "conditions": [condition.describe() for condition in conditions],
        **(about or {}),
    }
    return effects.make(variables, loaded.numbers, content)


def _chance(answers: Answers) -> float:
    """Return the accuracy of always giving the commonest answer; of signs 0.5."""
    if answers.rule == "sign":
        return 0.5
    counts = np.bincount(answers.targets[answers.judged].argmax(axis=-1))
    return float(counts.max() / counts.sum())
