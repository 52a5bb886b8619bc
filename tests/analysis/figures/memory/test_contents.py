"""Figures of memory analyses."""

import pytest

from analysis.figures.memory.contents import (
    draw,
    draw_contents,
    draw_similarity,
    plot_contents,
    plot_effective_rank,
    plot_similarity,
    plot_singular_values,
)
from analysis.memory.contents import analyse_memory


@pytest.mark.parametrize("contents", ["values", "matrices"])
def test_each_memory_has_its_contents_and_its_spectrum(make_recording, contents):
    figures = dict(draw(analyse_memory(make_recording(memories=("a", "b")), contents=contents)))
    assert set(figures) == {
        f"memory_{m}_{what}" for m in "ab" for what in (contents, "spectrum", "similarity")
    }


@pytest.mark.parametrize(("members", "panels"), [(1, 1), (3, 3), (5, 5), (9, 6)])
def test_the_first_members_have_a_panel(make_recording, members, panels):
    analysis = analyse_memory(make_recording(members=members))
    figure = draw_contents(analysis, analysis.memories[0])
    assert [ax.get_title().partition(":")[0] for ax in figure.axes] == [
        f"model-{2 * i + 1}" for i in range(panels)
    ]
    assert ("first 6 of" in figure.get_suptitle()) == (members == 9)


def test_few_classes_have_a_legend_and_many_a_colour_bar(make_recording):
    few, many = (analyse_memory(make_recording(members=2), color_by=c) for c in ("written", "token"))
    figure = draw_contents(few, few.memories[0])
    assert [t.get_text() for t in figure.legends[0].get_texts()] == ["none", "0", "1", "2", "3"]
    assert figure.legends[0].get_title().get_text() == "written"
    figure = draw_contents(many, many.memories[0])
    assert not figure.legends
    bar = figure.axes[-1]
    assert bar.get_ylabel() == "token"
    assert {t.get_text() for t in bar.get_yticklabels()} <= set("abcdefghijklmnopqrstuvwxyz0123456789?")


def test_classes_differ_in_their_symbols_too(make_recording):
    analysis = analyse_memory(make_recording(members=1), color_by="written")
    ax = plot_contents(analysis, analysis.memories[0], 0)
    outlines = [dots.get_paths()[0].vertices.tobytes() for dots in ax.collections]
    assert len(set(outlines[1:])) == len(outlines) - 1 == 4


def test_components_say_their_share(make_recording):
    analysis = analyse_memory(make_recording())
    ax = plot_contents(analysis, analysis.memories[0], 1)
    assert ax.get_xlabel() == f"PC 1 ({100 * analysis.memories[0].variance_ratio[1][0]:.0f} %)"
    assert ax.get_title() == f"model-3: AUC {analysis.memories[0].auc[1]:.2f}"


def test_the_spectrum_has_a_curve_for_each_value(make_recording):
    held = analyse_memory(make_recording()).memories[0]
    assert [line.get_label() for line in plot_singular_values(held).lines] == list("12345")
    (line,) = plot_effective_rank(held).lines
    assert line.get_xdata().tolist() == list(range(11))
    assert line.get_ydata()[0] == pytest.approx(1)


@pytest.mark.parametrize(("members", "panels"), [(1, 2), (3, 4)])
def test_similarities_are_drawn_for_the_first_member_and_on_average(make_recording, members, panels):
    analysis = analyse_memory(make_recording(members=members))
    titles = [ax.get_title() for ax in draw_similarity(analysis, analysis.memories[0]).axes if ax.get_title()]
    assert len(titles) == panels
    assert titles[0] == "keys, model-1"
    assert (titles[-1] == "values, mean of n = 3 members") == (members == 3)


def test_few_classes_are_named_at_their_blocks(make_recording):
    few, many = (analyse_memory(make_recording(members=2), color_by=c) for c in ("written", "step"))
    held = few.memories[0]
    ax = plot_similarity(few, held, held.similarity.keys[0])
    assert [t.get_text() for t in ax.get_xticklabels()] == ["none", "0", "1", "2", "3"]
    assert ax.get_xticks().tolist() == [3, 7, 8, 9, 10]
    held = many.memories[0]
    assert len(plot_similarity(many, held, held.similarity.keys[0]).lines) == 0
