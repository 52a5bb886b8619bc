import numpy as np
import pytest

import emt
from analysis.degeneracy.dynamics import dynamics_distances
from analysis.errors import AnalysisError


def linear(eigenvalues, inputs, turn, noise=0.0, seed=0):
    """Return states (batch, time, unit) of a linear network that inputs drive, in coordinates of its own."""
    rng = np.random.default_rng(seed)
    states = np.zeros((*inputs.shape[:2], len(eigenvalues)))
    state = np.zeros((len(inputs), len(eigenvalues)))
    for step in range(inputs.shape[1]):
        state = state * eigenvalues + inputs[:, step] @ np.ones((inputs.shape[2], len(eigenvalues)))
        state = state + noise * rng.normal(size=state.shape)
        states[:, step] = state
    return states @ turn


@pytest.fixture
def networks():
    """Return a recording of three networks: one, itself in other coordinates, and one with other eigenvalues."""

    def make(noise=0.0, trials=40):
        rng = np.random.default_rng(1)
        slow = np.repeat(rng.normal(size=(trials, 4, 2)), 4, axis=1)
        turns = rng.normal(size=(3, 3, 3))
        spectra = ([0.9, 0.5, -0.3], [0.9, 0.5, -0.3], [0.6, 0.1, -0.3])
        states = [
            linear(np.array(s), slow, t, noise, k)
            for k, (s, t) in enumerate(zip(spectra, turns, strict=True))
        ]
        return emt.from_arrays(states, inputs=slow).recording

    return make


def test_dynamics_with_inputs_are_compared_by_their_eigenvalues_in_any_coordinates(networks):
    found, rank = dynamics_distances(networks(), components=10)
    assert rank == 3
    assert found["dmdc"].distances[0, 1] < 1e-6
    assert found["dmdc"].distances[0, 2] == pytest.approx((0.3 + 0.4) / 3, abs=1e-6)
    assert found["dmdc"].floor.max() < 1e-6
    # Without inputs, slow ones are taken for dynamics, in each half in another way.
    assert found["dmd"].floor.min() > 1e-3


def test_the_floor_is_what_an_estimate_comes_to_between_halves_and_falls_with_trials(networks):
    few, many = (dynamics_distances(networks(1.0, n), components=3)[0]["dmdc"] for n in (20, 640))
    assert few.floor.mean() > 2 * many.floor.mean() > 0
    # Copies are no further apart than a network from itself.
    assert few.distances[0, 1] < 3 * few.floor.mean()
    assert many.distances[0, 2] > 5 * many.floor.mean()


def test_the_package_is_asked_across_halves(networks):
    pytest.importorskip("DSA")
    found, _ = dynamics_distances(networks(0.1), components=3, dsa=True)
    for measure in ("dsa", "input_dsa"):
        assert found[measure].distances.shape == (3, 3)
        assert found[measure].floor.shape == (3,)
    apart = found["input_dsa"]
    assert apart.distances[0, 2] > 2 * max(apart.distances[0, 1], apart.floor.max())


def test_one_trial_has_no_halves(networks):
    with pytest.raises(AnalysisError, match="expected at least two trials; got 1"):
        dynamics_distances(networks(trials=1), components=3)
