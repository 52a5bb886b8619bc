"""Figures of `analysis.accuracy.learning`."""

from collections.abc import Iterator
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from analysis.accuracy.learning import LearningSummary
from analysis.figures.captions import captioned
from analysis.figures.style import COLORS, column_figure, single_axes, styled

LINEAR_BELOW = 0.1
"""Errors in percent below which the axis is linear, so that zero has a place on it."""


CAPTIONS = {
    "learning_curves": (
        "Validation error over training steps: line, median over members; band, from the best to the worst. "
        "Look at how soon curves fall, where they level off, and how far members spread."
    ),
}


@captioned(CAPTIONS)
def draw(summary: LearningSummary, *, linear: bool = False) -> Iterator[tuple[str, Figure]]:
    """Yield the figures of a learning summary and their names; ``linear`` as in `plot_learning`."""
    yield "learning_curves", _panels(summary, linear)


@styled
def plot_learning(
    summary: LearningSummary, panel: str, ax: Axes | None = None, *, linear: bool = False
) -> Axes:
    """Draw the validation errors of a panel's populations: median over members, band from the best to the worst.

    The axis of errors is logarithmic, or ``linear`` where errors are too large for that.
    """
    ax = single_axes(ax)
    colors = dict(zip(_labels(summary), COLORS, strict=False))
    for curve in (c for c in summary.curves if c.panel == panel):
        color = colors[curve.label]
        ax.fill_between(curve.steps, curve.low, curve.high, color=color, alpha=0.25, linewidth=0)
        ax.plot(curve.steps, curve.median, color=color, label=curve.label)
    if not linear:
        ax.set_yscale("symlog", linthresh=LINEAR_BELOW)
        ax.yaxis.set_major_locator(FixedLocator([0, 0.1, 1, 10, 100]))
        ax.yaxis.set_minor_locator(NullLocator())
        ax.yaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    limits = (0, 102) if linear else (-0.01, 130)
    ax.set(xlabel="training step", ylabel="validation error (%)", ylim=limits, title=panel)
    ax.set_xlim(0, None)
    return ax


@styled
def _panels(summary: LearningSummary, linear: bool) -> Figure:
    panels = list(dict.fromkeys(c.panel for c in summary.curves))
    wide = len(panels) > 1
    figure, axes = column_figure("double" if wide else "single", height=2.7, columns=len(panels), sharey=True)
    handles: dict[str, Any] = {}
    for panel, ax in zip(panels, axes[0], strict=True):
        plot_learning(summary, panel, ax, linear=linear).label_outer()
        artists, names = ax.get_legend_handles_labels()
        handles |= dict(zip(names, artists, strict=True))
    if len(handles) > 1:
        figure.legend(
            handles.values(), handles.keys(), loc="outside lower center", ncols=min(4, len(handles))
        )
    counts = sorted({c.n for c in summary.curves})
    members = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    alone = f"{next(iter(handles))}: " if len(handles) == 1 else ""
    told = "n = 1 member" if counts == [1] else f"median and range over n = {members} members"
    figure.suptitle(alone + told)
    return figure


def _labels(summary: LearningSummary) -> list[str]:
    return list(dict.fromkeys(c.label for c in summary.curves))
