"""Figures of match analyses."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.patches import Rectangle

from analysis.figures.memory.matching import draw, plot_aligned, plot_scores, plot_similarity, plot_weight
from analysis.memory.matching import match_memories


def frames(ax):
    return [patch for patch in ax.patches if isinstance(patch, Rectangle)]


def test_one_figure_a_trial_and_one_of_the_population(make_recording):
    figures = dict(draw(match_memories(make_recording(), trials=2)))
    assert set(figures) == {"match_fast_model-3_trial-1", "match_fast_model-3_trial-2", "match_fast"}


def test_without_asks_there_are_only_grids(make_recording):
    assert set(dict(draw(match_memories(make_recording(asked=False), trials=1)))) == {
        "match_fast_model-1_trial-1"
    }


def test_a_memory_that_is_never_read_has_no_figure(make_recording):
    recording = make_recording()
    recording["memory/fast/read_query"].values[:] = np.nan
    assert dict(draw(match_memories(recording))) == {}


@pytest.mark.parametrize("plot", [plot_similarity, plot_weight])
def test_axes_bear_tokens_and_steps_and_the_asked_for_write_a_frame(make_recording, plot):
    grid = match_memories(make_recording(), trials=1).grids[0]
    ax = plot(grid)
    assert [t.get_text() for t in ax.get_xticklabels()][-2:] == ["?\n8", "?\n9"]
    assert [t.get_text() for t in ax.get_yticklabels()][-1] == f"{grid.row_labels[-1]} 10"
    (frame,) = frames(ax)
    assert frame.get_xy() == (np.flatnonzero(grid.asked[-1])[0] - 0.5, 8.5)


def test_reads_of_one_step_share_a_label(make_recording):
    grid = match_memories(make_recording(reads=3), trials=1).grids[0]
    ax = plot_weight(grid)
    assert len(ax.get_yticklabels()) == 10
    assert ax.get_yticks()[0] == 1
    assert "3 reads a step" in ax.get_ylabel()
    (frame,) = frames(ax)
    assert frame.get_height() == 3


def test_without_names_steps_alone_stand_on_the_axes(make_recording):
    recording = make_recording()
    del recording["token"]
    ax = plot_weight(match_memories(recording, trials=1).grids[0])
    assert [t.get_text() for t in ax.get_xticklabels()] == [str(i) for i in range(10)]


def test_zero_is_white_and_the_bar_of_weights_of_one_sign_begins_there(make_recording):
    recording = make_recording()
    ax = plot_weight(match_memories(recording, trials=1).grids[0])
    assert ax.images[0].colorbar.ax.get_ylim()[0] < 0
    for name in ("write_key", "read_query"):
        values = recording[f"memory/fast/{name}"].values
        values[:] = np.abs(values)
    image = plot_weight(match_memories(recording, trials=1).grids[0]).images[0]
    assert image.norm(0) == 0.5
    assert min(image.cmap(0.5)) > 0.95
    assert image.colorbar.ax.get_ylim() == (0, np.nanmax(image.get_array()))
    # Gray where nothing was written yet.
    assert 0.8 < image.cmap(np.ma.masked)[0] < 0.95


def test_colours_mean_the_same_in_all_trials_of_a_memory_and_not_beyond(make_recording):
    match = match_memories(make_recording(memories=("a", "b")), trials=2)
    figures = [figure for name, figure in draw(match) if "trial" in name]
    limits = [[ax.images[0].get_clim() for ax in figure.axes[:2]] for figure in figures]
    assert limits[0] == limits[1] != limits[2] == limits[3]
    alone = [plot_weight(grid).images[0].get_clim() for grid in match.grids[:2]]
    assert alone[0] != alone[1]
    assert max(alone, key=max) == limits[0][1]


@pytest.mark.parametrize("nearest", [0, 1])
def test_negated_distances_use_the_sequential_map_from_the_farthest_on(make_recording, nearest):
    grid = match_memories(make_recording(), trials=1).grids[0]
    size = np.abs(grid.similarity)
    far = replace(grid, similarity=np.nanmin(size) - size - nearest)
    image = plot_similarity(far).images[0]
    assert image.get_cmap().name == "viridis"
    assert image.get_clim() == (np.nanmin(far.similarity), np.nanmax(far.similarity))


def test_every_member_has_a_point_and_n_is_said(make_recording):
    match = match_memories(make_recording(members=13))
    ax = plot_scores(match, "fast")
    assert len(ax.containers[0][0].get_xdata()) == 13
    assert ax.get_title() == "n = 13 members × 20 trials"
    assert len(ax.get_xticks()) <= 10
    assert (
        plot_scores(match_memories(make_recording(members=1)), "fast").get_title()
        == "n = 1 member × 20 trials"
    )


def test_each_read_has_a_curve(make_recording):
    assert plot_aligned(match_memories(make_recording()), "fast").get_legend() is None
    ax = plot_aligned(match_memories(make_recording(reads=2)), "fast")
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["read 1", "read 2"]


def test_scores_stand_beside_both_controls(make_recording):
    ax = plot_scores(match_memories(make_recording()), "fast")
    assert {"chance", "shuffled"} < {t.get_text() for t in ax.get_legend().get_texts()}


def test_scores_by_the_other_convention_are_open_circles_if_they_differ(make_recording):
    ax = plot_scores(match_memories(make_recording(strength=-0.5)), "fast")
    assert ax.get_ylabel() == "largest weight\nby magnitude is on\nthe queried item"
    (open_circles,) = [line for line in ax.lines if line.get_label() == "member, by sign"]
    assert open_circles.get_ydata().tolist() == [0, 0, 0]
    assert open_circles.get_fillstyle() == "none"
    same = plot_scores(match_memories(make_recording()), "fast")
    assert same.get_ylabel() == "largest weight is on\nthe queried item"
    assert "member, by sign" not in [line.get_label() for line in same.lines]


def test_questions_are_drawn_where_there_are_any(make_stories):
    match = match_memories(make_stories(), asks=(6, 8))
    assert set(dict(draw(match))) == {"match_fwm_model-1_ask-6", "match_fwm_model-1_ask-8", "match_fwm"}
