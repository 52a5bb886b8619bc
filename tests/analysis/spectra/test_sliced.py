"""Sliced distances from products of quantiles, against distances of the quantiles themselves."""

import numpy as np
import pytest
from scipy.spatial.distance import pdist, squareform

from analysis.spectra import sliced
from analysis.spectra.signatures import signature_table


def spectra_of(sizes, spread=1.0, seed=0):
    rng = np.random.default_rng(seed)
    return [3 + spread * (rng.normal(size=n) + 1j * rng.normal(size=n)) for n in sizes]


@pytest.mark.parametrize("sizes", [[9] * 30, [5, 8, 13] * 10])
@pytest.mark.parametrize("scale", [1e-180, 1.0, 1e150])
def test_products_give_the_distances_of_quantiles(monkeypatch, sizes, scale):
    monkeypatch.setattr(sliced, "FEW", 0)
    spectra = [scale * v for v in spectra_of(sizes)]
    right = scale * squareform(pdist(signature_table(spectra_of(sizes))))
    np.testing.assert_allclose(sliced.sliced_distances(spectra), right, rtol=1e-12)


def test_near_pairs_lose_no_digits(monkeypatch):
    """|x|² + |y|² - 2 x·y of two spectra that differ by 1e-9 is rounding alone: 1e-18 beside 1e-16."""
    monkeypatch.setattr(sliced, "FEW", 0)
    spectra = spectra_of([9] * 30)
    spectra[4], spectra[7] = spectra[20] + 1e-9, spectra[2].copy()
    squares, near = sliced._from_products(spectra)
    assert set(zip(*(side.tolist() for side in near), strict=True)) == {(4, 20), (2, 7)}
    distances = sliced.sliced_distances(spectra)
    # A shift is its own length, to the rounding of numbers near 3 + 1e-9.
    assert distances[4, 20] == distances[20, 4] == pytest.approx(1e-9, rel=1e-5)
    assert distances[2, 7] == 0
    assert np.sqrt(np.abs(squares[4, 20])) != pytest.approx(1e-9, rel=0.1), "products alone are enough"


def test_many_near_pairs_are_measured_by_coordinates(monkeypatch):
    spectra = [v for v in spectra_of([9] * 4) for _ in range(10)]
    right = squareform(pdist(signature_table(spectra)))
    monkeypatch.setattr(sliced, "FEW", 0)
    monkeypatch.setattr(sliced, "_one_by_one", None)
    np.testing.assert_allclose(sliced.sliced_distances(spectra), right, rtol=1e-9, atol=1e-12)
