"""How many training steps members spend at each horizon, and how many are therefore to come before they stop early."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
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


def steps_to_come(
    horizon: int, steps: int, spent: Spent, present: Spent, horizons: Sequence[int], window: int
) -> float | None:
    """Estimate the training steps before a member stops early.

    Those that leave a horizon do so after a delay that all have and at a constant rate from then on: the
    shifted exponential, whose mean θ = Σ(tᵢ − t₁) / (r − 1) over all members counts those still there too (r
    have left, the first after t₁; Epstein & Sobel 1954). Without them an estimate from the fastest would be
    too short. A horizon that nobody has left takes what the one before does, the last at least ``window``
    steps.

    Parameters
    ----------
    horizon, steps
        Where the member is, and the steps it has spent there.
    spent, present
        Steps of all members that have left each horizon, and of all that are there now.
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
    place = horizons.index(horizon)
    known = [h for h in horizons if spent.get(h)]
    # The nearest horizon before this one that a member has left, else the first after it.
    delay, mean = _leaving(
        min(known, key=lambda h: (h > horizon, abs(horizons.index(h) - place))), spent, present
    )
    total = 0.0
    for later in horizons[place:]:
        delay, mean = _leaving(
            later, spent, present, (max(delay, window) if later == horizons[-1] else delay, mean)
        )
        total += max(0, delay - (steps if later == horizon else 0)) + mean
    return total


def _leaving(
    horizon: int, spent: Spent, present: Spent, before: tuple[float, float] = (0.0, 0.0)
) -> tuple[float, float]:
    """Return the delay t₁ and the mean θ; where nobody has left, those ``before``, or as long again as it has taken."""
    left, there = spent.get(horizon, ()), present.get(horizon, ())
    delay = min(left) if left else before[0]
    beyond = [max(0.0, n - delay) for n in (*left, *there)]
    if left:
        return delay, sum(beyond) / max(1, len(left) - 1)
    return delay, max(before[1], sum(beyond) / max(1, len(beyond)))
