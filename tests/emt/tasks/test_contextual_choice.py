"""Contextual choice: what a trial holds, what an episode repeats, and what depends on what."""

import numpy as np
import pytest

from emt.errors import UserError
from emt.tasks.contextual_choice import SEEN, UNSEEN, ContextualChoice

SEEDS, BATCH, TRIALS, STEPS, WIDTH, T_OFF = (5, 1005), 3, 7, 6, 4, 2


@pytest.fixture
def task():
    return ContextualChoice(trials=TRIALS, steps=STEPS, evidence=WIDTH, t_off=T_OFF)


def episode(task, split="train", number=0, seeds=SEEDS, size=BATCH):
    first = number * 2 * TRIALS
    return [task.batch(seeds, split, first + i, STEPS, size) for i in range(2 * TRIALS)]


def test_the_second_half_repeats_the_first_in_another_order(task):
    trials = episode(task)
    assert [t.fresh for t in trials] == [True] + [False] * (2 * TRIALS - 1)
    for m, b in np.ndindex(len(SEEDS), BATCH):
        order = [int(t.events["asked"][m, b, 0]) for t in trials[TRIALS:]]
        assert sorted(order) == list(range(TRIALS))
        for again, item in zip(trials[TRIALS:], order, strict=True):
            np.testing.assert_array_equal(again.inputs[m, b], trials[item].inputs[m, b])
            np.testing.assert_array_equal(again.targets[m, b], trials[item].targets[m, b])
            assert not np.array_equal(again.draws[m, b], trials[item].draws[m, b])
    orders = np.array([t.events["asked"][:, :, 0] for t in trials[TRIALS:]]).reshape(TRIALS, -1)
    assert len(np.unique(orders, axis=1).T) == orders.shape[1]


def test_events_say_what_is_written_asked_for_and_started(task):
    trials = episode(task)
    for place, trial in enumerate(trials):
        assert all(e.shape == (len(SEEDS), BATCH, STEPS) for e in trial.events.values())
        seen = place >= TRIALS
        assert (trial.events["group"] == (SEEN if seen else UNSEEN)).all()
        assert not trial.events["trial"].any()
        assert (trial.events["written"][..., :-1] == -1).all()
        assert (trial.events["written"][..., -1] == (-1 if seen else place)).all()
        assert (trial.events["asked"] == -1).all() != seen
        assert (trial.events["start"][..., 1:] == -1).all()
        np.testing.assert_array_equal(trial.targets.argmax(axis=-1), trial.events["token"])
        assert trial.scored.all()
    starts = np.stack([t.events["start"][..., 0] for t in trials])
    assert (np.diff(starts, axis=0) == 1).all()
    assert len(np.unique(starts)) == starts.size


def test_a_trial_is_evidence_for_a_side_after_noise_beside_a_constant_context():
    task = ContextualChoice(trials=400, steps=STEPS, evidence=30, t_off=T_OFF)
    batch = task.test_batch(3, 2 * 400 * STEPS, 1, 1)
    x = batch.inputs[0, 0].reshape(800, STEPS, 60)[:400]
    side = 2 * batch.events["token"][0, 0].reshape(800, STEPS)[:400, 0] - 1
    evidence, context = x[..., :30], x[..., 30:]
    assert (context == context[:, :1]).all()
    for drawn in (evidence[:, :T_OFF], evidence[:, T_OFF:] - side[:, None, None], context[:, 0]):
        assert abs(drawn.mean()) < 0.03
        assert abs(drawn.std() - 1) < 0.03
    said = np.sign(evidence.mean(axis=2)) == side[:, None]
    assert said[:, T_OFF:].mean() > 0.999
    assert abs(said[:, :T_OFF].mean() - 0.5) < 0.06
    assert abs(side.mean()) < 0.15


def test_the_right_choice_is_decided_before_evidence_is_taken_away():
    task = ContextualChoice(trials=2000, steps=2, evidence=1, t_off=1)
    batch = task.test_batch(3, 8000, 1, 1)
    left = batch.inputs[0, 0].reshape(-1, 2, 2)[:, 1, 0]
    agrees = (left > 0) == (batch.events["token"][0, 0].reshape(-1, 2)[:, 0] == 1)
    assert 0.75 < agrees.mean() < 0.97


def test_an_episode_in_one_batch_is_its_trials_one_after_the_other(task):
    whole = task.test_batch(SEEDS[0], 2 * TRIALS * STEPS, 1, BATCH)
    trials = episode(task, "test", seeds=SEEDS[:1])
    assert whole.fresh
    for name in ("inputs", "targets", "scored", "draws"):
        np.testing.assert_array_equal(
            getattr(whole, name), np.concatenate([getattr(t, name) for t in trials], axis=2)
        )
    for name, event in whole.events.items():
        np.testing.assert_array_equal(event, np.concatenate([t.events[name] for t in trials], axis=2))
    with pytest.raises(UserError, match=r"^length: must be 84, the steps of an episode; got 10$"):
        task.test_batch(5, 10, 1, 1)


def test_seeds_splits_and_episodes_have_data_of_their_own(task):
    np.random.seed(0)  # noqa: NPY002 (the global state must not matter)
    first = episode(task)
    np.random.seed(1)  # noqa: NPY002
    alone = episode(
        ContextualChoice(trials=TRIALS, steps=STEPS, evidence=WIDTH, t_off=T_OFF), seeds=SEEDS[1:]
    )
    for together, single in zip(first, alone, strict=True):
        np.testing.assert_array_equal(together.inputs[1:], single.inputs)
        np.testing.assert_array_equal(together.events["start"][1:], single.events["start"])
    rows = [first[0].inputs, episode(task, number=1)[0].inputs, episode(task, "validation")[0].inputs]
    flat = np.concatenate([r.reshape(-1, r[0, 0].size) for r in rows])
    assert len(np.unique(flat, axis=0)) == len(flat)


def test_sizes_are_those_of_the_options(task):
    assert (task.input_channels, task.output_channels, task.epoch_batches) == (2 * WIDTH, 3, 2 * TRIALS)
    assert task.lengths == (2 * TRIALS * STEPS,)
    with pytest.raises(UserError, match=r"^t_off: must be a step below 6, the steps of a trial; got 6$"):
        ContextualChoice(steps=6, t_off=6)
