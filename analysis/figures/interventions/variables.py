"""Figures of exchanged variables."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from analysis.figures.interventions.writes import sample_text
from analysis.figures.style import BLACK, BLUE, GRAY, SEQUENTIAL, VERMILION, single_axes, styled
from analysis.interventions.pairs import ROUTE_TEXTS
from analysis.interventions.summary import Interventions
from analysis.interventions.variables import told_part

_EDIT_COLORS = {"set": BLUE, "swap": VERMILION}


@styled
def plot_variables(result: Interventions, ax: Axes | None = None) -> Axes:
    """Draw which share of answers is the source's when a slot is exchanged, by the step, beside controls."""
    ax = single_axes(ax)
    part = told_part(result.variables)
    table = result.variables.xs(part, level="part")
    for edit in table.index.unique("edit"):
        rows, color = table.xs(edit, level="edit"), _EDIT_COLORS[edit]
        ax.plot(rows.index, rows["interchange"], "o-", color=color, markersize=2.5, label=edit)
        ax.fill_between(rows.index, rows["low"], rows["high"], color=color, alpha=0.2, linewidth=0)
        ax.plot(rows.index, rows["random"], ":", color=color, label=f"{edit}, random directions")
        if rows["wrong_slot"].notna().any():
            ax.plot(rows.index, rows["wrong_slot"], "-.", color=BLACK, label="wrong slot")
    ceiling = table["ceiling"].groupby("after").first()
    ax.plot(ceiling.index, ceiling, color=GRAY, linestyle="--", label="right, nothing exchanged")
    ax.set(xlabel=f"{part} exchanged after steps", ylabel="share of answers", ylim=(-0.03, 1.03))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(loc="center right")
    ax.set_title(f"{result.label}: answers of the source\n{sample_text(result)}\nbands: 95 %, over members")
    return ax


@styled
def plot_pairs(result: Interventions, route: str, ax: Axes | None = None) -> Axes:
    """Draw which share of answers passes from each member (column) to each other one (row) by a route."""
    ax = single_axes(ax)
    assert result.pairs is not None
    shares = result.pairs.carried[route]
    image = ax.imshow(shares, vmin=0, vmax=1, cmap=SEQUENTIAL, interpolation="nearest")
    names = [str(name).removeprefix("model-") for name in result.pairs.table.index.unique("model_name")]
    every = -(-len(names) // 12)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_ticks(np.arange(len(names))[::every], names[::every])
    ax.set(xlabel="member whose variables are taken", ylabel="member that answers")
    assert ax.figure is not None
    ax.figure.colorbar(image, ax=ax, label="share carried over")
    ax.set_title(f"{result.label}: {ROUTE_TEXTS[route]}\n{sample_text(result)}")
    return ax
