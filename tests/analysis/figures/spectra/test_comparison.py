"""Figures of comparisons."""

from dataclasses import replace

import pytest

from analysis.figures.spectra.comparison import (
    MOST_STATISTICS,
    draw,
    plot_differences,
    plot_set,
    plot_set_distances,
    plot_statistic,
)
from analysis.figures.style import column_figure
from analysis.spectra.comparison import compare_populations


@pytest.fixture
def comparison(make_population):
    """Three sets, one of them of one model."""
    sizes = {"first set": 5, "second/set": 4, "third": 1}
    sets = [make_population(n, label=label, seed=n, noise=0.1 * n) for label, n in sizes.items()]
    return compare_populations(sets)


def test_all_figures_are_drawn_and_no_axes_are_empty(comparison):
    figures = dict(draw(comparison))
    pairs = {f"comparison_differences_{a}_{b}" for a, b in ((1, 2), (1, 3), (2, 3))}
    assert set(figures) == pairs | {"comparison_complex_plane", "comparison_metrics", "comparison_distances"}
    assert len(figures["comparison_metrics"].axes) == MOST_STATISTICS < len(comparison.varying)
    for figure in figures.values():
        assert all(ax.has_data() for ax in figure.axes)


def test_one_set_has_no_figure_of_differences(make_population):
    figures = dict(draw(compare_populations([make_population(3)])))
    assert set(figures) == {"comparison_complex_plane", "comparison_metrics", "comparison_distances"}


def test_one_model_is_drawn_alone(make_population):
    assert set(dict(draw(compare_populations([make_population(1)])))) == {"comparison_complex_plane"}


def test_all_members_are_drawn(comparison):
    ax = plot_statistic(comparison, "mag_mean")
    assert [len(points.get_offsets()) for points in ax.collections] == [5, 4, 1]
    assert len(ax.lines) == 3 + 2  # three means, two intervals


def test_only_statistics_that_vary_have_a_difference(comparison):
    pair = comparison.pairs[0]
    ax = plot_differences(comparison, pair)
    assert len(ax.get_yticks()) == len(comparison.standardised(pair)) < len(comparison.members.columns)


def test_the_medoid_is_named(comparison):
    _, axes = column_figure(columns=2)
    ax = plot_set(comparison, 1, axes[0, 1])
    assert ax is axes[0, 1]
    assert comparison.medoids[1] in ax.get_title().replace("\n", " ")


def test_a_set_of_one_has_no_distance_within(comparison):
    texts = [text.get_text() for text in plot_set_distances(comparison).texts]
    assert len(texts) == 9
    assert texts[-1] == "n = 1"


def test_statistics_that_differ_most_are_shown(make_population):
    """Moduli are planted to differ; angles are those of one draw."""
    small, large = (make_population(6, label=label, seed=3, noise=0.05) for label in ("small", "large"))
    larger = replace(large, eigenvalues=tuple(1.5 * values for values in large.eigenvalues))
    figure = dict(draw(compare_populations([small, larger])))["comparison_metrics"]
    titles = [ax.get_title() for ax in figure.axes]
    assert titles[0] == "accuracy"
    assert "mean |λ|" in titles
    assert "mean angle (rad)" not in titles
    assert "more are in the tables" in figure.get_suptitle()
