"""Next-character prediction as a task: streams, frequencies, scoring, events, texts, refusals."""

from collections import Counter

import numpy as np
import pytest

from emt.errors import UserError
from emt.options import check, options_of
from emt.tasks import TASKS
from emt.tasks.characters import SHARES, Characters

SEEDS, SIZE = (11, 1011), 3
DATASETS = ["key_recall", "resequence", "palindrome", "palindromes", "small_palindromes"]


def batch_of(task, step=0, split="train", size=SIZE, seeds=SEEDS):
    return task.batch(seeds, split, step, task.shape(seeds[0], split, step, 1), size)


def strings_of(task, batch, member=0):
    """Return each row's whole string, put together from inputs and targets."""
    rows = zip(batch.inputs[member], batch.targets[member], strict=True)
    return ["".join(task.tokens[i] for i in (x[0], *y) if i >= 0) for x, y in rows]


@pytest.fixture
def novel(tmp_path):
    path = tmp_path / "novel.txt"
    path.write_text("She said:\n" + "".join(f"one {i}, two {i * i}. ¡" for i in range(300)), encoding="utf-8")
    return path


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_stream_depends_on_nothing_but_what_it_is_for(dataset):
    task = Characters(dataset=dataset, n=3)
    first = batch_of(task, 7)
    np.random.seed(0)  # noqa: NPY002 (the global state must not matter)
    again = batch_of(Characters(dataset=dataset, n=3), 7, seeds=SEEDS[::-1])
    np.testing.assert_array_equal(first.inputs, again.inputs[::-1])
    many = {
        (split, step, seed): batch_of(task, step, split, 40, (seed,)).targets
        for split in SHARES
        for step, seed in ((0, 11), (1, 11), (0, 1011))
    }
    assert len({targets.tobytes() for targets in many.values()}) == len(many)


@pytest.mark.parametrize("dataset", DATASETS)
def test_every_axis_is_where_it_belongs(dataset):
    task = Characters(dataset=dataset, n=3)
    batch = batch_of(task)
    for array in (batch.inputs, batch.targets, batch.scored, batch.judged, *batch.events.values()):
        assert array.shape[:3] == (2, 3, task.steps)
    assert batch.events["written"].shape[3:] == (2,)
    assert all(event.dtype == np.int64 for event in batch.events.values())
    assert task.lengths == (task.steps,)
    assert task.input_channels == task.output_channels == len(task.tokens)
    assert task.operator(task.steps) is None


def test_strings_come_as_often_as_the_process_draws_them():
    task = Characters(dataset="small_palindromes", n=2)
    count = 6000
    seen = Counter(strings_of(task, batch_of(task, size=count)))
    expected = {
        "2.2␣␣": 1 / 4,
        "3.3␣␣": 1 / 4,
        "22.22": 1 / 8,
        "23.32": 1 / 8,
        "32.23": 1 / 8,
        "33.33": 1 / 8,
    }
    assert set(seen) == set(expected)
    for text, share in expected.items():
        assert abs(seen[text] / count - share) < 5 * np.sqrt(share / count)


def test_the_next_character_is_the_target_and_padding_is_outside_of_everything():
    task = Characters(dataset="key_recall")
    batch = batch_of(task, size=50)
    padded = batch.inputs < 0
    assert padded.any()
    np.testing.assert_array_equal(batch.targets < 0, padded)
    np.testing.assert_array_equal(batch.scored, ~padded)
    assert not (batch.judged & padded).any()
    both = batch.scored[..., 1:]
    np.testing.assert_array_equal(batch.inputs[..., 1:][both], batch.targets[..., :-1][both])
    for text, judged in zip(strings_of(task, batch), batch.judged[0], strict=True):
        wait, _, rest = text.partition("?")
        assert set(wait) == {"0"}
        assert rest[0] == rest[-1]
        assert np.flatnonzero(judged).tolist() == [len(text) - 2], "only the last character is recalled"


def test_events_lead_to_the_steps_after_which_the_wanted_character_came():
    task = Characters(dataset="palindromes", n=4)
    batch = batch_of(task, size=200)
    looked_at = 0
    for row in range(200):
        written, asked = (batch.events[name][1, row] for name in ("written", "asked"))
        inputs, targets = batch.inputs[1, row], batch.targets[1, row]
        half = strings_of(task, batch, 1)[row].index(".")
        for step in np.flatnonzero(asked >= 0):
            assert batch.judged[1, row, step]
            assert asked[step] == targets[step]
            holding = np.flatnonzero((written[:step] == asked[step]).any(axis=1))
            # The mirror image of the place after this step; the first character is written as an input.
            assert max(2 * half - (step + 1) - 1, 0) in holding
            assert all(targets[s] == asked[step] or (s == 0 and inputs[0] == asked[step]) for s in holding)
            looked_at += 1
        assert batch.events["group"][1, row, 0] == half
        assert (asked[~batch.judged[1, row]] == -1).all()
        assert (written[targets == task.tokens.index("."), 0] == -1).all(), "punctuation is no item"
    assert looked_at > 300


def test_all_characters_may_be_judged():
    recalled, everything = (Characters(dataset="palindrome", judge=judge) for judge in ("recalled", "all"))
    one, other = (batch_of(task, size=20) for task in (recalled, everything))
    np.testing.assert_array_equal(one.inputs, other.inputs)
    assert one.judged.mean() == 0.5
    assert other.judged.all()
    np.testing.assert_array_equal(one.events["asked"], other.events["asked"])


def test_held_out_strings_are_the_test_split():
    task = Characters(n=3)
    np.testing.assert_array_equal(
        task.test_batch(5, 6, 200, 4).inputs, batch_of(task, 0, "test", 4, (5,)).inputs
    )
    with pytest.raises(UserError, match="length: must be 6, the characters predicted in a row; got 7"):
        task.test_batch(5, 7, 200, 4)


def test_a_text_is_read_in_windows_of_its_splits(novel):
    task = Characters(dataset="text", file=str(novel), window=17)
    whole = "".join(c for c in novel.read_text("utf-8") if c != "¡").replace(" ", "␣").replace("\n", "⏎")
    assert {"␣", "⏎", "-", "z", "Z"} < set(task.tokens)
    assert len(task.tokens) == 73
    for split, (low, high) in SHARES.items():
        part = whole[round(low * len(whole)) : round(high * len(whole))]
        assert "".join(task.tokens[i] for i in task.texts[split]) == part
        batch = batch_of(task, 4, split, 90)
        assert batch.inputs.shape == (2, 90, 17)
        texts = strings_of(task, batch)
        assert all(text in part for text in texts)
        assert len(set(texts)) > 20
        assert batch.judged.all()
        assert (batch.events["asked"] == -1).all()


def test_levels_of_a_text_are_counted_and_its_best_is_unknown(novel):
    levels = Characters(dataset="text", file=str(novel), window=17).levels()
    assert levels["prefix"] is None
    assert 0 < levels["last_two"].loss < levels["last_one"].loss < np.log(73)
    assert Characters().levels()["prefix"].accuracy == pytest.approx(0.875)


def test_what_does_not_fit_is_refused_by_flag(tmp_path, novel):
    with pytest.raises(UserError, match="file: expected the text to read; got none"):
        Characters(dataset="text")
    with pytest.raises(UserError, match="file: no such file: nowhere"):
        Characters(dataset="text", file="nowhere.txt")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\xfd")
    with pytest.raises(UserError, match="file: must be text in UTF-8"):
        Characters(dataset="text", file=str(tmp_path / "bytes"))
    with pytest.raises(UserError, match=r"must have more than 999 characters \(window\) in each split; got "):
        Characters(dataset="text", file=str(novel), window=999)
    for words in ({"n": 5}, {"dataset": "palindromic"}, {"window": 0}):
        with pytest.raises(UserError, match=f"^{next(iter(words))}: must be"):
            check(options_of(TASKS["characters"]), words, "task")
