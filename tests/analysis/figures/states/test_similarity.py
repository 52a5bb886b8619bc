"""Figures of comparisons of states."""

import pytest

from analysis.figures.states.similarity import draw, plot_agreement, plot_distances
from analysis.states.similarity import compare_states


@pytest.mark.parametrize(("sizes", "names"), [((2,), {"similarity_distances"}), ((3, 4), None), ((11,), None)])
def test_all_figures_are_drawn_and_no_axes_are_empty(make_recording, sizes, names):
    recordings = {f"set {n}": make_recording(members=n, trials=2) for n in sizes}
    result = compare_states(recordings)
    figures = dict(draw(result))
    assert set(figures) == (names or {"similarity_distances", "similarity_agreement"})
    for figure in figures.values():
        assert all(ax.has_data() for ax in figure.axes)
        assert "n = " in figure.get_suptitle()
    axis = plot_distances(result, "rsa").get_xlabel()
    assert axis == ("set" if len(sizes) > 1 else "model")


def test_measures_that_disagree_are_called_so(make_recording):
    recordings = {"a": make_recording(members=5, trials=2)}
    titles = [plot_agreement(compare_states(recordings, bar=bar), "cka", "rsa").get_title() for bar in (-1.0, 1.0)]
    assert titles[1] == f"{titles[0]}: disagree"
