"""Pairs of keys and values: what is shown once or often, what is asked for, and which value counts."""

import numpy as np
import pytest

from emt.errors import UserError
from emt.tasks.key_value_pairs import RepeatedKeys, Shape, UniqueKeys

SEEDS, SIZE, KEYS = (3, 1003), 6, 9


def batch_of(task, split="train", step=2):
    return task.batch(SEEDS, split, step, task.shape(SEEDS[0], split, step, 1), SIZE)


def pairs_of(row):
    pairs = row[row >= KEYS]
    return pairs % KEYS, pairs // KEYS - 1


@pytest.mark.parametrize("task", [UniqueKeys(num_keys=KEYS), RepeatedKeys(num_keys=KEYS)])
@pytest.mark.parametrize("split", ["train", "validation"])
def test_the_answer_is_the_last_value_of_the_key(task, split):
    batch = batch_of(task, split)
    assert batch.inputs.max() < task.input_channels
    for ids, answers, scored in zip(batch.inputs[1], batch.targets[1], batch.scored[1], strict=True):
        keys, values = pairs_of(ids)
        assert len(keys) == task.pairs
        assert not scored[: task.pairs].any()
        queries = ids[task.pairs :]
        for query, answer, asked in zip(queries, answers[task.pairs :], scored[task.pairs :], strict=True):
            assert asked == (query >= 0)
            assert answer == (values[np.flatnonzero(keys == query)[-1]] if asked else -1)
        if split == "validation":
            assert queries[queries >= 0].tolist() == sorted(set(keys))


def test_unique_keys_and_values_occur_once_and_repeated_ones_do_not():
    for ids in batch_of(UniqueKeys(num_keys=KEYS)).inputs[0]:
        assert all(sorted(symbols) == list(range(KEYS)) for symbols in pairs_of(ids))
    rows = [pairs_of(ids) for ids in batch_of(RepeatedKeys(num_keys=KEYS)).inputs[0]]
    assert all(len(keys) == 2 * KEYS for keys, _ in rows)
    assert any(len(set(keys)) < KEYS for keys, _ in rows)


def test_frequent_keys_are_asked_for_more_often():
    task = RepeatedKeys(num_keys=KEYS)
    batch = task.batch([5], "train", 0, Shape(2 * KEYS, 1), 4000)
    keys, query = batch.events["written"][0, :, :-1], batch.events["asked"][0, :, -1]
    count = (keys == query[:, None]).sum(axis=1)
    # A key at a uniform position has, besides that one, as many others as chance gives it.
    np.testing.assert_allclose(count.mean(), 1 + (2 * KEYS - 1) / KEYS, atol=0.08)


def test_events_name_keys():
    batch = batch_of(RepeatedKeys(num_keys=KEYS), "validation")
    pairs = batch.inputs >= KEYS
    np.testing.assert_array_equal(batch.events["written"], np.where(pairs, batch.inputs % KEYS, -1))
    np.testing.assert_array_equal(batch.events["asked"], np.where(pairs, -1, batch.inputs))


def test_fewer_pairs_may_be_shown_than_there_are_keys_but_not_more_unique_ones():
    task = UniqueKeys(num_keys=KEYS)
    batch = task.test_batch(1, 4, 1, SIZE)
    assert batch.scored.sum(axis=2).tolist() == [[4] * SIZE]
    with pytest.raises(UserError, match="must be at most 9, the unique keys"):
        task.test_batch(1, KEYS + 1, 1, SIZE)
    assert RepeatedKeys(num_keys=KEYS).test_batch(1, 40, 1, SIZE).inputs.shape == (1, SIZE, 40 + KEYS)
