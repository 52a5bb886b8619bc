"""The flip-flop task."""

import numpy as np
import pytest

from emt.tasks.flip_flop import FlipFlop, held_signs

SEEDS, SIZE, BITS, STEPS = (3, 1003), 5, 4, 17


def test_targets_are_the_signs_of_the_last_pulses():
    task = FlipFlop(bits=BITS, steps=STEPS)
    batch = task.batch(SEEDS, "train", 7, task.shape(3, "train", 7, 1), SIZE)
    assert batch.inputs.shape == batch.targets.shape == (2, SIZE, STEPS, BITS)
    for place in np.ndindex(2, SIZE, BITS):
        pulses, targets = (a[place[0], place[1], :, place[2]] for a in (batch.inputs, batch.targets))
        last = 0.0
        for t in range(STEPS):
            last = pulses[t] or last
            assert targets[t] == last
    assert set(np.unique(batch.targets)) == {-1, 1}
    assert batch.scored.all()


def test_pulses_are_as_rare_as_asked_for_and_all_channels_start_with_one():
    task = FlipFlop(bits=BITS, steps=60, pulse_rate=0.2)
    inputs = task.batch(SEEDS, "train", 0, 60, 400).inputs
    assert np.abs(inputs[:, :, 0]).min() == 1
    later = inputs[:, :, 1:]
    np.testing.assert_allclose((later != 0).mean(), 0.2, atol=0.01)
    np.testing.assert_allclose(later[later != 0].mean(), 0, atol=0.02)


def test_a_batch_is_a_function_of_seed_split_and_step():
    task = FlipFlop(bits=BITS, steps=STEPS)
    batches = [
        task.batch([s], split, step, STEPS, SIZE).inputs
        for s, split, step in [
            (3, "train", 0),
            (3, "train", 0),
            (4, "train", 0),
            (3, "test", 0),
            (3, "train", 1),
        ]
    ]
    same = [np.array_equal(batches[0], b) for b in batches]
    assert same == [True, True, False, False, False]
    stacked = task.batch([4, 3], "train", 0, STEPS, SIZE).inputs
    np.testing.assert_array_equal(stacked[1], batches[0][0])
    np.testing.assert_array_equal(task.test_batch(3, STEPS, 1, SIZE).inputs, batches[3])


@pytest.mark.parametrize("pulses", [np.zeros((3, 2)), np.array([[0.0, 1], [0, 0], [-1, 0]])])
def test_nothing_is_held_before_the_first_pulse(pulses):
    held = held_signs(pulses.astype(np.float32))
    np.testing.assert_array_equal(held, [[0, 0]] * 3 if not pulses.any() else [[0, 1], [0, 1], [-1, 1]])
