"""Tests against chance at many steps: members and trials as in `chance_test`, corrected for all steps.

At each step one-sided: the t statistic of members against their own chance, under flips of whole members' signs; and
the mean over members, standardised over relabellings of trials that are the same in all members. Corrected by
the largest value over steps (Westfall & Young 1993), or, for runs of steps above a threshold fixed in advance, by
the largest sum over a run (Maris & Oostenveld 2007): then a run is found, not its first step.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from analysis.statistics.permutation import LEVEL, sign_flips
from analysis.statistics.ranks import ROUNDING

Array = NDArray[np.float64]

NORMAL_95 = 1.6448536269514722
"""The 95 % quantile of a standard normal number: threshold of a run over relabelled trials."""


@dataclass(frozen=True)
class ChanceOverTime:
    """Where members exceed chance (`chance_over_time`).

    Attributes
    ----------
    p_trials, p_members
        p of each step, corrected for all, (time,). Those of members are NaN if they are too few for the
        level.
    found
        Whether both are at most the level, (time,); where ``p_members`` is NaN for all, whether that of trials is.
    clusters
        Runs of steps above the thresholds: ``over`` (trials or members), ``first`` and ``last`` step, ``mass``, ``p``.
    smallest_p_members
        The smallest p that so many members can give.
    n
        Members.
    """

    p_trials: Array
    p_members: Array
    found: NDArray[np.bool_]
    clusters: pd.DataFrame
    smallest_p_members: float
    n: int

    @property
    def members_tested(self) -> bool:
        """Whether there are members enough for a test over them."""
        return bool(np.isfinite(self.p_members).any())

    @property
    def best(self) -> int:
        """The step with the smallest of the larger p-values."""
        p = self.p_trials if not self.members_tested else np.maximum(self.p_trials, self.p_members)
        return int(np.nanargmin(p))


def chance_over_time(
    observed: ArrayLike, relabelled: ArrayLike, *, seed: int = 0, level: float = LEVEL
) -> ChanceOverTime:
    """Test, one-sided and corrected for all steps, where members exceed chance.

    Parameters
    ----------
    observed
        (member, time).
    relabelled
        The same for relabelled trials, (relabelling, member, time), one relabelling of all members in each.
    seed
        Seed of the sign flips if they are too many to enumerate.
    level
        Level of significance aimed at.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> scores, null = rng.normal(size=(8, 5)), rng.normal(size=(99, 8, 5))
    >>> chance_over_time(scores + [0, 0, 9, 9, 0], null).found.tolist()
    [False, False, True, True, False]
    """
    values, null = np.asarray(observed, dtype=float), np.asarray(relabelled, dtype=float)
    n, steps = values.shape
    signs = sign_flips(n, seed)
    smallest = 1 / len(signs)
    enough = n > 1 and smallest <= level * (1 + ROUNDING)
    means = np.concatenate([values[None], null]).mean(axis=1)
    spread = means.std(axis=0)
    z = (means - means.mean(axis=0)) / np.where(spread > 0, spread, np.inf)
    p_trials, runs = _corrected(z, NORMAL_95)
    tables = [runs.assign(over="trials")]
    p_members = np.full(steps, np.nan)
    if enough:
        from scipy.stats import t

        flipped = _t_statistics(values - null.mean(axis=0), signs)
        p_members, runs = _corrected(flipped, float(t.ppf(0.95, n - 1)))
        tables.append(runs.assign(over="members"))
    found = (p_trials <= level) & ((p_members <= level) | (not enough))
    clusters = pd.concat(tables, ignore_index=True)[["over", "first", "last", "mass", "p"]]
    return ChanceOverTime(p_trials, p_members, found, clusters, smallest, n)


def _t_statistics(differences: Array, signs: Array) -> Array:
    """Return t of differences (member, time) under each flip (flip, member): (flip, time)."""
    n = len(differences)
    means = signs @ differences / n
    squares = np.sum(differences**2, axis=0)
    # Flips change no square; what rounding leaves of a variance of zero is none.
    variance = np.maximum(squares - n * means**2, ROUNDING * squares) / (n - 1)
    return np.divide(means, np.sqrt(variance / n), out=np.zeros_like(means), where=variance > 0)


def _corrected(values: Array, threshold: float) -> tuple[Array, pd.DataFrame]:
    """Return p of each step by the largest value, and runs with p by the largest mass.

    Values are (relabelling, time), those of the data in front.
    """
    largest = np.sort(values.max(axis=1))
    slack = ROUNDING * np.abs(values).max()
    p = 1 - np.searchsorted(largest, values[0] - slack) / len(values)
    masses = _largest_masses(values, threshold)
    rows = [
        {"first": first, "last": last, "mass": mass, "p": float(np.mean(masses >= mass - slack))}
        for first, last, mass in _runs(values[0], threshold)
    ]
    return p, pd.DataFrame(rows, columns=["first", "last", "mass", "p"])


def _largest_masses(values: Array, threshold: float) -> Array:
    """Return the largest sum over a run above the threshold of each row, 0 without any."""
    above = np.where(values > threshold, values, 0.0)
    largest = np.zeros(len(values))
    running = np.zeros(len(values))
    for column in above.T:
        running = np.where(column > 0, running + column, 0.0)
        np.maximum(largest, running, out=largest)
    return largest


def _runs(row: Array, threshold: float) -> list[tuple[int, int, float]]:
    """Return first and last step and mass of each run above the threshold."""
    edges = np.diff(np.concatenate([[0], (row > threshold).astype(int), [0]]))
    firsts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    return [
        (int(first), int(end) - 1, float(row[first:end].sum()))
        for first, end in zip(firsts, ends, strict=True)
    ]
