"""How many training steps members spend at each horizon, and how many are therefore to come before they stop early."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

Spent = Mapping[int, Sequence[int]]
"""For each horizon, the steps that each member which has left it spent there."""


@dataclass
class Course:
    """The members of one chunk on their way through the curriculum.

    Attributes
    ----------
    at
        For each model number its horizon and the step after which it came there.
    spent
        For each horizon the steps of those that moved on, or stopped early there.
    """

    at: dict[int, tuple[int, int]] = field(default_factory=dict)
    spent: dict[int, list[int]] = field(default_factory=dict)

    def record(self, number: int, step: int, horizon: int) -> None:
        """Take up that a member's step number ``step`` was made at a horizon."""
        before = self.at.get(number)
        if before is None:
            self.at[number] = (horizon, step - 1)
        elif before[0] != horizon:
            self.leave(number, step - 1)
            self.at[number] = (horizon, step - 1)

    def leave(self, number: int, step: int) -> None:
        """Take up that a member has moved on from its horizon, or has stopped early there, after ``step``."""
        horizon, since = self.at[number]
        self.spent.setdefault(horizon, []).append(step - since)

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        return {"at": self.at, "spent": self.spent}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Course":
        """Return a course from JSON, whose keys are text."""
        at = {int(n): (int(h), int(since)) for n, (h, since) in content.get("at", {}).items()}
        return cls(at, {int(h): list(steps) for h, steps in content.get("spent", {}).items()})


def steps_to_come(horizon: int, steps: int, spent: Spent, horizons: Sequence[int], window: int) -> float | None:
    """Estimate the training steps before a member stops early.

    At its own horizon it takes what the median of those takes that took longer there than it has so far; at each
    horizon to come, the median of those that left it. A horizon that nobody has left yet takes what the one before
    does, the last at least ``window`` steps.

    Parameters
    ----------
    horizon, steps
        Where the member is, and the steps it has spent there.
    spent
        What is known of all members.
    horizons
        The curriculum.
    window
        Steps over which the accuracy must hold.

    Returns
    -------
    float or None
        None while nobody has left a horizon: then nothing is known.
    """
    if not any(spent.values()):
        return None
    to_come = list(horizons[horizons.index(horizon) + 1 :])
    known = list(spent.get(horizon, ()))
    expected = median(known) if known else _typical(horizon, spent, horizons)
    left = _residual(known or [expected], steps)
    if not to_come:
        return max(left, window - steps)
    for later in to_come:
        expected = median(spent[later]) if spent.get(later) else expected
        left += expected if later != horizons[-1] else max(expected, window)
    return left


def _typical(horizon: int, spent: Spent, horizons: Sequence[int]) -> float:
    """Return the median at the nearest horizon before this one that a member has left, else after it."""
    place = horizons.index(horizon)
    nearest = min((h for h in horizons if spent.get(h)), key=lambda h: (h > horizon, abs(horizons.index(h) - place)))
    return median(spent[nearest])


def _residual(known: Sequence[float], steps: int) -> float:
    """Return the steps to come of one that has spent ``steps``; a straggler takes the mean distance of the others."""
    longer = [n for n in known if n > steps]
    return median(longer) - steps if longer else max(1.0, (steps - min(known)) / len(known))
