"""Associative retrieval as a task: a stream or the rows of a file, batches, events."""

import numpy as np
import pytest

from emt.errors import UserError
from emt.options import check, options_of
from emt.tasks import TASKS
from emt.tasks.associative_retrieval import AssociativeRetrieval
from emt.tasks.retrieval_data import VOCABULARY, count_shared, labels, make_data_set, to_npz

PAIRS, STEPS, SIZE = 3, 9, 5
SEEDS = (11, 1011)


@pytest.fixture
def task():
    return AssociativeRetrieval(pairs=PAIRS)


@pytest.fixture
def data():
    return make_data_set(PAIRS, {"train": 23, "validation": 12, "test": 7}, seed=0)


@pytest.fixture
def filed(data, tmp_path):
    path = tmp_path / "ar.npz"
    path.write_bytes(to_npz(data))
    return AssociativeRetrieval(pairs=PAIRS, data_npz=str(path))


def batch_of(task, step=0, split="train", size=SIZE):
    return task.batch(SEEDS, split, step, task.shape(SEEDS[0], split, step, 1), size)


def rows_of(task, split, count, seed=SEEDS[0], size=200):
    return np.concatenate([task.rows(seed, split, step, size) for step in range(count)])


def test_the_example_of_the_paper(task):
    tokens = np.array([[VOCABULARY.index(c) for c in "c9k8j3??k"]], np.uint8)
    batch = task._encode(tokens[None])
    assert batch.inputs[0, 0].argmax(axis=1).tolist() == tokens[0].tolist()
    assert batch.targets[0, 0, -1].argmax() == 8
    events = {name: event[0, 0].tolist() for name, event in batch.events.items()}
    assert events == {
        "token": tokens[0].tolist(),
        "written": [-1, 0, -1, 1, -1, 2, -1, -1, -1],
        "asked": [-1, -1, -1, -1, -1, -1, -1, -1, 1],
        "phase": [0, 0, 0, 0, 0, 0, -1, -1, 1],
        "trial": [0] * 9,
    }


@pytest.mark.parametrize("source", ["task", "filed"])
def test_every_axis_is_where_it_belongs(source, request):
    task = request.getfixturevalue(source)
    batch = batch_of(task)
    assert batch.inputs.shape == (len(SEEDS), SIZE, STEPS, task.input_channels) == (2, 5, 9, 37)
    assert batch.targets.shape == (len(SEEDS), SIZE, STEPS, task.output_channels) == (2, 5, 9, 10)
    assert batch.scored.shape == (len(SEEDS), SIZE, STEPS)
    assert (batch.steps, batch.sequences) == (STEPS, SIZE)
    assert (batch.scored == (np.arange(STEPS) == STEPS - 1)).all(), "only the last step is scored"
    assert batch.inputs.dtype == batch.targets.dtype == np.float32
    assert (batch.inputs.sum(axis=-1) == 1).all()
    assert (batch.targets.sum(axis=-1) == batch.scored).all()
    assert task.lengths == (STEPS,)
    assert not task.curriculum
    assert task.operator(STEPS) is None
    assert task.tokens[36] == "?"


@pytest.mark.parametrize("source", ["task", "filed"])
def test_the_target_is_the_digit_of_the_letter_asked_for(source, request):
    batch = batch_of(request.getfixturevalue(source))
    for member, row in np.ndindex(batch.targets.shape[:2]):
        token, asked = batch.events["token"][member, row], batch.events["asked"][member, row, -1]
        letters, digits = token[0:-3:2], token[1:-3:2]
        assert len(set(letters)) == PAIRS
        assert letters[asked] == token[-1]
        assert digits[asked] - 26 == batch.targets[member, row, -1].argmax()


def test_a_batch_is_a_function_of_seed_split_and_step_alone(task):
    first = task.rows(11, "train", 4, SIZE)
    np.random.seed(0)  # noqa: NPY002 (the global state must not matter)
    task.rows(3, "test", 9, SIZE)
    np.testing.assert_array_equal(AssociativeRetrieval(pairs=PAIRS).rows(11, "train", 4, SIZE), first)
    np.testing.assert_array_equal(batch_of(task, step=4).events["token"][0], first)


def test_streams_of_seeds_splits_and_steps_are_independent():
    # The published seeds are offsets: neighbours shared nearly all rows, and validation came back in training.
    task = AssociativeRetrieval(pairs=5)
    base = rows_of(task, "train", 20)
    for other in (
        rows_of(task, "train", 20, seed=12),
        rows_of(task, "validation", 20),
        rows_of(task, "test", 20),
        rows_of(task, "train", 40)[len(base) :],
    ):
        assert count_shared(other, base) == 0
    assert count_shared(base, base) == len(base)


def test_letters_digits_and_questions_are_uniform(task):
    tokens = rows_of(task, "train", 50)
    count = len(tokens)
    for column, first, kinds in ((0, 0, 26), (4, 0, 26), (1, 26, 10), (5, 26, 10), (8, 0, 26)):
        found = np.bincount(tokens[:, column] - first, minlength=kinds)
        assert np.abs(found - count / kinds).max() < 5 * np.sqrt(count / kinds)
    assert (np.sort(tokens[:, 0:6:2], axis=1)[:, 1:] != np.sort(tokens[:, 0:6:2], axis=1)[:, :-1]).all()
    assert np.abs(np.bincount(labels(tokens)) - count / 10).max() < 5 * np.sqrt(count / 10)


def test_all_26_letters_may_be_used():
    tokens = AssociativeRetrieval(pairs=26).rows(0, "train", 0, SIZE)
    assert (np.sort(tokens[:, 0:52:2], axis=1) == np.arange(26)).all()


def test_a_round_of_a_file_holds_each_training_row_once(filed, data):
    rounds = [np.concatenate([filed.rows(11, "train", 4 * r + s, SIZE) for s in range(4)]) for r in range(2)]
    for tokens in rounds:
        assert len(np.unique(tokens, axis=0)) == 20
        assert count_shared(tokens, data.rows["train"]) == 20
    assert (rounds[0] != rounds[1]).any(), "each round has an order of its own"
    assert (rounds[0][:SIZE] != filed.rows(1011, "train", 0, SIZE)).any(), "and each seed"


def test_validation_and_test_rows_of_a_file_are_read_in_turn_and_end(filed, data):
    parts = [filed.rows(11, "validation", step, SIZE) for step in range(4)]
    assert [len(p) for p in parts] == [5, 5, 2, 0]
    np.testing.assert_array_equal(np.concatenate(parts), data.rows["validation"])
    assert batch_of(filed, step=3, split="validation").sequences == 0
    np.testing.assert_array_equal(
        filed.test_batch(0, STEPS, 200, 6).events["token"][0], data.rows["test"][:6]
    )


def test_a_file_is_used_whatever_the_seed(filed):
    np.testing.assert_array_equal(filed.rows(1, "test", 0, SIZE), filed.rows(2, "test", 0, SIZE))


def test_test_rows_that_occur_in_training_are_counted(filed, data, tmp_path):
    assert AssociativeRetrieval(pairs=1).count_repeated(0, steps=30, size=128, batches=2) == (256, 256)
    assert AssociativeRetrieval(pairs=4).count_repeated(0, steps=30, size=128, batches=2) == (0, 256)
    assert filed.count_repeated(0, steps=30, size=SIZE, batches=9) == (0, 7)
    data.rows["train"][4] = data.rows["test"][1]
    path = tmp_path / "leaking.npz"
    path.write_bytes(to_npz(data))
    leaking = AssociativeRetrieval(pairs=PAIRS, data_npz=str(path))
    assert leaking.count_repeated(0, steps=30, size=SIZE, batches=9) == (1, 7)


def test_what_does_not_fit_is_refused_by_flag(filed, data, tmp_path):
    path = tmp_path / "ar.npz"
    with pytest.raises(UserError, match=r"pairs: must be 3, the K of .*ar\.npz; got 4"):
        AssociativeRetrieval(pairs=4, data_npz=str(path))
    with pytest.raises(UserError, match="batch_size: must be at most the 23 training rows"):
        filed.rows(0, "train", 0, 24)
    with pytest.raises(UserError, match="length: must be 9, the characters of 3 pairs; got 8"):
        filed.test_batch(0, 8, 1, 1)
    with pytest.raises(UserError, match="pairs: must be an integer"):
        check(options_of(TASKS["associative_retrieval"]), {"pairs": 27}, "task")
