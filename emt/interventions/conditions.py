"""What is changed in a run: conditions, and those that make a sound answer without being asked for."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from emt.codes import Codes
from emt.errors import UserError, repeated
from emt.interventions.carried import Held, check_pair, pair_conditions
from emt.interventions.condition import UNCHANGED, Condition, after_text, cut, refusal
from emt.interventions.kinds import ALL_KINDS, KINDS, OF_VARIABLES
from emt.interventions.queries import Queries
from emt.interventions.states import parts_of
from emt.interventions.variable_conditions import (
    NO_CODES,
    NO_STEPS,
    check_variables,
    exchange_steps,
    spread,
    variable_conditions,
)
from emt.interventions.write_conditions import (
    check_write,
    check_writes,
    has_writes,
    missing_edits,
    read_conditions,
    write_conditions,
)
from emt.models.base import Model

MOST_STEPS = 16
"""Steps before which states are changed, without being asked for others."""

OFF_DISTRIBUTION = ("zero", "mean")
"""Edits after which a state may be one that networks have never been in."""


def default_conditions(
    model: Model,
    queries: Queries,
    judged: NDArray[np.bool_],
    kinds: Sequence[str] = KINDS,
    erases: bool = False,
    codes: Codes | None = None,
    code_steps: Sequence[int] = (),
    partners: Held | None = None,
) -> list[Condition]:
    """Return the conditions of these kinds that a model has; on writes and reads only where model and task can.

    Parameters
    ----------
    model, queries
        The members, and places whose answers are scored.
    judged
        Steps that enter the accuracy, (batch, time).
    kinds
        Kinds of conditions.
    erases
        Whether writes of the model's memories also erase.
    codes, code_steps
        Of variables, and steps at some of which they are exchanged.
    partners
        Members between which they are exchanged.

    Raises
    ------
    UserError
        If there is no such kind, or only one is asked for that the model or the task does not have.
    """
    if unknown := [kind for kind in kinds if kind not in ALL_KINDS]:
        raise UserError(f"must be of {', '.join(ALL_KINDS)}; got {unknown[0]}", parameter="kinds")
    conditions: list[Condition] = []
    on_memories = {"writes": write_conditions(model, queries, erases), "reads": read_conditions(queries)}
    for kind, found in on_memories.items():
        if kind in kinds and (tuple(kinds) == (kind,) or has_writes(model, queries)):
            check_writes(model, queries, kind)
            conditions += [condition for condition in found if not missing_edits(condition, model)]
    if conditions and UNCHANGED not in conditions:
        conditions.insert(0, UNCHANGED)
    if "states" in kinds:
        first = max(1, queries.first_step(judged))
        steps = sorted({*chosen_steps(queries.last_step(judged)), first})
        conditions += _state_conditions(model, steps, first)
    if {*kinds} <= {*OF_VARIABLES} and not code_steps:
        raise UserError(NO_CODES if codes is None else NO_STEPS, parameter="kinds")
    if "variables" in kinds and codes is not None:
        conditions += variable_conditions(codes, exchange_steps(code_steps))
    if "members" in kinds and partners is not None:
        conditions += pair_conditions(partners)
    return conditions


def chosen_steps(last_step: int, most: int = MOST_STEPS) -> list[int]:
    """Return after how many steps states are changed: all, or some at even distances, the last one included.

    >>> chosen_steps(4), chosen_steps(100, 4)
    ([1, 2, 3, 4], [1, 34, 67, 100])
    """
    return spread(range(1, last_step + 1), most)


def _state_conditions(model: Model, steps: Sequence[int], first: int) -> Iterator[Condition]:
    """Yield an exchange of each part of the state after some steps; that before the first query is one to test."""
    for after in steps:
        kind = "states" if after == first else "curve"
        base = replace(cut(after), kind=kind)
        yield base
        for part in parts_of(model):
            what = "state" if part == "all" else part
            yield Condition(f"shuffle {what} {after_text(after)}", "shuffle", part, after, base.name, kind)


def check_conditions(
    conditions: Sequence[Condition],
    model: Model,
    queries: Queries,
    steps: int,
    codes: Codes | None = None,
    code_steps: Sequence[int] = (),
    partners: Held | None = None,
) -> None:
    """Refuse conditions that a run of these members cannot have; the parameters are those of `default_conditions`.

    Raises
    ------
    UserError
        Naming the condition and what would do.
    """
    names = [condition.name for condition in conditions]
    if several := repeated(names):
        raise UserError(f"expected different names; got {several}", parameter="conditions")
    for condition in conditions:
        if condition.of_state:
            _check_state(condition, model, steps)
        elif condition.kind == "variables":
            check_variables(condition, codes, code_steps)
        elif condition.kind == "members":
            check_pair(condition, partners)
        else:
            check_writes(model, queries)
            check_write(condition, model)
        if condition.control and condition.control not in names:
            raise refusal(condition, "control", "the name of a condition", condition.control)


def _check_state(condition: Condition, model: Model, steps: int) -> None:
    parts = [*parts_of(model), *model.state_dims]
    known = ("unchanged", "shuffle", *OFF_DISTRIBUTION)
    if condition.part not in parts:
        raise refusal(condition, "part", f"one of {', '.join(parts)}", condition.part)
    if condition.edit not in known:
        raise refusal(condition, "edit", f"one of {', '.join(known)}", condition.edit)
    if not 1 <= condition.after < steps:
        raise refusal(condition, "after", f"1 to {steps - 1}, steps of the run", condition.after)
