"""Recall of tokens: where what stands in a row, how often, and that each answer follows from the row alone."""

import numpy as np
import pytest

from emt.errors import UserError
from emt.streams import stream
from emt.tasks.recall import MQAR, Induction, SelectiveCopy

SEEDS, SIZE = (3, 1003), 40
MANY = 20_000

TASKS = {
    "zero": MQAR(vocabulary=40, steps=30, pairs=5),
    "other": MQAR(vocabulary=41, steps=30, pairs=5, filler="other"),
    "any": MQAR(vocabulary=41, steps=30, pairs=5, filler="any"),
    "induction": Induction(steps=17, symbols=6),
    "selective_copy": SelectiveCopy(copied=4, blanks=9, symbols=6),
}


def batch_of(task, split="train"):
    return task.batch(SEEDS, split, 2, task.lengths[0], SIZE)


def rows_of(task, size=MANY, length=None):
    return task.rows(stream("many rows", 7, "train", 0), length or task.lengths[0], size)


def pair_answer(ids, step):
    """Return the value after the first place of the key that stands at a step."""
    return ids[list(ids).index(ids[step]) + 1]


ANSWERS = {
    "induction": lambda ids, step: pair_answer(ids, step),
    "selective_copy": lambda ids, step: [i for i in ids if 0 < i < 7][step - 13] - 1,
}
"""What a row says at a step that asks, by hand, as the number of an output."""


@pytest.mark.parametrize("name", TASKS)
def test_every_answer_is_what_the_row_says_and_stands_at_its_query(name):
    task = TASKS[name]
    for split in ("train", "validation"):
        batch = batch_of(task, split)
        by_hand = ANSWERS.get(name, lambda ids, step: pair_answer(ids, step) - 20)
        asks = np.argwhere(batch.scored)
        assert [by_hand(batch.inputs[m, b], t) for m, b, t in asks] == batch.targets[batch.scored].tolist()
        assert (batch.targets[~batch.scored] == -1).all()
        # Each answer holds an item that was written before, once.
        written, asked = batch.events["written"], batch.events["asked"]
        assert ((asked >= 0) == batch.scored).all()
        for m, b, t in asks:
            places = np.flatnonzero(written[m, b] == asked[m, b, t])
            assert len(places) == 1
            assert places[0] < t


@pytest.mark.parametrize("filler", ["zero", "other"])
def test_no_filler_is_a_key_or_value_of_its_row(filler):
    task = MQAR(vocabulary=24, steps=22, pairs=4, filler=filler)
    rows = rows_of(task, 2000)
    shown = np.zeros_like(rows.ids, bool)
    shown[:, :8] = True
    is_filler = ~shown & (rows.asked < 0)
    own = (rows.ids[:, :, None] == rows.ids[:, None, :8]).any(axis=-1)
    assert not (own & is_filler).any()
    assert is_filler.sum(axis=1).tolist() == [22 - 3 * 4] * 2000
    fillers = rows.ids[is_filler]
    if filler == "zero":
        assert not fillers.any()
        return
    # All other tokens are as frequent as each other: each is free in as many rows as it is no key or value of.
    free = np.array([(rows.ids[:, :8] != token).all(axis=1).sum() for token in range(1, 24)])
    expected = free * 10 / (23 - 8)
    np.testing.assert_allclose(
        np.bincount(fillers, minlength=24)[1:], expected, atol=5 * np.sqrt(expected.max())
    )
    assert 0 not in fillers


@pytest.mark.parametrize(("vocabulary", "steps", "pairs"), [(256, 64, 4), (64, 34, 3)])
def test_published_fillers_hit_as_many_rows_as_they_must(vocabulary, steps, pairs):
    rows = rows_of(MQAR(vocabulary=vocabulary, steps=steps, pairs=pairs, filler="any"), 4000)
    is_filler = rows.asked < 0
    is_filler[:, : 2 * pairs] = False
    keys = rows.ids[:, : 2 * pairs : 2]
    hit = ((rows.ids[:, :, None] == keys[:, None]).any(axis=-1) & is_filler).any(axis=1).mean()
    share = 1 - (1 - pairs / vocabulary) ** (steps - 3 * pairs)
    assert abs(hit - share) < 5 * np.sqrt(share * (1 - share) / 4000)


def test_queries_come_as_soon_as_stated():
    task = MQAR()
    slots = (rows_of(task).asked[:, 8::2, None] == np.arange(4)).transpose(0, 2, 1)
    assert (slots.sum(axis=2) == 1).all()
    frequency = slots.mean(axis=0)
    p = task.slot_probabilities(64)
    assert p[0] == pytest.approx(0.25, abs=0.005)
    # Drawn one after the other: the second pair's slot is one of those that the first has left.
    second = p * ((p / (1 - p)).sum() - p / (1 - p))
    for found, stated in ((frequency[0], p), (frequency[1], second)):
        assert np.abs(found - stated).max() < 4 * np.sqrt(stated.max() / MANY)
    assert np.abs(frequency[1] - p).max() > 0.03
    even = rows_of(MQAR(power=1.0)).asked[:, 8::2]
    assert np.abs((even >= 0).mean(axis=0) - 4 / 28).max() < 5 * np.sqrt(4 / 28 / MANY)


def test_keys_are_of_the_first_half_and_values_of_the_second_and_none_is_there_twice():
    rows = rows_of(MQAR(vocabulary=24, steps=22, pairs=4), 2000)
    keys, values = rows.ids[:, :8:2], rows.ids[:, 1:8:2]
    assert set(np.unique(keys)) == set(range(1, 12))
    assert set(np.unique(values)) == set(range(12, 24))
    assert all(len(set(row)) == 8 for row in rows.ids[:, :8])


def test_the_trigger_takes_every_place_but_the_last_two_as_often():
    rows = rows_of(Induction(steps=9, symbols=6))
    trigger = rows.ids == 6
    assert trigger[:, -1].all()
    assert (trigger.sum(axis=1) == 2).all()
    frequency = trigger[:, :-1].mean(axis=0)
    assert frequency[-2:].tolist() == [0, 0]
    np.testing.assert_allclose(frequency[:-2], 1 / 7, atol=5 * np.sqrt(1 / 7 / MANY))
    np.testing.assert_allclose(np.bincount(rows.answers[:, -1]) / MANY, 1 / 6, atol=0.02)


def test_tokens_to_copy_stand_at_a_uniform_subset_of_places():
    rows = rows_of(SelectiveCopy(copied=2, blanks=3, symbols=6))
    pairs, counts = np.unique(rows.ids[:, :5] > 0, axis=0, return_counts=True)
    assert len(pairs) == 10
    np.testing.assert_allclose(counts / MANY, 0.1, atol=5 * np.sqrt(0.1 / MANY))
    assert (rows.ids[:, 5:] == 7).all()


def test_longer_rows_are_tested_and_impossible_ones_refused():
    assert Induction(steps=9).test_batch(5, 21, 1, 3).inputs.shape == (1, 3, 22)
    assert SelectiveCopy(copied=4).test_batch(5, 4, 1, 3).inputs.shape == (1, 3, 8)
    batch = MQAR(pairs=5).test_batch(5, 20, 1, 3)
    assert batch.scored[0, :, 10::2].all()
    for task, length, expected in (
        (MQAR(pairs=5), 21, r"even and from 20 \(4 pairs\) to 255"),
        (MQAR(pairs=5), 256, "to 255"),
        (Induction(), 2, "at least 3"),
        (SelectiveCopy(copied=4), 3, "at least 4, the tokens to copy; got 3"),
    ):
        with pytest.raises(UserError, match=expected):
            task.test_batch(1, length, 1, 2)
    with pytest.raises(UserError, match="even and from 24") as caught:
        MQAR(pairs=6, steps=20)
    assert caught.value.parameter == "steps"


def test_chance_is_one_answer_of_all_and_of_those_of_the_row():
    task = MQAR(vocabulary=256, pairs=8)
    assert (task.chance, task.unbound) == (1 / 128, 1 / 8)
    assert (Induction().chance, SelectiveCopy().chance) == (1 / 14, 1 / 14)
