"""What a member made of single questions."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.memory.log import select
from analysis.memory.queries import read_queries
from analysis.memory.question_grids import choose_questions, describe_queries, question_grid


@pytest.fixture
def reading(make_stories):
    one = select(make_stories(), member=[1])
    return read_queries(one, "fwm")


def test_words_and_answers_of_asks_are_told(reading):
    table = describe_queries(reading)
    assert table.index.tolist() == list(range(1, 13))
    assert (table["facts"].str.count(r"\.") == reading.asks.wanted.sum(axis=1)).all()
    assert (table["question"].str.split().str.len() == 3).all()
    assert table["question"].str.endswith("?").all()
    assert table["correct"].tolist() == [False] * 4 + [True] * 8
    assert (table["answer"] == table["right_answer"]).tolist() == table["correct"].tolist()
    np.testing.assert_allclose(table["probability"], np.exp(5) / (np.exp(5) + 31))


@pytest.mark.parametrize("read_next", [True, False])
def test_a_question_does_not_begin_with_the_answer_to_the_one_before(read_next, make_stories):
    one = select(make_stories(), member=[1])
    asked, token = one["asked"].values, one["token"].values
    # The last sentence of the first story becomes a question after the fourth: two words, the ask and its answer.
    one["written"].values[0, 16:20] = -1
    asked[0, 18] = asked[0, 22]
    if not read_next:
        one["targets"].values[0, 18] = one["targets"].values[0, 18, ::-1]
    table = describe_queries(read_queries(one, "fwm"))
    words = [f"word{i}" if i < 30 else ".?"[i - 30] for i in token[0]]
    assert table["question"].iloc[0] == " ".join(words[16:19])
    assert table["question"].iloc[1] == " ".join(words[20 if read_next else 19 : 23])
    assert (table["right_answer"].iloc[0] == words[19]) == read_next


def test_without_a_choice_among_classes_there_is_no_answer(reading):
    reading.recording.attrs["about"] = reading.recording.attrs["about"].replace("argmax", "sign")
    assert describe_queries(reading).columns.tolist() == ["facts", "question"]
    assert question_grid(reading, 1).answer is None


def test_a_question_shows_the_words_of_its_story(reading):
    grid = question_grid(reading, 6)
    assert (grid.ask, grid.trial, grid.group) == (6, 35, 2)
    assert len(grid.words) == 23
    assert grid.words[-1] == "?"
    assert grid.share.shape == (3, 23)
    assert grid.items.sum(axis=-1).tolist() == [4, 4]
    for read in (0, 1):
        assert grid.items[read, grid.largest[read]]
        assert grid.share[read, grid.largest[read]] == pytest.approx(1, abs=1e-5)
    assert grid.answer.given == grid.answer.right == describe_queries(reading).loc[6, "right_answer"]


def test_a_largest_weight_before_the_story_has_no_word(reading):
    weight = reading.weight.copy()
    weight[5, 1, 3] = 40.0
    grid = question_grid(replace(reading, weight=weight), 6)
    assert grid.largest[0] >= 0
    assert grid.largest[1] == -1
    assert np.abs(grid.share[1]).sum() < 0.1


@pytest.mark.parametrize(("convention", "word"), [("magnitude", 11), ("sign", 9)])
def test_the_dot_is_on_the_largest_weight_by_the_rules_convention(reading, convention, word):
    weight = reading.weight.copy()
    start = int(np.flatnonzero(~np.isnan(reading.weight[5, 0]))[-1]) - 22
    weight[5, 0, start + 9], weight[5, 0, start + 11] = 40.0, -50.0
    grid = question_grid(replace(reading, weight=weight, convention=convention), 6)
    assert grid.largest[0] == word
    assert grid.share[0, word] == (
        pytest.approx(-5 / 9, abs=0.02) if word == 11 else pytest.approx(4 / 9, abs=0.02)
    )


def test_right_answers_with_all_items_found_come_first_then_items_then_share():
    rows = [
        # sequence, trial, items, score, share, correct
        (1, 4, 1, 1.0, 0.9, True),
        (1, 5, 2, 1.0, 0.3, True),
        (1, 5, 2, 1.0, 0.4, True),  # the better one of that trial
        (2, 5, 2, 1.0, 0.2, True),
        (2, 6, 3, 0.5, 0.9, True),  # not all found
        (2, 7, 3, 1.0, 0.9, False),  # wrong
        (2, 8, 3, np.nan, 0.9, True),  # not scored
    ]
    table = pd.DataFrame(
        rows, columns=["sequence", "trial", "items", "score", "share", "correct"], index=range(1, 8)
    )
    assert choose_questions(table, 9) == [3, 4, 1, 5, 6]
    assert choose_questions(table, 2) == [3, 4]
    assert choose_questions(table.drop(columns="correct"), 2) == [6, 3]
