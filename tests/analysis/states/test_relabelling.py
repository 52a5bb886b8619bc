"""Closeness against relabelled trials: what trials share by accident is not found, what members share is."""

import numpy as np
import pytest

from analysis.states.relabelling import _chosen, _of_states, against_chance
from analysis.states.state_distances import state_distances, unit_states

MEASURES = {"cka", "cka_unbiased", "procrustes", "rsa"}


def rotations(shared, n_members, noise, rng):
    """Return members whose states are rotations of shared states (trial, step, unit), with noise of their own."""
    units = shared.shape[-1]
    frames = [np.linalg.qr(rng.normal(size=(units, units)))[0] for _ in range(n_members)]
    return [shared @ frame + noise * rng.normal(size=shared.shape) for frame in frames]


def chance(runs, n_first, keys=None):
    states = unit_states(runs, [str(k) for k in range(len(runs))])
    places = np.arange(len(runs))
    sets = (places[:n_first], places[n_first:]) if n_first else (places, places)
    return against_chance(states, len(runs[0]), keys or [f"{k:02}" for k in places], sets)


def test_members_that_share_states_are_closer_than_relabelled_trials():
    rng = np.random.default_rng(0)
    runs = rotations(rng.normal(size=(14, 3, 5)), 10, 0.5, rng)
    found = chance(runs, 0)
    assert set(found) == MEASURES
    for measure, test in found.items():
        assert test.p == pytest.approx(max(1 / 200, 1 / 2**5)), (
            measure
        )  # the smallest of 199 relabellings and 5 pairs


def test_what_two_sets_share_by_accident_in_these_trials_is_not_found():
    """Members of a set are rotations of one state. States of the two sets have nothing to do with each other, yet all
    pairs agree on the accident of these trials, and members alone find it in about half of the draws."""
    by_members, both = 0, 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        first, second = rng.normal(size=(2, 12, 2, 4))
        test = chance([*rotations(first, 6, 0.1, rng), *rotations(second, 6, 0.1, rng)], 6)["cka"]
        by_members += test.members.p <= 0.05
        both += test.p <= 0.05
    assert by_members >= 3
    assert both <= 2


def test_what_is_found_does_not_depend_on_the_order_of_sets():
    rng = np.random.default_rng(2)
    a, b = (
        rotations(rng.normal(size=(12, 2, 4)), 6, 1.0, rng),
        rotations(rng.normal(size=(12, 2, 7)), 5, 1.0, rng),
    )
    keys = [f"{k:02}" for k in (5, 3, 9, 1, 7, 8, 4, 2, 6, 0, 10)]
    found, other = chance([*a, *b], 6, keys), chance([*b, *a], 5, [*keys[6:], *keys[:6]])
    for measure, test in found.items():
        assert test.row() == pytest.approx(other[measure].row()), measure


def test_one_trial_cannot_be_relabelled():
    rng = np.random.default_rng(4)
    found = chance(rotations(rng.normal(size=(1, 30, 5)), 10, 0.5, rng), 0)
    assert all(np.isnan(test.p) for test in found.values())
    assert chance(rotations(rng.normal(size=(3, 30, 5)), 1, 0.5, rng), 0) == {}


def test_a_relabelling_moves_trials_as_a_whole_and_distances_are_those_of_all_states():
    rng = np.random.default_rng(6)
    pair = unit_states(list(rng.normal(size=(2, 4, 3, 2))), ["a", "b"])
    np.testing.assert_array_equal(_of_states(np.array([[2, 0, 1]]), 3, 9)[0], [6, 7, 8, 0, 1, 2, 3, 4, 5])
    chosen, steps = _chosen(pair, 4, 100)
    assert steps == 3
    np.testing.assert_allclose(chosen, pair)
    fewer, steps = _chosen(pair, 4, 8)
    assert fewer.shape == (2, 8, 2)
    assert steps == 2
    wide = unit_states(list(rng.normal(size=(2, 4, 3, 50))), ["a", "b"])
    compact, _ = _chosen(wide, 4, 100)
    assert compact.shape == (2, 12, 12)
    for measure, matrix in state_distances(wide).items():
        np.testing.assert_allclose(state_distances(compact)[measure], matrix, atol=1e-6)
