"""Delayed match to sample and context-dependent integration, against what an ideal observer reaches."""

import numpy as np
import pytest
from scipy.special import ndtr

from emt.tasks.decisions import COHERENCES, ContextIntegration, DelayedMatch


def test_stages_follow_one_another_and_the_second_stimulus_says_nothing_by_itself():
    task = DelayedMatch(stimulus_noise=0.0)
    batch = task.test_batch(3, task.steps, 0, 4000)
    events = {name: event[0] for name, event in batch.events.items()}
    lengths = [(events["stage"] == stage).sum(axis=1) for stage in range(5)]
    assert [set(length.tolist()) for length in lengths] == [{4}, {6}, set(range(12, 21)), {6}, {4}]
    np.testing.assert_array_equal(lengths[2], events["delay"][:, 0])
    sample, test, match = (events[name][:, 0] for name in ("sample", "test", "match"))
    np.testing.assert_array_equal(sample == test, match == 1)
    shares = np.array([[np.mean(test[match == m] == k) for k in range(4)] for m in (0, 1)])
    np.testing.assert_allclose(shares, 0.25, atol=0.035)
    inputs = batch.inputs[0]
    row = np.arange(4000)
    assert (inputs[row, 4, sample] == 1).all()
    assert (inputs[events["stage"] == 2] == [0, 0, 0, 0, 1]).all()
    assert (inputs[events["stage"] == 4] == 0).all()
    assert (batch.scored[0] == (events["stage"] == 4)).all()


def test_longer_trials_have_longer_delays():
    task = DelayedMatch()
    batch = task.test_batch(0, 60, 0, 5)
    assert (batch.events["delay"] == 40).all()
    assert (batch.events["stage"] >= 0).all()


@pytest.mark.parametrize(
    ("stimuli", "noise", "expected"), [(2, 1.0, 0.9202), (4, 0.5, 0.999), (4, 1.0, 0.889)]
)
def test_the_ideal_observer_is_as_good_as_theory_says(stimuli, noise, expected):
    """Of two stimuli each is mistaken with e = Φ(−√(n/2) / σ), and two mistakes cancel: (1 − e)² + e²."""
    task = DelayedMatch(stimuli=stimuli, stimulus_noise=noise)
    batch = task.test_batch(1, task.steps, 0, 20_000)
    assert task.ideal_accuracy(batch) == pytest.approx(expected, abs=0.007)
    if stimuli == 2:
        error = ndtr(-np.sqrt(3) / noise)
        assert expected == pytest.approx((1 - error) ** 2 + error**2, abs=1e-4)


def test_evidence_has_the_mean_that_its_event_names_and_the_context_says_which_counts():
    task = ContextIntegration()
    batch = task.test_batch(2, task.steps, 0, 4000)
    events = {name: event[0] for name, event in batch.events.items()}
    shown = batch.inputs[0][:, 4:24]
    for place, name in enumerate(("first", "second")):
        for kind, mean in enumerate(COHERENCES):
            own = events[name][:, 0] == kind
            assert shown[own, :, place].mean() == pytest.approx(mean, abs=0.04)
    context = events["context"][:, 0]
    np.testing.assert_array_equal(shown[:, 0, 2:].argmax(axis=1), context)
    counts = np.where(context == 0, events["first"][:, 0], events["second"][:, 0])
    np.testing.assert_array_equal(events["choice"][:, 0], counts >= 4)
    assert not batch.inputs[0][:, :4].any()
    assert not batch.inputs[0][:, 24:].any()


def test_strategies_of_integration_reach_what_theory_says():
    task = ContextIntegration()
    expected = task.strategies()
    assert [round(value, 3) for value in expected.values()] == [0.76, 0.63, 0.672]
    batch = task.test_batch(4, task.steps, 0, 20_000)
    assert task.ideal_accuracy(batch) == pytest.approx(expected["ideal"], abs=0.01)
    choice = batch.events["choice"][0, :, 0]
    both = batch.inputs[0][..., :2].sum(axis=(1, 2)) > 0
    assert np.mean(both == choice) == pytest.approx(expected["both modalities"], abs=0.01)
