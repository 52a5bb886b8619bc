"""Conditions on variables that make a sound answer together, and which variables and directions they name."""

import re
from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from emt.codes import Codes, is_grid
from emt.errors import UserError
from emt.interventions.condition import Condition, refusal

MOST_STEPS = 8
"""Steps before which variables are exchanged, without being asked for others."""

DRAWS = 10
"""Draws of random directions."""

TARGETS = {
    "unchanged": ("", "own"),
    "set": ("own", "next slot", "random", "unit", "scalar"),
    "swap": ("own", "next slot", "random", "but own", "pinv"),
}
"""Directions that the state may move in, by edit."""

NO_CODES = "variables: expected codes of the task's variables (analysis.find_variables(recording).codes())"

NO_STEPS = (
    "variables: expected steps at which all trials hold a whole window and go on to answer by themselves"
)

_PART = re.compile(r"slot ([0-9]+)|bit ([0-9]+)\.([0-9]+)")


def columns_of(part: str, codes: Codes) -> NDArray[np.intp] | None:
    """Return the places of a part's variables among all; None if there is no such part."""
    if part == "all":
        return np.arange(len(codes.positions))
    if not (named := _PART.fullmatch(part)):
        return None
    slot = int(named[1] or named[2]) - 1
    chosen = codes.positions // codes.width == slot
    if named[3]:
        chosen &= codes.positions % codes.width == int(named[3]) - 1
    return np.flatnonzero(chosen) if chosen.any() else None


def check_variables(condition: Condition, codes: Codes | None, steps: Sequence[int]) -> None:
    """Refuse a condition on variables that cannot be.

    Parameters
    ----------
    condition
        The condition.
    codes
        Of the members, or None.
    steps
        After how many steps all trials hold a whole window and go on by themselves.

    Raises
    ------
    UserError
        Naming the condition and what would do.
    """
    if codes is None:
        raise UserError(NO_CODES, parameter="codes")
    if condition.edit not in TARGETS:
        raise refusal(condition, "edit", f"one of {', '.join(TARGETS)}", condition.edit)
    if condition.target not in TARGETS[condition.edit]:
        known = ", ".join(filter(None, TARGETS[condition.edit]))
        raise refusal(condition, "target", f"one of {known}", condition.target)
    if columns_of(condition.part, codes) is None:
        slots = ", ".join(str(slot + 1) for slot in codes.slots)
        raise refusal(condition, "part", f"all, slot N or bit N.K with N of {slots}", condition.part)
    if condition.after not in steps:
        known = ", ".join(map(str, steps)) or "none in these trials"
        raise refusal(
            condition,
            "after",
            f"a step with whole windows before and answers after: {known}",
            condition.after,
        )


def variable_conditions(codes: Codes, steps: Sequence[int]) -> Iterator[Condition]:
    """Yield the conditions on the middle slot after each of some steps, at the middle one also on a bit and on all."""
    middle = int(codes.slots[len(codes.slots) // 2])
    inside = codes.positions[codes.positions // codes.width == middle]
    slot = f"slot {middle + 1}"
    bit = f"bit {middle + 1}.{int(inside[0]) % codes.width + 1}"
    middle_after = middle_step(steps) if steps else 0
    for after in steps:
        base = _condition("unchanged", "all", "", after)
        yield base
        # A bit and all variables at the step that is told; they cost as many random draws as the slot.
        for part, edit in product((bit, slot, "all") if after == middle_after else (slot,), ("set", "swap")):
            yield (random := _condition(edit, part, "random", after, draws=DRAWS))
            yield _condition(edit, part, "own", after, random.name)
        yield _condition("swap", slot, "pinv", after)
        if (codes.moved_on()[columns_of(slot, codes)] >= 0).all():
            yield _condition("set", slot, "next slot", after)
        yield _condition("swap", "all", "but own", after, base.name)
    if steps and len(codes.slots) > 1 and is_grid(codes.positions, codes.width):
        # The nearest such code may be exact in one slot, so that all are asked.
        for number, strength in product(codes.slots, ("unit", "scalar")):
            yield _condition("set", f"slot {number + 1}", strength, middle_after)


def exchange_steps(code_steps: Sequence[int]) -> list[int]:
    """Return the steps at which variables are exchanged, of those at which they can be."""
    return spread(code_steps, MOST_STEPS)


def spread(steps: Sequence[int], most: int) -> list[int]:
    """Return all of some steps, or as many of them at even distances, the first and the last included."""
    if len(steps) <= most:
        return list(steps)
    return [steps[round(place * (len(steps) - 1) / (most - 1))] for place in range(most)]


def middle_step(steps: Sequence[int]) -> int:
    """Return the step at which results are told, of those after which variables are exchanged, fixed beforehand."""
    return sorted(steps)[len(steps) // 2]


_WHERE = {
    "own": "",
    "random": " in random directions",
    "next slot": " in the next slot",
    "pinv": ", read by pseudo-inverse,",
    "unit": " by magnitudes of units",
    "scalar": " by magnitudes",
}


def _condition(
    edit: str, part: str, target: str, after: int, control: str = "", *, draws: int = 1
) -> Condition:
    if edit == "unchanged":
        name = "variables unchanged"
    elif target == "but own":
        name = f"{edit} all but variables"
    else:
        name = f"{edit} {'all variables' if part == 'all' else part}{_WHERE[target]}"
    name = f"{name} after {after} step{'' if after == 1 else 's'}"
    return Condition(name, edit, part, after, control, "variables", target, draws=draws)
