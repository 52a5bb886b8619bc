import numpy as np
import pytest

from emt.errors import UserError
from emt.tasks.variable_binding import PRESETS, VariableBinding, selection


def rollout(window, task_id, horizon):
    """Roll a window of s vectors out by the definition, one bit at a time."""
    s, d = window.shape
    a, b, c = task_id
    chosen = [i for i in range(s * d) if a & (1 << i)]
    for i in range(d):
        j = i + (b // d**i) % d
        chosen[i], chosen[j] = chosen[j], chosen[i]
    vectors = [list(v) for v in window]
    for _ in range(horizon):
        flat = [value for vector in vectors[-s:] for value in vector]
        vectors.append([flat[chosen[k]] * (-1 if c & (1 << k) else 1) for k in range(d)])
    return np.array(vectors[s:])


@pytest.mark.parametrize("name", PRESETS)
def test_targets_equal_a_rollout_by_hand(name):
    task = VariableBinding(seq_length=8, task_id=name)
    batch = task.batch([4, 1004], "train", 6, task.shape(4, "train", 6, 21), 3)
    for member in range(2):
        for item in range(3):
            window = batch.inputs[member, item, :8]
            np.testing.assert_array_equal(batch.targets[member, item, 8:], rollout(window, PRESETS[name], 21))


def test_tasks_differ():
    targets = {n: VariableBinding(seq_length=8, task_id=n).operator(8).tobytes() for n in PRESETS}
    assert len(set(targets.values())) == 4


def test_repeat_copy_of_any_width_repeats_its_input():
    task = VariableBinding(seq_length=3, input_dim=5)
    batch = task.batch([0], "train", 0, task.shape(0, "train", 0, 7), 2)
    np.testing.assert_array_equal(batch.targets[0, :, 3:6], batch.inputs[0])
    np.testing.assert_array_equal(batch.targets[0, :, 6:9], batch.inputs[0])
    assert set(np.unique(batch.inputs)) == {-1, 1}


def test_operator_makes_the_targets():
    task = VariableBinding(seq_length=8, task_id="T4")
    batch = task.batch([7], "test", 0, task.shape(7, "test", 0, 1), 5)
    following = batch.inputs[0].reshape(5, -1) @ task.operator(8)
    np.testing.assert_array_equal(batch.targets[0, :, 8], following)


def test_only_outputs_are_scored_and_silent():
    task = VariableBinding(seq_length=4, input_dim=3, use_eos=True)
    batch = task.batch([0], "train", 1, task.shape(0, "train", 1, 6), 2)
    padded = batch.padded_inputs(4)
    assert padded.shape == (1, 2, 10, 4)
    np.testing.assert_array_equal(batch.scored[0, 0], [False] * 4 + [True] * 6)
    np.testing.assert_array_equal(padded[0, 0, :, 3], [0] * 4 + [-1] + [0] * 5)
    assert not padded[..., 5:, :].any()
    assert not batch.targets[:, :, :4].any()


def test_data_are_a_function_of_seed_split_and_step():
    task = VariableBinding(seq_length=(3, 7))

    def inputs(seed, split, step):
        return task.batch([seed], split, step, task.shape(seed, split, step, 10), 2).inputs.tobytes()

    assert inputs(1, "train", 2) == inputs(1, "train", 2)
    assert (
        len(
            {
                inputs(*purpose)
                for purpose in [(1, "train", 2), (2, "train", 2), (1, "test", 2), (1, "train", 3)]
            }
        )
        == 4
    )


def test_a_member_sees_the_same_data_alone_and_in_a_group():
    task = VariableBinding(seq_length=5)
    shape = task.shape(0, "train", 3, 4)
    together = task.batch([0, 1000, 2000], "train", 3, shape, 6)
    alone = task.batch([1000], "train", 3, shape, 6)
    np.testing.assert_array_equal(together.inputs[1:2], alone.inputs)
    np.testing.assert_array_equal(together.targets[1:2], alone.targets)


def test_lengths_of_a_range_all_occur():
    task = VariableBinding(seq_length=(3, 7))
    lengths = [task.shape(0, "train", step, 10).lengths[0] for step in range(200)]
    assert set(lengths) == {3, 4, 5, 6, 7}


class TestStream:
    task = VariableBinding(
        seq_length=(3, 5), input_dim=4, infinite_horizon=True, output_horizon=9, total_length=80
    )

    def batch(self, step=0, size=200):
        return self.task.batch([0], "train", step, self.task.shape(0, "train", step, 99), size)

    def test_every_segment_repeats_its_own_input(self):
        for step in range(5):
            batch = self.batch(step, size=3)
            trial, phase = batch.events["trial"][0, 0], batch.events["phase"][0, 0]
            for number in range(trial.max() + 1):
                inside = np.flatnonzero((trial == number) & (phase == 0))
                answers = np.flatnonzero((trial == number) & (phase == 1))
                s = len(inside) - 1
                assert (batch.inputs[0, :, inside[-1]] == -1).all()
                for k, t in enumerate(answers):
                    np.testing.assert_array_equal(batch.targets[0, :, t], batch.inputs[0, :, inside[k % s]])

    def test_marker_never_occurs_as_data(self):
        batch = self.batch()
        marker = (batch.inputs == -1).all(axis=-1)[0]
        np.testing.assert_array_equal(marker.sum(axis=0) > 0, marker.sum(axis=0) == len(marker))
        assert marker.any()

    def test_inputs_are_not_scored(self):
        batch = self.batch()
        assert not (batch.scored & (batch.inputs != 0).any(axis=-1)).any()


@pytest.mark.parametrize(
    ("task_id", "message"),
    [
        ((127, 0, 0), r"must have 8 one-bits in the first integer \(input_dim\); got 7 in 127"),
        ((255 << 60, 0, 0), "must have bits below seq_length x input_dim = 64"),
        ((255, 7 * 8, 0), "expected digit 1 of the second integer in base 8 below 7; got 7"),
        ((255, 0, 256), "must have at most 8 bits"),
        ((-1, 0, 0), "must be three integers ≥ 0"),
    ],
)
def test_wrong_codes_are_refused(task_id, message):
    with pytest.raises(UserError, match=f"task_id: {message}"):
        selection(task_id, 8, 8)


def test_largest_permitted_code_is_accepted():
    positions, signs = selection((255 << 56, 7, 255), 8, 8)
    assert positions.tolist() == [63, 57, 58, 59, 60, 61, 62, 56]
    assert (signs == -1).all()


@pytest.mark.parametrize("given", [0, (5, 3), (0, 4)])
def test_wrong_lengths_are_refused(given):
    with pytest.raises(UserError, match=r"^seq_length: must be"):
        VariableBinding(seq_length=given)
