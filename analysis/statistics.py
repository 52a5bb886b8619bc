"""Uncertainty, effect sizes and permutation tests for small samples, on `scipy.stats`.

A sample is an array (member,): one number for each trained model, so seeds are what is sampled, and members, never
trials or pairs of members, are what a test permutes. Values that are not finite are left out. What a sample is too
small for is NaN, never a warning: so is the p-value of a test that could not reach its level whatever the data.
"""

import itertools
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

N_RESAMPLES = 9999
"""Resamples of a bootstrap, and the largest number of relabellings that a permutation test enumerates."""

N_MATRIX_RESAMPLES = 999
"""The same for tests that permute whole matrices."""

LEVEL = 0.05
"""The level of significance aimed at where none is asked for."""

ROUNDING = 1e-12
"""Relative differences below this come from adding up in another order."""


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
    """

    statistic: float
    p: float
    smallest_p: float
    n: int
    exact: bool

    def __str__(self) -> str:
        return p_text(self.p, self.smallest_p)


def p_text(p: float, smallest_p: float) -> str:
    """Return "p = …", or what is said instead where samples are too small for the level or empty."""
    if not math.isnan(p):
        return f"p = {p:.2g}"
    return "no p" if math.isnan(smallest_p) else f"too few for a p: {smallest_p:.2g} is the smallest attainable"


def mean_text(mean: Interval, digits: int, unit: str = "", scale: float = 1.0) -> str:
    """Return "1.23 m (1.20 to 1.26)"; without an interval, as of one member, the mean alone."""
    number, low, high = (f"{scale * value:.{digits}f}" for value in (mean.estimate, mean.low, mean.high))
    return f"{number}{unit}" + ("" if math.isnan(mean.low) else f" ({low} to {high})")


def mean_difference(a: NDArray[np.float64], b: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
    """Mean of ``b`` minus mean of ``a`` along ``axis``."""
    return np.mean(b, axis=axis) - np.mean(a, axis=axis)


def mean_interval(values: ArrayLike, confidence: float = 0.95, bounds: tuple[float, float] = UNBOUNDED) -> Interval:
    """Mean of a sample with its Student t interval, cut off at the ``bounds`` of values; it needs two values."""
    from scipy import stats

    sample = _finite(values)
    n = len(sample)
    if n < 2:
        return Interval(float(sample[0]) if n else math.nan, math.nan, math.nan, n)
    reach = stats.t.ppf(0.5 + confidence / 2, n - 1) * sample.std(ddof=1) / math.sqrt(n)
    mean = float(sample.mean())
    return Interval(mean, max(mean - reach, bounds[0]), min(mean + reach, bounds[1]), n)


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
    estimate = float(statistic(*data, axis=-1))
    if min(map(len, data)) < 2:
        return Interval(estimate, math.nan, math.nan, n)
    if all(np.ptp(sample) == 0 for sample in data):
        return Interval(estimate, estimate, estimate, n)
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
    return Interval(estimate, float(low), float(high), n)


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
        Seed of the relabellings where there are too many to enumerate.
    level
        Level of significance aimed at.
    """
    a, b = _finite(a), _finite(b)
    n = len(a) + len(b)
    if not (len(a) and len(b)):
        return PermutationTest(math.nan, math.nan, math.nan, n, exact=True)
    pooled = np.concatenate([a, b])
    first = _relabellings(len(pooled), len(a), seed)
    pooled = np.broadcast_to(pooled, first.shape)
    values = statistic(pooled[first].reshape(-1, len(a)), pooled[~first].reshape(-1, len(b)), axis=-1)
    return _two_sided(values, n, _is_exact(first, len(a)), level)


def sign_flip_test(differences: ArrayLike, seed: int = 0, level: float = LEVEL) -> PermutationTest:
    """Two-sided test that paired differences (pair,) are as likely of either sign; the statistic is their mean.

    For members of two conditions that share their seed: which of the two is which is permuted within each pair, so that
    what a seed does to both conditions cancels.

    Parameters
    ----------
    differences
        One for each pair.
    seed
        Seed of the flips where there are too many to enumerate.
    level
        Level of significance aimed at.
    """
    values = _finite(differences)
    n = len(values)
    if not n:
        return PermutationTest(math.nan, math.nan, math.nan, 0, exact=True)
    signs = _sign_flips(n, seed)
    return _two_sided(signs @ values / n, n, len(signs) == 2**n, level)


def mantel_test(a: ArrayLike, b: ArrayLike, seed: int = 0, level: float = LEVEL) -> PermutationTest:
    """Test that two distance matrices of the same members agree (Mantel 1967), one-sided.

    The statistic is the rank correlation (Spearman) over pairs of members. Pairs that share a member are not
    independent, so members are permuted, not pairs.

    Parameters
    ----------
    a, b
        Symmetric (member, member).
    seed
        Seed of the permutations where there are too many to enumerate.
    level
        Level of significance aimed at.
    """
    from scipy import stats

    n = len(np.asarray(a))
    upper = np.triu_indices(n, 1)
    ranks = [stats.rankdata(np.asarray(matrix, dtype=float)[upper]) for matrix in (a, b)]
    if n < 3 or any(np.ptp(r) == 0 for r in ranks):
        return PermutationTest(math.nan, math.nan, math.nan, n, exact=True)
    first, second = ((r - r.mean()) / (np.sqrt(len(r)) * r.std()) for r in ranks)
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
    (Phipson & Smyth 2010).
    """
    values = np.append(observed, np.asarray(simulated, dtype=float))
    if not math.isfinite(observed):
        return PermutationTest(math.nan, math.nan, 1 / len(values), 1, exact=False)
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
        Seed of the relabellings where there are too many to enumerate.
    level
        Level of significance aimed at.
    """
    D = np.asarray(distances, dtype=float)
    n = len(D)
    if not 0 < n_first < n:
        return PermutationTest(math.nan, math.nan, math.nan, n, exact=True)
    first = _relabellings(n, n_first, seed)
    # With weights w of 1/n_a on one sample and -1/n_b on the other the statistic is -w D w.
    weights = np.where(first, 1 / n_first, -1 / (n - n_first))
    energies = 0.0 - np.einsum("si,si->s", weights @ D, weights)
    exact = _is_exact(first, n_first)
    # Samples of equal sizes may swap names without changing the statistic.
    mirrored = 2 if exact and 2 * n_first == n else 1
    return _outcome(energies, _share_as_large(energies), mirrored / len(first), n, exact, level)


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
        Seed of the flips where there are too many to enumerate.
    level
        Level of significance aimed at.
    """
    D = np.asarray(distances, dtype=float)
    n = len(D) // 2
    if not n:
        return PermutationTest(math.nan, math.nan, math.nan, 0, exact=True)
    (aa, ab), (ba, bb) = (np.split(half, 2, axis=1) for half in np.split(D**2, 2))
    products = (ab + ba - aa - bb) / 2  # of the differences of two pairs
    signs = _sign_flips(n, seed)
    lengths = np.einsum("si,si->s", signs @ products, signs) / n**2
    exact = len(signs) == 2**n
    # To swap all pairs changes nothing.
    return _outcome(lengths, _share_as_large(lengths), (2 if exact else 1) / len(signs), n, exact, level)


def pooled_std(a: ArrayLike, b: ArrayLike) -> float:
    """Standard deviation within two samples together, with n_a + n_b - 2 degrees of freedom; NaN without any."""
    a, b = _finite(a), _finite(b)
    if not (len(a) and len(b)) or len(a) + len(b) < 3:
        return math.nan
    squares = np.sum((a - a.mean()) ** 2) + np.sum((b - b.mean()) ** 2)
    return math.sqrt(squares / (len(a) + len(b) - 2))


def cohens_d(a: ArrayLike, b: ArrayLike) -> float:
    """Difference of means (b - a) over the pooled standard deviation; 0 for equal means, ±inf for unequal constants."""
    a, b = _finite(a), _finite(b)
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
    """P(b > a) - P(b < a) over all pairs, in [-1, 1]; the area under the ROC curve is (δ + 1) / 2."""
    a, b = _finite(a), _finite(b)
    return float(np.sign(b[:, None] - a).mean()) if len(a) and len(b) else math.nan


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


def _sign_flips(n: int, seed: int) -> NDArray[np.float64]:
    """Return signs (flip, pair), those observed in front: all of them where they are few enough, else random ones."""
    if 2**n <= N_RESAMPLES:
        return np.where(np.arange(2**n)[:, None] >> np.arange(n) & 1, -1.0, 1.0)
    drawn = np.random.default_rng(seed).choice([-1.0, 1.0], (N_RESAMPLES, n))
    return np.vstack([np.ones(n), drawn])


def _is_exact(first: NDArray[np.bool_], n_first: int) -> bool:
    return len(first) == math.comb(first.shape[1], n_first)


def _two_sided(values: NDArray[np.float64], n: int, exact: bool, level: float) -> PermutationTest:
    tail = min(_share_as_large(values), _share_as_large(-values))
    return _outcome(values, min(2 * tail, 1.0), min(2 / len(values), 1.0), n, exact, level)


def _outcome(
    values: NDArray[np.float64], p: float, smallest_p: float, n: int, exact: bool, level: float
) -> PermutationTest:
    """Return the outcome for a statistic's values, the observed one in front; no p where none could reach the level."""
    attainable = smallest_p <= level * (1 + ROUNDING)
    return PermutationTest(float(values[0]), p if attainable else math.nan, smallest_p, n, exact)


def _share_as_large(values: NDArray[np.float64]) -> float:
    """Share of relabellings that give at least the observed value, which stands in front."""
    return float(np.mean(values >= values[0] - ROUNDING * np.abs(values).max()))


def _finite(values: ArrayLike) -> NDArray[np.float64]:
    sample = np.asarray(values, dtype=float).ravel()
    return sample[np.isfinite(sample)]
