"""Means over pairs of members, whose pairs are not independent: intervals by leaving out one member at a time.

A member is in M - 1 pairs, so a t test over pairs takes M (M - 1) / 2 values for independent that are not, and finds
differences between two equal settings in half of the cases (M = 20). The jackknife leaves out whole members.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.statistics.intervals import UNBOUNDED, Interval, ends_within

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Jackknife:
    """A statistic of members with what it is without each of them.

    Attributes
    ----------
    estimate
        Of all members.
    without
        Without each member, (member,); empty where that is undefined.
    """

    estimate: float
    without: Array

    @property
    def n(self) -> int:
        """Number of members."""
        return len(self.without)

    @property
    def error(self) -> float:
        """Standard error: its square is ``(M - 1) / M Σ_i (θ_-i - mean)²`` (Tukey 1958); NaN for fewer than three."""
        if self.n < 3 or not np.isfinite(self.without).all():
            return math.nan
        apart = self.without - self.without.mean()
        return float(np.sqrt((self.n - 1) / self.n * np.sum(apart**2)))

    def interval(self, bounds: tuple[float, float] = UNBOUNDED, confidence: float = 0.95) -> Interval:
        """Return the Student t interval with M - 1 degrees of freedom, within the bounds of the statistic."""
        return _interval(self.estimate, self.error, self.n - 1, self.n, bounds, confidence)


@dataclass(frozen=True)
class Trend:
    """A slope of a statistic over settings.

    Attributes
    ----------
    interval
        The slope with its interval; ``n`` counts members of all settings.
    p
        Of a two-sided t test that the slope is zero.
    df
        Degrees of freedom.
    paired
        Whether settings have the same seeds, each of which is left out of all settings at once.
    """

    interval: Interval
    p: float
    df: float
    paired: bool


def jackknife(statistic: Callable[[Array], float], values: ArrayLike) -> Jackknife:
    """Return a statistic of values (member, …) of members, and what it is without each.

    Examples
    --------
    >>> jackknife(np.mean, [1.0, 2.0, 6.0]).without.tolist()
    [4.0, 3.5, 1.5]
    """
    array = np.asarray(values, dtype=float)
    without = [statistic(np.delete(array, place, axis=0)) for place in range(len(array))]
    return Jackknife(float(statistic(array)), np.array(without, dtype=float))


def pair_mean(distances: ArrayLike) -> Jackknife:
    """Return the mean distance of two different members, of symmetric distances (member, member).

    Without member i it is (S - 2 r_i) / ((M - 1)(M - 2)), with S the sum of all distances and r_i that of its own.

    Examples
    --------
    >>> mean = pair_mean([[0, 1, 2], [1, 0, 3], [2, 3, 0]])
    >>> mean.estimate, mean.without.tolist()
    (2.0, [3.0, 2.0, 1.0])
    """
    matrix = np.array(distances, dtype=float)
    np.fill_diagonal(matrix, 0.0)
    n, rows = len(matrix), matrix.sum(axis=1)
    total = rows.sum()
    estimate = total / (n * (n - 1)) if n > 1 else math.nan
    left = (total - 2 * rows) / ((n - 1) * (n - 2)) if n > 2 else np.full(n, math.nan)
    return Jackknife(float(estimate), np.asarray(left))


def trend(
    settings: Sequence[Jackknife], at: ArrayLike, *, paired: bool = False, confidence: float = 0.95
) -> Trend:
    """Return the slope of a statistic over settings, by least squares, each setting with the same weight.

    Parameters
    ----------
    settings
        The statistic in each setting.
    at
        Number of each setting.
    paired
        Whether place i holds the same seed in all settings, so that a seed is left out of all at once; else settings
        are independent, with degrees of freedom after Satterthwaite (1946).
    confidence
        Coverage of the interval.

    Examples
    --------
    Three networks at each of three widths; the mean loss falls by one with each doubling:

    >>> losses = [5.9, 6.0, 6.1], [4.9, 5.0, 5.1], [3.9, 4.0, 4.1]
    >>> found = trend([jackknife(np.mean, values) for values in losses], at=np.log2([8, 16, 32]))
    >>> round(found.interval.estimate, 6), found.interval.high < 0
    (-1.0, True)
    """
    from scipy import stats

    place = np.asarray(at, dtype=float)
    apart = place - place.mean()
    weights = apart / np.sum(apart**2) if np.ptp(place) > 0 else np.full(len(place), math.nan)
    slope = float(weights @ [one.estimate for one in settings])
    n = sum(one.n for one in settings)
    if paired:
        left_out = Jackknife(slope, weights @ np.stack([one.without for one in settings]))
        error, df = left_out.error, float(left_out.n - 1)
    else:
        squares = weights**2 * np.array([one.error**2 for one in settings])
        error = float(np.sqrt(squares.sum()))
        parts = np.sum(squares**2 / np.array([max(one.n - 1, 1) for one in settings]))
        df = float(squares.sum() ** 2 / parts) if parts > 0 else math.nan
    p = float(2 * stats.t.sf(abs(slope) / error, df)) if error > 0 else math.nan
    return Trend(_interval(slope, error, df, n, UNBOUNDED, confidence), p, df, paired)


def _interval(
    estimate: float, error: float, df: float, n: int, bounds: tuple[float, float], confidence: float
) -> Interval:
    from scipy import stats

    if not (math.isfinite(error) and df >= 1):
        return Interval(estimate, math.nan, math.nan, n)
    low, high = ends_within(estimate, float(stats.t.ppf(0.5 + confidence / 2, df)) * error, *bounds)
    return Interval(estimate, low, high, n)
