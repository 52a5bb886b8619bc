"""Figures of distances between conditions."""

import numpy as np
import pytest

from analysis import compare_conditions
from analysis.figures.conditions.geometry import MOST_STEPS, draw, plot_map, plot_matrix, plot_models
from tests.planted.conditions import recording


def result_of(members=3, conditions=4, steps=6, **options):
    rng = np.random.default_rng(0)
    label = np.arange(10 * conditions) % conditions
    states = [
        np.eye(conditions + 2)[label][:, None] + 0.4 * rng.normal(size=(len(label), steps, conditions + 2))
        for _ in range(members)
    ]
    tree = recording(states, sample=label, half=label // 2, stage=np.tile(np.arange(steps), (len(label), 1)))
    return compare_conditions(
        tree, label=("sample",), permutations=19, **{"model": ("half", "sample:difference"), **options}
    )


@pytest.mark.parametrize(
    ("members", "conditions", "options"),
    [(1, 3, {}), (3, 4, {"distance": "correlation"}), (3, 13, {"times": (2,), "coefficient": "rho-a"})],
)
def test_figures_have_no_faults_and_say_n(members, conditions, options, layout_faults):
    figures = dict(draw(result_of(members, conditions, **options)))
    assert set(figures) == {"geometry", "geometry_models"}
    for figure in figures.values():
        assert layout_faults(figure) == []
        assert f"n = {members} member{'s' if members > 1 else ''}" in figure.get_suptitle()


def test_matrices_are_means_over_members_and_maps_keep_distances():
    result = result_of()
    assert len(result.steps) == 6 > MOST_STEPS
    image = plot_matrix(result, 3).images[0].get_array()
    np.testing.assert_allclose(
        image.filled(0), result.matrices[:, 3].mean(axis=0) * (1 - np.eye(4)), atol=1e-12
    )
    points = np.array([line.get_xydata()[0] for line in plot_map(result, 3).lines])
    # Equally far corners of a simplex in the plane: no two of them in one place.
    assert len(points) == 4
    assert min(np.linalg.norm(points[i] - points[j]) for i in range(4) for j in range(i)) > 0.05


def test_models_stand_beside_members_chance_and_ceiling():
    result = result_of()
    ax = plot_models(result, 3)
    rows = result.models.loc[3]
    squares = [line.get_xdata()[0] for line in ax.lines if line.get_marker() == "s"]
    np.testing.assert_allclose(squares, rows["coefficient"])
    chance = [line.get_xdata()[0] for line in ax.lines if line.get_marker() == "|"]
    np.testing.assert_allclose(chance, rows["null_95"])
    assert len(ax.patches) == 1
