"""When does the theory's spectrum appear in training, relative to accuracy? Members (seeds) are the sample.

A population evaluated at several training steps is followed along them. A member whose training ended before a step
stands there with its last weights, so that every step has the same members.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.comparability import MEASUREMENT, check_same
from analysis.errors import AnalysisError
from analysis.population import Population, mean_over_members, undefined_text
from analysis.statistics import Interval, PermutationTest, bootstrap_interval, p_text, sign_flip_test

MEASURES = ("accuracy", "spectral_error_deg", "spectral_relative_error", "missing_modes")


@dataclass(frozen=True)
class Emergence:
    """A population along its training.

    Attributes
    ----------
    label
        What figures call it.
    members
        Indexed by (step, model_name): `MEASURES` on held-out sequences, as far as they were evaluated.
    means
        Indexed by (measure, step): n, mean over members, its Student t interval low, high; median.
    crossings
        By model_name: ``accuracy_step`` and ``spectrum_step``, the first checkpoints at which accuracy is at least
        ``accuracy_bar`` and the spectral error at most ``error_bar`` degrees, NaN if there is none; ``lag``, the
        second minus the first.
    lag
        Mean lag in steps over members that have one, with its BCa interval.
    test
        Whether lags are as likely of either sign.
    accuracy_bar, error_bar
        The bars.
    """

    label: str
    members: pd.DataFrame
    means: pd.DataFrame
    crossings: pd.DataFrame
    lag: Interval
    test: PermutationTest
    accuracy_bar: float
    error_bar: float

    @property
    def steps(self) -> tuple[int, ...]:
        """Training steps of the checkpoints."""
        return tuple(self.members.index.unique("step"))

    def median_step(self, crossing: str) -> float:
        """Return the median over all members of a column of ``crossings``, infinite where too few ever cross."""
        return float(self.crossings[crossing].fillna(np.inf).median())

    def headline(self) -> str:
        """Say which comes first, and by how much."""
        n, some = len(self.crossings), self.crossings.notna().sum()
        text = (
            f"{len(self.steps)} checkpoints from step {self.steps[0]} to {self.steps[-1]}; of n = {n} members "
            f"{some['accuracy_step']} reach accuracy {self.accuracy_bar:g} and {some['spectrum_step']} a spectral "
            f"error of {self.error_bar:g}°"
        )
        # A step without a number is no crossing: which members that may concern is said.
        measured = self.members[["accuracy", "spectral_error_deg"]].sum(axis=1, skipna=False)
        if undefined := undefined_text(measured):
            text += f" (accuracy or spectral error at some step {undefined})"
        if not self.lag.n:
            return text
        steps = self.lag.estimate
        interval = f"mean lag {self.lag.low:.0f} to {self.lag.high:.0f}, " if self.lag.n > 1 else ""
        apart = f"{abs(steps):.0f} steps {'later' if steps > 0 else 'earlier'} than" if steps else "at the same step as"
        return (
            f"{text}; the spectrum appears {apart} accuracy ({interval}"
            f"n = {self.lag.n}; {p_text(self.test.p, self.test.smallest_p)})"
        )

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return figures by step and member, their means over members, and when each member crosses the bars."""
        return {
            "emergence_members": self.members,
            "emergence_means": self.means,
            "emergence_crossings": self.crossings,
        }

    def documents(self) -> dict[str, Any]:
        """Return the mean lag."""
        lag = {"mean": self.lag.estimate, "low": self.lag.low, "high": self.lag.high, "n": self.lag.n}
        return {"emergence_lag": lag | {"p": self.test.p, "smallest_p": self.test.smallest_p}}


def follow_training(
    checkpoints: Mapping[int, Population], *, accuracy_bar: float = 0.99, error_bar: float = 5.0, seed: int = 0
) -> Emergence:
    """Follow a population along its checkpoints: when does the theory's spectrum appear, relative to accuracy?

    Parameters
    ----------
    checkpoints
        the population after each number of training steps
    accuracy_bar
        accuracy from which on a member is said to have learnt the task
    error_bar
        spectral error in degrees up to which a member is said to have the theory's spectrum
    seed
        seed of bootstrap and permutations

    Raises
    ------
    AnalysisError
        If there are fewer than two checkpoints, they hold different members or were evaluated at different lengths or
        test horizons, or the task has no theory.
    """
    if len(checkpoints) < 2:
        raise AnalysisError(
            f"expected at least two evaluated checkpoints; got {len(checkpoints)}", parameter="checkpoints"
        )
    if not 0 < accuracy_bar <= 1:
        raise AnalysisError(f"must be a share above 0, at most 1; got {accuracy_bar:g}", parameter="accuracy_bar")
    if not 0 < error_bar < 180:
        raise AnalysisError(f"must be an angle between 0 and 180 degrees; got {error_bar:g}", parameter="error_bar")
    steps = sorted(checkpoints)
    first = checkpoints[steps[0]]
    for step in steps:
        _check(step, checkpoints[step], first)
    held = [name for name in MEASURES if name in first.scalars]
    members = pd.concat({step: checkpoints[step].scalars[held] for step in steps}, names=["step", "model_name"])
    crossings = pd.DataFrame(
        {
            "accuracy_step": _first_step(members["accuracy"] >= accuracy_bar),
            "spectrum_step": _first_step(members["spectral_error_deg"] <= error_bar),
        }
    )
    lags = crossings["lag"] = crossings["spectrum_step"] - crossings["accuracy_step"]
    return Emergence(
        label=first.label,
        members=members,
        means=_means(members),
        crossings=crossings,
        lag=bootstrap_interval(np.mean, lags, seed=seed),
        test=sign_flip_test(lags, seed),
        accuracy_bar=accuracy_bar,
        error_bar=error_bar,
    )


def _check(step: int, population: Population, first: Population) -> None:
    if population.names != first.names:
        differ = sorted(set(population.names) ^ set(first.names))
        raise AnalysisError(
            f"step {step}: expected the members of the first checkpoint; {', '.join(differ)} are in one of them only"
        )
    if population.theory is None:
        raise AnalysisError("the task has no linear operator, so no spectrum is predicted")
    both = {"first checkpoint": first.conditions, f"step {step}": population.conditions}
    check_same(both, MEASUREMENT, f"step {step}: expected an evaluation in the conditions of the first checkpoint")


def _first_step(reached: pd.Series) -> pd.Series:
    """Return by member the first step at which it is reached, NaN where it never is."""
    steps = reached[reached].reset_index("step")["step"].groupby(level="model_name").min()
    return steps.reindex(reached.index.unique("model_name")).astype(float)


def _means(members: pd.DataFrame) -> pd.DataFrame:
    rows = {}
    for measure, values in members.items():
        for step, at in values.groupby(level="step"):
            interval = mean_over_members(at)
            rows[measure, step] = {
                "n": interval.n,
                "mean": interval.estimate,
                "low": interval.low,
                "high": interval.high,
                "median": at.median(),
            }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["measure", "step"])
