"""Figure of the experiment: how much seeds differ over widths, a line for each penalty, and over the task's load."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.degeneracy.measure import Degeneracy
from analysis.figures.degeneracy.measure import PANELS
from analysis.figures.style import COLORS, column_figure, styled

SHOWN = ("disagreement", "dmdc", "weights_per_unit", "weights_relative")


@styled
def draw_widths(groups: Mapping[str, Degeneracy]) -> Figure:
    """Return panels of measures (columns) over widths and over loads (rows) with 95 % intervals; floors are dashes.

    Without either, as of a part of the sweep, they are over penalties.

    Parameters
    ----------
    groups
        Comparisons by the name of their group; those called width_l2_x are the lines of a penalty x.
    """
    widths = {name: own for name, own in groups.items() if own.setting == "hidden_dim"}
    penalties = {name: own for name, own in groups.items() if own.setting == "l2_penalty"}
    loads = {name: own for name, own in groups.items() if name not in widths and name not in penalties}
    rows = [part for part in (widths, loads) if part] or [penalties]
    held = set.intersection(*(set(own.settings.index.get_level_values("measure")) for own in groups.values()))
    shown = [measure for measure in SHOWN if measure in held]
    figure, axes = column_figure("double", height=0.7 + 2.0 * len(rows), rows=len(rows), columns=len(shown))
    for part, line in zip(rows, axes, strict=True):
        for place, (name, result) in enumerate(part.items()):
            for measure, ax in zip(shown, line, strict=True):
                _line(ax, result, measure, COLORS[place], place)
            if part is not loads:
                label = name.replace("width_l2_", "L2 penalty ").replace("penalty_units", "units: ")
                line[0].plot([], [], "o-", color=COLORS[place], label=label, markersize=3)
        for measure, ax in zip(shown, line, strict=True):
            ax.set_title(PANELS[measure])
            setting = next(iter(part.values())).setting
            ax.set_xlabel(
                {"hidden_dim": "units", "l2_penalty": "L2 penalty", "seq_length": "vectors"}.get(
                    setting, setting
                )
            )
            ax.set_ylim(0, 1.1 * max(ax.dataLim.y1, 1e-12))
    if axes[0, 0].get_legend_handles_labels()[0]:
        figure.legend(loc="outside lower center", ncols=3)
    counts = sorted({n for own in groups.values() for n in own.sizes.values()})
    n = " to ".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))
    figure.suptitle(
        f"Differences between seeds, n = {n} networks each; bars: 95 % over seeds; dashes: floor of dynamics"
    )
    return figure


def _line(ax: Axes, result: Degeneracy, measure: str, color: str, place: int) -> None:
    """Draw one measure over the values of the setting."""
    table = result.settings.xs(measure, level="measure")
    x = table["setting"].astype(float)
    if result.setting == "hidden_dim":
        x = np.log2(x)
    elif result.setting == "l2_penalty":  # from one to the next, as its slopes are
        x = pd.Series(np.arange(float(len(x))), index=x.index)
    shifted = x + 0.06 * place
    reach = [table["estimate"] - table["low"], table["high"] - table["estimate"]]
    ax.errorbar(
        shifted, table["estimate"], reach, fmt="o-", color=color, markersize=3, capsize=2, linewidth=0.8
    )
    if table["floor"].notna().any():
        ax.plot(shifted, table["floor"], "_", color=color, markersize=7)
    ax.set_xticks(x, [f"{value:g}" for value in table["setting"]])
