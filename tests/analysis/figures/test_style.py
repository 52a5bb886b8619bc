"""Figure style."""

import errno

import matplotlib as mpl
import numpy as np
import pytest
from PIL import Image

from analysis.figures.style import (
    COLORS,
    WIDTHS,
    Film,
    caption,
    column_figure,
    complex_plane,
    plot_counts,
    save_figure,
    save_film,
    thinned,
)
from emt.text import visible


@pytest.mark.parametrize("width", ["single", "double"])
def test_figures_are_one_column_wide(width):
    figure, axes = column_figure(width, rows=2, columns=3)
    assert figure.get_figwidth() == WIDTHS[width]
    assert axes.shape == (2, 3)


def test_the_users_settings_stay_as_they_are(tmp_path):
    before = dict(mpl.rcParams)
    figure, axes = column_figure()
    complex_plane(axes[0, 0])
    save_figure(figure, tmp_path / "a")
    assert dict(mpl.rcParams) == before


def test_saving_writes_both_formats_with_text_as_text_and_the_same_bytes_again(tmp_path):
    figure, axes = column_figure()
    axes[0, 0].set_xlabel("angle (rad)")
    paths = save_figure(figure, tmp_path / "deep" / "v1.2")
    assert [p.name for p in paths] == ["v1.2.png", "v1.2.pdf"]
    first = paths[1].read_bytes()
    assert b"/CIDFontType2" in first  # TrueType, which editors read as text
    assert b"/Type3" not in first
    assert save_figure(figure, tmp_path / "again", formats=("pdf",))[0].read_bytes() == first


def test_a_figure_carries_what_it_says_of_itself(tmp_path):
    figure, axes = column_figure("double", columns=3)
    for ax, title in zip(axes[0], ("n = 3", "β₁", "n = 3"), strict=True):
        ax.set_title(title, loc="left")
    assert caption(figure) == "n = 3; β₁"
    figure.suptitle("all of\nthem")
    assert caption(figure) == "all of them"
    png, pdf = save_figure(figure, tmp_path / "a")
    with Image.open(png) as picture:
        assert picture.info["Description"] == "all of them"
    assert b"all of them" in pdf.read_bytes()
    assert caption(column_figure()[0]) == ""


@pytest.mark.parametrize("label", [r"$\nosuch$ a", r"$\gamma$ = 0.1", "\x1b[31m\x07 $y$"])
def test_labels_are_shown_as_they_are(tmp_path, label):
    figure, axes = column_figure()
    axes[0, 0].set_title(label)
    axes[0, 0].plot([1, 100], label=label)
    axes[0, 0].set_yscale("log")
    texts = [axes[0, 0].title, *axes[0, 0].legend().get_texts()]
    save_figure(figure, tmp_path / "labelled", ("png",))
    assert [(text.get_parse_math(), text.get_text()) for text in texts] == [(False, visible(label))] * 2
    assert all(text.get_parse_math() for text in axes[0, 0].get_yticklabels()), "powers of ten are mathtext"


def test_a_long_title_is_broken_into_lines(tmp_path, layout_faults):
    figure, axes = column_figure()
    axes[0, 0].plot([0, 1])
    figure.suptitle("experiment_with_a_long_name, and what it shows, n = 20 members × 32 trials")
    assert layout_faults(figure) == [f"beyond the figure: {figure.get_suptitle()}"]
    save_figure(figure, tmp_path / "a")
    assert layout_faults(figure) == []


def test_ticks_of_the_complex_plane_stand_apart(layout_faults):
    for radius in (0.5, 1.0, 1.3, 3.0, 40.0):
        figure, axes = column_figure("double", columns=3)
        for ax in axes[0]:
            complex_plane(ax, radius)
        assert layout_faults(figure) == []
    axes[0, 0].set(xticks=range(0, 40, 4), xticklabels=[f"{x}.000" for x in range(0, 40, 4)])
    axes[0, 1].clear()
    assert [fault.partition(":")[0] for fault in layout_faults(figure)] == ["labels overlap", "empty axes"]


def test_figures_do_not_pile_up_in_pyplot():
    import matplotlib.pyplot as plt

    for _ in range(30):
        column_figure()
    assert plt.get_fignums() == []


def test_colours_differ():
    assert len(set(COLORS)) == 8


def test_a_film_is_saved_frame_by_frame(tmp_path):
    figure, axes = column_figure()
    (line,) = axes[0, 0].plot([0, 1])
    before = dict(mpl.rcParams)
    paths = save_film(
        Film(figure, lambda frame: line.set_ydata([frame, 1]), frames=3, rate=5), tmp_path / "deep" / "film"
    )
    assert [p.name for p in paths][:1] == ["film.gif"]
    with Image.open(paths[0]) as film:
        assert film.n_frames == 3
        assert film.info["duration"] == 200
    assert dict(mpl.rcParams) == before
    assert {p.name for p in (tmp_path / "deep").iterdir()} == {p.name for p in paths}


def test_a_full_disk_is_said_of_the_film_that_does_not_fit(tmp_path):
    figure, _ = column_figure()

    def draw(frame):
        if frame:
            raise OSError(errno.ENOSPC, "No space left on device", "/tmp/x")

    with pytest.raises(OSError, match="No space left") as caught:
        save_film(Film(figure, draw, frames=3, rate=5), tmp_path / "film")
    assert caught.value.filename == f"{tmp_path / 'film.gif'}, made in a temporary folder"


@pytest.mark.parametrize("size", [0.0, 1e-300, 1.0, 1e300])
def test_values_that_differ_by_rounding_are_one_bar(size):
    ax = column_figure()[1][0, 0]
    values = size * np.array([1.0, 1 + 1e-16, 1 + 3e-16, 1 - 2e-16])
    plot_counts(ax, [*values, np.nan, np.inf])
    assert [bar.get_height() for bar in ax.patches] == [4]


def test_values_that_differ_are_counted_in_equal_bins():
    ax = column_figure()[1][0, 0]
    plot_counts(ax, [0.0, 0.1, 1.0, 1.0])
    heights = [bar.get_height() for bar in ax.patches]
    assert len(heights) == 20
    assert (heights[0], heights[2], heights[19], sum(heights)) == (1, 1, 2, 4)


def test_a_large_cloud_is_thinned_evenly_and_a_small_one_is_not():
    assert thinned(np.arange(10), 4).tolist() == [0, 2, 5, 7]
    assert thinned(np.arange(4), 4).tolist() == [0, 1, 2, 3]
