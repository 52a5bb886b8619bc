"""Figures of `analysis.memory.question_grids`."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import CenteredNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from analysis.figures.style import (
    BLACK,
    DIVERGING,
    GREEN,
    SEQUENTIAL,
    VERMILION,
    column_figure,
    single_axes,
    styled,
)
from analysis.memory.log import mixing_text
from analysis.memory.question_grids import QuestionGrid

MOST_WORDS = 56
"""Words in a line; longer trials go on in further lines of equal length."""

_ROW = 0.17
"""Height of a read in inches; a word's column is at most as wide as three of them are high."""


@styled
def draw_question(grid: QuestionGrid, label: str) -> Figure:
    """Return a figure of one question: reads over the words of its trial, in as many lines as these need."""
    lines = _lines(len(grid.words))
    n_reads = len(grid.share)
    figure, axes = column_figure("double", height=(n_reads * _ROW + 0.75) * len(lines) + 0.9, rows=len(lines))
    for words, ax in zip(lines, axes[:, 0], strict=True):
        plot_words(grid, words, ax)
        ax.set_xlim(-0.5, max(len(lines[0]), 3) - 0.5)
    colors = ScalarMappable(*_colors(grid))
    bar = figure.colorbar(colors, ax=axes[:, 0].tolist(), fraction=0.03, pad=0.01, aspect=12)
    bar.set_label("share of the\nread's weight")
    bar.locator = MaxNLocator(3)
    bar.update_ticks()
    dots = f"dot: largest weight by {grid.convention}"
    figure.suptitle(
        f"{label}, {grid.model_name}, memory {grid.memory} (n = 1 question; {dots})\n{_title(grid)}"
    )
    return figure


@styled
def plot_words(grid: QuestionGrid, words: NDArray[np.intp] | None = None, ax: Axes | None = None) -> Axes:
    """Draw what each read found among some words of the trial (default: all).

    Frames mark the writes of the items asked for, by number; dots the largest weight of a read, by the
    convention of the memory's rule.
    """
    ax = single_axes(ax, "double", 1.6)
    words = np.arange(len(grid.words)) if words is None else words
    norm, colors = _colors(grid)
    ax.imshow(grid.share[:, words], cmap=colors, norm=norm, aspect="auto", interpolation="nearest")
    frame = GREEN if _signed(grid) else VERMILION  # each far from the colours of its map
    for item, held in enumerate(grid.items[:, words]):
        for first, last in _runs(held):
            box = (first - 0.5, -0.5), last - first + 1, len(grid.share)
            ax.add_patch(Rectangle(*box, fill=False, edgecolor=frame, linewidth=1.2, clip_on=False))
            ax.text(first - 0.4, -0.6, str(item + 1), color=frame, fontsize=7, va="bottom")
    read, column = np.nonzero(grid.largest[:, None] == words)
    ax.scatter(column, read, s=7, color="white", edgecolor=BLACK, linewidth=0.5, zorder=3)
    ax.set_xticks(np.arange(len(words)), [grid.words[i] for i in words], rotation=90, fontsize=6)
    ax.set_yticks(np.arange(len(grid.share)), [f"read {i + 1}" for i in range(len(grid.share))])
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    return ax


def _lines(n_words: int) -> list[NDArray[np.intp]]:
    """Return the words of each line, lines being equally long but for the last."""
    count = max(-(-n_words // MOST_WORDS), 1)
    length = -(-n_words // count)
    return [np.arange(first, min(first + length, n_words)) for first in range(0, n_words, length)]


def _runs(held: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the first and last place of each stretch of neighbours that hold."""
    edges = np.flatnonzero(np.diff(np.r_[False, held, False]))
    return [(int(first), int(after) - 1) for first, after in edges.reshape(-1, 2)]


def _signed(grid: QuestionGrid) -> bool:
    return bool(np.nanmin(grid.share, initial=0.0) < 0)


def _colors(grid: QuestionGrid) -> tuple[Normalize, str]:
    largest = float(np.nanmax(np.abs(grid.share), initial=0.0))
    return (
        (CenteredNorm(halfrange=largest), DIVERGING) if _signed(grid) else (Normalize(0, largest), SEQUENTIAL)
    )


def _title(grid: QuestionGrid) -> str:
    where = f"ask {grid.ask}"
    if grid.trial >= 0:
        where += f", trial {grid.trial}"
    if grid.group >= 0:
        where += f", group {grid.group}"
    # Rounding would make some of these "-0".
    elsewhere = np.maximum(1 - np.nansum(np.abs(grid.share), axis=-1), 0)
    before = ", ".join(f"{100 * share:.0f}" for share in elsewhere)
    lines = [f"{where}; weight on earlier trials: {before} %"]
    if grid.answer is not None:
        answer = grid.answer
        verdict = "right" if answer.given == answer.right else f"wrong; correct: “{answer.right}”"
        lines.append(f"answer: “{answer.given}”, probability {answer.probability:.2f} ({verdict})")
    return "\n".join(lines) + mixing_text(grid.mixes)
