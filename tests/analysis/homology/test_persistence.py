"""Persistent homology: known shapes, infinite bars, distances, and the analysis of a population."""

import copy
import dataclasses
import math

import numpy as np
import pytest

from analysis.errors import AnalysisError
from analysis.homology.persistence import (
    analyse_persistence,
    betti_numbers,
    persistence_diagrams,
    scale_free_features,
    topological_features,
    unit_circle,
)


def circle(n_points):
    return np.exp(2j * np.pi * np.arange(n_points) / n_points)


def blob(n_points, seed=0, spread=0.2):
    rng = np.random.default_rng(seed)
    return spread * (rng.normal(size=n_points) + 1j * rng.normal(size=n_points))


def finite(bars):
    return bars[np.isfinite(bars[:, 1])]


def test_a_circle_has_one_loop_and_a_blob_none():
    components, loops = persistence_diagrams(circle(24))
    assert len(components) == 24
    np.testing.assert_allclose(loops, [[2 * math.sin(math.pi / 24), math.sqrt(3)]], rtol=1e-12)
    values = blob(24)
    features = scale_free_features(persistence_diagrams(values), values)
    assert features["h1_longest_relative"] < 0.15
    assert scale_free_features((components, loops), circle(24))["h1_longest_relative"] > 0.7


def test_deaths_of_components_are_the_minimum_spanning_tree_in_double_precision():
    from scipy.sparse.csgraph import minimum_spanning_tree

    values = blob(19)
    edges = np.sort(minimum_spanning_tree(np.abs(values[:, None] - values)).data)
    np.testing.assert_array_equal(finite(persistence_diagrams(values)[0])[:, 1], edges)


def test_two_circles_are_two_loops():
    assert np.sum(np.ptp(persistence_diagrams(np.r_[circle(12), circle(12) + 5])[1], axis=1) > 1) == 2


@pytest.mark.parametrize("noise", [0.0, 1e-16, 1e-9, 1e-7])
def test_repeated_eigenvalues_count_once_whatever_the_rounding(noise):
    repeated = np.repeat(circle(8), 5)
    diagrams = persistence_diagrams(repeated + noise * blob(40, spread=1.0))
    assert [len(bars) for bars in diagrams] == [8, 1]


def test_a_tolerance_below_the_noise_counts_all():
    values = np.repeat(circle(8), 5) + 1e-7 * blob(40, spread=1.0)
    assert len(persistence_diagrams(values, tolerance=1e-12)[0]) == 40
    assert len(persistence_diagrams(values, tolerance=1e-5)[0]) == 8


@pytest.mark.parametrize("n_points", [0, 1, 2])
def test_few_points(n_points):
    components, loops = persistence_diagrams(blob(n_points))
    assert len(components) == n_points
    assert np.isinf(components[:, 1]).sum() == min(n_points, 1)
    assert loops.shape == (0, 2)


def test_rotation_and_order_change_nothing():
    values = blob(17)
    shuffled = np.random.default_rng(1).permutation(values) * np.exp(0.7j)
    for a, b in zip(persistence_diagrams(values), persistence_diagrams(shuffled), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-14)


def test_betti_numbers_count_infinite_bars():
    bars = np.array([[0.0, 1.0], [0.5, 2.0], [0.0, np.inf]])
    np.testing.assert_array_equal(betti_numbers(bars, [0.0, 0.5, 1.0, 2.0, 9.0]), [2, 3, 2, 1, 1])


def test_features_of_a_known_diagram():
    features = topological_features(
        (np.array([[0.0, 1.0], [0.0, 4.0], [0.0, np.inf]]), np.array([[2.0, 5.0]]))
    )
    assert features["h0_count"] == 2
    assert features["h0_total_persistence"] == 5
    assert features["h0_max_persistence"] == 4
    assert features["h0_mean_persistence"] == features["h0_mean_death"] == 2.5
    assert [features[f"h0_betti_scale{i}"] for i in range(10)] == [2, 2, 2, 1, 1, 1, 1, 1, 1, 0]
    assert features["h1_mean_birth"] == 2


def test_every_model_has_the_same_features():
    empty, full = (topological_features(persistence_diagrams(v)) for v in ([0.5], circle(9)))
    assert empty.keys() == full.keys()
    assert empty["h1_count"] == empty["h1_max_persistence"] == empty["h1_betti_scale3"] == 0
    assert math.isnan(empty["h1_mean_birth"])


def test_unit_circle_leaves_zeros_out():
    np.testing.assert_allclose(unit_circle([2.0, 0.0, 3j]), [1.0, 1j])
    # The smallest number that there is has a direction too.
    np.testing.assert_allclose(
        unit_circle([5e-324, -5e-324j, 1e300j, 3e-310 + 3e-310j]), [1, -1j, 1j, np.exp(1j * np.pi / 4)]
    )


@pytest.mark.parametrize("method", ["mds", "tsne", "pca"])
@pytest.mark.parametrize("metric", ["bottleneck", "wasserstein"])
def test_three_models_are_enough(make_population, method, metric):
    result = analyse_persistence(make_population(3), embedding_method=method, distance_metric=metric)
    assert result.embedding.shape == (3, 2)
    assert np.isfinite(result.embedding).all()
    assert set(result.arrays()) >= {f"persistence_{metric}_distances", f"persistence_{method}_embedding"}
    np.testing.assert_allclose(result.total_distances, result.distances.sum(axis=0))


def test_classical_scaling_keeps_distances(make_population):
    result = analyse_persistence(make_population(3), embedding_method="pca")
    embedded = np.linalg.norm(result.embedding[:, None] - result.embedding, axis=-1)
    np.testing.assert_allclose(embedded, result.total_distances, atol=1e-9)  # three points always fit a plane


def test_two_models_have_all_but_an_embedding(make_population):
    result = analyse_persistence(make_population(2))
    assert result.embedding is None
    assert "at least 3 models" in result.headline()
    assert "persistence_mds_embedding" not in result.tables() | result.arrays()
    assert len(result.tables()["persistence_statistics"]) == 2


def test_models_that_do_not_differ_lie_in_one_place(make_population):
    population = make_population(4)
    same = dataclasses.replace(population, eigenvalues=population.eigenvalues[:1] * 4)
    for method in ("mds", "tsne", "pca"):
        np.testing.assert_array_equal(analyse_persistence(same, embedding_method=method).embedding, 0.0)


def with_zeros(population):
    """Return a population whose second model has zero eigenvalues only, which have no place on the unit circle."""
    first, second, *rest = population.eigenvalues
    return dataclasses.replace(population, eigenvalues=(first, 0 * second, *rest))


@pytest.mark.parametrize("method", ["mds", "tsne", "pca"])
def test_models_at_infinite_distance_are_named_and_kept_out_of_maps(make_population, method):
    population = make_population(5, noise=0.1)
    options = {"normalize": True, "embedding_method": method, "null_clouds": 19}
    result = analyse_persistence(with_zeros(population), **options)
    others = [0, 2, 3, 4]
    assert np.isinf(result.total_distances[1, others]).all()
    assert result.left_out == ("model-2",)
    assert np.isnan(result.embedding[1]).all()
    assert "at infinite distance from the others, not on the map: model-2" in result.headline()
    assert "undefined for 1 of 5: model-2" in result.headline()
    # The others lie where they lie without it.
    alone = dataclasses.replace(
        population,
        names=tuple(population.names[k] for k in others),
        eigenvalues=tuple(population.eigenvalues[k] for k in others),
        scalars=population.scalars.iloc[others],
    )
    plain = analyse_persistence(alone, **options)
    np.testing.assert_array_equal(result.embedding[others], plain.embedding)
    assert plain.left_out == ()
    assert "infinite" not in plain.headline()


def test_two_models_at_finite_distance_are_no_map(make_population):
    result = analyse_persistence(with_zeros(make_population(3)), normalize=True)
    assert result.embedding is None
    assert "not on the map: model-2; no embedding, which needs at least 3 models" in result.headline()


@pytest.mark.parametrize("unit", [1e-290, 1e290])
def test_lengths_have_the_unit_of_the_eigenvalues(make_population, unit):
    population = make_population(4, noise=0.1)
    scaled = dataclasses.replace(population, eigenvalues=tuple(unit * v for v in population.eigenvalues))
    plain, result = (
        analyse_persistence(p, tolerance=0.0, distance_metric="wasserstein") for p in (population, scaled)
    )
    np.testing.assert_allclose(result.total_distances / unit, plain.total_distances, rtol=1e-9)
    np.testing.assert_allclose(result.embedding / unit, plain.embedding, atol=1e-9)
    rows = [
        r.documents()["persistence_statistics"]["aggregate_statistics"]["h1_max_persistence"]
        for r in (plain, result)
    ]
    assert rows[1]["std"] / unit == pytest.approx(rows[0]["std"])
    assert rows[0]["std"] > 1e-3


def test_spectra_within_the_tolerance_are_named(make_population):
    population = make_population(3)
    small = dataclasses.replace(
        population, eigenvalues=(*population.eigenvalues[:2], 1e-50 * population.eigenvalues[2])
    )
    result = analyse_persistence(small)
    assert "all eigenvalues within 1e-06 of each other, so one: model-3" in result.headline()
    assert "so one" not in analyse_persistence(small, tolerance=1e-60).headline()


def test_rounding_of_large_eigenvalues_makes_no_bars():
    """Repeated eigenvalues of modulus 1e20 differ by some 1e4, which is rounding, not 40 components."""
    repeated = np.repeat(circle(8), 5) * (1 + 1e-16 * np.random.default_rng(0).normal(size=40)) * 1e20
    assert len(persistence_diagrams(repeated)[0]) == 8
    assert len(persistence_diagrams(repeated * (1 + 1e-9 * np.arange(40)))[0]) == 40


def test_numbers_whose_distances_have_no_number_are_refused():
    with pytest.raises(
        AnalysisError, match=r"eigenvalues: expected eigenvalues up to 1e\+305; got 1e\+307\+0j at pos"
    ):
        persistence_diagrams([1.0, 1e307])


def test_statistics_in_the_layout_of_the_reference(make_population):
    population = make_population(4, nan_accuracy=(2,))
    # The first model has no loop, so no mean of loops either.
    population = dataclasses.replace(
        population, eigenvalues=(np.array([0.3, 0.5]), *population.eigenvalues[1:])
    )
    document = analyse_persistence(population).documents()["persistence_statistics"]
    assert document["n_models"] == 4
    assert [entry["model_name"] for entry in document["statistics"]] == list(population.names)
    assert math.isnan(document["statistics"][1]["accuracy"])
    assert math.isnan(document["statistics"][0]["h1_mean_birth"])
    births = [entry["h1_mean_birth"] for entry in document["statistics"][1:]]
    aggregate = document["aggregate_statistics"]
    assert aggregate["h1_mean_birth"]["mean"] == pytest.approx(np.mean(births))
    assert aggregate["h1_mean_birth"]["std"] == pytest.approx(np.std(births))
    assert aggregate.keys() == document["statistics"][0].keys() - {"model_name", "accuracy"}


def test_all_bars_are_kept(make_population):
    result = analyse_persistence(make_population(3))
    bars = result.tables()["persistence_diagrams"]
    assert np.isinf(bars["death"]).sum() == 3
    of_one = bars.loc["model-2"].query("dimension == 1")[["birth", "death"]].to_numpy()
    np.testing.assert_array_equal(of_one, result.diagrams[1][1])


def test_betti_curves_start_with_all_components_and_end_with_one(make_population):
    """At scale 0 every distinct eigenvalue is a component; where the last pair joins, the infinite bar is left."""
    result = analyse_persistence(make_population(3))
    curves = result.tables()["persistence_betti_curves"].loc["model-2"].query("dimension == 0")
    deaths = result.diagrams[1][0][:, 1]
    assert curves["scale"].iloc[0] == 0
    assert curves["scale"].is_monotonic_increasing
    assert curves["betti"].iloc[0] == len(deaths) > 3
    assert curves["betti"].iloc[-1] == 1
    joined = curves["scale"] >= deaths[np.isfinite(deaths)].max()
    assert (curves["betti"][joined] == 1).all()
    assert (curves["betti"][~joined] > 1).all()


def test_normalised_moduli_do_not_matter(make_population):
    population = make_population(3, noise=0.3)
    scaled = dataclasses.replace(population, eigenvalues=tuple(0.5 * v for v in population.eigenvalues))
    plain, normal = (
        [
            analyse_persistence(p, normalize=n).features["h0_max_persistence"].to_numpy()
            for p in (population, scaled)
        ]
        for n in (False, True)
    )
    np.testing.assert_allclose(plain[1], 0.5 * plain[0])
    np.testing.assert_allclose(normal[1], normal[0])


def test_colours(make_population):
    population = make_population(3)
    assert analyse_persistence(population, color_by="none").color is None
    assert analyse_persistence(population, color_by="h1_deaths").color.name == "h1_mean_death"
    with pytest.raises(AnalysisError, match="color_by: must be none, accuracy or h0_births"):
        analyse_persistence(population, color_by="h1_deaths", max_dimension=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_dimension": 4}, "max_dimension: must be 0 to 3; got 4"),
        ({"tolerance": -1.0}, "tolerance: must be"),
    ],
)
def test_options_out_of_range(make_population, options, message):
    with pytest.raises(AnalysisError, match=message):
        analyse_persistence(make_population(3), **options)


def test_a_spectrum_that_is_not_finite_is_named(make_population):
    population = make_population(3)
    broken = dataclasses.replace(
        population, eigenvalues=(*population.eigenvalues[:2], np.array([1.0, np.nan]))
    )
    with pytest.raises(AnalysisError, match="model-3"):
        analyse_persistence(broken)


def test_inputs_are_left_alone(make_population):
    population = make_population(3)
    before = copy.deepcopy(population.eigenvalues)
    analyse_persistence(population, normalize=True)
    np.testing.assert_equal(population.eigenvalues, before)


def test_loops_of_spectra_are_tested_against_null_clouds(make_population):
    population = make_population(3)
    values = (1 + 0.02 * blob(24).real) * circle(24)
    spectra = (*(values for _ in range(2)), np.r_[blob(12), blob(12).conj()])
    result = analyse_persistence(dataclasses.replace(population, eigenvalues=spectra), null_clouds=59)
    p = result.tests.members.xs(1, level="dimension")["p"]
    for null in ("gaussian", "angles"):
        assert p["model-1", null] < 0.02
        assert p["model-3", null] > 0.05
    assert {"persistence_tests", "persistence_tests_population"} <= result.tables().keys()
    assert "gaussian 2, angles 2" in result.headline()
    plain = analyse_persistence(population)
    assert plain.tests is None
    assert "persistence_tests" not in plain.tables()
    with pytest.raises(AnalysisError, match="memory_limit: expected"):
        analyse_persistence(population, memory_limit=1e-6)
