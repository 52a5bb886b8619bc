"""Figures of `analysis.accuracy.groups`."""

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.accuracy.groups import GroupSummary
from analysis.figures.captions import captioned
from analysis.figures.spectra.values import jitter, legend_below
from analysis.figures.style import BLACK, COLORS, column_figure, single_axes, styled

BARS_WIDTH = 0.8
"""Share of a group's place that its bars take."""


CAPTIONS = {
    "accuracy_by_*": (
        "Bars: accuracy in each group, mean over members; a colour for each population; black dots: members. "
        "Look for groups in which populations differ by more than their members do."
    ),
}


@captioned(CAPTIONS)
def draw(summary: GroupSummary, kind: str = "task") -> Iterator[tuple[str, Figure]]:
    """Yield the figure of a summary and its name; ``kind`` is what a group is called."""
    yield f"accuracy_by_{kind}", _bars(summary, kind)


@styled
def plot_groups(summary: GroupSummary, kind: str = "task", ax: Axes | None = None) -> Axes:
    """Draw a bar for each population and group: mean over members; dots are the members if there are several."""
    ax = single_axes(ax, "double", 2.4)
    groups, labels = summary.groups, summary.labels
    width = BARS_WIDTH / len(labels)
    for place, (label, color) in enumerate(zip(labels, COLORS, strict=False)):
        middle = np.arange(len(groups)) + (place - (len(labels) - 1) / 2) * width
        means = summary.accuracies.loc[label]["mean"].reindex(groups)
        ax.bar(middle, means, width=0.9 * width, color=color, label=label, linewidth=0)
        members = summary.members.loc[label]["accuracy"].unstack("group").reindex(columns=groups)
        if len(members) > 1:
            x = middle[None] + width * jitter(members.index)[:, None]
            ax.scatter(x, members, s=2.5, color=BLACK, linewidths=0, zorder=3)
    ax.set_xticks(range(len(groups)), [str(g) for g in groups])
    ax.set(xlabel=kind, ylabel="accuracy (%)", ylim=(0, 102), xlim=(-0.6, len(groups) - 0.4))
    ax.tick_params(axis="x", length=0)
    return ax


@styled
def _bars(summary: GroupSummary, kind: str) -> Figure:
    figure, axes = column_figure("double", height=2.6)
    ax = plot_groups(summary, kind, axes[0, 0])
    if len(summary.labels) > 1:
        legend_below(figure, ax, columns=4)
    counts = sorted({len(rows) for _, rows in summary.members.groupby(level=["label", "group"])})
    members = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    alone = f"{summary.labels[0]}: " if len(summary.labels) == 1 else ""
    told = "n = 1 member" if counts == [1] else f"mean over n = {members} members; dots: members"
    figure.suptitle(alone + told)
    return figure
