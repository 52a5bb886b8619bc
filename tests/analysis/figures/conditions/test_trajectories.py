"""Figures of states by condition."""

import numpy as np
import pytest

from analysis import follow_conditions
from analysis.conditions.trajectories import MEAN
from analysis.figures.conditions.trajectories import MOST_NAMED, draw, legend_of, plot_axis, plot_space
from tests.planted.conditions import recording


def result_of(members, conditions=3, demix=False):
    rng = np.random.default_rng(0)
    label = np.arange(8 * conditions) % conditions
    path = rng.normal(size=(conditions, 7, 4))
    states = [
        path[label] @ np.linalg.qr(rng.normal(size=(4, 4)))[0] + 0.1 * rng.normal(size=(8 * conditions, 7, 4))
        for _ in range(members)
    ]
    tree = recording(states, sample=label, stage=np.tile(np.arange(7) // 3, (8 * conditions, 1)))
    return follow_conditions(tree, label=("sample",), demix=demix, permutations=19)


@pytest.mark.parametrize(("members", "conditions"), [(1, 2), (4, 3), (4, 15)])
def test_figures_have_no_faults_and_say_n(members, conditions, layout_faults):
    figures = dict(draw(result_of(members, conditions, demix=True)))
    mean = {"trajectories_mean"} if members > 1 else set()
    assert set(figures) == mean | {"trajectories_member", "trajectories_demixed"}
    for figure in figures.values():
        assert layout_faults(figure) == []
        assert f"n = {members} member{'s' if members > 1 else ''}" in figure.get_suptitle()


def test_lines_are_the_means_and_symbols_where_stages_start():
    result = result_of(4)
    for who in (MEAN, "model-2"):
        ax = plot_space(result, who)
        drawn = [line for line in ax.lines if len(line.get_data_3d()[0]) > 1]
        assert len(drawn) == 3
        for line, name in zip(drawn, result.conditions.values, strict=True):
            expected = result.lines.loc[who].loc[name, ["axis_1", "axis_2", "axis_3"]]
            np.testing.assert_allclose(np.transpose(line.get_data_3d()), expected)
        assert len(ax.lines) - len(drawn) == 3 * len(result.starts) == 9
        flat = plot_axis(result, who, 2)
        np.testing.assert_allclose(flat.lines[0].get_ydata(), result.lines.loc[who].loc["0", "axis_2"])


def test_a_legend_of_many_conditions_names_the_ends():
    assert len(legend_of([str(k) for k in range(MOST_NAMED)], ["stage 0"])) == MOST_NAMED + 1
    handles = legend_of([str(k) for k in range(MOST_NAMED + 1)])
    assert [handle.get_label() for handle in handles] == ["0", str(MOST_NAMED)]
