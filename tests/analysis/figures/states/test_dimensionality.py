"""The figure of the dimensionality of states."""

import numpy as np
import pytest

from analysis.figures.states.dimensionality import draw, plot_measure, plot_spectra
from analysis.states.dimensionality import measure_dimensionality


@pytest.mark.parametrize("members", [1, 2, 9])
def test_the_figure_has_no_faults_and_says_n(make_recording, layout_faults, members):
    result = measure_dimensionality(make_recording(members=members, trials=3))
    figures = dict(draw(result))
    assert set(figures) == {"dimensionality"}
    figure = figures["dimensionality"]
    assert layout_faults(figure) == []
    assert (
        f"n = {members} member{'' if members == 1 else 's'}; {result.states_analysed}"
        in figure.get_suptitle()
    )


def test_members_and_means_are_drawn_where_they_are(make_recording):
    result = measure_dimensionality(make_recording(members=4, trials=3))
    for measure in ("participation_ratio", "effective_rank"):
        ax = plot_measure(result, measure)
        drawn = [line.get_ydata() for line in ax.lines if len(line.get_ydata()) == 4]
        table = result.members[measure].unstack("states")[["recorded", "shuffled", "random"]]
        np.testing.assert_allclose(np.column_stack(drawn), table)
        means = [container.lines[0].get_ydata()[0] for container in ax.containers]
        np.testing.assert_allclose(means, result.population["mean"].loc[measure])
        assert ax.get_ylabel() == measure.replace("_", " ")


def test_spectra_are_drawn_by_component(make_recording):
    result = measure_dimensionality(make_recording(members=2, trials=3))
    ax = plot_spectra(result)
    assert [line.get_label() for line in ax.lines] == ["recorded", "units shuffled", "random states"]
    shares = result.spectra["variance_share"].loc["random"]
    np.testing.assert_allclose(ax.lines[2].get_ydata(), shares)
    assert ax.get_yscale() == "log"
