"""Figures of eigenvalue summaries."""

import dataclasses

import numpy as np
import pytest

from analysis.figures.spectra.eigenvalue import draw, plot_overlay, plot_spectrum
from analysis.figures.style import column_figure
from analysis.spectra.eigenvalue import summarise_eigenvalues


@pytest.mark.parametrize("n_models", [1, 3, 7])
def test_all_figures_are_drawn_and_no_axes_are_empty(make_population, n_models):
    figures = dict(draw(summarise_eigenvalues(make_population(n_models))))
    expected = {"complex_plane_examples", "spectra_overlay"} | (
        {"statistics_scatter_matrix"} if n_models > 1 else set()
    )
    assert set(figures) == expected
    assert len(figures["complex_plane_examples"].axes) == min(n_models, 5)
    for figure in figures.values():
        assert all(ax.has_data() for ax in figure.axes)


def test_a_figure_draws_on_the_axes_it_is_given(make_population):
    _, axes = column_figure(columns=2)
    summary = summarise_eigenvalues(make_population(3, missing=(1,)))
    assert plot_spectrum(summary, 0, axes[0, 1]) is axes[0, 1]
    assert axes[0, 1].get_title() == "model-2"


def test_without_theory_none_is_drawn(make_population):
    summary = summarise_eigenvalues(dataclasses.replace(make_population(3), theory=None))
    assert plot_overlay(summary).get_legend_handles_labels()[1] == ["models"]


@pytest.mark.parametrize(("center", "cut"), [(0, -180), (200, -340), (90, -90)])
def test_the_circle_is_cut_where_no_angles_are(make_population, center, cut):
    degrees = center + np.array([-12.5, -3.0, 0.0, 3.0, 12.5])
    population = make_population(2)
    near = [0.6 * np.exp(1j * np.radians(degrees)) for _ in population.eigenvalues]
    ax = plot_overlay(summarise_eigenvalues(dataclasses.replace(population, eigenvalues=near, theory=None)))
    drawn = np.sort(np.unique(ax.collections[0].get_offsets()[:, 0].round(6)))
    np.testing.assert_allclose(np.diff(drawn), np.diff(degrees))
    assert ax.get_xlim() == pytest.approx((cut, cut + 360))


def test_modes_around_the_whole_circle_begin_a_little_below_zero(make_population):
    population = make_population(3)
    low, high = plot_overlay(summarise_eigenvalues(population)).get_xlim()
    assert -360 / len(np.unique(population.theory.round(6))) < low < 0
    assert high == low + 360
