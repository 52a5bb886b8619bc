"""Figures of the experiment: learning curves beside what is best with and without memory, and the map of explosions."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.figures.style import BLUE, GRAY, GREEN, ORANGE, PURPLE, SKY, VERMILION, column_figure, styled
from analysis.statistics import mean_interval

LARGEST = {"recall": 1.0, "loss": 2.5}
"""Where bands end, and the axis of losses at the latest; beyond it a mean has no band."""

UPDATERS = {"dfa": BLUE, "backprop": VERMILION, "bptt": GREEN}
"""How weights are learnt, as names of runs have it, and its colour."""

OTHERS = (PURPLE, SKY, ORANGE)
"""Colours of runs that name no updater."""

STYLES: tuple[Any, ...] = ("-", (0, (3, 1, 1, 1)), (0, (1, 1)), (0, (6, 1)))
"""Lines of one colour, in turn; the levels are gray."""

WORDS = {
    "dfa": "feedback alignment",
    "backprop": "backpropagation",
    "bptt": "backpropagation through time",
    "rnn": "Elman,",
    "ethereal": "EtherealRNN,",
    "no_mask": ", nothing plastic",
    "plasticity_1": ", plasticity 1",
}
"""What parts of runs' names mean."""

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
    looks = _looks(names)
    figure, axes = column_figure("double", height=2.9 + 0.16 * -(-len(names) // 3), columns=2)
    for ax, figure_name in zip(axes[0], LABELS, strict=True):
        for run, (color, style) in looks.items():
            values = curves.xs(run, level="run")[figure_name]
            _plot_mean(values, ax, color, style, _label(run), LARGEST[figure_name])
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
    figure.suptitle(f"{_dataset(rows.loc[names[0]])}: n = {n}{bands}")
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
    levels = (
        f"without memory: recall {row['no_memory_recall']:.2f}, loss {row['no_memory_loss']:.2f} nats; "
        f"best possible: recall 1, loss {row['optimal_loss']:.2f} nats"
    )
    figure.suptitle(f"{_dataset(row)}: n = {row['n']} seeds in each cell\n{levels}")
    return figure


def _looks(names: Sequence[str]) -> dict[str, tuple[str, Any]]:
    """Return colour and line of each run: a colour for an updater, so that runs which share one are alike."""
    used: Counter[str] = Counter()
    looks: dict[str, tuple[str, Any]] = {}
    for name in names:
        updater = next((one for one in UPDATERS if one in name.split("_")), None)
        color = UPDATERS[updater] if updater else OTHERS[len(looks) % len(OTHERS)]
        looks[name] = color, STYLES[used[color] % len(STYLES)]
        used[color] += 1
    return looks


def _label(name: str) -> str:
    """Return what a legend calls a run.

    >>> _label("dfa_plasticity_1"), _label("rnn_bptt_recurrent")
    ('feedback alignment, plasticity 1', 'Elman, backpropagation through time recurrent')
    """
    for part, text in WORDS.items():
        name = re.sub(rf"(?<![a-z0-9]){part}(?![a-z0-9])", text, name)
    return name.replace("_", " ").replace(" ,", ",")


def _dataset(row: Mapping[str, Any]) -> str:
    return str(row["dataset"]).replace("_", " ")


def _plot_mean(
    values: "pd.Series[float]", ax: Axes, color: str, style: Any, label: str, largest: float
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
