"""Permutation and Monte Carlo tests: members (seeds) are what is permuted; trials where these are shared."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.statistics.effects import mean_difference
from analysis.statistics.intervals import N_RESAMPLES, weighted_sums
from analysis.statistics.ranks import DISTANCE_TIES, ROUNDING, finite, scale_of, unit_ranks

N_MATRIX_RESAMPLES = 999
"""The same for tests that permute whole matrices."""

RELABELLINGS = 199
"""Relabellings of trials that a test against chance draws."""

LEVEL = 0.05
"""The level of significance aimed at where none is asked for."""


@dataclass(frozen=True)
class PermutationTest:
    """Outcome of a test against relabelled or simulated data.

    Attributes
    ----------
    statistic
        Its observed value.
    p
        The p-value; NaN where a sample is empty or too small for the level aimed at.
    smallest_p
        The smallest p-value that samples of these sizes can give: where it exceeds the level, no difference
        however large can be significant, and it is the answer.
    n
        Members behind the test, of all samples together.
    exact
        Whether all relabellings were enumerated; otherwise random ones were drawn.
    undefined
        Values of the statistic, observed or relabelled, that are not finite. If there are any, ``p`` and
        ``smallest_p`` are NaN.
    """

    statistic: float
    p: float
    smallest_p: float
    n: int
    exact: bool
    undefined: int = 0

    def __str__(self) -> str:
        return p_text(self.p, self.smallest_p, self.undefined)


@dataclass(frozen=True)
class ChanceTest:
    """Whether members exceed chance: for other trials, and for other members (`chance_test`).

    Attributes
    ----------
    trials
        The mean over members against relabelled trials, one relabelling applied to all members: would other
        trials show it? None where members saw trials of their own, so that each of them is a sample of trials
        as well.
    members
        Members against the means of their relabellings, by sign flips: would other members show it?
    """

    trials: PermutationTest | None
    members: PermutationTest

    @property
    def p(self) -> float:
        """The larger of the two p-values; NaN where one is undefined."""
        return self.members.p if self.trials is None else float(np.maximum(self.trials.p, self.members.p))

    def row(self) -> dict[str, float]:
        """Return the columns of a table: ``p``, the larger one, ``p_trials`` and ``p_members``."""
        return {
            "p": self.p,
            "p_trials": math.nan if self.trials is None else self.trials.p,
            "p_members": self.members.p,
        }

    def __str__(self) -> str:
        if self.trials is None:
            return f"{self.members} over members"
        if math.isnan(self.p):
            return f"{self.trials} over trials, {self.members} over members"
        return f"p = {self.p:.2g}, the larger of {self.trials.p:.2g} over trials and {self.members.p:.2g} over members"


def p_text(p: float, smallest_p: float, undefined: float = 0) -> str:
    """Return "p = …", or why there is none: samples empty or too small for the level, or an undefined statistic."""
    if not math.isnan(p):
        return f"p = {p:.2g}"
    if undefined > 0:
        return f"no p: the statistic is undefined in {undefined:.0f} of its values"
    return (
        "no p" if math.isnan(smallest_p) else f"too few for a p: {smallest_p:.2g} is the smallest attainable"
    )


def permutation_test(
    a: ArrayLike,
    b: ArrayLike,
    statistic: Callable[..., NDArray[np.float64]] = mean_difference,
    seed: int = 0,
    level: float = LEVEL,
) -> PermutationTest:
    """Two-sided test that two samples are exchangeable, exact where the samples are small enough.

    Parameters
    ----------
    a, b
        Samples (member,), sizes may differ.
    statistic
        ``statistic(a, b, axis=-1)``, vectorised over leading axes.
    seed
        Seed of the relabellings if there are too many to enumerate.
    level
        Level of significance aimed at.

    Examples
    --------
    >>> test = permutation_test([1, 2, 3, 4], [5, 6, 7, 8])
    >>> test.statistic, test.exact, round(test.p, 4)  # 2 of 70 ways to part them
    (4.0, True, 0.0286)
    """
    a, b = finite(a), finite(b)
    n = len(a) + len(b)
    if not (len(a) and len(b)):
        return PermutationTest(math.nan, math.nan, math.nan, n, exact=True)
    scale = scale_of(a, b) if statistic is mean_difference else 1.0
    pooled = np.concatenate([a, b]) / scale
    first = _relabellings(len(pooled), len(a), seed)
    values = _values_of(statistic, pooled, first, len(a))
    return _two_sided(values, n, _is_exact(first, len(a)), level, scale)


def _values_of(
    statistic: Callable[..., NDArray[np.float64]],
    pooled: NDArray[np.float64],
    first: NDArray[np.bool_],
    n_first: int,
) -> NDArray[np.float64]:
    """Return the statistic of all relabellings (relabelling,)."""
    if statistic is mean_difference:
        n, mean = len(pooled), pooled.mean()
        # Centred, so that the mean of the others is minus what the first ones leave.
        sums = weighted_sums(first, pooled - mean)
        return -sums / (n - n_first) - sums / n_first
    rows = np.broadcast_to(pooled, first.shape)
    return statistic(rows[first].reshape(-1, n_first), rows[~first].reshape(len(first), -1), axis=-1)


def sign_flip_test(
    differences: ArrayLike, seed: int = 0, level: float = LEVEL, *, one_sided: bool = False
) -> PermutationTest:
    """Test that paired differences (pair,) are as likely of either sign; the statistic is their mean.

    For members of two conditions that share their seed: which of the two is which is permuted within each
    pair, so that what a seed does to both conditions cancels.

    Parameters
    ----------
    differences
        One for each pair.
    seed
        Seed of the flips if there are too many to enumerate.
    level
        Level of significance aimed at.
    one_sided
        Whether only a mean above zero counts.

    Examples
    --------
    Of six pairs p can be 2 / 64, of five no p reaches .05:

    >>> sign_flip_test([0.3, 0.1, 0.4, 0.2, 0.6, 0.5]).p
    0.03125
    >>> test = sign_flip_test([0.3, 0.1, 0.4, 0.2, 0.6])
    >>> test.p, test.smallest_p
    (nan, 0.0625)
    """
    values = finite(differences)
    n = len(values)
    if not n:
        return PermutationTest(math.nan, math.nan, math.nan, 0, exact=True)
    signs, scale = sign_flips(n, seed), scale_of(values)
    means, exact = signs @ (values / scale) / n, len(signs) == 2**n
    if one_sided:
        return _outcome(means, _share_as_large(means), 1 / len(means), n, exact, level, scale)
    return _two_sided(means, n, exact, level, scale)


def chance_test(
    observed: ArrayLike,
    relabelled: ArrayLike,
    *,
    different: int | None = None,
    shared: bool = True,
    seed: int = 0,
    level: float = LEVEL,
) -> ChanceTest:
    """Test, one-sided, that members exceed chance, where chance is the same with trials relabelled.

    A label that means nothing agrees with states by accident in these trials, and in all members alike if all
    saw these trials: members are no sample of trials, and sign flips over them find what is not there in most
    draws. Therefore two tests: the mean over members against that of each relabelling, which is applied to
    all members alike, and members against the means of their own relabellings. A claim needs both
    (`ChanceTest.p`).

    Parameters
    ----------
    observed
        (member,); members without a number are left out.
    relabelled
        The same for relabelled trials, (relabelling, member), one relabelling in each row. Rows that are
        undefined for a member are left out.
    different
        How many of the labellings, the observed one included, are different; without it all. Those that
        change nothing are no sample: of k different ones no p below 1 / k can be claimed.
    shared
        Whether all members saw the same trials.
    seed
        Seed of the sign flips if there are too many to enumerate.
    level
        Level of significance aimed at.

    Examples
    --------
    Six members decode a label above what they do for relabelled trials; 1 of 64 flips of signs is as large:

    >>> relabelled = np.random.default_rng(0).uniform(0.4, 0.6, (99, 6))
    >>> test = chance_test([0.8, 0.9, 0.85, 0.7, 0.95, 0.9], relabelled)
    >>> test.trials.p, test.members.p, test.p
    (0.01, 0.015625, 0.015625)
    """
    values, null = np.asarray(observed, dtype=float), np.asarray(relabelled, dtype=float)
    known = np.isfinite(values) & np.isfinite(null).any(axis=0)
    values, null = values[known], null[:, known]
    null = null[np.isfinite(null).all(axis=1)]
    if not (len(null) and len(values)):
        none = PermutationTest(math.nan, math.nan, math.nan, len(values), exact=False)
        return ChanceTest(none if shared else None, none)
    members = sign_flip_test(values - null.mean(axis=0), seed, level, one_sided=True)
    means = np.append(values.mean(), null.mean(axis=1))
    smallest = 1 / min(len(means) if different is None else different, len(means))
    trials = _outcome(means, max(_share_as_large(means), smallest), smallest, len(values), False, level)
    return ChanceTest(trials if shared else None, members)


def mantel_test(a: ArrayLike, b: ArrayLike, seed: int = 0, level: float = LEVEL) -> PermutationTest:
    """Test that two distance matrices of the same members agree (Mantel 1967), one-sided.

    The statistic is the rank correlation (Spearman) over pairs of members, distances that differ by rounding
    being ties (`DISTANCE_TIES`). Pairs that share a member are not independent, so members are permuted, not
    pairs.

    Parameters
    ----------
    a, b
        Symmetric (member, member).
    seed
        Seed of the permutations if there are too many to enumerate.
    level
        Level of significance aimed at.

    Examples
    --------
    Distances and their squares have the same order, which none of the 119 other orders of five members gives:

    >>> place = np.array([0, 1, 3, 7, 15])
    >>> distances = np.abs(place[:, None] - place)
    >>> test = mantel_test(distances, distances**2)
    >>> round(test.statistic, 6), round(test.p, 4)
    (1.0, 0.0083)
    """
    n = len(np.asarray(a))
    upper = np.triu_indices(n, 1)
    pairs = [np.asarray(matrix, dtype=float)[upper] for matrix in (a, b)]
    unknown = int(sum(np.isnan(values).sum() for values in pairs))
    if unknown:
        return PermutationTest(math.nan, math.nan, math.nan, n, exact=True, undefined=unknown)
    first, second = (unit_ranks(values, DISTANCE_TIES) for values in pairs)
    if n < 3 or not (first.any() and second.any()):
        return PermutationTest(math.nan, math.nan, math.nan, n, exact=True)
    square = np.zeros((n, n))
    square[upper] = second
    square += square.T
    exact = math.factorial(n) <= N_MATRIX_RESAMPLES
    rng = np.random.default_rng(seed)
    drawn = (rng.permutation(n) for _ in range(N_MATRIX_RESAMPLES))
    orders = (
        map(np.array, itertools.permutations(range(n))) if exact else itertools.chain([np.arange(n)], drawn)
    )
    values = np.array([first @ square[order[upper[0]], order[upper[1]]] for order in orders])
    return _outcome(values, _share_as_large(values), 1 / len(values), n, exact, level)


def monte_carlo_test(observed: float, simulated: ArrayLike, level: float = LEVEL) -> PermutationTest:
    """Test, one-sided, that a statistic is no larger than under a null simulated ``simulated`` (simulation,) times.

    p = (1 + simulations at least as large) / (1 + simulations), which keeps the level for any number of
    simulations (Phipson & Smyth 2010). NaN where the statistic is undefined in the data or in a simulation.

    Examples
    --------
    >>> monte_carlo_test(5.0, [0, 1, 2] * 33).p
    0.01
    """
    values = np.append(observed, np.asarray(simulated, dtype=float))
    return _outcome(values, _share_as_large(values), 1 / len(values), 1, False, level)


def energy_test(distances: ArrayLike, n_first: int, seed: int = 0, level: float = LEVEL) -> PermutationTest:
    """Test from distances between members that two samples are exchangeable (Székely & Rizzo 2013).

    The statistic is 2 E d(a,b) - E d(a,a') - E d(b,b'), means over all ordered pairs: zero for equal samples,
    and never below for distances of negative type (Euclidean, one-dimensional Wasserstein). Labels of members
    are permuted.

    Parameters
    ----------
    distances
        Symmetric (member, member), members of the first sample in front.
    n_first
        Size of the first sample.
    seed
        Seed of the relabellings if there are too many to enumerate.
    level
        Level of significance aimed at.

    Examples
    --------
    Two samples on a line that do not overlap; 2 of the 70 ways to part eight members are as far apart:

    >>> place = np.array([0, 1, 2, 3, 10, 11, 12, 13])
    >>> test = energy_test(np.abs(place[:, None] - place), n_first=4)
    >>> test.exact, round(test.p, 4)
    (True, 0.0286)
    """
    D, scale = _scaled(distances)
    n = len(D)
    if not 0 < n_first < n:
        return PermutationTest(math.nan, math.nan, math.nan, n, exact=True)
    first = _relabellings(n, n_first, seed)
    # With weights w of 1/n_a on one sample and -1/n_b on the other the statistic is -w D w.
    energies = np.empty(len(first))
    for some in np.array_split(np.arange(len(first)), -(-first.size // 2**22)):
        weights = np.where(first[some], 1 / n_first, -1 / (n - n_first))
        with np.errstate(invalid="ignore"):  # infinite distances
            energies[some] = 0.0 - np.einsum("si,si->s", weights @ D, weights)
    exact = _is_exact(first, n_first)
    # Samples of equal sizes may swap names without changing the statistic.
    mirrored = 2 if exact and 2 * n_first == n else 1
    return _outcome(energies, _share_as_large(energies), mirrored / len(first), n, exact, level, scale)


def paired_distance_test(distances: ArrayLike, seed: int = 0, level: float = LEVEL) -> PermutationTest:
    """Test from distances that members and their partners differ by nothing (McArdle & Anderson 2001).

    The statistic is the squared length of the mean difference of a pair, in the space where the distances are
    Euclidean: on a line the test is `sign_flip_test`. Labels are permuted within pairs, so that what a seed
    does to both members cancels.

    Parameters
    ----------
    distances
        Symmetric (member, member): the first of each pair, then the second ones in the same order.
    seed
        Seed of the flips if there are too many to enumerate.
    level
        Level of significance aimed at.

    Examples
    --------
    Six members are each a unit from their partner, all in the same direction: p = 2 / 64.

    >>> place = np.concatenate([np.arange(6), np.arange(6) + 1])
    >>> test = paired_distance_test(np.abs(place[:, None] - place))
    >>> test.statistic, test.p
    (1.0, 0.03125)
    """
    D, scale = _scaled(distances)
    n = len(D) // 2
    if not n:
        return PermutationTest(math.nan, math.nan, math.nan, 0, exact=True)
    (aa, ab), (ba, bb) = (np.split(half, 2, axis=1) for half in np.split(D**2, 2))
    signs = sign_flips(n, seed)
    with np.errstate(invalid="ignore"):  # infinite distances
        products = (ab + ba - aa - bb) / 2  # of the differences of two pairs
        lengths = np.einsum("si,si->s", signs @ products, signs) / n**2
    exact = len(signs) == 2**n
    # To swap all pairs changes nothing.
    smallest = (2 if exact else 1) / len(signs)
    return _outcome(lengths, _share_as_large(lengths), smallest, n, exact, level, scale, degree=2)


@lru_cache(maxsize=1)  # all statistics of a comparison, one after the other, ask for the same
def _relabellings(n: int, n_first: int, seed: int) -> NDArray[np.bool_]:
    """Return which members come first, (split, member), the observed split in front; all splits where they are few."""
    n_splits = math.comb(n, n_first)
    if n_splits <= N_RESAMPLES:
        chosen = np.array(list(itertools.combinations(range(n), n_first)))
        first = np.zeros((n_splits, n), dtype=bool)
        np.put_along_axis(first, chosen, True, axis=1)
    else:
        observed = np.arange(n) < n_first
        drawn = np.random.default_rng(seed).permuted(np.tile(observed, (N_RESAMPLES, 1)), axis=1)
        first = np.vstack([observed, drawn])
    first.setflags(write=False)
    return first


@lru_cache(maxsize=1)
def sign_flips(n: int, seed: int) -> NDArray[np.float64]:
    """Return signs (flip, pair), those observed in front: all of them where they are few enough, else random ones."""
    if 2**n <= N_RESAMPLES:
        signs = np.where(np.arange(2**n)[:, None] >> np.arange(n) & 1, -1.0, 1.0)
    else:
        drawn = np.random.default_rng(seed).choice([-1.0, 1.0], (N_RESAMPLES, n))
        signs = np.vstack([np.ones(n), drawn])
    signs.setflags(write=False)
    return signs


def _is_exact(first: NDArray[np.bool_], n_first: int) -> bool:
    return len(first) == math.comb(first.shape[1], n_first)


def _scaled(distances: ArrayLike) -> tuple[NDArray[np.float64], float]:
    D = np.asarray(distances, dtype=float)
    scale = scale_of(D)
    return D / scale, scale


def _two_sided(
    values: NDArray[np.float64], n: int, exact: bool, level: float, scale: float = 1.0
) -> PermutationTest:
    tail = min(_share_as_large(values), _share_as_large(-values))
    return _outcome(values, min(2 * tail, 1.0), min(2 / len(values), 1.0), n, exact, level, scale)


def _outcome(
    values: NDArray[np.float64],
    p: float,
    smallest_p: float,
    n: int,
    exact: bool,
    level: float,
    scale: float = 1.0,
    degree: int = 1,
) -> PermutationTest:
    """Return the outcome for a statistic's values, the observed one in front, in units of ``scale ** degree``.

    No p where none could reach the level, or a value is not finite: it would compare as smaller than any
    other.
    """
    observed = float(values[0])
    for _ in range(degree):
        observed *= scale  # a power would raise where this overflows to infinity
    undefined = int(np.sum(~np.isfinite(values)))
    if undefined:
        return PermutationTest(observed, math.nan, math.nan, n, exact, undefined)
    attainable = smallest_p <= level * (1 + ROUNDING)
    return PermutationTest(observed, p if attainable else math.nan, smallest_p, n, exact)


def _share_as_large(values: NDArray[np.float64]) -> float:
    """Share of relabellings that give at least the observed value, which stands in front."""
    with np.errstate(invalid="ignore"):
        return float(np.mean(values >= values[0] - ROUNDING * np.abs(values).max()))
