"""Figure of the experiment: accuracy over learning rates, each seed and the mean over them."""

from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from analysis.figures.style import COLORS, column_figure, styled

TITLES = {"trained": "up to the trained length", "beyond": "3.5 to 6 times the trained length"}


@styled
def draw_rates(rates: pd.DataFrame, members: pd.DataFrame) -> Figure:
    """Return curves of mean accuracy over learning rates with 95 % intervals, and a point for each member.

    Parameters
    ----------
    rates, members
        Tables by run and learning rate, and by member (`summary.Summary`).
    """
    names = list(dict.fromkeys(rates.index.get_level_values("run")))
    figure, axes = column_figure("double", height=2.9 + 0.16 * -(-len(names) // 3), columns=2, sharey=True)
    values = sorted(set(rates.index.get_level_values("learning_rate")))
    for ax, (name, title) in zip(axes[0], TITLES.items(), strict=True):
        for place, (run, color) in enumerate(zip(names, cycle(COLORS), strict=False)):
            of_run, seeds = rates.xs(run, level="run"), members.xs(run, level="run")
            x = np.array(of_run.index, dtype=float) * 1.06 ** (place - (len(names) - 1) / 2)
            low, high = (
                of_run[f"{name}_low"].fillna(of_run[name]),
                of_run[f"{name}_high"].fillna(of_run[name]),
            )
            reach = [of_run[name] - low, high - of_run[name]]
            ax.errorbar(x, of_run[name], reach, color=color, marker="o", ms=3, capsize=2, lw=1, label=run)
            shift = dict(zip(of_run.index, x, strict=True))
            ax.plot(seeds["learning_rate"].map(shift), seeds[name], ".", color=color, ms=2.5, alpha=0.5, lw=0)
        ax.set_xscale("log")
        ax.xaxis.set_major_locator(FixedLocator(values))
        ax.xaxis.set_major_formatter(FixedFormatter([f"{value:g}" for value in values]))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.set(xlabel="learning rate", title=title)
    axes[0, 0].set_ylabel("accuracy")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    counts = sorted(set(rates["n"]))
    n = " to ".join(str(c) for c in dict.fromkeys((counts[0], counts[-1])))
    figure.suptitle(f"State tracking, n = {n} for each learning rate: mean over seeds and 95 % interval")
    return figure
