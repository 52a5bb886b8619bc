"""Conditions on pairs of members: what one holds in another trial is put into the state of the other.

Two networks are alike for what they do if what is held by one serves the other. Variables pass through each one's
own directions, h + Ψ D' (h'_2 - h'_1), where the prime is the other member, 1 the trial and 2 its source; or the
whole state passes through a linear map of states to states, which was learnt on other trials.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from emt.codes import Array, Codes
from emt.errors import UserError
from emt.interventions.condition import Condition, refusal
from emt.interventions.driver import run_between
from emt.interventions.queries import answers_of
from emt.interventions.recoded import Recoded, Rows, joined, moving_names
from emt.interventions.variable_conditions import NO_STEPS, exchange_steps, middle_step
from emt.interventions.windows import windows_of
from emt.models.base import State
from emt.record import Loaded, to_tensors
from emt.tasks.base import Batch

DRAWS = 4
"""Draws of the trial that a control is from."""

PRECISION = 1e-6
"""Directions of states that vary less, relative to the largest, are rounding errors: states are single precision."""

ROUTES = ("own", "map")
OTHER = " of another trial"
TARGETS = tuple(f"{route}{other}" for other in ("", OTHER) for route in ROUTES)
"""How what a member holds passes into another, and the same of a trial that the answers are not compared with."""


@dataclass(frozen=True)
class Held:
    """What members hold in the same trials, after a number of steps.

    Attributes
    ----------
    numbers
        Model numbers, (partner,).
    after
        The number of steps.
    states
        (partner, trial, state).
    fitted
        States on other trials, less their mean over trials at each step, (partner, sample, state).
    reader
        D (partner, variable, state); NaN for a member without a code.
    """

    numbers: tuple[int, ...]
    after: int
    states: Array
    fitted: Array
    reader: Array

    def place(self, number: int) -> int:
        """Return the place of a member.

        Raises
        ------
        UserError
            If it is none of these.
        """
        if number not in self.numbers:
            known = ", ".join(f"model-{n}" for n in self.numbers)
            raise UserError(f"expected one of {known}; got model-{number}", parameter="partners")
        return self.numbers.index(number)


def held_by(loaded: Loaded, batch: Batch, fitted: Batch, codes: Codes) -> Held:
    """Return what members hold in a batch, and in the batch that their codes come from.

    It is what they hold at the middle one of the steps at which variables are exchanged.

    Raises
    ------
    UserError
        If the trials have no such step.
    """
    steps = windows_of(fitted, answers_of(loaded.task, fitted), codes).steps(codes.length)
    if not steps:
        raise UserError(NO_STEPS, parameter="kinds")
    after = middle_step(exchange_steps(steps))
    states = _states_after(loaded, batch, [after])[0]
    others = _states_after(loaded, fitted, steps)
    centred = np.concatenate([each - each.mean(axis=1, keepdims=True) for each in others], axis=1)
    return Held(loaded.numbers, after, states, centred, codes.reader)


def _states_after(loaded: Loaded, batch: Batch, steps: Sequence[int]) -> list[Array]:
    """Return the states after some numbers of steps, ascending, each (member, trial, state)."""
    inputs, context = to_tensors(loaded, batch)
    names, found = moving_names(loaded.model), []
    state: State | None = None
    for first, last in zip([0, *steps[:-1]], steps, strict=True):
        _, state = run_between(loaded.model, inputs, context, state, first, last)
        found.append(joined(state, names))
    return found


def join_held(parts: Sequence[Held]) -> Held:
    """Return what different members hold in the same trials as one."""
    states, fitted, reader = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("states", "fitted", "reader")
    )
    return Held(tuple(n for part in parts for n in part.numbers), parts[0].after, states, fitted, reader)


def pair_conditions(partners: Held) -> Iterator[Condition]:
    """Yield for each partner what passes by both routes, each with its control."""
    for number in partners.numbers:
        for route in ROUTES:
            name = (
                f"all variables of model-{number}"
                if route == "own"
                else f"the state of model-{number}, mapped"
            )
            control = f"{name},{OTHER}"
            yield _condition(control, f"{route}{OTHER}", number, partners.after, draws=DRAWS)
            yield _condition(name, route, number, partners.after, control)


def _condition(
    name: str, target: str, number: int, after: int, control: str = "", *, draws: int = 1
) -> Condition:
    source = f"model-{number}"
    return Condition(name, "swap", "all", after, control, "members", target, source=source, draws=draws)


def check_pair(condition: Condition, partners: Held | None) -> None:
    """Refuse a condition on pairs of members that cannot be.

    Raises
    ------
    UserError
        Naming the condition and what would do.
    """
    if partners is None:
        raise UserError("members: expected what other members hold", parameter="partners")
    numbers = [f"model-{n}" for n in partners.numbers]
    known = {
        "edit": ("swap",),
        "part": ("all",),
        "target": TARGETS,
        "source": numbers,
        "after": (partners.after,),
    }
    for field, values in known.items():
        if getattr(condition, field) not in values:
            expected = f"one of {', '.join(map(str, values))}"
            raise refusal(condition, field, expected, getattr(condition, field))


class Carried(Recoded):
    """Members, with these numbers, into whose states passes what others hold; what is ``given`` `Recoded` takes."""

    def __init__(self, partners: Held, numbers: Sequence[int], *given: Any) -> None:
        super().__init__(*given)
        self.partners, self.numbers = partners, tuple(numbers)

    def _change(self, condition: Condition, rows: Rows, generator: np.random.Generator) -> Array:
        place = self.partners.place(int(condition.source.removeprefix("model-")))
        source = rows
        if condition.target.endswith(OTHER):
            # Of the cycle of sources another trial than the one whose answers are called for.
            for _ in range(1 + int(generator.integers(1, max(2, len(rows) - 2)))):
                source = rows[source]
        held = self.partners.states[place]
        difference = held[source] - held
        if condition.target.removesuffix(OTHER) == "map":
            return np.asarray(difference @ self._maps[place])
        return np.asarray(difference @ self.partners.reader[place].T @ self.codes.basis.mT)

    @cached_property
    def _maps(self) -> "dict[int, Array]":
        """For each partner the least-squares map of its states to those of these members, (member, state, state)."""
        own = self.partners.fitted[[self.partners.place(n) for n in self.numbers]]
        return {
            place: np.linalg.pinv(states, rcond=PRECISION) @ own
            for place, states in enumerate(self.partners.fitted)
        }
