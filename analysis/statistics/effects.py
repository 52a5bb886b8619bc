"""Effect sizes of two samples."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.statistics.ranks import ROUNDING, finite, levels, scale_of


def mean_difference(a: NDArray[np.float64], b: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
    """Mean of ``b`` minus mean of ``a`` along ``axis``.

    Examples
    --------
    >>> mean_difference(np.array([1.0, 2.0]), np.array([3.0, 6.0])).item()
    3.0
    """
    return np.mean(b, axis=axis) - np.mean(a, axis=axis)


def standard_deviation(values: ArrayLike, ddof: int = 1) -> float:
    """Return the standard deviation of the finite values of a sample, dividing by n - ``ddof``; NaN for n <= ddof."""
    sample = finite(values)
    if len(sample) <= ddof:
        return math.nan
    scale = scale_of(sample)
    return scale * float((sample / scale).std(ddof=ddof))


def pooled_std(a: ArrayLike, b: ArrayLike) -> float:
    """Standard deviation within two samples together, with n_a + n_b - 2 degrees of freedom; NaN without any."""
    a, b = finite(a), finite(b)
    if not (len(a) and len(b)) or len(a) + len(b) < 3:
        return math.nan
    scale = scale_of(a, b)
    a, b = a / scale, b / scale
    squares = np.sum((a - a.mean()) ** 2) + np.sum((b - b.mean()) ** 2)
    return scale * math.sqrt(squares / (len(a) + len(b) - 2))


def cohens_d(a: ArrayLike, b: ArrayLike) -> float:
    """Difference of means (b - a) over the pooled standard deviation; 0 for equal means, ±inf for unequal constants.

    Examples
    --------
    >>> round(cohens_d([0, 2], [1, 3]), 3)
    0.707
    """
    a, b = finite(a), finite(b)
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
    """Cohen's d times 1 - 3 / (4 (n_a + n_b) - 9), nearly unbiased in small samples (Hedges 1981).

    Examples
    --------
    >>> round(hedges_g([0, 2], [1, 3]), 3)
    0.404
    """
    n = len(finite(a)) + len(finite(b))
    return cohens_d(a, b) * (1 - 3 / (4 * n - 9)) if n > 3 else math.nan


def cliffs_delta(a: ArrayLike, b: ArrayLike) -> float:
    """P(b > a) - P(b < a) over all pairs, in [-1, 1]; the area under the ROC curve is (δ + 1) / 2.

    Values that differ by rounding are ties (`levels`) and count for neither side.

    Examples
    --------
    >>> cliffs_delta([1, 2, 3], [4, 5]), cliffs_delta([1, 2, 3], [2])
    (1.0, 0.0)
    """
    a, b = finite(a), finite(b)
    if not (len(a) and len(b)):
        return math.nan
    numbers = levels(np.concatenate([a, b]))
    return float(np.sign(numbers[len(a) :, None] - numbers[: len(a)]).mean())
