"""Uncertainty, effect sizes and permutation tests for small samples, on `scipy.stats`.

A sample is an array (member,): one number for each trained model, so seeds are what is sampled, and members, never
trials or pairs of members, are what a test permutes. Values that are not finite are left out of samples. What a sample
is too small for is NaN, never a warning: so is the p-value of a test that could not reach its level whatever the data,
and of one whose statistic is undefined for the data or for a relabelling. A p-value is never below 1 / (1 + n) for n
relabellings or simulations.

Numbers that differ by rounding are equal wherever order matters (`ranks`), and the scale of the data is divided out
before anything is squared or added up, so that no finite input overflows on the way.
"""

import itertools
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.errors import AnalysisError

N_RESAMPLES = 9999
"""Resamples of a bootstrap, and the largest number of relabellings that a permutation test enumerates."""

N_MATRIX_RESAMPLES = 999
"""The same for tests that permute whole matrices."""

RELABELLINGS = 199
"""Relabellings of trials that a test against chance draws."""

LEVEL = 0.05
"""The level of significance aimed at where none is asked for."""

ROUNDING = 1e-12
"""Relative differences below this come from adding up in another order."""

TIES = 1e-9
"""Numbers that differ by less than this share of the largest of them are ties."""

DISTANCE_TIES = 1e-6
"""The same for distances and positions: states are recorded in single precision, and angles near zero are arccosines of
numbers that are rounded near one."""

LARGEST = 1e305
"""Numbers beyond this are refused: distances and sums of them would be beyond the range of numbers."""

UNBOUNDED = (-math.inf, math.inf)


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval; ``low`` and ``high`` are NaN where it is undefined.

    Attributes
    ----------
    n
        Values behind the estimate, of all samples together.
    """

    estimate: float
    low: float
    high: float
    n: int


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
        The smallest p-value that samples of these sizes can give: where it exceeds the level, no difference however
        large can be significant, and it is the answer.
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
        The mean over members against relabelled trials, one relabelling applied to all members: would other trials show
        it? None where members saw trials of their own, so that each of them is a sample of trials as well.
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
    return "no p" if math.isnan(smallest_p) else f"too few for a p: {smallest_p:.2g} is the smallest attainable"


def number_text(value: float, digits: int) -> str:
    """Return a number with so many decimals, never "-0.0", from a million on by a power of ten instead.

    >>> number_text(-0.04, 1), number_text(3.25e200, 1)
    ('0.0', '3.25e+200')
    """
    return f"{value:z.{digits}f}" if abs(value) < 1e6 or not math.isfinite(value) else f"{value:.3g}"


def mean_text(mean: Interval, digits: int, unit: str = "", scale: float = 1.0) -> str:
    """Return "1.23 m (1.20 to 1.26)"; without an interval, as of one member, the mean alone."""
    number, low, high = (number_text(scale * value, digits) for value in (mean.estimate, mean.low, mean.high))
    return f"{number}{unit}" + ("" if math.isnan(mean.low) else f" ({low} to {high})")


def levels(values: ArrayLike, rounding: float = TIES) -> NDArray[np.int64]:
    """Number distinct values (…, value) along the last axis in ascending order from 0; ties share a number.

    Neighbours in order are ties where they differ by at most ``rounding`` times the largest absolute value of the row:
    the scale is divided out, so the answer does not depend on units, and no edge of a grid can part two equal numbers.
    Infinite values of one sign are ties; a row with NaN has no order (ValueError).
    """
    array = np.asarray(values, dtype=float)
    if np.isnan(array).any():
        raise ValueError("expected numbers that have an order; got NaN")
    largest = np.max(np.abs(np.where(np.isfinite(array), array, 0.0)), axis=-1, keepdims=True, initial=0.0)
    scaled = array / np.where(largest > 0, largest, 1.0)
    order = np.argsort(scaled, axis=-1, kind="stable")
    ascending = np.take_along_axis(scaled, order, axis=-1)
    with np.errstate(invalid="ignore"):  # infinity less infinity
        steps = np.diff(ascending, axis=-1) > rounding
    numbers = np.zeros(array.shape, dtype=np.int64)
    np.put_along_axis(numbers, order[..., 1:], np.cumsum(steps, axis=-1), axis=-1)
    return numbers


def ranks(values: ArrayLike, rounding: float = TIES) -> NDArray[np.float64]:
    """Return ranks from 1 of values (…, value) along the last axis; ties (`levels`) share their mean rank.

    Examples
    --------
    >>> ranks([0.3, 0.1 + 0.2, 0.1]).tolist()
    [2.5, 2.5, 1.0]
    """
    from scipy import stats

    return np.asarray(stats.rankdata(levels(values, rounding), axis=-1), dtype=float)


def rank_correlation(a: ArrayLike, b: ArrayLike, rounding: float = TIES) -> float:
    """Return the correlation (Spearman) of the `ranks` of two samples; NaN where one is constant or undefined."""
    first, second = (np.asarray(x, dtype=float).ravel() for x in (a, b))
    if np.isnan(first).any() or np.isnan(second).any() or not len(first):
        return math.nan
    first, second = (_unit_ranks(x, rounding) for x in (first, second))
    return float(np.clip(first @ second, -1.0, 1.0)) if first.any() and second.any() else math.nan


def _unit_ranks(values: NDArray[np.float64], rounding: float) -> NDArray[np.float64]:
    """Return centred ranks of norm 1; zeros where all values are ties."""
    centred = ranks(values, rounding) - (len(values) + 1) / 2
    norm = float(np.linalg.norm(centred))
    return centred / norm if norm > 0 else np.zeros_like(centred)


def scale_of(*arrays: ArrayLike) -> float:
    """Return the power of two nearest below the largest finite absolute value, 1 for none: dividing by it is exact."""
    parts = (np.abs(np.asarray(array)).astype(float) for array in arrays)
    largest = max((float(part[np.isfinite(part)].max(initial=0.0)) for part in parts), default=0.0)
    return math.ldexp(1.0, min(max(math.frexp(largest)[1] - 1, -1000), 1000)) if largest > 0 else 1.0


def mean_difference(a: NDArray[np.float64], b: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
    """Mean of ``b`` minus mean of ``a`` along ``axis``."""
    return np.mean(b, axis=axis) - np.mean(a, axis=axis)


_OF_DEGREE_ONE = (mean_difference, np.mean, np.median)
"""Statistics that change as their samples' unit does, so that the scale can be divided out before."""


def mean_interval(values: ArrayLike, confidence: float = 0.95, bounds: tuple[float, float] = UNBOUNDED) -> Interval:
    """Mean of a sample with its Student t interval; it needs two values.

    Where values have ``bounds`` the interval is taken on the scale on which the range has no end, the standard error
    being carried over by the delta method: of log(mean - low) where one end is finite, of the logit where both are. So
    it stays within the range and becomes the ordinary interval as the standard error becomes small against the distance
    from the ends. Of skewed values it covers more than the ordinary one (of the mean of five exponential values 93 %,
    not 88 %), which stretches beyond the end on one side and too little on the other.

    Raises
    ------
    AnalysisError
        If a value lies outside the bounds.

    Examples
    --------
    >>> interval = mean_interval([0.5, 1.0, 3.0], bounds=(0.0, math.inf))
    >>> f"{interval.estimate:.2f} ({interval.low:.2f} to {interval.high:.2f})"
    '1.50 (0.17 to 13.48)'
    """
    from scipy import stats

    sample = _within(_finite(values), bounds)
    n, scale = len(sample), scale_of(sample)
    if n < 2:
        return Interval(float(sample[0]) if n else math.nan, math.nan, math.nan, n)
    sample = sample / scale
    reach = float(stats.t.ppf(0.5 + confidence / 2, n - 1) * sample.std(ddof=1) / math.sqrt(n))
    mean = float(sample.mean())
    low, high = _ends(mean, reach, bounds[0] / scale, bounds[1] / scale)
    return Interval(scale * mean, scale * min(low, mean), scale * max(high, mean), n)


def _within(sample: NDArray[np.float64], bounds: tuple[float, float]) -> NDArray[np.float64]:
    """Return a sample within its bounds, those beyond by a rounding error put on them; refuse others."""
    inside = np.clip(sample, *bounds)
    far = np.abs(sample - inside) > TIES * np.maximum(np.abs(sample), 1.0)
    if far.any():
        raise AnalysisError(f"expected values from {bounds[0]:g} to {bounds[1]:g}; got {sample[far][0]:g}")
    return inside


def _ends(mean: float, reach: float, lowest: float, highest: float) -> tuple[float, float]:
    """Return the ends of an interval of half-width ``reach`` about a mean, within the range of its values."""
    below, above = mean - lowest, highest - mean
    if reach <= 0 or (math.isinf(below) and math.isinf(above)):
        return mean - reach, mean + reach
    if min(below, above) <= 0:  # all values are at an end but for rounding
        return mean, mean
    if math.isinf(above):
        factor = math.exp(min(reach / below, 700.0))
        return lowest + below / factor, lowest + below * factor
    if math.isinf(below):
        factor = math.exp(min(reach / above, 700.0))
        return highest - above * factor, highest - above / factor
    # d logit(p) = dp (1/p + 1/(1 - p)), here with distances instead of shares.
    factor = math.exp(min(reach * (1 / below + 1 / above), 700.0))
    return _between(lowest, highest, below, above * factor), _between(lowest, highest, below * factor, above)


def _between(lowest: float, highest: float, below: float, above: float) -> float:
    """Return the point of a range whose distances from its ends are in the ratio below : above."""
    share = below / (below + above)
    return (
        lowest + (highest - lowest) * share if share < 0.5 else highest - (highest - lowest) * (above / (below + above))
    )


def proportion_interval(share: float, n: int, confidence: float = 0.95) -> Interval:
    """Share of ``n`` independent trials with its Wilson (1927) score interval, which also has a width at 0 and 1."""
    from scipy import stats

    if n == 0 or math.isnan(share):
        return Interval(math.nan, math.nan, math.nan, n)
    z2 = stats.norm.ppf(0.5 + confidence / 2) ** 2 / n
    middle = (share + z2 / 2) / (1 + z2)
    reach = math.sqrt(z2 * (share * (1 - share) + z2 / 4)) / (1 + z2)
    return Interval(share, max(middle - reach, 0.0), min(middle + reach, 1.0), n)


def bootstrap_interval(
    statistic: Callable[..., NDArray[np.float64]], *samples: ArrayLike, confidence: float = 0.95, seed: int = 0
) -> Interval:
    """Bias-corrected and accelerated (BCa) bootstrap interval (Efron 1987); each sample needs two values.

    Of few values it is too short: of the mean of normal values a 95 % interval covers 87 % at n = 5 and 92 % at n = 20.
    For means take `mean_interval`.

    Parameters
    ----------
    statistic
        ``statistic(*samples, axis=-1)``, vectorised over leading axes.
    samples
        Independent samples; constant samples give an interval of width zero.
    confidence
        Coverage aimed at.
    seed
        Seed of the resampling.
    """
    from scipy import stats

    data = [_finite(sample) for sample in samples]
    n = sum(map(len, data))
    if min(map(len, data)) == 0:
        return Interval(math.nan, math.nan, math.nan, n)
    scale = scale_of(*data) if statistic in _OF_DEGREE_ONE else 1.0
    data = [sample / scale for sample in data]
    estimate = float(statistic(*data, axis=-1))
    if min(map(len, data)) < 2:
        return Interval(scale * estimate, math.nan, math.nan, n)
    if all(np.ptp(sample) == 0 for sample in data):
        return Interval(*3 * (scale * estimate,), n)
    low, high = math.nan, math.nan
    for method in ("BCa", "percentile"):  # BCa is undefined where the estimate lies outside all resampled values
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            low, high = stats.bootstrap(
                data,
                statistic,
                confidence_level=confidence,
                n_resamples=N_RESAMPLES,
                method=method,
                random_state=np.random.default_rng(seed),
            ).confidence_interval
        if math.isfinite(low) and math.isfinite(high):
            break
    return Interval(scale * estimate, scale * float(low), scale * float(high), n)


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
    """
    a, b = _finite(a), _finite(b)
    n = len(a) + len(b)
    if not (len(a) and len(b)):
        return PermutationTest(math.nan, math.nan, math.nan, n, exact=True)
    scale = scale_of(a, b) if statistic is mean_difference else 1.0
    pooled = np.concatenate([a, b]) / scale
    first = _relabellings(len(pooled), len(a), seed)
    pooled = np.broadcast_to(pooled, first.shape)
    values = statistic(pooled[first].reshape(-1, len(a)), pooled[~first].reshape(-1, len(b)), axis=-1)
    return _two_sided(values, n, _is_exact(first, len(a)), level, scale)


def sign_flip_test(
    differences: ArrayLike, seed: int = 0, level: float = LEVEL, *, one_sided: bool = False
) -> PermutationTest:
    """Test that paired differences (pair,) are as likely of either sign; the statistic is their mean.

    For members of two conditions that share their seed: which of the two is which is permuted within each pair, so that
    what a seed does to both conditions cancels.

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
    """
    values = _finite(differences)
    n = len(values)
    if not n:
        return PermutationTest(math.nan, math.nan, math.nan, 0, exact=True)
    signs, scale = _sign_flips(n, seed), scale_of(values)
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

    A label that means nothing agrees with states by accident in these trials, and in all members alike if all saw
    these trials: members are no sample of trials, and sign flips over them find what is not there in most draws.
    Therefore two tests: the mean over members against that of each relabelling, which is applied to all members alike,
    and members against the means of their own relabellings. A claim needs both (`ChanceTest.p`).

    Parameters
    ----------
    observed
        (member,); members without a number are left out.
    relabelled
        The same for relabelled trials, (relabelling, member), one relabelling in each row. Rows that are undefined for
        a member are left out.
    different
        How many of the labellings, the observed one included, are different; without it all. Those that change nothing
        are no sample: of k different ones no p below 1 / k can be claimed.
    shared
        Whether all members saw the same trials.
    seed
        Seed of the sign flips if there are too many to enumerate.
    level
        Level of significance aimed at.
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

    The statistic is the rank correlation (Spearman) over pairs of members, distances that differ by rounding being ties
    (`DISTANCE_TIES`). Pairs that share a member are not independent, so members are permuted, not pairs.

    Parameters
    ----------
    a, b
        Symmetric (member, member).
    seed
        Seed of the permutations if there are too many to enumerate.
    level
        Level of significance aimed at.
    """
    n = len(np.asarray(a))
    upper = np.triu_indices(n, 1)
    pairs = [np.asarray(matrix, dtype=float)[upper] for matrix in (a, b)]
    unknown = int(sum(np.isnan(values).sum() for values in pairs))
    if unknown:
        return PermutationTest(math.nan, math.nan, math.nan, n, exact=True, undefined=unknown)
    first, second = (_unit_ranks(values, DISTANCE_TIES) for values in pairs)
    if n < 3 or not (first.any() and second.any()):
        return PermutationTest(math.nan, math.nan, math.nan, n, exact=True)
    square = np.zeros((n, n))
    square[upper] = second
    square += square.T
    exact = math.factorial(n) <= N_MATRIX_RESAMPLES
    rng = np.random.default_rng(seed)
    drawn = (rng.permutation(n) for _ in range(N_MATRIX_RESAMPLES))
    orders = map(np.array, itertools.permutations(range(n))) if exact else itertools.chain([np.arange(n)], drawn)
    values = np.array([first @ square[order[upper[0]], order[upper[1]]] for order in orders])
    return _outcome(values, _share_as_large(values), 1 / len(values), n, exact, level)


def monte_carlo_test(observed: float, simulated: ArrayLike, level: float = LEVEL) -> PermutationTest:
    """Test, one-sided, that a statistic is no larger than under a null simulated ``simulated`` (simulation,) times.

    p = (1 + simulations at least as large) / (1 + simulations), which keeps the level for any number of simulations
    (Phipson & Smyth 2010). NaN where the statistic is undefined in the data or in a simulation.
    """
    values = np.append(observed, np.asarray(simulated, dtype=float))
    return _outcome(values, _share_as_large(values), 1 / len(values), 1, False, level)


def energy_test(distances: ArrayLike, n_first: int, seed: int = 0, level: float = LEVEL) -> PermutationTest:
    """Test from distances between members that two samples are exchangeable (Székely & Rizzo 2013).

    The statistic is 2 E d(a,b) - E d(a,a') - E d(b,b'), means over all ordered pairs: zero for equal samples, and never
    below for distances of negative type (Euclidean, one-dimensional Wasserstein). Labels of members are permuted.

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
    """
    D, scale = _scaled(distances)
    n = len(D)
    if not 0 < n_first < n:
        return PermutationTest(math.nan, math.nan, math.nan, n, exact=True)
    first = _relabellings(n, n_first, seed)
    # With weights w of 1/n_a on one sample and -1/n_b on the other the statistic is -w D w.
    weights = np.where(first, 1 / n_first, -1 / (n - n_first))
    with np.errstate(invalid="ignore"):  # infinite distances
        energies = 0.0 - np.einsum("si,si->s", weights @ D, weights)
    exact = _is_exact(first, n_first)
    # Samples of equal sizes may swap names without changing the statistic.
    mirrored = 2 if exact and 2 * n_first == n else 1
    return _outcome(energies, _share_as_large(energies), mirrored / len(first), n, exact, level, scale)


def paired_distance_test(distances: ArrayLike, seed: int = 0, level: float = LEVEL) -> PermutationTest:
    """Test from distances that members and their partners differ by nothing (McArdle & Anderson 2001).

    The statistic is the squared length of the mean difference of a pair, in the space where the distances are
    Euclidean: on a line the test is `sign_flip_test`. Labels are permuted within pairs, so that what a seed does to
    both members cancels.

    Parameters
    ----------
    distances
        Symmetric (member, member): the first of each pair, then the second ones in the same order.
    seed
        Seed of the flips if there are too many to enumerate.
    level
        Level of significance aimed at.
    """
    D, scale = _scaled(distances)
    n = len(D) // 2
    if not n:
        return PermutationTest(math.nan, math.nan, math.nan, 0, exact=True)
    (aa, ab), (ba, bb) = (np.split(half, 2, axis=1) for half in np.split(D**2, 2))
    signs = _sign_flips(n, seed)
    with np.errstate(invalid="ignore"):  # infinite distances
        products = (ab + ba - aa - bb) / 2  # of the differences of two pairs
        lengths = np.einsum("si,si->s", signs @ products, signs) / n**2
    exact = len(signs) == 2**n
    # To swap all pairs changes nothing.
    smallest = (2 if exact else 1) / len(signs)
    return _outcome(lengths, _share_as_large(lengths), smallest, n, exact, level, scale, degree=2)


def standard_deviation(values: ArrayLike, ddof: int = 1) -> float:
    """Return the standard deviation of the finite values of a sample, dividing by n - ``ddof``; NaN for n <= ddof."""
    sample = _finite(values)
    if len(sample) <= ddof:
        return math.nan
    scale = scale_of(sample)
    return scale * float((sample / scale).std(ddof=ddof))


def pooled_std(a: ArrayLike, b: ArrayLike) -> float:
    """Standard deviation within two samples together, with n_a + n_b - 2 degrees of freedom; NaN without any."""
    a, b = _finite(a), _finite(b)
    if not (len(a) and len(b)) or len(a) + len(b) < 3:
        return math.nan
    scale = scale_of(a, b)
    a, b = a / scale, b / scale
    squares = np.sum((a - a.mean()) ** 2) + np.sum((b - b.mean()) ** 2)
    return scale * math.sqrt(squares / (len(a) + len(b) - 2))


def cohens_d(a: ArrayLike, b: ArrayLike) -> float:
    """Difference of means (b - a) over the pooled standard deviation; 0 for equal means, ±inf for unequal constants."""
    a, b = _finite(a), _finite(b)
    scale = scale_of(a, b)
    a, b = a / scale, b / scale
    pooled = pooled_std(a, b)
    if math.isnan(pooled):
        return math.nan
    difference = float(mean_difference(a, b))
    rounding = ROUNDING * max(np.abs(a).max(), np.abs(b).max())
    if abs(difference) <= rounding:
        return 0.0
    return difference / pooled if pooled > rounding else math.copysign(math.inf, difference)


def hedges_g(a: ArrayLike, b: ArrayLike) -> float:
    """Cohen's d times 1 - 3 / (4 (n_a + n_b) - 9), nearly unbiased in small samples (Hedges 1981)."""
    n = len(_finite(a)) + len(_finite(b))
    return cohens_d(a, b) * (1 - 3 / (4 * n - 9)) if n > 3 else math.nan


def cliffs_delta(a: ArrayLike, b: ArrayLike) -> float:
    """P(b > a) - P(b < a) over all pairs, in [-1, 1]; the area under the ROC curve is (δ + 1) / 2.

    Values that differ by rounding are ties (`levels`) and count for neither side.
    """
    a, b = _finite(a), _finite(b)
    if not (len(a) and len(b)):
        return math.nan
    numbers = levels(np.concatenate([a, b]))
    return float(np.sign(numbers[len(a) :, None] - numbers[: len(a)]).mean())


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """Adjust p-values for the family-wise error rate (Holm 1979); NaN stays NaN and does not count as a test."""

    def adjust(valid: NDArray[np.float64]) -> NDArray[np.float64]:
        order = np.argsort(valid)
        stepped = np.maximum.accumulate(valid[order] * np.arange(len(valid), 0, -1))
        return np.minimum(stepped, 1.0)[np.argsort(order)]

    return _adjust(p, adjust)


def benjamini_hochberg(p: ArrayLike) -> NDArray[np.float64]:
    """Adjust p-values for the false discovery rate (Benjamini & Hochberg 1995); NaN stays NaN and does not count."""
    from scipy import stats

    return _adjust(p, stats.false_discovery_control)


def _adjust(p: ArrayLike, adjust: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> NDArray[np.float64]:
    values = np.array(p, dtype=float)
    tested = ~np.isnan(values)
    values[tested] = adjust(values[tested])
    return values


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
def _sign_flips(n: int, seed: int) -> NDArray[np.float64]:
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


def _two_sided(values: NDArray[np.float64], n: int, exact: bool, level: float, scale: float = 1.0) -> PermutationTest:
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

    No p where none could reach the level, or a value is not finite: it would compare as smaller than any other.
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


def _finite(values: ArrayLike) -> NDArray[np.float64]:
    sample = np.asarray(values, dtype=float).ravel()
    return sample[np.isfinite(sample)]
