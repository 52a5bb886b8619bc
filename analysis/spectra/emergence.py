"""When does the theory's spectrum appear in training, relative to accuracy? Members (seeds) are the sample.

A population evaluated at several training steps is followed along them. A member whose training ended before
a step stands there with its last weights, so that every step has the same members.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.comparability import MEASUREMENT, check_same
from analysis.errors import AnalysisError
from analysis.population import Population, mean_over_members, undefined_text
from analysis.result import Result
from analysis.statistics import (
    RELABELLINGS,
    ChanceTest,
    Interval,
    PermutationTest,
    bootstrap_interval,
    sign_flip_test,
)

NORMAL_95 = 1.959964
"""A 95 % interval of a normal variable reaches so many standard deviations to either side."""

MEASURES = ("accuracy", "spectral_error_deg", "spectral_relative_error", "missing_modes")


@dataclass(frozen=True)
class Emergence(Result):
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
        By model_name: ``accuracy_step`` and ``spectrum_step``, the first checkpoints at which accuracy is at
        least ``accuracy_bar`` and the spectral error at most ``error_bar`` degrees, NaN if there is none;
        ``lag``, the second minus the first.
    lag
        Mean lag in steps over members that have one, with its BCa interval.
    test
        Whether the mean lag is none: over members, whether lags are as likely of either sign; over trials,
        whether other test sequences, the same for all members and checkpoints, could give a lag of the other
        sign.
    accuracy_bar, error_bar
        The bars.
    """

    label: str
    members: pd.DataFrame
    means: pd.DataFrame
    crossings: pd.DataFrame
    lag: Interval
    test: ChanceTest
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
        apart = (
            f"{abs(steps):.0f} steps {'later' if steps > 0 else 'earlier'} than"
            if steps
            else "at the same step as"
        )
        return f"{text}; the spectrum appears {apart} accuracy ({interval}n = {self.lag.n}; {self.test})"

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
        return {"emergence_lag": lag | self.test.row() | {"smallest_p": self.test.members.smallest_p}}


def follow_training(
    checkpoints: Mapping[int, Population],
    *,
    accuracy_bar: float = 0.99,
    error_bar: float = 5.0,
    seed: int = 0,
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
        If there are fewer than two checkpoints, they hold different members or were evaluated at different
        lengths or test horizons, or the task has no theory.

    Examples
    --------
    Three checkpoints of planted spectra, each nearer to the theory's. Those of an experiment are read from its
    folders ``checkpoints/step-N`` (train with ``--keep_checkpoints``, evaluate with ``--step``).

    >>> from emt.commands.known_systems.summaries import plant_summary
    >>> noise = {0: 0.5, 500: 0.2, 1000: 0.01}
    >>> checkpoints = {step: from_summary(plant_summary(3, noise=size)) for step, size in noise.items()}
    >>> follow_training(checkpoints).crossings["spectrum_step"].to_dict()
    {'model-1': 500.0, 'model-2': 500.0, 'model-3': 500.0}
    """
    if len(checkpoints) < 2:
        raise AnalysisError(
            f"expected at least two evaluated checkpoints; got {len(checkpoints)}", parameter="checkpoints"
        )
    if not 0 < accuracy_bar <= 1:
        raise AnalysisError(
            f"must be a share above 0, at most 1; got {accuracy_bar:g}", parameter="accuracy_bar"
        )
    if not 0 < error_bar < 180:
        raise AnalysisError(
            f"must be an angle between 0 and 180 degrees; got {error_bar:g}", parameter="error_bar"
        )
    steps = sorted(checkpoints)
    first = checkpoints[steps[0]]
    for step in steps:
        _check(step, checkpoints[step], first)
    held = [name for name in MEASURES if name in first.scalars]
    members = pd.concat(
        {step: checkpoints[step].scalars[held] for step in steps}, names=["step", "model_name"]
    )
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
        test=ChanceTest(_over_trials(checkpoints, crossings, accuracy_bar, seed), sign_flip_test(lags, seed)),
        accuracy_bar=accuracy_bar,
        error_bar=error_bar,
    )


def _over_trials(
    checkpoints: Mapping[int, Population], crossings: pd.DataFrame, bar: float, seed: int
) -> PermutationTest | None:
    """Test, two-sided, whether the mean lag could have the other sign on other test sequences.

    All members were tested on the same sequences, at all checkpoints: accuracies are drawn within their
    standard errors over sequences, one normal deviate for all members and checkpoints (as if their errors
    went together entirely), and the lag is taken anew. None where the evaluation has no intervals of
    accuracy.
    """
    steps = sorted(checkpoints)
    scalars = [checkpoints[step].scalars for step in steps]
    if any("accuracy_low" not in one for one in scalars):
        return None
    accuracy = np.stack([one["accuracy"].to_numpy() for one in scalars])
    width = np.stack([(one["accuracy_high"] - one["accuracy_low"]).to_numpy() for one in scalars])
    errors = np.nan_to_num(width) / (2 * NORMAL_95)
    lag, n = float(crossings["lag"].mean()), int(crossings["lag"].count())
    spectrum = crossings["spectrum_step"].reindex(scalars[0].index).to_numpy()
    deviates = np.random.default_rng(seed).normal(size=RELABELLINGS)
    lags = np.array([_mean_lag(accuracy + z * errors >= bar, spectrum, steps) for z in deviates])
    if math.isnan(lag):
        return PermutationTest(math.nan, math.nan, math.nan, n, exact=False)
    # A draw in which no member crosses gives the observed sign no support.
    against = np.sum(~(np.sign(lags) == np.sign(lag))) if lag else len(lags)
    p = min(2 * (1 + against) / (1 + len(lags)), 1.0)
    return PermutationTest(lag, float(p), 2 / (1 + len(lags)), n, exact=False)


def _mean_lag(reached: NDArray[np.bool_], spectrum_step: NDArray[np.float64], steps: list[int]) -> float:
    """Return the mean lag over members that cross both bars; accuracy crosses where ``reached`` (step, member)."""
    first = np.where(reached.any(axis=0), np.array(steps, dtype=float)[reached.argmax(axis=0)], np.nan)
    lags = spectrum_step - first
    known = lags[np.isfinite(lags)]
    return float(known.mean()) if len(known) else math.nan


def _check(step: int, population: Population, first: Population) -> None:
    if population.names != first.names:
        differ = sorted(set(population.names) ^ set(first.names))
        raise AnalysisError(
            f"step {step}: expected the members of the first checkpoint; {', '.join(differ)} are in one of them only"
        )
    if population.theory is None:
        raise AnalysisError("the task has no linear operator, so no spectrum is predicted")
    both = {"first checkpoint": first.conditions, f"step {step}": population.conditions}
    check_same(
        both, MEASUREMENT, f"step {step}: expected an evaluation in the conditions of the first checkpoint"
    )


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
