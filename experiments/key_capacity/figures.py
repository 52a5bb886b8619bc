"""Figure of the experiment: error and accuracy over the number of associations."""

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.figures.style import COLORS, GRAY, column_figure, styled

STYLES = {"tensor product": "-", "side by side": "--"}
LABELS = {"error": "squared error of a read", "accuracy": "nearest value is right"}
HIGHEST = 1.1
"""Where the axis of errors ends: a read of zeros costs one."""


@styled
def draw(cells: pd.DataFrame) -> Figure:
    """Return means with 95 % intervals by way of writing (color) and kind of keys (line), and theory's points."""
    figure, axes = column_figure("double", height=3.0, columns=2)
    writes = list(dict.fromkeys(cells.index.get_level_values("write")))
    colors = dict(zip(writes, COLORS, strict=False))
    for ax, (name, label) in zip(axes[0], LABELS.items(), strict=True):
        for (kind, write), table in cells.groupby(["keys", "write"], sort=False):
            curve = table.droplevel(["keys", "write"]).sort_index()
            ax.plot(curve.index, curve[name], STYLES[kind], color=colors[write], lw=1.2)
            ax.fill_between(
                curve.index, curve[f"{name}_low"], curve[f"{name}_high"], color=colors[write], alpha=0.2, lw=0
            )
            if name == "error":
                ax.plot(curve.index, curve["theory"], ".", color=colors[write], ms=4)
        ax.set(xlabel="associations stored", ylabel=label, ylim=(-0.03, HIGHEST if name == "error" else 1.03))
    handles = [Line2D([], [], color=colors[write], label=write) for write in writes]
    handles += [Line2D([], [], color=GRAY, ls=line, label=kind) for kind, line in STYLES.items()]
    handles.append(Line2D([], [], color=GRAY, marker=".", ls="", label="theory"))
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    figure.suptitle(
        f"Keys that are pairs of ten symbols: n = {cells['n'].max()} draws; mean and 95 % interval"
    )
    return figure
