"""Figures of learning curves."""

import numpy as np
import pytest

from analysis.accuracy.learning import Learner, summarise_learning
from analysis.figures.accuracy.learning import draw, plot_learning


@pytest.fixture
def summary():
    steps = np.arange(500, 6500, 500)
    rng = np.random.default_rng(0)
    learners = [
        Learner(
            panel=panel,
            label=label,
            members=tuple(f"model-{i}" for i in range(5)),
            steps=steps,
            errors=90 * np.exp(-rng.uniform(0.5, 1.5, (5, 1)) * rate * steps / 1000),
            test_errors=rng.uniform(0, 90, 5),
        )
        for panel in ("R = 20, K = 4", "R = 50, K = 4", "R = 100, K = 4")
        for label, rate in (("fast weights", 1.5), ("A-LSTM", 0.3), ("LSTM", 0.2), ("IRNN", 0.01))
    ]
    learners[0].errors[:, -3:] = 0
    return summarise_learning(learners)


def test_a_line_for_each_population_and_a_band_for_its_members(summary):
    ax = plot_learning(summary, "R = 50, K = 4")
    assert [line.get_label() for line in ax.lines] == ["fast weights", "A-LSTM", "LSTM", "IRNN"]
    assert len(ax.collections) == 4
    np.testing.assert_array_equal(ax.lines[1].get_ydata(), summary.curves[5].median)
    assert ax.get_title() == "R = 50, K = 4"


def test_zero_errors_are_on_the_axis(summary):
    ax = plot_learning(summary, "R = 20, K = 4")
    assert ax.lines[0].get_ydata()[-1] == 0
    assert ax.get_ylim()[0] < 0 < ax.get_ylim()[1]


def test_a_population_has_one_colour_in_all_panels(summary):
    colors = [
        [line.get_color() for line in plot_learning(summary, panel).lines]
        for panel in ("R = 20, K = 4", "R = 100, K = 4")
    ]
    assert colors[0] == colors[1]
    assert len(set(colors[0])) == 4


def test_one_figure_with_a_panel_for_each_size(summary):
    ((name, figure),) = draw(summary)
    assert name == "learning_curves"
    assert len(figure.axes) == 3
    assert figure.legends[0].get_texts()[0].get_text() == "fast weights"
    assert "n = 5" in figure.get_suptitle()


def test_the_axis_of_errors_may_be_linear(summary):
    assert plot_learning(summary, "R = 20, K = 4").get_yscale() == "symlog"
    ax = plot_learning(summary, "R = 20, K = 4", linear=True)
    assert (ax.get_yscale(), ax.get_ylim()) == ("linear", (0, 102))
    ((_, figure),) = draw(summary, linear=True)
    assert {ax.get_yscale() for ax in figure.axes} == {"linear"}
