"""Figures of accuracies by kind of trial."""

import itertools

import numpy as np
import pytest

from analysis.accuracy.groups import Answered, summarise_groups
from analysis.figures.accuracy.groups import draw, plot_groups

GROUPS = (1, 2, 15, 20)


def population(label, members):
    right = np.random.default_rng(members).uniform(0, 1, (members, len(GROUPS)))
    return Answered(label, tuple(f"model-{i + 1}" for i in range(members)), GROUPS, right)


@pytest.fixture
def summary():
    return summarise_groups([population("FWM", 3), population("LSTM", 2)])


def test_a_bar_for_each_population_and_group_and_a_dot_for_each_member(summary):
    ax = plot_groups(summary)
    bars = {container.get_label(): [bar.get_height() for bar in container] for container in ax.containers}
    for label, heights in bars.items():
        np.testing.assert_allclose(heights, summary.accuracies.loc[label]["mean"])
    assert [len(dots.get_offsets()) for dots in ax.collections] == [3 * len(GROUPS), 2 * len(GROUPS)]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["1", "2", "15", "20"]


def test_bars_of_a_group_stand_together_and_do_not_overlap(summary):
    edges = sorted((bar.get_x(), bar.get_x() + bar.get_width()) for bar in plot_groups(summary).patches)
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(edges))
    assert all(round((start + end) / 2) == i // 2 for i, (start, end) in enumerate(edges))


def test_the_figure_says_how_many_members_there_are(summary):
    ((name, figure),) = draw(summary)
    assert name == "accuracy_by_task"
    assert "n = 2 to 3 members" in figure.get_suptitle()
    ((_, alone),) = draw(summarise_groups([population("FWM", 1)]), kind="kind")
    assert alone.get_suptitle() == "FWM: n = 1 member"
    assert not alone.legends
    assert alone.axes[0].get_xlabel() == "kind"
    assert not alone.axes[0].collections
