"""Figures of `analysis.memory.question_grids`."""

from collections.abc import Sequence
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colorbar import Colorbar
from matplotlib.colors import CenteredNorm, Colormap, Normalize
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


class WeightColors(NamedTuple):
    """Colours of numbers from ``low`` to ``high``, gray for missing ones, and of a frame that is far from these."""

    norm: Normalize
    map: Colormap
    frame: str
    low: float
    high: float

    def limit(self, bar: Colorbar) -> None:
        """Show few ticks, and of the colours only those that numbers have."""
        if self.low < self.high:
            bar.ax.set_ylim(self.low, self.high)
        bar.locator = MaxNLocator(3)
        bar.update_ticks()


def weight_colors(values: Sequence[NDArray[np.float64]]) -> WeightColors:
    """Return what panels share: white is 0, with a hue for each sign; of negated distances the nearest is brightest."""
    numbers = np.concatenate([v[np.isfinite(v)] for v in values])
    low, high = (float(numbers.min()), float(numbers.max())) if numbers.size else (0.0, 0.0)
    if low < 0 and high <= 0:
        norm, name, frame = Normalize(low, high), SEQUENTIAL, VERMILION
    else:
        low = min(low, 0)
        norm, name, frame = CenteredNorm(halfrange=max(-low, high) or 1), DIVERGING, GREEN
    return WeightColors(norm, mpl.colormaps[name].with_extremes(bad="0.88"), frame, low, high)


@styled
def draw_question(grid: QuestionGrid, label: str) -> Figure:
    """Return a figure of one question: reads over the words of its trial, in as many lines as these need."""
    lines = _lines(len(grid.words))
    n_reads = len(grid.share)
    figure, axes = column_figure("double", height=(n_reads * _ROW + 0.75) * len(lines) + 0.9, rows=len(lines))
    for words, ax in zip(lines, axes[:, 0], strict=True):
        plot_words(grid, words, ax)
        ax.set_xlim(-0.5, max(len(lines[0]), 3) - 0.5)
    colors = weight_colors([grid.share])
    bar = figure.colorbar(
        ScalarMappable(colors.norm, colors.map), ax=axes[:, 0].tolist(), fraction=0.03, pad=0.01, aspect=12
    )
    bar.set_label("share of the\nread's weight")
    colors.limit(bar)
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
    colors = weight_colors([grid.share])
    ax.imshow(grid.share[:, words], cmap=colors.map, norm=colors.norm, aspect="auto", interpolation="nearest")
    for item, held in enumerate(grid.items[:, words]):
        for first, last in _runs(held):
            box = (first - 0.5, -0.5), last - first + 1, len(grid.share)
            ax.add_patch(Rectangle(*box, fill=False, edgecolor=colors.frame, linewidth=1.2, clip_on=False))
            ax.text(first - 0.4, -0.6, str(item + 1), color=colors.frame, fontsize=7, va="bottom")
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
