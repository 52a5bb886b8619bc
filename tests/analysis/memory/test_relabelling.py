"""Separation of a memory's contents against relabelled trials that all members share."""

import numpy as np
import pytest
import xarray as xr
from scipy import stats

from analysis.memory.contents import analyse_memory
from analysis.memory.relabelling import NONE, relabelled_separations, share_trials, trial_orders
from analysis.memory.separation import class_separation
from analysis.statistics import RELABELLINGS, chance_test


@pytest.mark.parametrize("features", [3, 40])
@pytest.mark.parametrize("scale", [1e-170, 1.0, 1e170])
def test_separations_are_those_of_each_labelling_by_itself(features, scale):
    rng = np.random.default_rng(0)
    points = rng.normal(size=(25, features)) + 5
    classes = rng.integers(-1, 4, (6, 25))
    assert (classes == NONE).any()
    expected = [class_separation(points, labels) for labels in classes]
    np.testing.assert_allclose(
        relabelled_separations(scale * points, classes), expected, rtol=1e-9, atol=1e-12
    )


def test_a_labelling_with_one_class_or_points_that_do_not_vary_have_no_separation():
    points, classes = (
        np.random.default_rng(0).normal(size=(5, 2)),
        np.array([[2] * 5, [0, 0, 1, 1, 1], range(5)]),
    )
    assert np.isnan(relabelled_separations(points, classes)).tolist() == [True, False, True]
    assert np.isnan(relabelled_separations(np.full((5, 2), 0.1), classes)).all()


def test_orders_are_permutations_of_trials():
    orders = trial_orders(7)
    assert orders.shape == (RELABELLINGS, 7)
    assert (np.sort(orders, axis=1) == np.arange(7)).all()
    np.testing.assert_array_equal(orders, trial_orders(7))


@pytest.fixture
def record(make_recording):
    """Return a function that makes a trace whose written values are a signal of all members plus noise of each.

    ``token`` is a class of the trial, of no meaning or added to the signal.
    """

    def make(seed, meaning=False, members=8, trials=24):
        rng = np.random.default_rng(seed)
        recording = make_recording(members=members, trials=trials).copy(deep=True)
        value = recording["memory/fast/write_value"].values
        signal = rng.normal(size=(trials, 1, value.shape[-1]))
        value[:] = signal + 0.3 * rng.normal(size=value.shape)
        label = rng.permutation(np.arange(trials) % 2)
        value[..., 0] += 3 * label[:, None] * meaning
        recording["token"].values[:] = np.reshape(label, (trials, 1))
        return recording

    return make


def without_meaning(seed, orders, members=6, trials=14, steps=3):
    """Return the test of a class of trials against values that all members share in them but for noise."""
    rng = np.random.default_rng(seed)
    signal, classes = (
        rng.normal(size=(trials, 1, 5)),
        np.repeat(rng.permutation(np.arange(trials) % 2), steps),
    )
    values = (signal + 0.3 * rng.normal(size=(members, trials, steps, 5))).reshape(members, -1, 5)
    others = classes.reshape(trials, steps)[orders].reshape(len(orders), -1)
    null = np.stack([relabelled_separations(points, others) for points in values], axis=1)
    return chance_test([class_separation(points, classes) for points in values], null)


def test_a_class_without_meaning_is_found_over_members_and_not_over_trials(monkeypatch):
    monkeypatch.setattr("analysis.memory.relabelling.RELABELLINGS", 39)
    orders = trial_orders(14)
    tests = [without_meaning(seed, orders) for seed in range(40)]
    level = stats.binom.ppf(0.975, 40, 0.05)
    assert sum(test.p <= 0.05 for test in tests) <= level
    assert sum(test.members.p <= 0.05 for test in tests) > 2 * level


def test_a_class_that_values_hold_is_found_over_trials_too(record):
    analysis = analyse_memory(record(0, meaning=True), color_by="token")
    test = analysis.memories[0].beyond_chance
    assert test.trials.p <= 0.01
    assert test.members.p == test.members.smallest_p == 1 / 2**8
    assert f"beyond chance (p = {test.p:.2g}, the larger of" in analysis.headline()
    row = analysis.tables()["memory_separation"].loc["fast"]
    assert row[["p", "p_trials", "p_members"]].tolist() == [test.p, test.trials.p, test.members.p]


def test_an_event_that_is_the_same_in_all_trials_gives_no_p(record):
    test = analyse_memory(record(0), color_by="step").memories[0].beyond_chance
    assert test.trials.smallest_p == 1
    assert np.isnan(test.p)


def test_members_that_saw_trials_of_their_own_are_samples_of_trials(record):
    recording = record(0)
    assert share_trials(recording, "token")
    own = recording.assign(token=xr.concat([recording["token"]] * recording.sizes["member"], dim="member"))
    assert not share_trials(own, "token")
    assert share_trials(own, "written")
    test = analyse_memory(own, color_by="token").memories[0].beyond_chance
    assert test.trials is None
    assert test.p == test.members.p
