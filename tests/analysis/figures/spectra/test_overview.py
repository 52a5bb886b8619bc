"""Figures across members."""

from dataclasses import replace

import numpy as np
import pytest

from analysis.figures.spectra.overview import draw_population, plot_magnitudes, plot_spectra, plot_statistic
from analysis.figures.style import save_figure
from analysis.spectra.overview import summarise_population

NAMES = [
    "global_magnitude_distribution",
    "global_angle_distribution",
    "global_complex_plane",
    "global_statistics_summary",
]


@pytest.mark.parametrize("n_models", [1, 3, 20])
def test_any_number_of_members_is_drawn(make_population, tmp_path, n_models):
    names = []
    for name, figure in draw_population(make_population(n_models, nan_accuracy=[1])):
        names.append(name)
        assert all(ax.has_data() for ax in figure.axes)
        save_figure(figure, tmp_path / name, formats=("png",), dpi=50)
    assert names == NAMES


def test_a_population_without_theory_is_drawn_without_marks(make_population):
    population = make_population(3)
    assert len(plot_spectra(population).collections) == 2
    assert len(plot_spectra(replace(population, theory=None)).collections) == 1
    assert len(plot_magnitudes(summarise_population(population)).lines) == 1
    assert not plot_magnitudes(summarise_population(replace(population, theory=None))).lines


def test_the_threshold_hides_eigenvalues_in_the_plane_and_says_how_many(make_population):
    population = make_population(4, noise=0.3)
    moduli = np.abs(np.concatenate(population.eigenvalues))
    threshold = float(np.median(moduli))
    kept = int(np.sum(moduli >= threshold))
    ax = plot_spectra(population, threshold)
    assert len(ax.collections[0].get_offsets()) == kept < len(moduli)
    assert f"{kept} of {len(moduli)} eigenvalues" in ax.get_title()
    assert len(plot_spectra(population).collections[0].get_offsets()) == len(moduli)
    assert plot_spectra(population, 99.0).get_title().endswith("|λ| ≥ 99")


def test_each_member_is_a_point_and_the_missing_are_counted_out(make_population):
    overview = summarise_population(make_population(6, nan_accuracy=[2, 5]))
    ax = plot_statistic(overview, "accuracy")
    assert len(ax.lines[0].get_ydata()) == 4
    assert ax.get_xlabel() == "n = 4"
    assert len(plot_statistic(overview, "mag_mean").lines[0].get_ydata()) == 6
