"""Learning curves and test errors of several populations side by side."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.errors import AnalysisError
from analysis.statistics import mean_interval
from emt.errors import repeated


@dataclass(frozen=True)
class Learner:
    """A population as it learnt: what is compared with others.

    Attributes
    ----------
    panel, label
        What figures call it: the panel it stands in, such as "R = 50", and its name there.
    members
        What tables call its members, such as "model-3".
    steps
        Training steps at which it was validated, (step,).
    errors
        Validation error in percent, (member, step); NaN after a member's end.
    test_errors
        In percent, (member,).

    Examples
    --------
    Two networks, of which the second ended after 100 steps:

    >>> errors = np.array([[90.0, 40.0, 10.0], [90.0, 50.0, np.nan]])
    >>> names, steps, test_errors = ("model-1", "model-2"), np.array([0, 100, 200]), np.array([11.0, 52.0])
    >>> learner = Learner("R = 20", "fast weights", names, steps, errors, test_errors)
    >>> summarise_learning([learner]).errors["best"].tolist()
    [11.0]
    """

    panel: str
    label: str
    members: tuple[str, ...]
    steps: NDArray[np.int64]
    errors: NDArray[np.float64]
    test_errors: NDArray[np.float64]


@dataclass(frozen=True)
class LearningCurve:
    """Validation error of a population over training, in percent: median and range over its members.

    Attributes
    ----------
    steps, median, low, high
        (step,).
    n
        Members.
    """

    panel: str
    label: str
    steps: NDArray[np.int64]
    median: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    n: int


@dataclass(frozen=True)
class LearningSummary:
    """Several populations side by side.

    Attributes
    ----------
    curves
        One for each population.
    errors
        A row for each population (panel, label): ``n`` members, ``mean`` and ``std`` (dividing by n − 1) of
        their test errors in percent, ``low`` and ``high`` of the mean's 95 % t interval, ``median``, ``best``
        and ``worst``.
    members
        A row for each member: its test error in percent.
    """

    curves: tuple[LearningCurve, ...]
    errors: pd.DataFrame
    members: pd.DataFrame

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return the test errors by population and by member."""
        return {"test_errors": self.errors, "test_errors_by_member": self.members}


def summarise_learning(learners: Sequence[Learner]) -> LearningSummary:
    """Summarise how populations learnt and what they reached.

    Raises
    ------
    AnalysisError
        If there is no population, or two have the same panel and label.

    Examples
    --------
    >>> names, steps = ("model-1", "model-2"), np.array([0, 100, 200])
    >>> errors = np.array([[90.0, 40.0, 10.0], [90.0, 50.0, 30.0]])
    >>> summary = summarise_learning([Learner("R = 20", "fast weights", names, steps, errors, errors[:, -1])])
    >>> summary.curves[0].median.tolist(), summary.errors["mean"].tolist()
    ([90.0, 45.0, 20.0], [20.0])
    """
    keys = [(one.panel, one.label) for one in learners]
    if not keys or len(set(keys)) < len(keys):
        raise AnalysisError(f"expected populations of different panels and labels; got {keys}")
    for one in learners:
        if several := repeated(one.members):
            raise AnalysisError(f"{one.panel}, {one.label}: expected each model once; got {several}")
    index = pd.MultiIndex.from_tuples(keys, names=["panel", "label"])
    members = [
        {"panel": one.panel, "label": one.label, "model_name": name, "test_error": error}
        for one in learners
        for name, error in zip(one.members, one.test_errors, strict=True)
    ]
    return LearningSummary(
        curves=tuple(_curve(one) for one in learners),
        errors=pd.DataFrame([_reached(one.test_errors) for one in learners], index=index),
        members=pd.DataFrame(members).set_index(["panel", "label", "model_name"]),
    )


def _curve(one: Learner) -> LearningCurve:
    seen = np.isfinite(one.errors).any(axis=0)
    errors = one.errors[:, seen]
    low, median, high = (f(errors, axis=0) for f in (np.nanmin, np.nanmedian, np.nanmax))
    return LearningCurve(one.panel, one.label, one.steps[seen], median, low, high, len(errors))


def _reached(errors: NDArray[np.float64]) -> dict[str, float]:
    interval, known = (
        mean_interval(errors, bounds=(0.0, 100.0)),
        pd.Series(errors[np.isfinite(errors)], dtype=float),
    )
    return {
        "n": interval.n,
        "mean": interval.estimate,
        "std": float(known.std()),
        "low": interval.low,
        "high": interval.high,
        "median": float(known.median()),
        "best": float(known.min()),
        "worst": float(known.max()),
    }
