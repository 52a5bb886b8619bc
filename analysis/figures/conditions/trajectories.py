"""Figures of `analysis.conditions.trajectories`."""

from collections.abc import Iterator, Sequence
from textwrap import fill
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.conditions.labels import Labels
from analysis.conditions.trajectories import DRAWN, MEAN, Trajectories
from analysis.figures.captions import captioned
from analysis.figures.style import (
    BLACK,
    BLUE,
    COLORS,
    GRAY,
    SEQUENTIAL,
    VERMILION,
    WIDTHS,
    column_figure,
    single_axes,
    styled,
)

MARKERS = "os^Dv<>p*X"
"""Of the stages of a trial, in turn."""

MOST_NAMED = 12
"""Conditions that a legend names; of more of them the first and the last."""

LINE = 110
"""Characters that fit into a line of a legend, of which each entry takes `ENTRY` beside its name."""

ENTRY = 8

_SPACE: list[Any] = [
    ["space", "space", "speed"],
    ["space", "space", "dimension"],
    ["axis_1", "axis_2", "axis_3"],
]
_ALONE: list[Any] = [["space"] * DRAWN] * 2 + [["axis_1", "axis_2", "axis_3"]]


CAPTIONS = {
    "trajectories_mean": (
        "Mean states of each condition over time in the space of their largest variance, aligned over members; "
        "colours: conditions, symbols: where stages start. Below, the same axes over time with 95 % intervals "
        "over members. Look for when lines part and whether they stay apart; the panels beside say how fast "
        "states move and in how many dimensions."
    ),
    "trajectories_member": (
        "Mean states of each condition of one member over time; colours: conditions, symbols: where stages "
        "start; bands: one standard deviation over trials. Look for when lines part, and whether their "
        "distance exceeds the bands."
    ),
    "trajectories_demixed": (
        "Bars: share of each part (time, condition, both) in the variance of condition means, with 95 % "
        "intervals over members; mark: share before noise is subtracted. Lines: each part's first component in "
        "one member. A large share of the condition means states that differ by condition at all times; of "
        "both, at some."
    ),
}


@captioned(CAPTIONS)
def draw(result: Trajectories) -> Iterator[tuple[str, Figure]]:
    """Yield the mean over members where they have one, a member alone, and demixed parts where asked for."""
    shown = [MEAN, result.shown] if result.aligned else [result.shown]
    for place, who in enumerate(shown):
        yield (
            ("trajectories_mean" if who == MEAN else "trajectories_member"),
            _figure(result, who, place == 0),
        )
    if result.demixed is not None:
        yield "trajectories_demixed", _demixed(result)


@styled
def plot_space(result: Trajectories, who: str, ax: Axes | None = None) -> Axes:
    """Draw one line for each condition in three axes, with a symbol where a stage of the trials starts."""
    space: Any = ax
    if ax is None:
        figure = Figure(figsize=(WIDTHS["single"], WIDTHS["single"]), layout="constrained")
        space = figure.add_subplot(projection="3d")
    lines = result.lines.loc[who]
    for name, color in zip(result.conditions.values, colors_of(len(result.conditions.values)), strict=True):
        own = lines.loc[name]
        points = [own[f"axis_{axis}"].to_numpy() for axis in range(1, DRAWN + 1)]
        space.plot(*points, color=color, linewidth=1.2)
        for (_, step), marker in zip(result.starts.items(), MARKERS, strict=False):
            at = own.index.get_loc(step)
            space.plot(*([values[at]] for values in points), marker, color=color, markersize=4)
    for axis in "xyz":
        space.tick_params(axis=axis, labelleft=False, labelbottom=False, labelright=False, length=0)
        getattr(space, f"{axis}axis").set_ticklabels([])
    space.set_xlabel("axis 1", labelpad=-12)
    space.set_ylabel("axis 2", labelpad=-12)
    space.set_zlabel("axis 3", labelpad=-12)
    return space


@styled
def plot_axis(result: Trajectories, who: str, axis: int, ax: Axes | None = None) -> Axes:
    """Draw the conditions along one axis over time, with their spread, and where stages start."""
    ax = single_axes(ax)
    lines = result.lines.loc[who]
    for name, color in zip(result.conditions.values, colors_of(len(result.conditions.values)), strict=True):
        own = lines.loc[name]
        ax.fill_between(
            own.index, own[f"low_{axis}"], own[f"high_{axis}"], color=color, alpha=0.15, linewidth=0
        )
        ax.plot(own.index, own[f"axis_{axis}"], color=color)
    _mark_starts(result, ax)
    share = result.axes["of_means"].get((who, axis), 0.0)
    ax.set(xlabel="step", ylabel=f"axis {axis} ({share:.0%})")
    return ax


@styled
def plot_speed(result: Trajectories, ax: Axes | None = None) -> Axes:
    """Draw how far the means of conditions move in a step, mean over members with 95 % interval."""
    ax = single_axes(ax)
    for name, color in zip(result.conditions.values, colors_of(len(result.conditions.values)), strict=True):
        own = result.speed.loc[name]
        ax.fill_between(own.index, own["low"], own["high"], color=color, alpha=0.15, linewidth=0)
        ax.plot(own.index, own["mean"], color=color)
    _mark_starts(result, ax)
    ax.set(xlabel="step", ylabel="speed (spread / step)", ylim=(0, None))
    return ax


@styled
def plot_dimension(result: Trajectories, ax: Axes | None = None) -> Axes:
    """Draw participation ratios of states and of condition means over time, and that of permuted labels."""
    ax = single_axes(ax)
    table = result.dimension
    ax.fill_between(
        table.index, table["chance_low"], table["chance_high"], color=GRAY, alpha=0.35, linewidth=0
    )
    ax.plot(table.index, table["chance"], color=GRAY, linewidth=0.8, label="means, labels permuted")
    ax.plot(table.index, table["states"], color=BLUE, label="states")
    ax.plot(table.index, table["means_plain"], color=VERMILION, linewidth=0.8, linestyle=":", label="means")
    if table["means"].notna().any():
        ax.plot(table.index, table["means"], color=VERMILION, label="means without noise")
    if table["states"].max() > 4 * max(table["means_plain"].max(), 1):
        ax.set_yscale("log")
    ax.set(xlabel="step", ylabel="dimension")
    ax.legend(fontsize=5.5, ncols=2, loc="lower left", bbox_to_anchor=(0, 1), borderpad=0)
    return ax


@styled
def plot_parts(result: Trajectories, ax: Axes | None = None) -> Axes:
    """Draw the share of each part of the variance of means, with its interval over members, and with noise."""
    ax = single_axes(ax)
    if result.demixed is None:
        return ax
    table = result.demixed.parts
    places = np.arange(len(table))[::-1]
    error = np.nan_to_num([table["share"] - table["low"], table["high"] - table["share"]])
    ax.barh(places, table["share"], 0.6, color=BLUE, xerr=error, error_kw={"linewidth": 0.8})
    ax.plot(table["plain"], places, "|", color=VERMILION, markersize=9, label="with noise")
    ax.set_yticks(places, table.index)
    ax.set(xlabel="share of variance", xlim=(min(0.0, float(np.nanmin(table["share"]))), None))
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), borderpad=0)
    return ax


def colors_of(count: int) -> Sequence[Any]:
    """Return a colour for each condition."""
    if count <= len(COLORS):
        return COLORS[:count]
    return list(mpl.colormaps[SEQUENTIAL](np.linspace(0, 0.95, count)))


def legend_of(names: Sequence[str], starts: Sequence[str] = ()) -> list[Line2D]:
    """Return what names the colours of conditions and the symbols of stages."""
    colors = colors_of(len(names))
    named = range(len(names)) if len(names) <= MOST_NAMED else (0, len(names) - 1)
    handles = [Line2D([], [], color=colors[place], label=names[place]) for place in named]
    return handles + [
        Line2D([], [], color=BLACK, marker=marker, linewidth=0, markersize=3.5, label=name)
        for name, marker in zip(starts, MARKERS, strict=False)
    ]


def add_legend(figure: Figure, conditions: Labels, starts: Sequence[str] = ()) -> None:
    """Name conditions, and stages, below a figure of double width."""
    handles = legend_of(conditions.values, starts)
    longest = max(len(str(handle.get_label())) for handle in handles)
    columns = max(min(len(handles), LINE // (longest + ENTRY)), 1)
    figure.legend(handles=handles, title=conditions.name, loc="outside lower center", ncols=columns)


def _mark_starts(result: Trajectories, ax: Axes) -> None:
    for step in list(result.starts.values())[1:]:
        ax.axvline(step, color=GRAY, linewidth=0.4, zorder=0)


@styled
def _figure(result: Trajectories, who: str, whole: bool) -> Figure:
    """Return lines of one member or of the mean; ``whole``: with speed and dimension of all members."""
    figure = Figure(figsize=(WIDTHS["double"], 5.4), layout="constrained")
    axes = figure.subplot_mosaic(
        _SPACE if whole else _ALONE, per_subplot_kw={"space": {"projection": "3d"}}, height_ratios=[1, 1, 0.9]
    )
    plot_space(result, who, axes["space"])
    for axis in range(1, DRAWN + 1):
        plot_axis(result, who, axis, axes[f"axis_{axis}"])
    if whole:
        plot_speed(result, axes["speed"])
        plot_dimension(result, axes["dimension"])
    add_legend(figure, result.conditions, list(result.starts))
    n = len(result.members)
    spread = (
        "bands: 95 % interval over members" if who == MEAN else "bands: one standard deviation over trials"
    )
    about = f"{result.label}: {result.conditions.name}, {who}; n = {n} member{'s'[: n > 1]}; {result.design}; {spread}"
    about += "; shares: of the variance of means"
    if result.starts:
        about += "; symbols and lines: where stages start"
    figure.suptitle(fill(about, 98))
    return figure


@styled
def _demixed(result: Trajectories) -> Figure:
    """Return the shares of the parts, and the first component of each in one member."""
    if result.demixed is None:
        return column_figure()[0]
    parts = list(result.demixed.parts.index)
    figure, axes = column_figure("double", height=2.8, columns=1 + len(parts))
    plot_parts(result, axes[0, 0])
    steps = result.dimension.index
    for place, (part, ax) in enumerate(zip(parts, axes[0, 1:], strict=True)):
        for line, color in zip(
            result.demixed.components[place], colors_of(len(result.conditions.values)), strict=True
        ):
            ax.plot(steps, line, color=color)
        _mark_starts(result, ax)
        own = result.demixed.members.loc[(result.shown, part), "own"]
        ax.set(xlabel="step", title=f"{part}\n{own:.0%} its own", ylabel="component 1" if not place else "")
    add_legend(figure, result.conditions)
    n = len(result.members)
    figure.suptitle(
        fill(
            f"{result.label}: means of {result.conditions.name}, demixed; n = {n} member{'s'[: n > 1]}; "
            f"lines: first components of {result.shown}",
            98,
        )
    )
    return figure
