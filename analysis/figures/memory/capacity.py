"""Figures of `analysis.memory.capacity`."""

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from analysis.figures.captions import captioned
from analysis.figures.style import (
    BLUE,
    GRAY,
    GREEN,
    ORANGE,
    VERMILION,
    column_figure,
    single_axes,
    styled,
)
from analysis.memory.capacity import Capacity
from analysis.memory.capacity_lines import delta_rule, interference, rank_floor, summed
from analysis.memory.log import mixing_text

LINE_POINTS = 48
"""Numbers of pairs at which lines of theory are computed."""


CAPTIONS = {
    "capacity_*": (
        "Accuracy or loss of answers and the error of contents over the number of pairs stored, the similarity "
        "of keys and the steps since a write, with 95 % intervals; lines: theory for random keys. Look for the "
        "load at which errors leave the floor, and whether members do better than random keys."
    ),
}


@captioned(CAPTIONS)
def draw(capacity: Capacity) -> Iterator[tuple[str, Figure]]:
    """Yield the figures of a capacity analysis and their names."""
    for memory in capacity.shown:
        if panels := _panels(capacity, memory):
            yield f"capacity_{memory}", draw_capacity(capacity, memory, panels)


@styled
def draw_capacity(
    capacity: Capacity, memory: str, panels: list[Callable[[Capacity, str, Axes], Axes]] | None = None
) -> Figure:
    """Return a figure of what a memory holds: answers and contents by pairs, similarity and lag, and eigenvalues."""
    panels = _panels(capacity, memory) if panels is None else panels
    columns = 2 if len(panels) == 4 else min(len(panels), 3)
    rows = -(-len(panels) // columns)
    figure, axes = column_figure("double", height=2.4 * rows + 0.5, rows=rows, columns=columns)
    for spare in axes.flat[len(panels) :]:
        spare.remove()
    for plot, ax in zip(panels, axes.flat, strict=False):
        plot(capacity, memory, ax)
    features = int(capacity.memories.loc[memory, "features"])
    bands = ", 95 % intervals" if capacity.members > 1 else ""
    figure.suptitle(
        f"{capacity.label}: memory {memory}, F = {features}, n = {capacity.members} "
        f"member{'' if capacity.members == 1 else 's'}{bands}{mixing_text(capacity.mixes[memory])}"
    )
    return figure


@styled
def plot_contents(capacity: Capacity, memory: str, ax: Axes | None = None) -> Axes:
    """Draw the error of pairs read by their own keys against their number, beside floor and random keys."""
    ax = single_axes(ax)
    table = _of(capacity.pairs, memory, "error")
    if capacity.memories.loc[memory, "kind"] == "linear":
        features = int(capacity.memories.loc[memory, "features"])
        counts = _counts(table)
        lines = {"sum": (summed, ORANGE), "delta rule": (delta_rule, GREEN)}
        for name, (line, color) in lines.items():
            errors = [line(features, int(n)).scaled_error() for n in counts]
            ax.plot(counts, errors, color=color, linewidth=1, label=f"random keys, {name}")
        # Least squares with random keys is on this line.
        floor = [rank_floor(features, int(n)) for n in counts]
        ax.plot(counts, floor, color=GRAY, linestyle="--", label="floor 1 − F/S (orthogonal values)")
        ax.plot(
            table.index, table["value_floor"], ".", color=GRAY, markersize=3, label="floor of these values"
        )
    _plot_mean(table, "error", BLUE, "members", ax)
    ax.set(xlabel="pairs stored", ylabel="error, own keys")
    _frame(table, [table["error"]], 1.0, ax)
    ax.legend(loc="upper left", bbox_to_anchor=(0, -0.24), ncols=1, borderaxespad=0, labelspacing=0.2)
    return ax


@styled
def plot_answers(capacity: Capacity, memory: str, ax: Axes | None = None) -> Axes:
    """Draw the accuracy of answers, or their loss beside its floor, against the number of pairs stored."""
    ax = single_axes(ax)
    table = _of(capacity.pairs, memory, _answer(capacity))
    _plot_mean(table, _answer(capacity), BLUE, "members", ax)
    if "loss_floor" in table and table["loss_floor"].notna().any():
        memories = capacity.memories
        features = int(memories.loc[memories["kind"] == "linear", "features"].sum())
        counts = _counts(table)
        floor = [rank_floor(features, int(n)) / 2 for n in counts]
        ax.plot(counts, floor, "--", color=GRAY, label="floor ½(1 − F/S)")
        ax.legend(loc="upper left", bbox_to_anchor=(0, -0.24), borderaxespad=0)
    ax.set(xlabel="pairs stored", ylabel=_answer_label(capacity))
    _frame(table, [table[_answer(capacity)]], 0.5 if capacity.loss else 1.0, ax)
    return ax


@styled
def plot_similarity(capacity: Capacity, memory: str, ax: Axes | None = None) -> Axes:
    """Draw errors and answers against how similar a pair's key is to the most similar other one."""
    ax = single_axes(ax)
    table = _of(capacity.similarity, memory)
    _plot_mean(table.dropna(subset="error"), "error", BLUE, "error, own keys", ax)
    answered = table.dropna(subset=_answer(capacity))
    if len(answered):
        _plot_mean(answered, _answer(capacity), VERMILION, f"{_answer(capacity)} of answers", ax)
    if capacity.memories.loc[memory, "kind"] == "linear":
        cosine = np.linspace(0, 1, LINE_POINTS)
        ax.plot(cosine, interference(cosine), color=GRAY, linestyle="--", label="sum of two: ρ²/(1 + ρ²)")
    ax.set(xlabel="|cosine| to the closest key", ylabel="error, answers")
    _frame(table, [table["error"], answered[_answer(capacity)]], 1.0, ax)
    ax.set_xlim(0, 1)
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.legend(loc="upper left", bbox_to_anchor=(0, -0.24), borderaxespad=0, labelspacing=0.2)
    return ax


@styled
def plot_eigenvalues(capacity: Capacity, memory: str, ax: Axes | None = None) -> Axes:
    """Draw the distribution of the smallest eigenvalue of each write's transition, over all members."""
    ax = single_axes(ax)
    values = capacity.transitions[memory]
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 1.0)
    ax.hist(
        values,
        bins=np.linspace(low, high, 41).tolist(),
        weights=np.full(len(values), 1 / len(values)),
        color=BLUE,
    )
    ax.axvline(0, color=GRAY, linewidth=0.6, linestyle="--")
    ax.set(xlabel="smallest eigenvalue of a write", ylabel="share of writes")
    ax.xaxis.set_major_locator(MaxNLocator(5))
    ax.set_title(f"{100 * float((values < 0).mean()):.1f} % below zero")
    return ax


@styled
def plot_left(capacity: Capacity, memory: str, ax: Axes | None = None) -> Axes:
    """Draw the share of a write that is left, read by its own key, against the steps since."""
    ax = single_axes(ax)
    table = _of(capacity.lags, memory, "left")
    _plot_mean(table, "left", BLUE, "members", ax)
    ax.axhline(0, color=GRAY, linewidth=0.6, linestyle="--")
    ax.set(xlabel="steps since the write", ylabel="share of the write left")
    _frame(table, [table["left"]], 1.0, ax)
    return ax


@styled
def plot_lags(capacity: Capacity, memory: str, ax: Axes | None = None) -> Axes:
    """Draw answers against the steps since the item that is asked for was written."""
    ax = single_axes(ax)
    table = _of(capacity.lags, memory, _answer(capacity))
    _plot_mean(table, _answer(capacity), BLUE, "members", ax)
    ax.set(xlabel="steps since the write", ylabel=_answer_label(capacity))
    _frame(table, [table[_answer(capacity)]], 0.5 if capacity.loss else 1.0, ax)
    return ax


def _panels(capacity: Capacity, memory: str) -> list[Callable[[Capacity, str, Axes], Axes]]:
    """Return what there is to draw."""
    answer = _answer(capacity)
    there = {
        plot_answers: len(_of(capacity.pairs, memory, answer)),
        plot_contents: len(_of(capacity.pairs, memory, "error")),
        plot_similarity: len(_of(capacity.similarity, memory)),
        plot_lags: len(_of(capacity.lags, memory, answer)),
        plot_left: len(_of(capacity.lags, memory, "left")),
        plot_eigenvalues: len(capacity.transitions[memory]),
    }
    return [plot for plot, count in there.items() if count]


def _counts(table: pd.DataFrame) -> NDArray[np.intp]:
    """Return the numbers of pairs at which lines are computed, to beyond those of a table."""
    largest = max(float(table.index.max()) * 1.15, 4.0)
    return np.unique(np.linspace(1, largest, LINE_POINTS).round().astype(np.intp))


def _of(table: pd.DataFrame, memory: str, column: str = "") -> pd.DataFrame:
    """Return the rows of a memory, with a column those that have it."""
    if memory not in table.index.get_level_values(0):
        return table.iloc[:0]
    rows = table.loc[memory]
    return rows.dropna(subset=column) if column else rows


def _answer(capacity: Capacity) -> str:
    return "loss" if capacity.loss else "accuracy"


def _answer_label(capacity: Capacity) -> str:
    return "loss of answers" if capacity.loss else "accuracy of answers"


def _frame(table: pd.DataFrame, means: list[pd.Series], top: float, ax: Axes) -> None:
    """Set the axes from 0 to beyond the largest means, and at least to ``top``: intervals of few members are wide."""
    drawn = np.concatenate([series.dropna().to_numpy(dtype=float) for series in means])
    low, high = float(drawn.min(initial=0.0)), max(float(drawn.max(initial=top)), top)
    margin = 0.05 * (high - low)
    ax.set(xlim=(0, 1.15 * float(table.index.max())), ylim=(low - margin, high + margin))
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def _plot_mean(table: pd.DataFrame, name: str, color: str, label: str, ax: Axes) -> None:
    x = table.index.to_numpy(dtype=float)
    ax.plot(x, table[name], color=color, marker="o", markersize=2.5, label=label)
    if len(table) > 1:
        ax.fill_between(x, table[f"{name}_low"], table[f"{name}_high"], color=color, alpha=0.2, linewidth=0)
    else:
        ends = np.abs(table[[f"{name}_low", f"{name}_high"]].to_numpy().T - table[name].to_numpy())
        ax.errorbar(x, table[name], np.nan_to_num(ends), color=color, linewidth=1)
