"""Figures and the film of variable memories."""

import numpy as np
import pytest
from PIL import Image

from analysis.figures.style import save_film
from analysis.figures.variables.find import (
    MOVE,
    REST,
    animate,
    draw,
    film_variables,
    plot_transition,
    plot_variables,
)
from analysis.figures.variables.from_trajectories import ESTIMATORS, plot_angles, plot_condition, plot_share
from analysis.memory.log import select
from analysis.variables.find import find_variables


@pytest.fixture
def found(make_circuits):
    return find_variables(make_circuits({"task_id": (1 + 2**4 + 2**8, 0, 4)}, members=3)[0])


@pytest.fixture
def none(make_circuits):
    return find_variables(make_circuits(condition=1e8)[0])


def test_all_is_drawn_with_a_basis_and_only_the_reasons_without(found, none):
    assert [name for name, _ in draw(found)] == [
        "variables_certificate",
        "variables_transition",
        "variables_trial",
    ]
    assert [name for name, _ in animate(found)] == ["variables_film"]
    assert [name for name, _ in draw(none)] == ["variables_certificate"]
    assert list(animate(none)) == []


def test_the_certificate_says_n_and_has_a_panel_of_angles_only_with_a_basis(found, none):
    (_, figure), *_ = draw(found)
    assert "n = 3 members × 17 trials, 3 with variable memories" in figure.get_suptitle()
    assert len(figure.axes) == 4
    (_, figure), *_ = draw(none)
    assert "n = 2 members × 17 trials, 0 with" in figure.get_suptitle()
    assert len(figure.axes) == 3


def keys(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_the_legend_says_what_hollow_markers_and_triangles_are_if_there_are_any(found, none):
    (_, figure), *_ = draw(found)
    assert keys(figure) == ["from trajectories", "from powers", "accepted"]
    (_, figure), *_ = draw(none)
    assert keys(figure)[2:] == ["rejected", "triangle: off the scale"]


def test_refused_estimates_are_hollow(found, none):
    for result, face in ((found, ESTIMATORS["trajectories"][0]), (none, "none")):
        lines = [
            line for line in plot_condition(result).lines if len(line.get_xdata()) == len(result.members)
        ]
        points = [line for line in lines if line.get_marker() == "o"]
        assert [line.get_markerfacecolor() for line in points] == [face]


def test_infinite_condition_numbers_have_a_place(make_circuits):
    result = find_variables(select(make_circuits()[0], batch=[0]), estimator="trajectories")
    assert np.isinf(result.estimates["condition_number"]).all()
    ax = plot_condition(result)
    (points,) = (line for line in ax.lines if line.get_marker() == "^" and len(line.get_xdata()))
    assert (points.get_ydata() < ax.get_ylim()[1]).all()


def test_each_member_has_a_place_in_every_panel(found):
    for ax in (plot_share(found, "reconstruction"), plot_share(found, "reading"), plot_angles(found)):
        assert [t.get_text() for t in ax.get_xticklabels()] == ["1", "3", "5"]
        assert ax.get_xlabel() == "model"


def test_a_single_estimator_is_drawn_alone(make_circuits):
    result = find_variables(make_circuits()[0], estimator="powers")
    (_, figure), *_ = draw(result)
    assert keys(figure)[:1] == ["from powers"]
    assert "from trajectories" not in keys(figure)
    assert "Ψ between\nestimators" not in plot_angles(result).get_legend_handles_labels()[1]


def test_matrices_and_trials_are_drawn_as_they_are(found):
    member, shown = found.found[0], found.shown
    np.testing.assert_array_equal(
        plot_transition(found, member.transition).images[0].get_array(), member.transition
    )
    ax = plot_variables(found, shown.read)
    np.testing.assert_array_equal(ax.images[0].get_array(), shown.read.T)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["1", "2", "3", "4", "5"]
    assert ax.lines[-1].get_xdata()[0] == 4.5


def test_in_the_film_variables_stand_at_their_place_and_arrive_at_the_next(found):
    film = film_variables(found)
    discs = film.figure.axes[0].collections[0]
    theory, shown = found.theory, found.shown
    places = np.stack(np.divmod(theory.positions, theory.width), axis=1)
    target = np.abs(theory.transition).argmax(axis=0)
    film.show(0)
    np.testing.assert_allclose(discs.get_offsets(), places)
    np.testing.assert_allclose(discs.get_array(), shown.read[5])
    film.show(REST)
    moving = np.asarray(discs.get_offsets())
    assert (np.abs(moving - places).max(axis=1) > 0).sum() == len(places)
    film.show(MOVE + REST - 1)
    np.testing.assert_allclose(discs.get_offsets(), places[target], atol=1e-12)
    np.testing.assert_allclose(discs.get_array(), shown.read[6, target])
    film.show(MOVE + REST)
    np.testing.assert_allclose(discs.get_array(), shown.read[6])
    # Repeat copy comes round after five steps; the film goes round twice.
    assert film.frames == 11 * (MOVE + REST) - MOVE
    film.show(film.frames - 1)
    assert "step 15, answer 11" in film.figure.axes[0].get_title()


def test_the_film_is_saved(found, tmp_path, monkeypatch):
    monkeypatch.setattr("analysis.figures.variables.find.MOVE", 1)
    monkeypatch.setattr("analysis.figures.variables.find.REST", 0)
    paths = save_film(film_variables(found), tmp_path / "film", dpi=40)
    with Image.open(paths[0]) as film:
        assert film.n_frames == 10
        assert b"n = 1 member, 1 of 17 trials" in film.info["comment"]
