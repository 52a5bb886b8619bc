"""Figures of the experiment: learning curves beside what is best with and without memory, and the map of explosions."""

from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.figures.style import COLORS, GRAY, column_figure, styled
from analysis.statistics import mean_interval

LARGEST = {"recall": 1.0, "loss": 2.5}
"""Where bands end, and the axis of losses at the latest; beyond it a mean has no band."""

LABELS = {"recall": "recall", "loss": "loss (nats per character)"}


@styled
def draw_curves(curves: pd.DataFrame, rows: pd.DataFrame) -> Figure:
    """Return a figure of recall and loss over training: mean over members with its 95 % interval.

    A member that diverged keeps its last figures.

    Parameters
    ----------
    curves
        ``recall`` and ``loss`` by (run, model, step), of one data set.
    rows
        A row for each run, with the levels (`summary.Summary`).
    """
    names = list(curves.index.unique("run"))
    figure, axes = column_figure("double", height=2.9 + 0.16 * -(-len(names) // 3), columns=2)
    for ax, figure_name in zip(axes[0], LABELS, strict=True):
        for run, color in zip(names, cycle(COLORS), strict=False):
            style = "-" if names.index(run) < len(COLORS) else "--"
            _plot_mean(
                curves.xs(run, level="run")[figure_name], ax, color, style, str(run), LARGEST[figure_name]
            )
        _plot_levels(rows.loc[names], figure_name, ax)
        ax.set(xlabel="training step", ylabel=LABELS[figure_name])
        ax.set_xlim(0, None)
        ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes[0, 0].set_ylim(-0.02, 1.04)
    highest = curves["loss"].groupby(["run", "step"]).mean().max()
    axes[0, 1].set_ylim(
        0, 1.05 * min(max(float(highest), float(rows["no_memory_loss"].max())), LARGEST["loss"])
    )
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3)
    counts = sorted(set(rows.loc[names, "n"]))
    n = " to ".join(str(c) for c in dict.fromkeys((counts[0], counts[-1])))
    bands = "" if counts == [1] else ", bands: 95 % over seeds"
    figure.suptitle(f"{rows.loc[names[0], 'dataset']}: n = {n}{bands}")
    return figure


@styled
def draw_map(members: pd.DataFrame, rows: pd.DataFrame) -> Figure:
    """Return the map of learning rate and plasticity: members that exploded, and mean recall.

    Parameters
    ----------
    members, rows
        Tables by member and by run (`summary.Summary`).
    """
    members = members.assign(exploded=members["exploded_step"].notna().astype(float))
    shares = {
        name: members.pivot_table(column, "plast_clip", "learning_rate")
        for name, column in (("exploded", "exploded"), ("recall", "test_recall"))
    }
    figure, axes = column_figure("double", height=3.0, columns=2, sharey=True)
    titles = {"exploded": "share that exploded", "recall": "mean recall"}
    for ax, (name, table) in zip(axes[0], shares.items(), strict=True):
        image = ax.imshow(
            table,
            origin="lower",
            vmin=0,
            vmax=1,
            aspect="auto",
            cmap="magma_r" if name == "exploded" else None,
        )
        for (y, x), value in np.ndenumerate(table.to_numpy()):
            dark = value > 0.5 if name == "exploded" else value < 0.5
            ax.text(
                x, y, f"{value:.2f}", ha="center", va="center", fontsize=7, color="white" if dark else "black"
            )
        ax.set_xticks(range(table.shape[1]), [f"{rate:g}" for rate in table.columns])
        ax.set_yticks(range(table.shape[0]), [f"{clip:g}" for clip in table.index])
        ax.set(xlabel="learning rate", title=titles[name])
        ax.spines[:].set_visible(False)
        figure.colorbar(image, ax=ax, fraction=0.05, pad=0.03)
    axes[0, 0].set_ylabel("plasticity")
    row = rows.iloc[0]
    levels = f"no memory: recall {row['no_memory_recall']:.3f}, loss {row['no_memory_loss']:.3f}"
    best = f"optimum: 1, {row['optimal_loss']:.3f}"
    figure.suptitle(f"{row['dataset']}, {row['n']} seeds per cell; {levels}; {best}")
    return figure


def _plot_mean(
    values: "pd.Series[float]", ax: Axes, color: str, style: str, label: str, largest: float
) -> None:
    """Draw means over members by step with their intervals, as far as these are possible values."""
    by_step = values.unstack("model").sort_index().ffill()  # noqa: PD010 (a Series has no pivot_table)
    bounds = (0.0, 1.0 if largest == 1 else np.inf)
    intervals = {step: mean_interval(row, bounds=bounds) for step, row in by_step.iterrows()}
    steps = list(intervals)
    means = np.array([i.estimate for i in intervals.values()])
    ax.plot(steps, means, color=color, linestyle=style, label=label)
    low, high = ([getattr(i, side) for i in intervals.values()] for side in ("low", "high"))
    low, high = (np.clip(np.array(bound, dtype=float), 0, largest) for bound in (low, high))
    ax.fill_between(steps, low, high, where=means <= largest, color=color, alpha=0.2, linewidth=0)


def _plot_levels(rows: pd.DataFrame, figure_name: str, ax: Axes) -> None:
    """Draw what is best with memory, dotted, and without, dashed."""
    for level, style in (("optimal", ":"), ("no_memory", "--")):
        for value in rows[f"{level}_{figure_name}"].dropna().unique():
            ax.axhline(
                value, color=GRAY, linestyle=style, linewidth=0.8, label=_level_label(level, figure_name)
            )


def _level_label(level: str, figure_name: str) -> str:
    return level.replace("_", " ") if figure_name == "recall" else ""
