"""Distances of spectra and histograms, against slow twins and facts."""

import itertools

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import linear_sum_assignment

from analysis.errors import AnalysisError
from analysis.spectra.distances import (
    circular_wasserstein,
    distance_statistics,
    find_outliers,
    histogram_distance,
    nearest_neighbours,
    pairwise_distances,
    pairwise_histogram_distances,
    spectral_distance,
    transport_method,
)

METRICS = (
    "transport",
    "2d",
    "emd",
    "separate",
    "separate_circular",
    "magnitude_only",
    "angle_only",
    "angle_circular",
    "hausdorff",
)
HISTOGRAM_METRICS = ("euclidean", "manhattan", "chi2", "kl", "bhattacharyya", "jensen_shannon")


def random_spectra(sizes, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=n) + 1j * rng.normal(size=n) for n in sizes]


@pytest.mark.parametrize("metric", METRICS)
def test_a_metric_is_zero_for_equal_sets_positive_for_others_and_symmetric(metric):
    a, b = random_spectra([7, 7])
    matrix = pairwise_distances([a, np.random.default_rng(1).permutation(a), b], metric)
    assert matrix[0, 1] == pytest.approx(0, abs=1e-12)
    assert matrix[0, 2] > 0.01
    np.testing.assert_array_equal(matrix, matrix.T)


@pytest.mark.parametrize(("metric", "part"), [("magnitude_only", np.abs), ("angle_only", np.angle)])
def test_sorting_once_equals_scipy_pair_by_pair_for_any_sizes(metric, part):
    spectra = random_spectra([5, 7, 7, 12])
    matrix = pairwise_distances(spectra, metric)
    for i, a in enumerate(spectra):
        for j, b in enumerate(spectra):
            assert matrix[i, j] == pytest.approx(stats.wasserstein_distance(part(a), part(b)), abs=1e-12)


def test_separate_is_the_sum_of_its_parts():
    a, b = random_spectra([4, 6])
    parts = spectral_distance(a, b, "magnitude_only") + spectral_distance(a, b, "angle_only")
    assert spectral_distance(a, b, "separate") == pytest.approx(parts)


def test_angles_beside_the_cut_are_near_on_the_circle_and_far_on_the_line():
    above, below = [-1 + 0.01j] * 3, [-1 - 0.01j] * 3
    assert spectral_distance(above, below, "angle_only") > 6.2
    assert spectral_distance(above, below, "angle_circular") == pytest.approx(0.02, rel=1e-3)


def test_circular_wasserstein_equals_optimal_assignment_on_the_circle():
    rng = np.random.default_rng(3)
    for _ in range(20):
        a, b = rng.uniform(-np.pi, np.pi, (2, 7))
        cost = np.abs(np.angle(np.exp(1j * (a[:, None] - b))))
        assert circular_wasserstein(a, b) == pytest.approx(cost[linear_sum_assignment(cost)].mean())


def test_circular_wasserstein_weighs_points_by_the_size_of_their_set():
    assert circular_wasserstein([0.0, 0.3], [0.0, 0.0, 0.3, 0.3]) == pytest.approx(0)
    assert circular_wasserstein([0.0], [0.0, 0.3]) == pytest.approx(0.15)


def test_a_shift_is_measured_exactly_in_the_plane():
    (a,) = random_spectra([9])
    shift = 0.3 - 0.4j
    assert spectral_distance(a, a + shift, "emd") == pytest.approx(0.5)
    # The mean of |cos| over all directions is 2/π.
    assert spectral_distance(a, a + shift, "2d") == pytest.approx(0.5 * 2 / np.pi, rel=0.15)


def test_sliced_distances_do_not_touch_the_global_random_state():
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    a, b = random_spectra([5, 5])
    first = spectral_distance(a, b, "2d")
    assert spectral_distance(a, b, "2d") == first
    assert spectral_distance(a, b, "2d", seed=1) != first
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


def test_hausdorff_is_the_worst_point():
    assert spectral_distance([0, 1], [0, 1, 1 + 2j], "hausdorff") == pytest.approx(2)


def test_eigenvalues_are_matched_before_they_are_compared():
    first = np.array([0.5 + 0.5j, 0.5 - 0.5j, 0.1])
    assert spectral_distance(first, first[::-1], "emd") == 0.0
    assert spectral_distance(first, [0.1, 0.8 - 0.5j, 0.5 + 0.5j], "emd") == pytest.approx(0.1)


def test_emd_refuses_unequal_sizes_and_unknown_names_are_listed():
    with pytest.raises(AnalysisError, match="equal size"):
        spectral_distance([1], [1, 2], "emd")
    with pytest.raises(AnalysisError, match=r"must be one of transport.*got 'nearest'"):
        spectral_distance([1], [1], "nearest")


def test_a_population_names_its_broken_member(make_population):
    population = make_population(4)
    population.eigenvalues[2][0] = np.nan
    with pytest.raises(AnalysisError, match="model-3"):
        pairwise_distances(population)


@pytest.mark.parametrize("metric", HISTOGRAM_METRICS)
def test_histogram_distances_vanish_for_equal_histograms_only(metric):
    a, b = np.array([3, 0, 2, 5]), np.array([0, 1, 4, 5])
    assert histogram_distance(a, a, metric) == pytest.approx(0, abs=1e-7)
    assert histogram_distance(a, b, metric) > 0.1


def test_histogram_distances_by_hand():
    a, b = [3, 1], [1, 3]
    assert histogram_distance(a, b, "euclidean") == pytest.approx(np.sqrt(8))
    assert histogram_distance(a, b, "manhattan") == 4
    assert histogram_distance(a, b, "chi2") == pytest.approx(2)
    assert histogram_distance(a, b, "kl") == pytest.approx(0.5 * np.log(3))
    assert histogram_distance(a, b, "bhattacharyya") == pytest.approx(-np.log(np.sqrt(3) / 2))
    with pytest.raises(AnalysisError, match="jensen_shannon"):
        histogram_distance(a, b, "cosine")


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        # p = (3/4, 0, 1/4), q = (1/4, 1/4, 1/2): the empty bin of p adds nothing.
        ("kl", 0.75 * np.log(3) - 0.25 * np.log(2)),
        # Bins in common: sqrt(3/16) + sqrt(1/8).
        ("bhattacharyya", -np.log(np.sqrt(3 / 16) + np.sqrt(1 / 8))),
        # The mean of p and q is (1/2, 1/8, 3/8).
        (
            "jensen_shannon",
            np.sqrt(
                (0.75 * np.log(1.5) + 0.25 * np.log(2 / 3)) / 2
                + (0.25 * np.log(0.5) + 0.25 * np.log(2) + 0.5 * np.log(4 / 3)) / 2
            ),
        ),
    ],
)
def test_distances_of_shares_do_not_depend_on_the_number_of_eigenvalues(metric, expected):
    a, b = np.array([3, 0, 1]), np.array([1, 1, 2])
    for scale_a, scale_b in ((1, 1), (1, 1000), (50, 7), (1e-9, 1)):
        assert histogram_distance(scale_a * a, scale_b * b, metric) == pytest.approx(expected, abs=1e-8)
    assert histogram_distance(a, 1000 * a, metric) == pytest.approx(0, abs=1e-15)


def test_the_guard_of_an_empty_bin_does_not_depend_on_the_number_of_eigenvalues():
    # Nothing in common. The sum of Bhattacharyya is 0, and all that is left is the guard, 1e-10 over 1 + 1e-10; one
    # of kl's two bins has ln((1 + g) / g), the other a weight of 0.
    most = np.log(1 + 1e10)
    for scale in (1, 1000):
        for metric in ("kl", "bhattacharyya"):
            assert histogram_distance([scale, 0], [0, 3 * scale], metric) == pytest.approx(most, rel=1e-12)
        assert histogram_distance([scale, 0], [0, 3], "jensen_shannon") == pytest.approx(
            np.sqrt(np.log(2)), rel=1e-12
        )

    def guarded_first(count):
        p, q = np.array([count, 0]) + 1e-10, np.array([0, count]) + 1e-10
        p, q = p / p.sum(), q / q.sum()
        return np.sum(p * np.log(p / q))

    assert guarded_first(1000) - guarded_first(1) == pytest.approx(np.log(1000)), "a guard added to counts"


@pytest.mark.parametrize("metric", ["kl", "bhattacharyya", "jensen_shannon"])
def test_shares_of_no_counts_are_undefined(metric):
    assert np.isnan(histogram_distance([0, 0], [1, 2], metric))
    assert np.isnan(histogram_distance([1, 2], [0, 0], metric))


def test_kl_is_not_symmetric_and_jensen_shannon_is():
    counts = np.array([[8, 1, 1], [1, 5, 4], [3, 3, 4], [0, 0, 10]])
    kl, js = (pairwise_histogram_distances(counts, metric) for metric in ("kl", "jensen_shannon"))
    assert not np.allclose(kl, kl.T)
    np.testing.assert_allclose(js, js.T)


def test_the_far_model_is_the_outlier_and_neighbours_are_near():
    positions = np.array([0.0, 0.1, 0.25, 0.2, 0.3, 0.45, 5.0])
    distances = np.abs(positions[:, None] - positions)
    assert find_outliers(distances).tolist() == [False] * 6 + [True]
    assert not find_outliers(distances[:6, :6]).any()
    assert nearest_neighbours(distances, 2)[2].tolist() == [3, 4]
    with pytest.raises(AnalysisError, match="1 to 6"):
        nearest_neighbours(distances, 7)


def test_statistics_of_a_distance_matrix():
    statistics = distance_statistics([[0, 1, 2], [1, 0, 3], [2, 3, 0]])
    assert statistics["n_pairs"] == 3
    assert statistics["mean"] == statistics["median"] == 2
    assert statistics["range"] == 2
    assert statistics["relative_spread"] == pytest.approx(np.sqrt(2 / 3) / 2)
    with pytest.raises(AnalysisError, match="two models"):
        distance_statistics([[0.0]])
    assert distance_statistics(np.zeros((3, 3)))["relative_spread"] == 0


@pytest.mark.parametrize("unit", [1e-200, 1e200])
def test_statistics_of_distances_have_their_unit(unit):
    distances = np.array([[0, 1, 2], [1, 0, 3], [2, 3, 0]])
    plain, scaled = distance_statistics(distances), distance_statistics(unit * distances)
    for name, value in plain.items():
        assert scaled[name] / (1 if name in ("relative_spread", "n_pairs") else unit) == pytest.approx(value)


@pytest.mark.parametrize("metric", METRICS)
def test_inputs_are_not_written_to(metric):
    spectra = random_spectra([5, 5])
    distances = pairwise_distances(spectra, metric)
    np.testing.assert_equal(spectra, random_spectra([5, 5]))
    before = distances.copy()
    nearest_neighbours(distances)
    np.testing.assert_array_equal(distances, before)


def test_transport_is_the_best_of_all_assignments():
    a, b = random_spectra([5, 5])
    best = min(np.mean(np.abs(a - b[list(order)]) ** 2) for order in itertools.permutations(range(5)))
    assert spectral_distance(a, b) == pytest.approx(np.sqrt(best), rel=1e-12)


@pytest.mark.parametrize(("size", "method"), [(9, "exact"), (128, "exact"), (129, "sliced")])
def test_transport_measures_a_shift_and_a_change_of_scale_exactly_in_both_forms(size, method):
    (a,) = random_spectra([size])
    assert transport_method([a, a]) == method
    assert spectral_distance(a, a + 0.3 - 0.4j) == pytest.approx(0.5)
    # Every eigenvalue of 3z lies 2|z| from its partner z; the sliced mean of squared cosines is 1/2, which √2 undoes.
    assert spectral_distance(a, 3 * a) == pytest.approx(2 * np.sqrt(np.mean(np.abs(a) ** 2)))


@pytest.mark.parametrize(
    ("members", "size", "method"), [(1000, 64, "exact"), (1100, 64, "sliced"), (3, 128, "exact")]
)
def test_transport_of_very_many_pairs_is_sliced(members, size, method):
    assert transport_method([np.zeros(size)] * members) == method


def test_sliced_transport_is_at_most_exact_and_orders_networks_alike(monkeypatch):
    rng = np.random.default_rng(5)
    (a,) = random_spectra([31])
    spectra = [
        a + step * (rng.normal(size=31) + 1j * rng.normal(size=31)) for step in np.linspace(0.01, 1, 9)
    ]
    exact = pairwise_distances(spectra)
    monkeypatch.setattr("analysis.spectra.distances.EXACT_SIZE", 30)
    sliced = pairwise_distances(spectra)
    assert (sliced <= exact + 1e-12).all()
    assert not np.allclose(sliced, exact, rtol=0.01)  # two methods, not one under two names
    pairs = np.triu_indices(9, 1)
    assert stats.spearmanr(exact[pairs], sliced[pairs])[0] > 0.95


def test_transport_weighs_eigenvalues_by_the_size_of_their_spectrum():
    a, b = random_spectra([6, 7])
    assert spectral_distance(a, np.repeat(a, 3)) == pytest.approx(0, abs=1e-12)
    assert spectral_distance(a, np.append(np.repeat(a, 3), 5)) > 0.5
    assert spectral_distance(a, b) == pytest.approx(spectral_distance(b, a))


def test_transport_of_many_sizes_takes_a_grid_that_they_share():
    sizes = [901, 953, 977, 991, 997]  # their steps together are 4,815 cells
    (a,) = random_spectra([997])
    spectra = [np.random.default_rng(k).choice(a, size, replace=False) for k, size in enumerate(sizes)]
    near = pairwise_distances(spectra)
    far = pairwise_distances([*spectra[:4], spectra[4] + 2j])
    assert near.max() < 0.3
    assert far[:4, 4].min() > 1.8
    assert spectral_distance(a, a[:996] + 2j) == pytest.approx(2, rel=0.01)


@pytest.mark.parametrize("metric", METRICS)
def test_the_sign_of_zero_makes_no_distance(metric):
    assert spectral_distance([complex(-1, 0.0), 1], [complex(-1, -0.0), 1], metric) == 0


def test_an_eigenvalue_that_crosses_the_negative_axis_moves_by_what_it_moves():
    above, below = [-1 + 1e-9j, 1], [-1 - 1e-9j, 1]
    assert spectral_distance(above, below) < 1e-8
    assert spectral_distance(above, below, "separate") > 3  # as the reference implementation defines it


@pytest.mark.parametrize("size", [7, 150])
@pytest.mark.parametrize("unit", [1e-200, 1e200])
def test_distances_have_the_unit_of_the_eigenvalues(unit, size):
    spectra = random_spectra([size] * 4)
    for metric in ("transport", "2d", "emd", "magnitude_only", "hausdorff"):
        scaled = pairwise_distances([unit * values for values in spectra], metric) / unit
        np.testing.assert_allclose(scaled, pairwise_distances(spectra, metric), rtol=1e-9, atol=1e-14)


def test_means_that_differ_by_rounding_mark_no_outlier():
    distances = 0.1 * (1 - np.eye(12))
    distances[4] *= 1 + 1e-15
    distances[:, 4] = distances[4]
    assert not find_outliers(distances).any()
    distances[4] *= 1.5
    distances[:, 4] = distances[4]
    assert find_outliers(distances).tolist() == [k == 4 for k in range(12)]
    assert find_outliers(1e-300 * distances).tolist() == find_outliers(1e300 * distances).tolist()
