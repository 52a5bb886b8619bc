"""Figures of eigenvalue summaries."""

import dataclasses

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
