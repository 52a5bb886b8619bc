"""Distributions and statistics across members."""

import numpy as np
import pytest

from analysis.spectra.overview import STATISTICS, density_band, summarise_population


def test_densities_have_an_integral_of_one_for_each_member(make_population):
    overview = summarise_population(make_population(4))
    for edges, density in (
        (overview.magnitude_edges, overview.magnitude_density),
        (overview.angle_edges, overview.angle_density),
    ):
        assert density.shape == (4, len(edges) - 1)
        assert np.allclose(density @ np.diff(edges), 1)


def test_both_sides_of_the_negative_axis_fall_into_one_bin(make_population):
    overview = summarise_population(make_population(3, lengths=(4,), noise=1e-6))
    held = overview.angle_density[0] > 0
    assert np.allclose(overview.angle_edges[:-1][held] + 4.5, [-90, 0, 90, 180])


def test_statistics_stand_beside_their_member_and_missing_ones_are_left_out(make_population):
    population = make_population(5, nan_accuracy=[2])
    overview = summarise_population(population)
    assert list(overview.statistics.index) == list(population.names)
    assert list(overview.statistics) == list(STATISTICS)
    assert np.isnan(overview.statistics.loc["model-2", "accuracy"])
    accuracy = overview.intervals["accuracy"]
    assert accuracy.n == 4
    assert accuracy.estimate == pytest.approx(np.mean([0.99, 0.97, 0.96, 0.95]))
    radius = [np.abs(values).max() for values in population.eigenvalues]
    assert np.allclose(overview.statistics["spectral_radius"], radius)


def test_one_member_has_no_interval(make_population):
    overview = summarise_population(make_population(1))
    assert overview.intervals["mag_mean"].n == 1
    assert np.isnan(overview.intervals["mag_mean"].low)


def test_the_band_holds_all_of_few_members():
    density = np.array([[1.0, 4.0], [2.0, 4.0], [6.0, 4.0]])
    mean, low, high = density_band(density)
    assert np.allclose(mean, [3, 4])
    assert 1 <= low[0] < 2 < high[0] <= 6
    assert low[1] == high[1] == 4
