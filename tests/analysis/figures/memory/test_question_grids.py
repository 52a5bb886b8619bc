"""Figures of questions."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from analysis.figures.memory.question_grids import MOST_WORDS, draw_question, plot_words
from analysis.memory.matching import match_memories


@pytest.fixture
def grid(make_stories):
    return match_memories(make_stories(), asks=(6,)).questions[0]


def frames(ax):
    return [patch for patch in ax.patches if isinstance(patch, Rectangle)]


def test_every_word_stands_below_and_every_read_beside(grid):
    ax = plot_words(grid)
    assert [t.get_text() for t in ax.get_xticklabels()] == list(grid.words)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["read 1", "read 2", "read 3"]


def test_each_item_has_a_numbered_frame_around_its_words(grid):
    ax = plot_words(grid)
    boxes = {text.get_text(): frame for text, frame in zip(ax.texts, frames(ax), strict=True)}
    assert set(boxes) == {"1", "2"}
    for item, box in boxes.items():
        words = np.flatnonzero(grid.items[int(item) - 1])
        assert (box.get_x(), box.get_width(), box.get_height()) == (words[0] - 0.5, 4, 3)


def test_dots_mark_the_largest_weights_that_lie_on_words(grid):
    grid = replace(grid, largest=np.array([3, -1, 7]))
    dots = plot_words(grid).collections[0].get_offsets()
    np.testing.assert_array_equal(dots, [[3, 0], [7, 2]])


def test_the_title_tells_the_question_and_its_answer(grid):
    answer = grid.answer
    title = draw_question(grid, "planted").get_suptitle()
    assert f"ask 6, trial {grid.trial}, group 2" in title
    assert f"“{answer.given}”, probability {answer.probability:.2f} (right)" in title
    wrong = replace(grid, answer=replace(answer, right="word99"))
    assert "(wrong; correct: “word99”)" in draw_question(wrong, "planted").get_suptitle()
    assert "answer" not in draw_question(replace(grid, answer=None), "planted").get_suptitle()
    assert (
        "trial"
        not in draw_question(replace(grid, trial=-1, share=grid.share), "x").get_suptitle().split(";")[0]
    )


def test_weight_on_earlier_trials_is_a_share(grid):
    share = np.zeros_like(grid.share)
    share[:, 3] = 1 + 1e-7, -0.75, 1 - 1e-7
    title = draw_question(replace(grid, share=share), "planted").get_suptitle()
    assert "weight on earlier trials: 0, 25, 0 %" in title


def test_long_stories_go_on_in_further_lines_that_share_words_evenly(grid):
    n = 2 * MOST_WORDS + 5
    places = np.arange(n) % len(grid.words)
    items = np.zeros((2, n), dtype=bool)
    items[0, 36:44] = True  # across a line's end
    long = replace(grid, words=tuple(grid.words[i] for i in places), share=grid.share[:, places], items=items)
    first, second, third, _ = draw_question(long, "planted").axes
    assert [len(ax.get_xticklabels()) for ax in (first, second, third)] == [39, 39, 39]
    assert [len(frames(ax)) for ax in (first, second, third)] == [1, 1, 0]
    assert first.get_xlim() == third.get_xlim()
    assert len(draw_question(grid, "planted").axes) == 2


def test_zero_is_white_and_the_bar_of_weights_of_one_sign_begins_there(grid):
    positive = replace(grid, share=np.abs(grid.share))
    for one, low in ((grid, np.nanmin(grid.share)), (positive, 0)):
        assert plot_words(one).images[0].norm(0) == 0.5
        bar = draw_question(one, "planted").axes[-1]
        assert bar.get_ylim() == (low, np.nanmax(one.share))
