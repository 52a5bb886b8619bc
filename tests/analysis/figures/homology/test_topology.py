"""Figures of tests against null clouds."""

import pytest

from analysis.figures.homology.nulls import plot_tests
from analysis.figures.homology.topology import draw, plot_barcode
from analysis.homology.topology import analyse_topology


@pytest.mark.parametrize(("members", "max_dimension"), [(1, 0), (7, 1)])
def test_all_figures_are_drawn_and_no_axes_are_empty(make_recording, members, max_dimension):
    recording = make_recording(members=members, trials=2)
    result = analyse_topology(recording, null_clouds=19, max_dimension=max_dimension)
    figures = dict(draw(result))
    assert set(figures) == {"topology_tests", "topology_barcodes"}
    assert len(figures["topology_barcodes"].axes) == min(members, 6)
    assert len(figures["topology_tests"].axes) == max_dimension + 1
    assert f"n = {members} " in figures["topology_tests"].get_suptitle().replace("\n", " ")
    for figure in figures.values():
        assert all(ax.has_data() for ax in figure.axes)
    assert plot_barcode(result).get_title() == "model-1"
    ax = plot_tests(result.tests, max_dimension)
    assert len(ax.get_legend_handles_labels()[1]) == 5
