"""Corrections of p-values for many tests."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """Adjust p-values for the family-wise error rate (Holm 1979); NaN stays NaN and does not count as a test.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03, np.nan]).round(3).tolist()
    [0.03, 0.06, 0.06, nan]
    """

    def adjust(valid: NDArray[np.float64]) -> NDArray[np.float64]:
        order = np.argsort(valid)
        stepped = np.maximum.accumulate(valid[order] * np.arange(len(valid), 0, -1))
        return np.minimum(stepped, 1.0)[np.argsort(order)]

    return _adjust(p, adjust)


def benjamini_hochberg(p: ArrayLike) -> NDArray[np.float64]:
    """Adjust p-values for the false discovery rate (Benjamini & Hochberg 1995); NaN stays NaN and does not count.

    Examples
    --------
    >>> benjamini_hochberg([0.01, 0.04, 0.03, np.nan]).round(3).tolist()
    [0.03, 0.04, 0.04, nan]
    """
    from scipy import stats

    return _adjust(p, stats.false_discovery_control)


def _adjust(
    p: ArrayLike, adjust: Callable[[NDArray[np.float64]], NDArray[np.float64]]
) -> NDArray[np.float64]:
    values = np.array(p, dtype=float)
    tested = ~np.isnan(values)
    values[tested] = adjust(values[tested])
    return values
