"""What is compared by condition: trials of each, at steps where every part of them has enough."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from analysis.conditions.folds import deal, fold_units, splits_of, usable_steps
from analysis.conditions.labels import Integers, Labels, combined, find_factors
from analysis.conditions.trials import Trials, find_trials, trial_states, with_noise
from analysis.errors import AnalysisError

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Design:
    """Trials of conditions, in parts.

    Attributes
    ----------
    trials
        Those that have a condition.
    factors
        The labels whose combinations the conditions are.
    conditions
        The condition of each trial, the same at all steps.
    units
        Trials of one number stay together, (trial,).
    parts
        The part of each trial, (trial,).
    steps
        Steps at which every part has enough trials of each condition.
    """

    trials: Trials
    factors: tuple[Labels, ...]
    conditions: Labels
    units: Integers
    parts: Integers
    steps: tuple[int, ...]

    @property
    def classes(self) -> Integers:
        """The condition of each trial, (trial,)."""
        return self.conditions.first

    @property
    def count(self) -> int:
        """Number of conditions."""
        return len(self.conditions.values)

    @property
    def present(self) -> NDArray[np.bool_]:
        """Which trials exist at the steps, (trial, step)."""
        return self.trials.present[:, list(self.steps)]

    def states(self, recording: xr.DataTree, probe_noise: float = 0.0, seed: int = 0) -> list[Array]:
        """Return each member's states (trial, step, unit) over their spread; 0 at steps that do not exist.

        ``probe_noise`` is the standard deviation of noise that is added, in units of the spread.
        """
        whole, steps = self.trials.present, list(self.steps)
        numbers = [int(number) for number in recording["member"].to_numpy()]
        return [
            np.where(
                self.present[..., None],
                with_noise(values, whole, probe_noise, (seed, number))[:, steps],
                0.0,
            )
            for values, number in zip(trial_states(recording, self.trials), numbers, strict=True)
        ]

    def starts(self, recording: xr.DataTree) -> dict[str, int]:
        """Return the step at which each stage of most trials starts, by its name; empty without such an event."""
        known = [name for name in ("stage", "phase") if name in recording.data_vars]
        if not known or "member" in recording[known[0]].dims:
            return {}
        stages = self.trials.of(recording[known[0]].to_numpy())[:, list(self.steps)]
        stages = np.where(self.present, stages, -1)
        found: dict[str, int] = {}
        for step, column in zip(self.steps, stages.T, strict=True):
            kinds, counts = np.unique(column[column >= 0], return_counts=True)
            if len(kinds):
                found.setdefault(f"{known[0]} {kinds[np.argmax(counts)]}", step)
        return found


def find_design(
    recording: xr.DataTree, label: Sequence[str], at: str, parts: int, seed: int, blame: str = "label"
) -> Design:
    """Return the trials of a recording by condition, dealt into parts.

    Parameters
    ----------
    recording
        The recorded run.
    label, at
        As `analysis.conditions.labels.find_factors` takes them.
    parts
        How many.
    seed
        Of the dealing.
    blame
        Parameter that is named where trials are too few.

    Raises
    ------
    AnalysisError
        If labels do not fit, or trials are too few.
    """
    trials = find_trials(recording)
    factors = find_factors(recording, trials, label, at)
    conditions = combined(factors)
    kept = np.flatnonzero(conditions.first >= 0)
    trials, conditions = trials.chosen(kept), conditions.of_trials(kept)
    units = fold_units(recording, trials)
    try:
        dealt = deal(units, conditions, parts, seed)
    except AnalysisError as error:
        raise AnalysisError(error.args[0], parameter=blame) from None
    return Design(
        trials=trials,
        factors=tuple(factor.of_trials(kept) for factor in factors),
        conditions=conditions,
        units=units,
        parts=dealt,
        steps=usable_steps(trials, conditions, splits_of(dealt)),
    )
