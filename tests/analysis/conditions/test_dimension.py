import numpy as np
import pytest

from analysis.conditions.dimension import mean_dimensions, state_dimensions, unbiased_mean_dimensions
from analysis.states.dimensionality import covariance_spectrum, participation_ratio

SPECTRUM = 1 / np.arange(1, 41)
TRUE = float(SPECTRUM.sum() ** 2 / np.sum(SPECTRUM**2))


def test_the_plain_ratio_is_that_of_the_covariance():
    states = np.random.default_rng(0).normal(size=(13, 7)) + 5
    expected = float(participation_ratio(covariance_spectrum(states)))
    assert state_dimensions(states)[0] == pytest.approx(expected, rel=1e-12)


def test_moments_are_those_of_sums_over_different_states():
    """The closed form equals the sums over all pairs, triples and quadruples of different states."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(8, 3))
    x = x - x.mean(axis=0)
    gram, n, places = x @ x.T, len(x), np.arange(len(x))
    i, j, k, m = np.meshgrid(places, places, places, places, indexing="ij")
    different = (i != j) & (i != k) & (i != m) & (j != k) & (j != m) & (k != m)
    # For different states E (x_i - x_j)·(x_k - x_m) and so on give both moments.
    square = np.mean((gram[i, k] - gram[i, m] - gram[j, k] + gram[j, m])[different] ** 2) / 4
    traces = np.mean(
        ((gram[i, i] - 2 * gram[i, j] + gram[j, j]) * (gram[k, k] - 2 * gram[k, m] + gram[m, m]))[different]
    )
    assert n == 8
    assert state_dimensions(x)[1] == pytest.approx(traces / 4 / square, rel=1e-9)


def test_few_states_say_the_same_on_average_as_many():
    rng = np.random.default_rng(2)
    plain, found = np.transpose(
        [state_dimensions(rng.normal(size=(16, 40)) * np.sqrt(SPECTRUM)) for _ in range(300)]
    )
    assert np.median(found) == pytest.approx(TRUE, rel=0.1)
    assert plain.mean() < 0.75 * TRUE
    shifted = rng.normal(size=(16, 40)) + 100
    assert state_dimensions(shifted)[1] == pytest.approx(state_dimensions(shifted - shifted[0])[1], rel=1e-6)


def test_too_few_states_have_none():
    assert np.isnan(state_dimensions(np.random.default_rng(3).normal(size=(7, 4)))[1])


class TestMeans:
    """Six conditions whose means fill two dimensions, and noise that fills all."""

    @staticmethod
    def of(size, noise=1.0, trials=20, seed=0):
        rng = np.random.default_rng(seed)
        classes = np.repeat(np.arange(6), trials)
        angle = 2 * np.pi * np.arange(6) / 6
        plane = np.zeros((6, 30))
        plane[:, 0], plane[:, 1] = size * np.cos(angle), size * np.sin(angle)
        states = plane[classes][:, None] + noise * rng.normal(size=(6 * trials, 1, 30))
        quarters = [np.concatenate([rng.permutation(trials) % 4 for _ in range(6)]) for _ in range(20)]
        present = np.ones((6 * trials, 1), bool)
        means = np.stack([states[classes == c].mean(axis=0) for c in range(6)])
        return (
            float(mean_dimensions(means)[0]),
            float(unbiased_mean_dimensions(states, present, classes, 6, quarters)[0]),
        )

    def test_without_noise_both_are_the_dimension(self):
        assert self.of(1.0, noise=0.0) == pytest.approx((2.0, 2.0), abs=1e-9)

    def test_noise_adds_dimensions_to_the_plain_one_alone(self):
        plain, found = np.mean([self.of(1.5, seed=seed) for seed in range(10)], axis=0)
        assert found == pytest.approx(2.0, abs=0.15)
        assert plain > 2.3

    def test_means_that_do_not_differ_have_none(self):
        undefined = [np.isnan(self.of(0.0, seed=seed)[1]) for seed in range(10)]
        assert sum(undefined) >= 8
