"""Signatures of spectra."""

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import pdist

from analysis.errors import AnalysisError
from analysis.spectra.signatures import (
    N_DIRECTIONS,
    centred_edges,
    precision_change,
    quantile_coordinates,
    quantile_functions,
    signature_table,
    spectral_signature,
    standardise,
)
from analysis.spectra.values import eigenvalue_statistics

SPECTRUM = np.array([1.0, -1.04, 1.33j, -1.33j, 0.33])


@pytest.mark.parametrize(
    ("signature_type", "size"), [("histogram", 56), ("statistics", 21), ("combined", 63), ("quantiles", 160)]
)
def test_sizes(signature_type, size):
    assert len(spectral_signature(SPECTRUM, signature_type)) == size


def test_statistics_are_the_21():
    assert spectral_signature(SPECTRUM, "statistics") == eigenvalue_statistics(SPECTRUM)


def test_combined_adds_seven_values_read_from_the_histogram():
    features = spectral_signature(SPECTRUM, "combined")
    extras = dict(list(features.items())[56:])
    assert extras["mag_hist_above_one"] == 2  # the bin [1, 1.1) is not counted
    assert extras["mag_hist_peak"] == 10
    assert extras["mag_hist_mean"] == pytest.approx((1.05 + 1.05 + 1.35 + 1.35 + 0.35) / 5)
    assert extras["angle_hist_peak"] == 0
    assert extras["angle_hist_std"] == pytest.approx(
        np.std((np.array([0, 0, 18, 18, 35]) + 0.5) * np.pi / 36)
    )


def test_unknown_types_are_refused():
    with pytest.raises(AnalysisError, match=r"^signature_type: expected"):
        spectral_signature(SPECTRUM, "moments")


def test_rows_carry_the_names_of_models(make_population):
    table = signature_table(make_population(4, missing=(2,)), "histogram")
    assert table.index.tolist() == ["model-1", "model-3", "model-4"]
    assert (table.sum(axis=1) == 30).all()  # 15 eigenvalues, counted by angle and by modulus


def test_standardising_makes_units_irrelevant_and_drops_constants():
    features = pd.DataFrame({"a": [1.0, 2.0, 4.0], "b": [3.0, 3.0, 3.0], "c": [1000.0, -500.0, 0.0]})
    scaled = standardise(features)
    assert list(scaled) == ["a", "c"]
    np.testing.assert_allclose(scaled.mean(), 0, atol=1e-12)
    np.testing.assert_allclose(scaled.std(ddof=0), 1)
    pd.testing.assert_frame_equal(scaled, standardise(features * 7))


def random_spectra(sizes, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=n) + 1j * rng.normal(size=n) for n in sizes]


def test_quantiles_are_coordinates_of_the_sliced_distance():
    a, b = random_spectra([7, 7])
    squares = []
    for direction in np.pi * np.arange(N_DIRECTIONS) / N_DIRECTIONS:
        one, other = (np.sort(v.real * np.cos(direction) + v.imag * np.sin(direction)) for v in (a, b))
        squares.append(np.mean((one - other) ** 2))  # W₂² of two samples of one size
    signatures = [np.array(list(spectral_signature(v).values())) for v in (a, b)]
    assert np.linalg.norm(signatures[0] - signatures[1]) == pytest.approx(
        np.sqrt(2 * np.mean(squares)), rel=1e-12
    )


@pytest.mark.parametrize(("sizes", "columns"), [([3] * 200, 96), ([40] * 6, 6), ([5, 8, 13], 3)])
def test_coordinates_have_the_distances_of_quantiles(sizes, columns):
    spectra = random_spectra(sizes)
    coordinates = quantile_coordinates(spectra)
    assert coordinates.shape == (len(sizes), columns)
    np.testing.assert_allclose(pdist(coordinates), pdist(signature_table(spectra)), rtol=1e-9)


def test_quantile_functions_hold_every_step():
    quantiles, widths = quantile_functions([np.array([2.0, 1.0]), np.array([3.0, 0.0, 6.0])])
    np.testing.assert_allclose(widths, [1 / 3, 1 / 6, 1 / 6, 1 / 3])
    assert quantiles.tolist() == [[1, 1, 2, 2], [0, 3, 3, 6]]


def test_quantiles_move_by_what_eigenvalues_move():
    (a,) = random_spectra([8])
    moved = np.array(list(spectral_signature(a + 1e-9).values())) - np.array(
        list(spectral_signature(a).values())
    )
    assert np.linalg.norm(moved) == pytest.approx(1e-9, rel=1e-5)


@pytest.mark.parametrize("length", [3, 7, 8, 48])
def test_centred_edges_keep_clear_of_the_theory(length):
    roots = np.exp(2j * np.pi * np.arange(length) / length)
    angle, magnitude = centred_edges(roots)
    assert angle[0] <= 0 < np.pi <= angle[-1]
    np.testing.assert_allclose(np.diff(angle), np.pi / 36)
    np.testing.assert_allclose(np.diff(magnitude), 0.1)
    clear = np.abs(np.abs(np.angle(roots))[:, None] - angle).min()
    # 48 roots are multiples of 7.5 degrees: two residues of 5 degrees, so no edge is farther than a quarter of a bin.
    assert clear > np.radians(1.2 if length == 48 else 0.3)
    assert np.abs(1 - magnitude).min() == pytest.approx(0.05)
    if length == 8:
        assert clear == pytest.approx(np.radians(2.5))


def test_a_centred_histogram_does_not_change_where_eigenvalues_of_the_theory_move_a_little():
    theory = np.exp(2j * np.pi * np.arange(8) / 8)
    moved = theory * np.exp(1e-7j * np.array([1, -1, 1, -1, 1, -1, -1, 1])) * (1 - 1e-7)
    counts = [spectral_signature(v, "centred_histogram", theory) for v in (theory, moved)]
    assert counts[0] == counts[1]
    assert sum(counts[0].values()) == 16
    # Bins whose edges are the theory's values see two different networks.
    assert spectral_signature(theory, "histogram") != spectral_signature(moved, "histogram")


def test_features_that_vary_within_the_precision_of_eigenvalues_do_not_count(make_population):
    population = make_population(9, noise=0.0)
    roots, rng = population.theory, np.random.default_rng(0)
    for k in range(9):
        noise = rng.normal(size=len(roots)) + 1j * rng.normal(size=len(roots))
        population.eigenvalues[k][:] = roots * (1 + 0.001 * k) * (1 + 1e-9 * noise)
    table = signature_table(population, "statistics")
    kept = standardise(table, precision_change(population, "statistics"))
    assert {"spectral_radius", "mag_mean"} <= set(kept)
    assert not {"angle_median", "imag_mean", "mag_std"} & set(
        kept
    )  # rounding around a constant, or jumps at ±π
    assert "imag_mean" in standardise(table / table.abs().max())  # what unit variance would make of rounding
