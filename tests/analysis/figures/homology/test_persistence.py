"""Figures of persistence analyses."""

import pytest

from analysis.figures.homology.persistence import draw, plot_barcode, plot_embedding
from analysis.figures.style import column_figure
from analysis.homology.persistence import analyse_persistence


@pytest.mark.parametrize(("n_models", "max_dimension"), [(1, 1), (4, 0), (7, 2)])
def test_all_figures_are_drawn_and_no_axes_are_empty(make_population, n_models, max_dimension):
    result = analyse_persistence(make_population(n_models), max_dimension=max_dimension)
    figures = dict(draw(result))
    always = {"example_barcodes", "topological_features", "persistence_betti_curves"}
    assert set(figures) == always | ({"persistence_mds_embedding"} if n_models >= 3 else set())
    assert len(figures["example_barcodes"].axes) == min(n_models, 6)
    features = [
        f"h{d}_{n}"
        for d in range(min(max_dimension + 1, 2))
        for n in ("count", "total_persistence", "max_persistence")
    ]
    varying = [name for name in features if result.features[name].nunique() > 1]
    assert "h0_count" not in varying  # all models have as many eigenvalues
    assert len(figures["topological_features"].axes) == len(varying or features)
    title = figures["topological_features"].get_suptitle()
    assert ("number of components: 14 in all" in title) == (n_models > 1)
    for figure in figures.values():
        assert all(ax.has_data() for ax in figure.axes)


def test_infinite_bars_are_drawn(make_population):
    _, axes = column_figure(columns=2)
    ax = plot_barcode(analyse_persistence(make_population(3)), 1, axes[0, 1])
    assert ax is axes[0, 1]
    assert ax.get_title().startswith("model-2, accuracy 0.98")
    components = ax.collections[0].get_segments()
    assert len(components) == 15  # 5 slots of 3 channels
    ends = [end[0] for _, end in components]
    [dashed] = [line for line in ax.lines if line.get_linestyle() == "--"]
    assert max(ends) == dashed.get_xdata()[0] < ax.get_xlim()[1]
    assert sorted(ends)[-2] < dashed.get_xdata()[0]  # one component never dies


def test_features_without_any_accuracy_are_histograms(make_population):
    result = analyse_persistence(make_population(3, nan_accuracy=(1, 2, 3)))
    axes = dict(draw(result))["topological_features"].axes
    assert {ax.get_ylabel() for ax in axes} == {"models"}


def test_models_without_a_value_are_gray_and_said_to_be(make_population):
    ax = plot_embedding(analyse_persistence(make_population(5, nan_accuracy=(2,))))
    assert ax.get_legend_handles_labels()[1] == ["no value"]
    plain = plot_embedding(analyse_persistence(make_population(5), color_by="none"))
    assert plain.get_legend() is None
    assert len(plain.figure.axes) == 1  # no colour bar


def test_tests_are_drawn_where_there_are_any(make_population):
    result = analyse_persistence(make_population(3), null_clouds=19)
    assert "persistence_tests" in dict(draw(result))
