"""Order and scale of floating-point numbers: numbers that differ by rounding are ties, and the scale is divided out."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

ROUNDING = 1e-12
"""Relative differences below this come from adding up in another order."""

TIES = 1e-9
"""Numbers that differ by less than this share of the largest of them are ties."""

DISTANCE_TIES = 1e-6
"""The same for distances and positions: states are recorded in single precision, and angles near zero are arccosines of
numbers that are rounded near one."""

LARGEST = 1e305
"""Numbers beyond this are refused: distances and sums of them would be beyond the range of numbers."""


def levels(values: ArrayLike, rounding: float = TIES) -> NDArray[np.int64]:
    """Number distinct values (…, value) along the last axis in ascending order from 0; ties share a number.

    Neighbours in order are ties where they differ by at most ``rounding`` times the largest absolute value of
    the row: the scale is divided out, so the answer does not depend on units, and no edge of a grid can part
    two equal numbers. Infinite values of one sign are ties; a row with NaN has no order (ValueError).
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
    first, second = (unit_ranks(x, rounding) for x in (first, second))
    return float(np.clip(first @ second, -1.0, 1.0)) if first.any() and second.any() else math.nan


def unit_ranks(values: NDArray[np.float64], rounding: float) -> NDArray[np.float64]:
    """Return centred ranks of norm 1; zeros where all values are ties."""
    centred = ranks(values, rounding) - (len(values) + 1) / 2
    norm = float(np.linalg.norm(centred))
    return centred / norm if norm > 0 else np.zeros_like(centred)


def scale_of(*arrays: ArrayLike) -> float:
    """Return the power of two nearest below the largest finite absolute value, 1 for none: dividing by it is exact."""
    parts = (np.abs(np.asarray(array)).astype(float) for array in arrays)
    largest = max((float(part[np.isfinite(part)].max(initial=0.0)) for part in parts), default=0.0)
    return math.ldexp(1.0, min(max(math.frexp(largest)[1] - 1, -1000), 1000)) if largest > 0 else 1.0


def finite(values: ArrayLike) -> NDArray[np.float64]:
    """Return the values that are finite, flat."""
    sample = np.asarray(values, dtype=float).ravel()
    return sample[np.isfinite(sample)]
