"""Figure of the experiment: loss over the number of keys, beside theory and the published runs."""

from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from analysis.figures.style import COLORS, GRAY, column_figure, styled

TITLES = {"unique_keys": "unique keys", "repeated_keys": "repeated keys"}

HIGHEST = 0.52
"""Where the axis of losses ends: an answer of zeros costs a half. Normalised answers may cost far more."""


@styled
def draw_capacity(cells: pd.DataFrame) -> Figure:
    """Return curves of mean loss with 95 % intervals, theory's lines, and the published runs as crosses.

    Parameters
    ----------
    cells
        By task, cell and number of keys (`summary.Summary`).
    """
    tasks = list(dict.fromkeys(cells.index.get_level_values("task")))
    figure, axes = column_figure(
        "double" if len(tasks) > 1 else "single", height=3.2, columns=len(tasks), sharey=True
    )
    for ax, task in zip(axes[0], tasks, strict=True):
        of_task = cells.xs(task, level="task")
        for cell, color in zip(dict.fromkeys(of_task.index.get_level_values("cell")), cycle(COLORS)):
            table = of_task.xs(cell, level="cell").sort_index()
            low, high = table["low"].fillna(table["mean"]), table["high"].fillna(table["mean"])
            reach = [table["mean"] - low, high - table["mean"]]
            ax.errorbar(table.index, table["mean"], reach, color=color, marker="o", ms=3, lw=1, label=cell)
            ax.plot(table.index, table["published"], "x", color=color, ms=5)
            ax.vlines(
                table.index,
                table["as_published_min"],
                table["as_published_max"],
                color=color,
                alpha=0.35,
                lw=5,
            )
            if np.isfinite(table["theory"]).any():
                ax.plot(table.index, table["theory"], color=color, ls=":", lw=1)
        ax.set(xlabel="keys S", title=TITLES[task])
        ax.set_ylim(-0.02, HIGHEST)
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        handles = ax.get_legend_handles_labels()[0]
        ax.legend(handles=handles, loc="upper left", fontsize=6, frameon=False)
    axes[0, 0].set_ylabel("loss")
    marks = [
        Line2D([], [], color=GRAY, ls=":", label="theory"),
        Line2D([], [], color=GRAY, marker="x", ls="", label="one published run"),
        Line2D([], [], color=GRAY, alpha=0.35, lw=5, label="our range, tested as published"),
    ]
    figure.legend(handles=marks, loc="outside lower center", ncols=2 if len(tasks) == 1 else 3)
    counts = sorted(set(cells["n"]))
    n = " to ".join(str(c) for c in dict.fromkeys((counts[0], counts[-1])))
    figure.suptitle(f"Capacity of fast weights: n = {n} members; mean and 95 % interval")
    return figure
