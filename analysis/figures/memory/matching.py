"""Figures of `analysis.memory.matching`."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from analysis.figures.captions import captioned
from analysis.figures.memory.question_grids import WeightColors, draw_question, weight_colors
from analysis.figures.style import (
    BLACK,
    BLUE,
    COLORS,
    GRAY,
    VERMILION,
    column_figure,
    single_axes,
    styled,
)
from analysis.memory.log import mixing_text, other_convention
from analysis.memory.matching import Match, TrialGrid, grid_name, question_name

MOST_CELL = 0.4
"""Height of a read in inches, at most."""

_MOST_TICKS = 40

_LINE = 56
"""Letters of tick labels that fit below a grid of half the page's width."""

_FEW_ROWS = 100
"""Up to so many rows, frames are drawn with a thick line."""


CAPTIONS = {
    "match_*_trial-*": (
        "One trial: similarity of each read's query with the written keys (left), and the weight of each write "
        "in what was read (right); rows: reads, columns: writes (gray: later ones); frames: the write of the "
        "queried item. Reads that find their item have the strongest cell in the frame."
    ),
    "match_*_ask-*": (
        "One question: share of each word's write in the weight of each read; frames: the items queried; dots: "
        "the largest weight. Dots in frames mean that reads find the facts that answer the question."
    ),
    "match_*": (
        "Left: how often a read's largest weight is on the queried item, members with 95 % intervals over "
        "trials and their mean in orange; gray: chance, dotted: shuffled. Right: weight around the write of "
        "the queried item. Members above both lines and a peak at 0 mean that the memory finds what was "
        "queried."
    ),
}


@captioned(CAPTIONS)
def draw(match: Match) -> Iterator[tuple[str, Figure]]:
    """Yield the figures of a match analysis and their names."""
    for grid in match.grids:
        if len(grid.rows):
            same = [other for other in match.grids if other.memory == grid.memory]
            yield grid_name(grid), draw_trial(grid, match.label, same)
    for question in match.questions:
        yield question_name(question), draw_question(question, match.label)
    for memory in match.shown:
        if match.population.loc[memory, "members"]:
            yield f"match_{memory}", draw_population(match, memory)


@styled
def draw_trial(grid: TrialGrid, label: str, same: Sequence[TrialGrid] = ()) -> Figure:
    """Return a figure of one trial: similarity beside weight, one row for each read.

    Parameters
    ----------
    grid
        The trial.
    label
        What the population is called.
    same
        Trials whose colours mean the same, by default this one.
    """
    # About squares, down to what a column allows; both panels have the same size.
    cell = min(2.7 / len(grid.columns), MOST_CELL)
    height = min(max(cell * len(grid.rows), 0.7), 7.5) + 1.1
    figure, axes = column_figure("double", height=height, columns=2, sharey=True)
    plot_similarity(grid, axes[0, 0], same)
    plot_weight(grid, axes[0, 1], same).set_ylabel("")
    trial = f"trial {grid.trial + 1} (n = 1 trial)"
    figure.suptitle(f"{label}, {grid.model_name}, memory {grid.memory}, {trial}{mixing_text(grid.mixes)}")
    return figure


@styled
def draw_population(match: Match, memory: str) -> Figure:
    """Return a figure of all scores of a memory, and of the average over trials."""
    figure, axes = column_figure("double", height=2.5, columns=2)
    plot_scores(match, memory, axes[0, 0])
    plot_aligned(match, memory, axes[0, 1])
    members = _members(int(match.population.loc[memory, "members"]))
    mixing = mixing_text(match.mixes[memory])
    figure.suptitle(f"{match.label}: memory {memory}, {members}, 95 % intervals{mixing}")
    return figure


@styled
def plot_similarity(grid: TrialGrid, ax: Axes | None = None, same: Sequence[TrialGrid] = ()) -> Axes:
    """Draw the similarity of each read's query with the keys written so far; frames mark what was asked for."""
    colors = weight_colors([one.similarity for one in same or (grid,)])
    return _plot_grid(grid, grid.similarity, "query–key similarity", colors, ax)


@styled
def plot_weight(grid: TrialGrid, ax: Axes | None = None, same: Sequence[TrialGrid] = ()) -> Axes:
    """Draw the weight of each write in what a read returned; frames mark what was asked for."""
    weight = "weight / normaliser" if grid.normalised else "effective weight"
    colors = weight_colors([one.weight for one in same or (grid,)])
    return _plot_grid(grid, grid.weight, f"{weight}; frame: write of the queried item", colors, ax)


@styled
def plot_scores(match: Match, memory: str, ax: Axes | None = None) -> Axes:
    """Draw each member's score with its interval over trials, and the population's mean with its own.

    Open circles are the scores by the convention, sign or magnitude, that the memory's rule does not call
    for; they are left out if they are the same.
    """
    ax = single_axes(ax)
    scores = match.scores.loc[memory].dropna(subset="score")
    place, mean = np.arange(len(scores)), match.population.loc[memory]
    low, high = scores["score"] - scores["low"], scores["high"] - scores["score"]
    if np.isfinite(mean["low"]):
        ax.axhspan(mean["low"], mean["high"], color=VERMILION, alpha=0.2, linewidth=0)
    ax.axhline(mean["score"], color=VERMILION, label="mean, 95 %")
    ax.errorbar(
        place, scores["score"], [low.clip(0), high.clip(0)], fmt="o", color=BLUE, label="member, 95 %"
    )
    if not match.conventions_agree(memory):
        other = other_convention(mean["convention"])
        ax.plot(
            place, scores[f"score_{other}"], "o", color=BLUE, fillstyle="none", label=f"member, by {other}"
        )
    # The two may be equal: dots on a pale line are seen both.
    ax.axhline(mean["chance"], color=GRAY, alpha=0.45, linewidth=3, label="chance")
    ax.axhline(mean["shuffled"], color=BLACK, linestyle=":", label="shuffled")
    ax.set(xlabel="model", ylabel=_counted(match, memory), ylim=(-0.03, 1.03))
    shown = _every(len(scores), 10)
    ax.set_xticks(shown, [str(scores.index[i]).removeprefix("model-") for i in shown])
    ax.margins(x=0.5 / max(len(scores), 2))
    ax.set_title(f"{_members(len(scores))} × {int(scores['trials'].max())} trials")
    ax.legend(loc="upper left", bbox_to_anchor=(0, -0.22), ncols=4, borderaxespad=0, columnspacing=0.8)
    return ax


@styled
def plot_aligned(match: Match, memory: str, ax: Axes | None = None) -> Axes:
    """Draw the average over trials of the weight at steps with a query, aligned on the write of the queried item."""
    ax = single_axes(ax)
    curves = match.aligned.loc[memory]
    reads = curves.index.unique("read")
    for read, color in zip(reads, COLORS, strict=False):
        curve = curves.loc[read]
        _plot_curve(curve, color, f"read {read}", ax)
    ax.axvline(0, color=GRAY, linewidth=0.6, linestyle="--", zorder=0)
    ax.set(
        xlabel="steps from the write of the queried item",
        ylabel="share of the\nabsolute weight",
        ylim=(0, None),
    )
    ax.xaxis.set_major_locator(MaxNLocator(9, integer=True))
    n = int(curves["members"].max())
    ax.set_title(_members(n) + (", band: 95 %" if n > 1 else ""))
    if len(reads) > 1:
        ax.legend(loc="upper left", bbox_to_anchor=(0, -0.22), ncols=4, borderaxespad=0, columnspacing=0.8)
    return ax


def _counted(match: Match, memory: str) -> str:
    """Return what is counted, with its convention if the other one counts something else."""
    by = "" if match.conventions_agree(memory) else f"\nby {match.population.loc[memory, 'convention']}"
    return f"largest weight{by} is on\nthe queried item"


def _plot_curve(curve: pd.DataFrame, color: str, label: str, ax: Axes) -> None:
    lag = curve.index.to_numpy()
    ax.plot(lag, curve["share"], color=color, marker="o", markersize=2, label=label)
    ax.fill_between(lag, curve["low"].clip(lower=0), curve["high"], color=color, alpha=0.2, linewidth=0)


def _plot_grid(
    grid: TrialGrid,
    values: NDArray[np.float64],
    name: str,
    colors: WeightColors,
    ax: Axes | None,
) -> Axes:
    ax = single_axes(ax)
    image = ax.imshow(values, cmap=colors.map, norm=colors.norm, aspect="auto", interpolation="nearest")
    for first, count, column in _runs(grid.asked):
        place = (column - 0.5, first - 0.5)
        width = 1.2 if len(values) <= _FEW_ROWS else 0.8
        ax.add_patch(Rectangle(place, 1, count, fill=False, edgecolor=colors.frame, linewidth=width))
    longest = max(map(len, grid.column_labels), default=0)
    shown = _every(len(grid.columns), min(_MOST_TICKS // 2, _LINE // (longest + 1)))
    ax.set_xticks(shown, [_label(grid.column_labels[i], grid.columns[i], "\n") for i in shown])
    ax.set_yticks(*_row_ticks(grid))
    ax.set(xlabel="write: token, step", ylabel=_row_name(grid))
    ax.set_title(name)
    ax.spines[:].set_visible(False)
    colors.limit(ax.figure.colorbar(image, ax=ax, fraction=0.04, pad=0.02))
    return ax


def _runs(asked: NDArray[np.bool_]) -> list[tuple[int, int, int]]:
    """Return (first row, rows, column) of each unbroken run of queried cells in a column."""
    edges = np.diff(np.pad(asked.T.astype(int), [(0, 0), (1, 1)]), axis=1)
    (columns, first), (_, after) = np.nonzero(edges > 0), np.nonzero(edges < 0)
    return [(int(a), int(b - a), int(c)) for a, b, c in zip(first, after, columns, strict=True)]


def _row_ticks(grid: TrialGrid) -> tuple[list[float], list[str]]:
    """Return places and labels of the steps that read, each in the middle of its reads."""
    steps, first, count = np.unique(grid.rows, return_index=True, return_counts=True)
    shown = _every(len(steps), _MOST_TICKS)
    middle = first + (count - 1) / 2
    return [float(middle[i]) for i in shown], [
        _label(grid.row_labels[first[i]], steps[i], " ") for i in shown
    ]


def _row_name(grid: TrialGrid) -> str:
    n_reads = int(grid.reads.max()) + 1
    return "read: token, step" + (f" ({n_reads} reads a step, downwards)" if n_reads > 1 else "")


def _members(n: int) -> str:
    return f"n = {n} member{'' if n == 1 else 's'}"


def _label(token: str, step: int, between: str) -> str:
    return f"{token}{between}{step}" if token else str(step)


def _every(n: int, most: int) -> list[int]:
    """Return at most ``most`` of ``n`` positions, evenly spaced from the first."""
    return list(range(0, n, max(1, -(-n // most))))
