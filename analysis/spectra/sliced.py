"""Sliced Wasserstein distances of many spectra at once, from products of their quantiles."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from analysis.spectra.signatures import quantile_coordinates, slices
from analysis.statistics import scale_of

FEW = 500
"""Spectra up to which distances are those of coordinates, which takes a second."""

NEAR = 1e-3
"""Squared distance, as a share of the two squared lengths, below which a difference of products loses digits."""

MANY = 1 / 16
"""Share of near pairs from which on coordinates cost less than the pairs one by one."""

_AT_ONCE = 1000


def sliced_distances(
    spectra: Sequence[NDArray[np.complex128]], coordinates: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """Return √2 times the sliced Wasserstein distances W₂ (model, model) of spectra (`quantile_coordinates`).

    Of many spectra |x - y|² = |x|² + |y|² - 2 x·y, products being added up direction by direction: half the
    work of coordinates, whose distances then cost as much again. Pairs that are so near that the difference
    would lose more than three digits are subtracted before they are squared.

    Parameters
    ----------
    spectra
        Complex arrays (mode,), whose sizes may differ.
    coordinates
        Their `quantile_coordinates` where these are known.
    """
    if len(spectra) > FEW:
        squares, near = _from_products(spectra)
        if len(near[0]) <= MANY * len(spectra) ** 2 / 2:
            squares[near] = squares[near[::-1]] = _one_by_one(spectra, near)
            return scale_of(*spectra) * np.sqrt(squares)
    return euclidean_distances(quantile_coordinates(spectra) if coordinates is None else coordinates)


def euclidean_distances(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return distances (point, point) of rows, whatever their unit."""
    from scipy.spatial.distance import pdist, squareform

    unit = scale_of(points)
    return unit * squareform(pdist(points / unit))


def _from_products(
    spectra: Sequence[NDArray[np.complex128]],
) -> tuple[NDArray[np.float64], tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Return squared distances (model, model) in units of `scale_of` the spectra, and pairs too near for them."""
    from scipy.linalg.blas import dsyrk

    n, unit = len(spectra), scale_of(*spectra)
    products = np.zeros((n, n), order="F")
    for block in slices(spectra):
        centred = (block - block.mean(axis=0)) / unit
        products = dsyrk(1.0, centred.T, beta=1.0, c=products, trans=1, overwrite_c=1)
    lengths = products.diagonal().copy()
    squares = np.triu(products, 1)
    squares += squares.T
    squares *= -2
    sums = lengths[:, None] + lengths
    squares += sums
    first, second = np.nonzero(np.triu(squares <= NEAR * sums, 1))
    np.fill_diagonal(squares, 0.0)
    return squares, (first, second)


def _one_by_one(
    spectra: Sequence[NDArray[np.complex128]], pairs: tuple[NDArray[np.intp], NDArray[np.intp]]
) -> NDArray[np.float64]:
    """Return squared distances (pair,) in units of `scale_of` the spectra."""
    unit, squares = scale_of(*spectra), np.zeros(len(pairs[0]))
    if not len(squares):
        return squares
    for block in slices(spectra):
        scaled = block / unit
        for start in range(0, len(squares), _AT_ONCE):
            some = slice(start, start + _AT_ONCE)
            steps = scaled[pairs[0][some]] - scaled[pairs[1][some]]
            squares[some] += np.einsum("pc,pc->p", steps, steps)
    return squares
