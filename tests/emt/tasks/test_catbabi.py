"""catbAbI as a task: the stream against a slow twin, carried rows, scoring, events, refusals."""

import itertools

import numpy as np
import pytest

from emt.errors import UserError
from emt.options import check, options_of
from emt.streams import stream
from emt.tasks import TASKS
from emt.tasks.babi_data import END
from emt.tasks.catbabi import CatBabi

SEGMENT, SIZE = 17, 3
SEEDS = (11, 1011)


def make(folder, **options):
    return CatBabi(data=str(folder), **{"folder": "en-valid", "segment": SEGMENT, **options})


@pytest.fixture
def task(mini_babi):
    return make(mini_babi)


def batch_of(task, step=0, split="train", size=SIZE, seeds=SEEDS):
    return task.batch(seeds, split, step, task.shape(seeds[0], split, step, 1), size)


def spell(task, ids):
    return [task.tokens[i] for i in ids if i >= 0]


def rows_by_hand(task, seed, split, columns, size):
    """Return each row's words: story after story to the row that is shortest, round after round."""
    stories = task.splits[split]
    rows = [[] for _ in range(size)]
    for number in itertools.count() if split == "train" else range(1):
        if min(map(len, rows)) >= columns:
            break
        for story in stream("stories", seed, split, number).permutation(len(stories.group)):
            min(rows, key=len).extend(stories.words[stories.first[story] : stories.first[story + 1]].tolist())
    return rows


def whole_split(task, split, size):
    """Return all batches of a split that ends."""
    batches = (batch_of(task, step, split, size, SEEDS[:1]) for step in itertools.count())
    return list(itertools.takewhile(lambda batch: batch.sequences, batches))


@pytest.mark.parametrize("size", [1, SIZE, 90])
def test_the_training_stream_is_its_slow_twin_over_many_rounds(task, size):
    steps = 1 + 3 * len(task.splits["train"].words) // (size * SEGMENT)
    batches = [batch_of(task, step, size=size) for step in range(steps)]
    inputs, targets = (
        np.concatenate([getattr(b, n) for b in batches], axis=2) for n in ("inputs", "targets")
    )
    for member, seed in enumerate(SEEDS):
        rows = rows_by_hand(task, seed, "train", steps * SEGMENT + 1, size)
        assert inputs[member].tolist() == [row[: steps * SEGMENT] for row in rows]
        assert targets[member].tolist() == [row[1 : steps * SEGMENT + 1] for row in rows]
    assert len(task.rows(SEEDS[0], "train", size)._rounds) <= 2, "rounds that are over are forgotten"


def test_any_batch_is_reached_from_anywhere(task, mini_babi):
    later = batch_of(task, 400)
    np.random.seed(0)  # noqa: NPY002 (the global state must not matter)
    other = make(mini_babi)
    for step in (3, 401, 0, 400):
        again = batch_of(other, step, seeds=SEEDS[::-1])
    np.testing.assert_array_equal(again.inputs[::-1], later.inputs)
    for name, event in later.events.items():
        np.testing.assert_array_equal(again.events[name][::-1], event)


def test_orders_differ_between_seeds_and_rounds(task):
    one, other = batch_of(task).events["trial"]
    assert (one != other).any()
    length = len(task.splits["train"].words)
    first, second = (task.rows(11, "train", 1).words(n * length, (n + 1) * length)[0] for n in range(2))
    assert sorted(first) == sorted(second) == list(range(length)), "each story once in each round"
    assert (first != second).any()


def test_rows_are_equally_long_up_to_one_story(task):
    rows = task.rows(SEEDS[0], "train", SIZE)
    rows.words(0, 5000)
    longest_story = np.diff(task.splits["train"].first).max()
    assert all(max(ends) - min(ends) <= longest_story for ends in rows._ends)
    assert len(rows._ends) > 3


@pytest.mark.parametrize("split", ["validation", "test"])
@pytest.mark.parametrize("size", [1, 4, 30])
def test_every_story_of_a_held_out_split_is_read_once(task, split, size):
    stories, batches = task.splits[split], whole_split(task, split, size)
    inputs, targets = (
        np.concatenate([getattr(b, n)[0] for b in batches], axis=1) for n in ("inputs", "targets")
    )
    assert np.sort(inputs[inputs >= 0]).tolist() == np.sort(stories.words).tolist()
    end = task.tokens.index(END)
    for x, y, row in zip(inputs, targets, rows_by_hand(task, 0, split, 1, size), strict=True):
        assert x[: len(row)].tolist() == row
        assert y[: len(row)].tolist() == ([*row[1:], end] if row else [])
        assert (x[len(row) :] == -1).all()
        assert (y[len(row) :] == -1).all(), "nothing is to be named after a row's end"
    scored = np.concatenate([b.scored for b in batches], axis=2)
    assert scored.sum() == len(stories.support)
    groups = np.concatenate([b.events["group"][0] for b in batches], axis=1)
    assert len(np.unique(groups[0][groups[0] >= 0])) > 1 or size == 30, "tasks are mixed"


def test_held_out_rows_are_the_same_for_all_members_and_start_once(task):
    for split in ("validation", "test"):
        one, other = batch_of(task, 1, split).inputs
        np.testing.assert_array_equal(one, other)
        assert [batch_of(task, step, split).fresh for step in range(3)] == [True, False, False]
    assert not any(batch_of(task, step).fresh for step in range(3)), (
        "training carries its state from the first step"
    )


def test_every_axis_is_where_it_belongs(task):
    batch = batch_of(task)
    for array in (batch.inputs, batch.targets, batch.scored, batch.judged, *batch.events.values()):
        assert array.shape[:3] == (len(SEEDS), SIZE, SEGMENT) == (2, 3, 17)
    assert batch.events["asked"].shape[3:] == (2,)
    assert set(batch.events) == {"token", "phase", "trial", "group", "written", "asked"}
    assert all(event.dtype == np.int64 for event in batch.events.values())
    assert task.input_channels == task.output_channels == len(task.tokens)
    assert task.lengths == (SEGMENT,)
    assert task.operator(SEGMENT) is None


def test_answers_are_scored_in_qa_mode_and_all_words_in_lm_mode(mini_babi):
    qa, lm = (make(mini_babi, mode=mode) for mode in ("qa", "lm"))
    last = len(whole_split(qa, "test", SIZE)) - 1
    for step, split in ((5, "train"), (last, "test")):
        asked, everything = batch_of(qa, step, split), batch_of(lm, step, split)
        marks = asked.inputs == qa.tokens.index("?")
        for batch in (asked, everything):
            np.testing.assert_array_equal(batch.judged, marks)
        np.testing.assert_array_equal(asked.scored, marks)
        np.testing.assert_array_equal(everything.scored, everything.inputs >= 0)
        np.testing.assert_array_equal(asked.targets, everything.targets)
    assert (everything.inputs < 0).any()


def test_the_events_of_a_question_lead_to_the_sentences_that_answer_it(mini_babi):
    task = make(mini_babi, tasks=(15,), segment=260)
    batch = batch_of(task, split="test", size=1)
    token, trial, written, asked = (
        batch.events[name][0, 0] for name in ("token", "trial", "written", "asked")
    )
    marks = np.flatnonzero(token == task.tokens.index("?"))
    assert len(marks) == 14
    for mark in marks:
        who = task.tokens[token[mark - 2]]
        is_a, fears = ([*np.flatnonzero((trial == trial[mark]) & (written == line))] for line in asked[mark])
        [_, _, _, kind, _] = spell(task, token[is_a])
        [every, same, _, _, feared, _] = spell(task, token[fears])
        assert spell(task, token[is_a])[0] == who
        assert (every, same) == ("every", kind)
        assert task.tokens[batch.targets[0, 0, mark]] == feared
    assert (asked[np.setdiff1d(np.arange(260), marks)] == -1).all()
    question = [spell(task, token[m - 4 : m + 2]) for m in marks]
    assert all(q[:2] == ["what", "does"] for q in question)
    assert all((written[m - 4 : m + 2] == -1).all() for m in marks), "a question writes no fact"
    np.testing.assert_array_equal(
        batch.events["phase"][0, 0], np.where(token < 0, -1, token == task.tokens.index("?"))
    )
    assert (written[token == task.tokens.index(END)] == -1).all()


def test_the_kind_of_a_story_is_its_task(task):
    batch = batch_of(task, split="test", size=1)
    names = {1: "walked", 15: "fears", 19: "get"}
    stories = task.splits["test"]
    for story in np.unique(batch.events["trial"]):
        kind = batch.events["group"][batch.events["trial"] == story]
        assert len(set(kind.tolist())) == 1
        assert names[kind[0]] in spell(task, stories.words[stories.first[story] : stories.first[story + 1]])


def test_a_recording_may_be_longer_than_a_segment(task):
    long = task.test_batch(5, 40, 200, SIZE)
    assert long.inputs.shape == (1, SIZE, 40)
    assert long.fresh
    np.testing.assert_array_equal(long.inputs[:, :, :SEGMENT], batch_of(task, 0, "test").inputs[:1])
    np.testing.assert_array_equal(
        long.inputs[:, :, SEGMENT : 2 * SEGMENT], batch_of(task, 1, "test").inputs[:1]
    )


def test_some_tasks_have_their_own_smaller_vocabulary(task, mini_babi):
    some = make(mini_babi, tasks=(19, 1))
    assert set(some.splits["train"].group) == {1, 19}
    assert set(some.tokens) < set(task.tokens)
    assert some.missing == ()
    assert len(task.missing) == 51


def test_what_does_not_fit_is_refused_by_flag(mini_babi):
    with pytest.raises(
        UserError, match=r"data: expected the folder of the bAbI tasks; got none: unpack .*CC BY 3\.0"
    ):
        CatBabi(data="")
    for wrong in ((0, 1), (21,), ()):
        with pytest.raises(UserError, match="tasks: must be some of the numbers 1 to 20; got"):
            make(mini_babi, tasks=wrong)
    with pytest.raises(UserError, match="segment: must be an integer ≥ 1"):
        check(options_of(TASKS["catbabi"]), {"data": str(mini_babi), "segment": 0}, "task")
