"""Biases of distances between states: pure noise with its own controls, and what sets may be tested on."""

import numpy as np
import pytest

from analysis.errors import AnalysisError
from analysis.states.state_distances import (
    levelled,
    shuffled_distances,
    state_distances,
    unit_states,
    unrelated_distances,
)
from analysis.statistics import energy_test


def noise(units, n_states=60, seed=0):
    """Return independent Gaussian states of members with these numbers of units."""
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(n_states, 1, n)) for n in units]


def unit(runs):
    return unit_states(runs, [str(place) for place in range(len(runs))])


def means(matrix, n_first):
    """Return the mean distance within the first set, between sets, within the second."""
    a, b = matrix[:n_first, :n_first], matrix[n_first:, n_first:]
    within = [block[np.triu_indices(len(block), 1)].mean() for block in (a, b)]
    return np.array([within[0], matrix[:n_first, n_first:].mean(), within[1]])


SIZES = [8] * 7 + [256] * 6


def test_unrelated_states_are_as_far_apart_as_shuffled_ones_in_each_set():
    states = unit(noise(SIZES))
    distances, shuffled = state_distances(states), shuffled_distances(states)
    for measure, matrix in distances.items():
        assert means(matrix, 7) == pytest.approx(means(shuffled[measure], 7), abs=0.05), measure
    own = means(shuffled["cka"], 7)
    assert abs(own[0] - own[2]) > 0.5  # one control would fit neither set


def test_unbiased_cka_of_unrelated_states_is_zero_whatever_their_dimensions():
    distances = state_distances(unit(noise(SIZES)))
    assert means(np.cos(distances["cka_unbiased"]), 7) == pytest.approx(0.0, abs=0.04)
    assert means(np.cos(distances["cka"]), 7)[2] > 0.7  # the biased one: of 60 states in 256 units


def test_unbiased_cka_needs_four_states():
    assert "cka_unbiased" in state_distances(unit(noise([3, 5], n_states=4)))
    assert "cka_unbiased" not in state_distances(unit(noise([3, 5], n_states=3)))


def test_controls_do_not_depend_on_the_order_of_members_nor_on_who_else_is_there():
    runs = noise([5, 9, 13, 17])
    order = [2, 0, 3, 1]
    shuffled, other, fewer = (shuffled_distances(unit(x)) for x in (runs, [runs[k] for k in order], runs[:3]))
    for measure, matrix in shuffled.items():
        np.testing.assert_allclose(other[measure], matrix[np.ix_(order, order)], atol=1e-12)
        np.testing.assert_allclose(fewer[measure], matrix[:3, :3], atol=1e-12)


@pytest.mark.parametrize("n_states", [30, 200])
def test_unrelated_distances_are_the_mean_over_orders(n_states):
    """Over all orders P, E ‖XᵀPY‖² = tr K tr L / (n - 1) for centred Gram matrices K and L, here of trace 1."""
    states = unit(noise([6, 50], n_states))
    expected = unrelated_distances(states)
    rng = np.random.default_rng(1)
    products = [states[0].T @ states[1][rng.permutation(n_states)] for _ in range(200)]
    own = np.prod([np.linalg.norm(member.T @ member) for member in states])
    squared = np.mean([np.sum(product**2) for product in products]) / own
    nuclear = np.mean([np.linalg.norm(product, "nuc") for product in products])
    cka, procrustes = (expected[measure][0][0, 1] for measure in ("cka", "procrustes"))
    assert np.cos(cka) == pytest.approx(squared, rel=0.02)
    assert np.cos(procrustes) == pytest.approx(nuclear, rel=0.02)


def test_spreads_of_one_component_are_those_of_a_coordinate_on_a_sphere():
    """A coordinate r on the sphere in m dimensions has E r² = 1 / m, E r⁴ = 3 / (m (m + 2)) and |∇|r||² = 1 - r².

    The smallest eigenvalue of the sphere's Laplacian on functions of r² is 2m, so Var |r| ≤ (1 - 1 / m) / 2m.
    """
    found, m = unrelated_distances(unit(noise([1, 1], 60))), 59
    cosines = {measure: spread_of_cosine(found, measure, (0, 1)) for measure in ("cka", "procrustes")}
    assert cosines["cka"] == pytest.approx(np.sqrt(3 / (m * (m + 2)) - 1 / m**2), rel=1e-9)
    # The gradient is averaged over 400 draws of r²: ± 0.1 / m.
    assert cosines["procrustes"] == pytest.approx(np.sqrt((1 - 1 / m) / (2 * m)), rel=4 * 0.1 / m)


def test_spreads_of_unrelated_distances_are_those_over_rotations():
    """Exactly for ``cka``; for ``procrustes`` an upper bound, for no pair above the true one by more than a fifth.

    Of pairs of 3 and 3, of 3 and 20, of 20 and 20 units, in 59 dimensions, up to four standard errors of what is
    drawn here.
    """
    states = unit(noise([3, 3, 20, 20], 60))
    found = unrelated_distances(states)
    spectra = [np.linalg.svd(member, compute_uv=False)[:20] for member in states]
    frames = np.linalg.qr(np.random.default_rng(2).normal(size=(1000, 59, 20)))[0]
    for i, j in [(0, 1), (0, 2), (2, 3)]:
        products = spectra[i][:, None] * frames[:, :20, :] * spectra[j]
        norm = np.sqrt(np.sum(spectra[i] ** 4) * np.sum(spectra[j] ** 4))
        spread, error = drawn_spread(np.sum(products**2, axis=(1, 2)) / norm)
        assert spread_of_cosine(found, "cka", (i, j)) == pytest.approx(spread, rel=4 * error)
        spread, error = drawn_spread(np.linalg.svd(products, compute_uv=False).sum(axis=-1))
        assert 1 - 4 * error < spread_of_cosine(found, "procrustes", (i, j)) / spread < 1.2 + 4 * error


def spread_of_cosine(unrelated, measure, pair):
    expected, spread = (values[pair] for values in unrelated[measure])
    return spread * np.sin(expected)


def drawn_spread(values):
    """Return the standard deviation of independent values, and its standard error relative to it."""
    centred = values - values.mean()
    kurtosis = np.mean(centred**4) / np.mean(centred**2) ** 2
    return values.std(), np.sqrt((kurtosis - 1) / (4 * len(values)))


def test_sets_of_noise_are_not_told_apart_by_their_numbers_of_units():
    states = unit(noise(SIZES))
    distances = state_distances(states)
    comparable = levelled(distances, states)
    for measure, matrix in comparable.items():
        assert energy_test(matrix, 7).p > 0.05, measure
    assert energy_test(distances["cka"], 7).p < 0.01  # what the bias alone finds
    assert energy_test(distances["procrustes"], 7).p < 0.01


def test_sets_that_differ_are_told_apart_whatever_their_numbers_of_units():
    rng = np.random.default_rng(3)
    shared = rng.normal(size=(2, 60, 1, 4))
    frames = [np.linalg.qr(rng.normal(size=(n, 4)))[0] for n in (9, 9, 9, 9, 9, 9, 30, 30, 30, 30, 30)]
    runs = [
        shared[int(k >= 6)] @ frame.T + 0.1 * rng.normal(size=(60, 1, len(frame)))
        for k, frame in enumerate(frames)
    ]
    states = unit(runs)
    for measure, matrix in levelled(state_distances(states), states).items():
        assert energy_test(matrix, 6).p < 0.01, measure


def test_levels_are_the_distances_where_all_spectra_are_alike():
    rng = np.random.default_rng(5)
    (run,) = noise([6])
    rotated = [run[rng.permutation(60)] @ np.linalg.qr(rng.normal(size=(6, 6)))[0] for _ in range(4)]
    states = unit(rotated)
    distances = state_distances(states)
    for measure, matrix in levelled(distances, states).items():
        np.testing.assert_allclose(matrix, distances[measure], atol=1e-6)


@pytest.mark.parametrize("unit", [1e-300, 1e300])
def test_states_may_have_any_unit(unit):
    runs = list(np.random.default_rng(0).normal(size=(2, 3, 7, 5)))
    found, plain = (unit_states([scale * run for run in runs], ["a", "b"]) for scale in (unit, 1.0))
    np.testing.assert_allclose(found, plain, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(np.linalg.norm(found, axis=(1, 2)), 1.0)
    with pytest.raises(AnalysisError, match="b: expected hidden states that vary"):
        unit_states([runs[0], unit * np.ones((3, 7, 5))], ["a", "b"])
