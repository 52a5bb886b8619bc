"""Figures of two models on the same text."""

import numpy as np
import pytest

from analysis.accuracy.token_losses import Losses, compare_losses
from analysis.figures.accuracy.token_losses import LINE, draw, plot_advantage, plot_excerpt
from analysis.figures.style import BLUE, VERMILION

TOKENS = 2 * LINE + 7


@pytest.fixture
def result():
    rng = np.random.default_rng(0)
    words, story = tuple(f"word{i}" for i in range(TOKENS)), np.arange(TOKENS) // 9
    return compare_losses(
        *(Losses(label, words, story, rng.gamma(1, 1, TOKENS)) for label in ("FWM", "LSTM"))
    )


def test_a_bar_between_the_losses_of_each_token_coloured_by_the_better_model(result):
    ax = plot_excerpt(result, LINE)
    shown = result.tokens[LINE : 2 * LINE]
    expected = shown["difference"]
    np.testing.assert_allclose([bar.get_height() for bar in ax.patches], expected)
    np.testing.assert_allclose([bar.get_y() for bar in ax.patches], shown["loss_a"])
    drawn = {line.get_color(): line.get_ydata() for line in ax.lines}
    np.testing.assert_array_equal(drawn[BLUE], shown["loss_a"])
    np.testing.assert_array_equal(drawn[VERMILION], shown["loss_b"])
    colors = [BLUE if value >= 0 else VERMILION for value in expected]
    assert [bar.get_facecolor()[:3] for bar in ax.patches] == [to_rgb(color) for color in colors]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == [f"word{i}" for i in range(LINE, 2 * LINE)]


def to_rgb(color):
    return tuple(int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))


def test_the_advantage_ends_at_the_difference_of_all_losses(result):
    advantage = plot_advantage(result).lines[0].get_ydata()
    assert advantage[-1] == pytest.approx(
        TOKENS * (result.models["loss"]["LSTM"] - result.models["loss"]["FWM"])
    )
    assert advantage[0] == result.tokens["difference"][0]


def test_a_figure_has_a_line_of_text_for_each_axes_and_the_advantage_below(result):
    ((name, figure),) = draw(result)
    assert name == "token_losses"
    assert [len(ax.patches) for ax in figure.axes] == [LINE, LINE, 7, 0]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["FWM", "LSTM"]
    assert "Loss of LSTM minus loss of FWM" in figure.get_suptitle()
    ((_, later),) = draw(result, first=2 * LINE)
    assert [len(ax.patches) for ax in later.axes] == [7, 0]
