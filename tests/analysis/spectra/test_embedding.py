"""Embeddings of populations."""

import dataclasses

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import pdist, squareform

from analysis.errors import AnalysisError
from analysis.spectra.distances import pairwise_distances
from analysis.spectra.embedding import (
    classical_scaling,
    embed_distances,
    embed_population,
    embedding_quality,
    intrinsic_dimension,
    principal_components,
    signature_distances,
)
from analysis.spectra.signatures import signature_table

METHODS = ("pca", "tsne", "mds", "isomap")


def plane(n_points, seed=0):
    return np.random.default_rng(seed).normal(size=(n_points, 2)) * [3.0, 1.0]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n_models", [3, 5, 12])
def test_every_method_embeds_from_three_models_up(make_population, method, n_models):
    embedding = embed_population(make_population(n_models), method=method)
    assert embedding.coordinates.shape == (n_models, 2)
    assert np.isfinite(embedding.coordinates).all()
    assert np.ptp(embedding.coordinates) > 0
    again = embed_population(make_population(n_models), method=method)
    np.testing.assert_array_equal(embedding.coordinates, again.coordinates)


@pytest.mark.parametrize(
    "signature_type", ["quantiles", "histogram", "centred_histogram", "statistics", "combined"]
)
def test_every_signature_embeds(make_population, signature_type):
    embedding = embed_population(make_population(7), signature_type=signature_type)
    assert embedding.variance_ratio.sum() == pytest.approx(1)
    assert len(embedding.variance_ratio) > 2  # all components, not only those drawn


def test_fewer_than_three_models_are_refused(make_population):
    with pytest.raises(AnalysisError, match="at least 3 models to embed; got 2"):
        embed_population(make_population(2))


def test_models_that_do_not_differ_are_refused(make_population):
    with pytest.raises(AnalysisError, match="models whose spectra differ"):
        embed_population(make_population(4, noise=0.0))


@pytest.mark.parametrize("metric", ["nearest", "mahalanobis"])
def test_metrics_that_cannot_be_used_are_refused_by_name(make_population, metric):
    with pytest.raises(AnalysisError, match=f"^distance_metric: .*'{metric}'"):
        embed_population(make_population(4), distance_metric=metric)


def test_the_metric_is_used_for_the_map(make_population):
    population = make_population(8)
    by_metric = [
        embed_population(population, method="mds", distance_metric=m) for m in ("euclidean", "cosine")
    ]
    assert not np.allclose(by_metric[0].distances, by_metric[1].distances)
    assert not np.allclose(by_metric[0].coordinates, by_metric[1].coordinates)


def test_scaling_decides_that_no_feature_rules_by_its_unit(make_population):
    embedding = embed_population(make_population(30), signature_type="statistics")
    assert embedding.variance_ratio[0] < 0.8  # unscaled, counts hold nearly everything


@pytest.mark.parametrize("method", ["mds", "isomap"])
def test_a_plane_is_recovered_from_its_distances(method):
    distances = squareform(pdist(plane(40)))
    quality = embedding_quality(distances, embed_distances(distances, method))
    assert quality["pearson"] > 0.97
    if method == "mds":
        assert quality["stress"] < 1e-6


def test_tsne_keeps_two_clusters_apart():
    points = np.vstack([plane(20), plane(20, seed=1) + 50])
    positions = embed_distances(squareform(pdist(points)), "tsne")
    gap = np.linalg.norm(positions[:20].mean(axis=0) - positions[20:].mean(axis=0))
    assert gap > 2 * max(positions[:20].std(), positions[20:].std())


def test_isomap_joins_what_five_neighbours_leave_apart():
    points = np.vstack([plane(8), plane(9, seed=1) + 50])
    assert np.isfinite(embed_distances(squareform(pdist(points)), "isomap")).all()


@pytest.mark.parametrize("method", ["tsne", "mds", "isomap"])
def test_identical_members_do_not_break_a_map(method):
    points = plane(9)
    points[3] = points[2] = points[1]
    positions = embed_distances(squareform(pdist(points)), method)
    assert np.isfinite(positions).all()


def test_classical_scaling_of_euclidean_distances_is_pca():
    points = plane(11)
    scores, _ = principal_components(points)
    np.testing.assert_allclose(
        np.abs(classical_scaling(squareform(pdist(points)))), np.abs(scores), atol=1e-8
    )


def test_quality_of_a_perfect_and_of_a_random_map():
    points = plane(25)
    distances = squareform(pdist(points))
    assert embedding_quality(distances, points)["stress"] == pytest.approx(0)
    assert embedding_quality(distances, 3 * points)["spearman"] == pytest.approx(1)
    assert abs(embedding_quality(distances, plane(25, seed=9))["spearman"]) < 0.4
    assert np.isnan(embedding_quality(distances, np.zeros((25, 2)))["pearson"])


@pytest.mark.parametrize("scale", [1e-150, 1.0, 1e150])
def test_an_exact_map_of_tied_distances_has_a_rank_correlation_of_one(scale):
    """The corners of a cube, turned: distances are 1, √2 and √3, each often, and a turn changes their last digits."""
    corners = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1]), axis=-1).reshape(-1, 3) @ np.diag([1.0, 1.0, 0.0])
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    original, embedded = squareform(pdist(corners)), 0.3 * corners @ turn
    quality = embedding_quality(scale * original, embedded)
    assert quality["spearman"] == pytest.approx(1.0, abs=1e-12)
    assert stats.spearmanr(squareform(original), pdist(embedded))[0] < 0.99  # ranks without ties
    moved = embedding_quality(original, embedded + np.outer(np.arange(8) == 3, [0.01, 0, 0]))
    assert moved["spearman"] < 0.999


def test_maps_of_equal_distances_have_no_correlation():
    simplex = np.eye(5) @ np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0]
    quality = embedding_quality(squareform(pdist(simplex)), plane(5))
    assert np.isnan([quality["spearman"], quality["pearson"]]).all()


def test_intrinsic_dimension_counts_components_to_the_share():
    assert intrinsic_dimension([0.6, 0.3, 0.05, 0.05]) == 3
    assert intrinsic_dimension([0.6, 0.3, 0.05, 0.05], share=0.5) == 1
    assert intrinsic_dimension([1 / 3] * 3, share=1.0) == 3


def test_the_outlier_is_found_and_named(make_population):
    population = make_population(12)
    population.eigenvalues[4][:] = 0.3 * population.eigenvalues[4]
    embedding = embed_population(population)
    assert embedding.outliers.tolist() == [k == 4 for k in range(12)]
    assert "model-5" in embedding.headline()
    assert embedding.tables()["pca_embedding"].loc["model-5", "outlier"]


@pytest.mark.parametrize("color_by", ["none", "accuracy", "frob_error", "spectral_error"])
def test_colours_come_from_the_summary(make_population, color_by):
    population = make_population(4, nan_accuracy=(3,))
    color = embed_population(population, color_by=color_by).color
    if color_by == "none":
        assert color is None
    else:
        assert np.isnan(color).tolist() == [False, False, color_by == "accuracy", False]


def test_a_column_that_the_summary_lacks_is_no_value(make_population):
    population = make_population(3)
    population = dataclasses.replace(population, scalars=population.scalars.drop(columns="frob_error"))
    assert np.isnan(embed_population(population, color_by="frob_error").color).all()


def test_signature_distances_match_scipy():
    points = plane(6)
    np.testing.assert_allclose(
        signature_distances(points, "cityblock"), squareform(pdist(points, "cityblock"))
    )


def test_results_hold_what_is_saved(make_population):
    embedding = embed_population(make_population(5), method="tsne")
    assert set(embedding.arrays()) == {"tsne_embedding", "distance_matrix"}
    statistics = embedding.documents()["distance_statistics"]
    assert list(statistics)[:4] == ["mean", "median", "std", "min"]
    assert list(statistics)[4:] == ["max", "q25", "q75", "range", "relative_spread", "n_pairs"]
    assert statistics["n_pairs"] == 10
    quality = embedding.tables()["embedding_quality"]
    assert {"pearson", "spearman", "stress", "intrinsic_dimension"} <= set(quality)


def nine_and_one(make_population, turn=2.0):
    """Nine networks that are equal to 1e-9, whose modes are 8th roots of unity, and one turned by 2 degrees."""
    population = make_population(10, noise=0.0)
    rng, roots = np.random.default_rng(0), np.repeat(np.exp(2j * np.pi * np.arange(8) / 8), 8)
    turned = roots * np.exp(1j * np.sign(np.angle(roots)) * np.radians(turn))
    noise = rng.normal(size=(10, 64)) + 1j * rng.normal(size=(10, 64))
    members = (*[roots] * 9, turned)
    values = tuple(v * (1 + 1e-9 * n) for v, n in zip(members, noise, strict=True))
    return dataclasses.replace(population, eigenvalues=values, theory=roots)


def within_to_between(distances):
    return distances[:9, :9].sum() / 72 / distances[9, :9].mean()


def test_networks_equal_to_rounding_are_near_beside_one_that_is_turned(make_population):
    embedding = embed_population(nine_and_one(make_population))
    assert within_to_between(embedding.distances) < 1e-6
    assert embedding.outliers.tolist() == [False] * 9 + [True]
    # 56 of 64 eigenvalues move by a chord of 2 degrees; the others have angle 0 and stay.
    chord = 2 * np.sin(np.radians(1)) * np.sqrt(56 / 64)
    assert embedding.distances[9, 0] == pytest.approx(chord, rel=1e-6)
    # Bins whose edges are the roots of unity tell the nine apart.
    by_bins = embed_population(nine_and_one(make_population), signature_type="histogram")
    assert within_to_between(by_bins.distances) > 0.2


@pytest.mark.parametrize("method", METHODS)
def test_networks_equal_to_rounding_share_a_place(make_population, method):
    embedding = embed_population(nine_and_one(make_population), method=method)
    assert embedding.places == 2
    assert np.ptp(embedding.coordinates[:9], axis=0).max() == 0
    assert np.linalg.norm(embedding.coordinates[9] - embedding.coordinates[0]) > 0.01
    assert "10 members have 2 places" in embedding.headline()


def test_networks_that_all_are_equal_to_rounding_are_refused(make_population):
    with pytest.raises(AnalysisError, match="models whose spectra differ; all are equal to 1e-06"):
        embed_population(nine_and_one(make_population, turn=0.0))


@pytest.mark.parametrize("method", ["tsne", "mds", "isomap"])
def test_equal_models_share_a_place_and_others_do_not(method):
    points = plane(12)
    points[[3, 5]], points[7] = points[2], points[8]
    positions = embed_distances(squareform(pdist(points)), method)
    places = [len(np.unique(positions[rows], axis=0)) for rows in ([2, 3, 5], [7, 8], slice(None))]
    assert places == [1, 1, 9]
    alone = embed_distances(squareform(pdist(np.delete(points, [3, 5, 8], axis=0))), method)
    np.testing.assert_allclose(np.delete(positions, [3, 5, 8], axis=0), alone)  # each place is embedded once


@pytest.mark.parametrize("method", ["tsne", "mds", "isomap"])
@pytest.mark.parametrize("unit", [1e-300, 0.3, 1e300])
def test_two_places_have_their_distance_and_in_the_map_of_tsne_distance_one(method, unit):
    distances = unit * (np.arange(7)[:, None] < 4) * (np.arange(7) >= 4)
    positions = embed_distances(distances + distances.T, method)
    apart = np.abs(positions[0] - positions[6]).max()  # along the first axis
    assert apart / (1 if method == "tsne" else unit) == pytest.approx(1)
    assert np.ptp(positions[:4], axis=0).max() == np.ptp(positions[4:], axis=0).max() == 0


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("factors", [(1.0, 0.7), (1e-200, 3e-200), (1.0, 0.7, 0.3), (1e200, 2e200, 4e200)])
def test_distinct_places_never_coincide(make_population, method, factors):
    """Two or three distinct spectra, each of two members: as many places, none nearer than 5 % of the map's size."""
    population = make_population(2 * len(factors))
    spectra = tuple(factor * population.eigenvalues[0] for factor in factors for _ in range(2))
    embedding = embed_population(dataclasses.replace(population, eigenvalues=spectra), method=method)
    places = embedding.coordinates / np.abs(embedding.coordinates).max()
    np.testing.assert_array_equal(places[::2], places[1::2])
    assert embedding.places == len(factors)
    assert pdist(places[::2]).min() > 0.05


@pytest.mark.parametrize("method", ["tsne", "mds", "isomap"])
def test_one_place_is_the_origin(method):
    np.testing.assert_array_equal(embed_distances(np.zeros((4, 4)), method), 0.0)


@pytest.mark.parametrize("unit", [2.0**-1000, 2.0**-700, 2.0**700])
@pytest.mark.parametrize("method", ["tsne", "mds", "isomap"])
def test_distances_may_have_any_unit(method, unit):
    distances = squareform(pdist(plane(9)))
    plain, scaled = embed_distances(distances, method), embed_distances(distances * unit, method)
    # Powers of two are multiplied and divided out without rounding.
    np.testing.assert_array_equal(scaled / (1.0 if method == "tsne" else unit), plain)
    assert embedding_quality(distances * unit, scaled)["spearman"] == pytest.approx(
        embedding_quality(distances, plain)["spearman"]
    )
    if method != "tsne":
        quality = embedding_quality(distances * unit, scaled)
        assert quality["stress"] == pytest.approx(
            embedding_quality(distances, plain)["stress"], rel=1e-6, abs=1e-9
        )


@pytest.mark.parametrize("unit", [1e-200, 1e200])
@pytest.mark.parametrize("signature_type", ["quantiles", "statistics"])
def test_spectra_may_have_any_unit(make_population, signature_type, unit):
    population = make_population(6)
    scaled = dataclasses.replace(population, eigenvalues=tuple(unit * v for v in population.eigenvalues))
    embedding = embed_population(scaled, signature_type=signature_type)
    assert np.isfinite(embedding.coordinates).all()
    assert 0 < embedding.quality["spearman"] <= 1
    if signature_type == "quantiles":
        plain = embed_population(population)
        np.testing.assert_allclose(embedding.distances / unit, plain.distances, rtol=1e-9)
        np.testing.assert_allclose(embedding.coordinates / unit, plain.coordinates, rtol=1e-6, atol=1e-9)


def test_the_method_of_the_distance_stands_in_the_headline(make_population):
    assert embed_population(make_population(4)).headline().startswith("distances: optimal transport, exact; ")
    large = make_population(4)
    large = dataclasses.replace(
        large, eigenvalues=tuple(np.tile(v, 9) for v in large.eigenvalues)
    )  # 135 each
    assert "optimal transport, sliced along 32 directions" in embed_population(large).headline()
    named = embed_population(
        make_population(4), signature_type="statistics", distance_metric="cityblock"
    ).headline()
    assert "cityblock distance of statistics signatures" in named


def test_pca_maps_the_sliced_distance(make_population):
    population = make_population(5)
    embedding = embed_population(population)
    sliced = pdist(principal_components(signature_table(population))[0])
    exact = squareform(pairwise_distances(population))
    assert (sliced <= exact + 1e-12).all()
    np.testing.assert_allclose(squareform(embedding.distances), exact)
    np.testing.assert_allclose(pdist(embedding.coordinates) <= sliced + 1e-12, True)
