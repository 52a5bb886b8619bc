"""Figures of embeddings."""

import pytest

from analysis.figures.spectra.embedding import draw, plot_embedding, plot_variance
from analysis.spectra.embedding import embed_population


@pytest.mark.parametrize("method", ["pca", "mds"])
def test_figures_bear_the_methods_name(make_population, method):
    figures = dict(draw(embed_population(make_population(4), method=method)))
    assert set(figures) == {f"{method}_embedding"} | ({"pca_variance"} if method == "pca" else set())


def test_models_without_a_value_are_gray_and_said_to_be(make_population):
    ax = plot_embedding(embed_population(make_population(5, nan_accuracy=(2,))))
    assert ax.get_legend_handles_labels()[1] == ["no value"]
    plain = plot_embedding(embed_population(make_population(5), color_by="none"))
    assert plain.get_legend() is None
    assert len(plain.figure.axes) == 1  # no colour bar


def test_outliers_are_named_only_when_asked(make_population):
    population = make_population(12)
    population.eigenvalues[4][:] = 0.3 * population.eigenvalues[4]
    named, silent = (plot_embedding(embed_population(population, annotate_outliers=a)) for a in (True, False))
    assert [text.get_text() for text in named.texts] == ["model-5"]
    assert not silent.texts


def test_all_components_have_a_bar(make_population):
    embedding = embed_population(make_population(6))
    assert len(plot_variance(embedding).patches) == len(embedding.variance_ratio)


def test_the_title_says_how_distances_are_measured(make_population):
    assert (
        plot_embedding(embed_population(make_population(4))).get_title().endswith("optimal transport, exact")
    )
