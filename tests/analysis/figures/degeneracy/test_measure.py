"""Figures of differences between seeds."""

import numpy as np
import pytest

from analysis.degeneracy.measure import measure_degeneracy
from analysis.degeneracy.networks import Networks
from analysis.figures import style
from analysis.figures.degeneracy.measure import draw, plot_settings
from emt.commands.known_systems.recordings import plant_answers, plant_states


@pytest.fixture(scope="module")
def result():
    rng = np.random.default_rng(0)
    networks = {}
    for width in (16, 32):
        outputs = np.where(rng.random((5, 20, 6, 1)) < 0.8, 1.0, -1.0)
        answered = plant_answers(outputs, np.ones((20, 6, 1)))
        states = plant_states(rng.normal(size=(5, 20, 6, 3)))
        networks[f"a label that is long for an axis, {width}"] = Networks(
            states, answered, {"hidden_dim": width}
        )
    return measure_degeneracy(networks)


def test_figures_say_how_many_networks_and_have_no_faults_of_layout(result, layout_faults):
    figures = dict(draw(result))
    assert list(figures) == ["degeneracy", "degeneracy_levels"]
    for figure in figures.values():
        assert "2 settings, n = 5 networks each" in style.caption(figure)
        assert layout_faults(figure) == []


def test_points_intervals_and_floors_are_those_of_the_table(result):
    ax = plot_settings(result, "dmdc")
    rows = result.settings.xs("dmdc", level="measure")
    points, floors = ax.containers[0].lines[0].get_ydata(), ax.lines[-1].get_ydata()
    assert np.allclose(points, rows["estimate"])
    assert np.allclose(floors, rows["floor"])
    [segments] = ax.containers[0].lines[2]
    assert np.allclose([path[:, 1] for path in segments.get_segments()], rows[["low", "high"]])
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["16", "32"]
    assert ax.get_xlabel() == "hidden_dim"
