"""Bars of the Vietoris–Rips filtration in double precision, of points in any unit.

The filtration depends only on the order of the distances, so ripser, which computes in single precision, is
given their ranks, and births and deaths are exact distances of pairs.
"""

import math

import numpy as np
from numpy.typing import NDArray

_SMALLEST = 2**23
"""The smallest normal number of single precision, by its bits, which order positive numbers as integers."""


def rips_bars(
    distances: NDArray[np.float64], max_dimension: int, largest: float = math.inf
) -> list[NDArray[np.float64]]:
    """Return births and deaths (bar, 2) of points with these distances (point, point) for each dimension.

    Parameters
    ----------
    distances
        Symmetric, zero on the diagonal, finite.
    max_dimension
        Largest dimension of homology.
    largest
        Scale up to which the filtration is computed; what lives on then has an infinite death.
    """
    from ripser import ripser

    scales, ranks = np.unique(distances, return_inverse=True)
    codes = _as_float(ranks.reshape(distances.shape))
    limit = (
        math.inf if largest >= scales[-1] else float(_as_float(np.searchsorted(scales, largest, "right") - 1))
    )
    diagrams = ripser(codes, maxdim=max_dimension, distance_matrix=True, thresh=limit)["dgms"]
    scales = np.append(scales, np.inf)
    return [scales[_as_rank(bars, len(scales) - 1)] for bars in diagrams]


def _as_float(ranks: NDArray[np.intp] | np.intp) -> NDArray[np.float32]:
    """Return numbers of single precision in the order of ranks, one for each; integers are not above 2²⁴."""
    return np.where(np.asarray(ranks) > 0, np.asarray(ranks) + _SMALLEST, 0).astype(np.int32).view(np.float32)


def _as_rank(codes: NDArray[np.float64], infinite: int) -> NDArray[np.intp]:
    bits = np.asarray(codes, dtype=np.float32).view(np.int32).astype(np.intp)
    return np.where(np.isinf(codes), infinite, np.maximum(bits - _SMALLEST, 0))
