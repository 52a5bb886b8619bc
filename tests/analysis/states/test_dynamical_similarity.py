"""Dynamics compared by the eigenvalues of linear models: known eigenvalues, dimensions from the data, refusals."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from analysis.errors import AnalysisError
from analysis.states.dynamical_similarity import (
    TooFewStepsError,
    dynamical_distances,
    input_components,
    input_dsa_distances,
    movements,
)


def rotation(size, seed):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))[0]


def linear_runs(matrix, sequences=17, steps=12, seed=0, inputs=None):
    """Return states (sequence, time, unit) of x_{t+1} = A x_t + u_{t+1} from random starts about zero."""
    start = np.random.default_rng(seed).normal(size=(sequences, len(matrix)))
    states = [start - start.mean(axis=0)]
    for t in range(1, steps):
        states.append(states[-1] @ matrix.T + (0 if inputs is None else inputs[:, t]))
    return np.stack(states, axis=1)


def test_a_rotated_copy_in_more_units_than_dimensions_is_at_distance_zero():
    """Three dimensions among 20 units: a model of more dimensions would fit rounding errors (before, .046)."""
    matrix = np.diag([0.98, 0.9, -0.5])
    frame, other = rotation(20, 1)[:, :3], rotation(20, 2)[:, :3]
    for dtype in (np.float64, np.float32):
        runs = [(linear_runs(matrix) @ f.T).astype(dtype).astype(float) for f in (frame, other)]
        assert [move.rank for move in movements(runs, "ab")] == [3, 3]
        pytest.importorskip("DSA")
        assert dynamical_distances(runs)[0, 1] == pytest.approx(0.0, abs=1e-6)


def test_the_distance_is_the_mean_squared_difference_of_matched_eigenvalues():
    """Eigenvalues .9, .5 and .9, .1: .9 matches .9, so the mean is (0 + .4²) / 2 = .08."""
    pytest.importorskip("DSA")
    runs = [
        linear_runs(np.diag(values)) @ rotation(2, k) for k, values in enumerate([(0.9, 0.5), (0.9, 0.1)])
    ]
    assert dynamical_distances(runs)[0, 1] == pytest.approx(0.08, abs=1e-4)


def test_the_rank_is_that_of_each_member_whoever_else_is_there():
    flat, full = linear_runs(np.diag([0.9, 0.5, 0.0])), linear_runs(np.diag([0.9, 0.5, 0.2]))
    flat[..., 2] = 0
    assert [move.rank for move in movements([flat, full], "ab")] == [2, 3]


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_too_few_steps_are_refused_with_their_number(steps):
    """A model of 12 dimensions needs 24 transitions: of 5 trials 5 each, so 6 steps."""
    noise = np.random.default_rng(0).normal(size=(5, 6, 12))
    with pytest.raises(
        TooFewStepsError, match=rf"a: expected at least 6 steps of 5 trials .* 12 dimensions; got {steps}"
    ):
        movements([noise[:, :steps]], "a")
    assert movements([noise], "a")[0].rank == 12


def test_slow_inputs_are_taken_for_slow_dynamics_only_without_them():
    """One system in two bases, driven by inputs that change at each step, and every fourth."""
    pytest.importorskip("DSA")
    rng = np.random.default_rng(1)
    matrix = np.array([[0.8, 0.3, 0.0], [-0.3, 0.8, 0.0], [0.0, 0.0, 0.4]])
    white, slow = rng.normal(size=(17, 12, 3)), np.repeat(rng.normal(size=(17, 3, 3)), 4, axis=1)
    runs = [linear_runs(matrix, inputs=white), linear_runs(matrix, inputs=slow) @ rotation(3, 5)]
    assert dynamical_distances(runs)[0, 1] > 0.01
    eigenvalues = []
    for run, inputs in zip(runs, (white, slow), strict=True):
        # The second of a pair with a system whose eigenvalues are all 0 tells the mean square of the first's.
        none = linear_runs(np.zeros((3, 3)), inputs=inputs)
        eigenvalues.append(input_dsa_distances(movements([run, none], "ab"), input_components(inputs))[0, 1])
    # |0.8 ± 0.3i|² = .73 twice, .4² = .16
    assert eigenvalues == pytest.approx([1.62 / 3] * 2, abs=1e-3)


def test_other_dynamics_under_the_same_inputs_are_apart():
    pytest.importorskip("DSA")
    inputs = np.repeat(np.random.default_rng(2).normal(size=(17, 4, 2)), 3, axis=1)
    same, other = (linear_runs(np.diag(values), inputs=inputs) for values in [(0.9, 0.4), (0.1, 0.4)])
    moves = movements([same, same @ rotation(2, 3), other], "abc")
    distances = input_dsa_distances(moves, input_components(inputs))
    assert distances[0, 1] == pytest.approx(0.0, abs=1e-6)
    # .9 with .4 and .4 with .1, (.5² + .3²) / 2, is less than .4 with .4 and .9 with .1, .8² / 2.
    assert distances[0, 2] == pytest.approx(0.17, abs=1e-3)


def test_inputs_count_by_the_dimensions_that_vary_where_transitions_are_fitted():
    one_hot = np.eye(4)[np.random.default_rng(3).integers(0, 4, (9, 8))]
    assert input_components(one_hot).shape == (9, 8, 3)  # they add up to 1
    cue = np.zeros((9, 8, 2))
    cue[:, :2] = np.random.default_rng(4).normal(size=(9, 2, 2))
    assert input_components(cue).shape == (9, 8, 0)
    assert input_components(np.zeros((9, 8, 0))).shape == (9, 8, 0)


def test_models_with_inputs_need_steps_for_these_too():
    """2 dimensions, 1 input and a constant: 8 transitions, of 4 trials 2 each, beside the 3 steps that are none."""
    inputs = np.random.default_rng(5).normal(size=(4, 5, 1))
    runs = [linear_runs(np.diag([0.9, 0.5]), 4, 5, k) for k in range(2)]
    pytest.importorskip("DSA")
    assert input_dsa_distances(movements(runs, "ab"), input_components(inputs)).shape == (2, 2)
    short = [run[:, :4] for run in runs]
    with pytest.raises(
        TooFewStepsError, match=r"a: expected at least 5 steps of 4 trials .* 4 dimensions; got 4"
    ):
        input_dsa_distances(movements(short, "ab"), input_components(inputs[:, :4]))


def test_the_package_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "DSA", None)
    with pytest.raises(AnalysisError, match="dynamical: expected the package dsa-metric"):
        dynamical_distances([linear_runs(np.diag([0.9, 0.5])) for _ in range(2)])


def test_each_member_is_fitted_with_its_own_rank(monkeypatch):
    given = {}

    class Stub:
        def __init__(self, runs, other=None, **options):
            given.update(options)

        def fit_score(self):
            return np.zeros((2, 2))

    monkeypatch.setitem(sys.modules, "DSA", SimpleNamespace(DSA=Stub))
    flat = linear_runs(np.diag([0.9, 0.5, 0.2]))
    flat[..., 2] = 0
    dynamical_distances([flat, linear_runs(np.diag([0.9, 0.5, 0.2]))])
    assert given["rank"] == [2, 3]
