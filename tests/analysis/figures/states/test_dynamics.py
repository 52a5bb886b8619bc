"""Figures of dynamics."""

import pytest
from matplotlib.figure import Figure

from analysis.figures.states.dynamics import draw, plot_exponents, plot_portrait, plot_spectra
from analysis.states.dynamics import analyse_dynamics


@pytest.mark.parametrize("members", [1, 3, 8])
def test_every_figure_says_its_n(make_portrait, members):
    dynamics = analyse_dynamics(make_portrait(members=members))
    figures = dict(draw(dynamics))
    assert list(figures) == ["dynamics_phase_portraits", "dynamics_spectra", "lyapunov_spectra"]
    for figure in figures.values():
        title = figure.get_suptitle() or figure.axes[0].get_title()
        assert f"n = {members} member" in title
        figure.draw_without_rendering()
    assert len(figures["dynamics_phase_portraits"].axes) == min(members, 6)


def test_a_population_without_points_has_only_exponents(make_portrait):
    assert [name for name, _ in draw(analyse_dynamics(make_portrait(points=0)))] == ["lyapunov_spectra"]


def test_a_member_without_points_is_drawn_empty(make_portrait):
    portrait = make_portrait(members=2)
    kept = portrait.isel(point=portrait["owner"].values == 1)
    dynamics = analyse_dynamics(kept)
    ax = plot_portrait(dynamics, dynamics.planes[1])
    assert ax.get_title() == "model-3: no points"


def test_parts_can_be_drawn_into_a_figure_of_ones_own(make_portrait):
    dynamics = analyse_dynamics(make_portrait())
    figure = Figure()
    for place, plot in enumerate(
        (
            lambda ax: plot_portrait(dynamics, dynamics.planes[0], ax),
            lambda ax: plot_spectra(dynamics, "stable", ax),
            lambda ax: plot_exponents(dynamics, ax),
        )
    ):
        ax = figure.add_subplot(1, 3, place + 1)
        assert plot(ax) is ax
    assert figure.axes[1].get_title() == "stable\nn = 3 points"
