"""Interventions on loaded members: all conditions are run on one batch, and scored (`emt.effects`)."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from emt import effects
from emt.acting import played_by
from emt.codes import Codes
from emt.errors import UserError
from emt.interventions.carried import Carried, Held
from emt.interventions.condition import Condition
from emt.interventions.conditions import check_conditions, default_conditions
from emt.interventions.edited import Edited
from emt.interventions.exchanged import Exchanged
from emt.interventions.kinds import KINDS
from emt.interventions.queries import Answers, Queries, answers_of, queries_of
from emt.interventions.recoded import Recoded, moving_names
from emt.interventions.scores import SCORES, Outcome
from emt.interventions.windows import Windows, windows_of
from emt.interventions.write_conditions import has_writes
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
    codes: Codes | None = None,
    partners: Held | None = None,
    seed: int = 0,
) -> xr.Dataset:
    """Run members with something changed, each condition on the same trials, and score their answers.

    Parameters
    ----------
    loaded
        The members.
    batch
        One batch, (1, batch, time, …), which every member sees. Where inputs depend on actions, those of one
        member: it acts, and is then run on what it saw.
    conditions
        What is changed; without it what the model and the task have of ``kinds``.
    about
        What the effects say of themselves beside model, task and conditions.
    kinds
        Kinds of conditions, where none are given.
    codes
        Of the task's variables in these members (`analysis.variables.results.VariableMemories.codes`); without
        them variables are not exchanged.
    partners
        What these and other members hold in this batch (`emt.interventions.carried.held_by`); without it
        variables are not exchanged between members.
    seed
        Of the draws of sources and queries.

    Returns
    -------
    Dataset
        As `emt.effects` has it.

    Raises
    ------
    UserError
        If the trials have no right answers, a condition is not one that these members can have, or codes are of
        other members or trials.

    Examples
    --------
    ``intervene(loaded, batch, [cut(8), Condition("memory lost", "shuffle", "memory", 8, cut(8).name)])``
    """
    batch = _played(loaded, batch)
    answers = answers_of(loaded.task, batch)
    queries = queries_of(batch, answers.judged, bool(loaded.model.memories), seed)
    windows = None if codes is None else _windows(loaded, batch, answers, codes)
    code_steps = [] if windows is None or codes is None else windows.steps(codes.length)
    inputs, context = to_tensors(loaded, batch)
    edited = Edited(loaded.model, inputs, context, batch, answers, queries, seed)
    if conditions is None:
        of_memories = {"writes", "reads"} & set(kinds) and has_writes(loaded.model, queries)
        erases = bool(of_memories) and edited.erases
        conditions = default_conditions(
            loaded.model, queries, answers.judged, kinds, erases, codes, code_steps, partners
        )
    check_conditions(conditions, loaded.model, queries, batch.steps, codes, code_steps, partners)
    exchanged = Exchanged(loaded, batch, inputs, context, answers, queries, seed)
    runners: dict[str, Exchanged | Edited | Recoded] = {"states": exchanged, "curve": exchanged}
    if windows is not None and codes is not None:
        given = (loaded.model, inputs, context, windows, answers, queries, codes, seed)
        runners["variables"] = Recoded(*given)
        if partners is not None:
            runners["members"] = Carried(partners, loaded.numbers, *given)
    outcomes = []
    with Progress("conditions", len(conditions)) as progress:
        for done, condition in enumerate(conditions, 1):
            outcomes.append(runners.get(condition.kind, edited).run(condition))
            progress.update(done)
    content = {
        **loaded.labels,
        "trials": batch.sequences,
        "accuracy": answers.rule,
        "chance": _chance(answers),
        "conditions": [condition.describe() for condition in conditions],
        **({} if codes is None else {"width": codes.width}),
        **(about or {}),
    }
    variables = _variables_of(outcomes, queries, codes)
    if partners is not None:
        places = [partners.place(number) for number in loaded.numbers]
        variables["held"] = partners.states[places].astype(np.float32)
    return effects.make(variables, loaded.numbers, content)


def _played(loaded: Loaded, batch: Batch) -> Batch:
    """Return a batch as a member plays it; one that waits for no actions, as it is.

    Raises
    ------
    UserError
        If several members should play it: each would see something else.
    """
    if batch.environment is not None and len(loaded.numbers) > 1:
        raise UserError(
            "expected one member, since inputs depend on what it does, or a batch that is played; "
            f"got {len(loaded.numbers)} members",
            parameter="loaded",
        )
    return played_by(loaded.model, batch)


def _variables_of(
    outcomes: Sequence[Outcome], queries: Queries, codes: Codes | None
) -> dict[str, NDArray[Any]]:
    """Return the variables of effects by name (`emt.effects`)."""
    each = {name: [one.scores[name] for one in outcomes] for name in SCORES}
    unknown = np.full_like(each["right"][0], np.nan)
    for name in ("linear_margin", "share"):
        each[name] = [one.scores.get(name, unknown) for one in outcomes]
    each["norm"] = [one.norm for one in outcomes]
    for name in ("rescaled", "read_error"):
        known = [getattr(one, name) for one in outcomes]
        each[name] = [unknown[:, 0] if one is None else one for one in known]
    variables: dict[str, NDArray[Any]] = {
        name: np.stack(arrays, axis=1).astype(np.float32) for name, arrays in each.items()
    }
    variables |= {name: np.stack([getattr(one, name) for one in outcomes]) for name in ("source", "lag")}
    variables |= {"sequence": queries.sequence, "step": queries.step, "item": queries.items[:, 0]}
    if codes is not None:
        variables |= {"basis": codes.basis.astype(np.float32), "reader": codes.reader.astype(np.float32)}
        variables["position"] = codes.positions
    return variables


def _windows(loaded: Loaded, batch: Batch, answers: Answers, codes: Codes) -> Windows:
    """Return the windows of a batch.

    Raises
    ------
    UserError
        If codes are of other members or trials.
    """
    state = loaded.model.zero_state(loaded.model.like.new_zeros(len(loaded.numbers), 1, 1))
    size = sum(state[name][0, 0].numel() for name in moving_names(loaded.model))
    expected = (len(loaded.numbers), size, len(codes.positions))
    if codes.basis.shape != expected or codes.reader.mT.shape != expected:
        raise UserError(
            f"expected Ψ (member, state, variable) of shape {expected}, and D its transpose; got "
            f"{codes.basis.shape} and {codes.reader.shape}",
            parameter="codes",
        )
    if answers.targets.shape[-1] != codes.width:
        raise UserError(
            f"expected an operator of {answers.targets.shape[-1]} targets; got {codes.width}",
            parameter="codes",
        )
    if batch.sequences < codes.fitted + 2:
        raise UserError(
            f"expected at least two trials beside the {codes.fitted} that codes come from; got {batch.sequences}",
            parameter="codes",
        )
    return windows_of(batch, answers, codes)


def _chance(answers: Answers) -> float:
    """Return the accuracy of always giving the commonest answer; of signs 0.5."""
    if answers.rule == "sign":
        return 0.5
    counts = np.bincount(answers.targets[answers.judged].argmax(axis=-1))
    return float(counts.max() / counts.sum())
