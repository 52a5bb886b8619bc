"""Figures of comparisons of states."""

import pytest

from analysis.figures.states.similarity import draw, plot_agreement, plot_distances
from analysis.states.similarity import compare_states


@pytest.mark.parametrize(
    ("sizes", "names"), [((2,), {"similarity_distances"}), ((3, 4), None), ((11,), None)]
)
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
    titles = [
        plot_agreement(compare_states(recordings, bar=bar), "cka", "rsa").get_title() for bar in (-1.0, 1.0)
    ]
    assert titles[1] == f"{titles[0]}: disagree"


@pytest.mark.parametrize("inputs", [0.0, 1.0])
def test_dynamics_have_a_place_beside_the_other_measures(make_recording, inputs):
    """Five measures without inputs, six with them; neither number fills two rows of two."""
    pytest.importorskip("DSA")
    recording = make_recording(members=3, trials=20)
    recording = recording.assign(inputs=inputs * recording["inputs"])
    result = compare_states({"a": recording}, dynamical=True)
    assert len(result.distances) == (6 if inputs else 5)
    for figure in draw(result):
        assert all(ax.has_data() for ax in figure[1].axes)
    titles = {ax.get_title() for ax in dict(draw(result))["similarity_distances"].axes}
    assert "DSA" in titles
    assert ("InputDSA" in titles) == bool(inputs)


def test_each_pair_of_sets_has_its_own_control(make_recording):
    recording = make_recording(members=3, trials=6)
    narrow = recording.assign(hidden=recording["hidden"][..., :1].rename(unit="one"))
    title = plot_distances(compare_states({"a": recording, "b": narrow}), "procrustes").get_title()
    values = compare_states({"a": recording, "b": narrow}).sets.loc["procrustes", "shuffled"]
    assert title == f"Procrustes (shuffled: {values.min():.2f} to {values.max():.2f})"
    alone = compare_states({"a": recording})
    assert plot_distances(alone, "cka").get_title() == f"linear CKA (shuffled: {alone.shuffled['cka']:.2f})"
