"""Figures of the experiment: what an agent sees, how it learns, and how often it chooses rightly."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import CenteredNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.figures.style import BLACK, BLUE, GRAY, VERMILION, column_figure, single_axes, styled
from analysis.statistics import UNBOUNDED, mean_interval
from emt.tasks.base import Batch
from emt.tasks.contextual_choice import CHOICES, Sizes
from experiments.contextual_choice.results import CONDITIONS

COLORS = dict(zip(CONDITIONS, (GRAY, BLUE, VERMILION), strict=True))
LABELS = {
    "unseen": "not seen before",
    "seen": "seen before",
    "retrieval off": "seen before, retrieval off",
}
WIDTHS = {"unseen": 4.0, "seen": 1.2, "retrieval off": 1.2}
"""Of lines, in points: two of the curves are one where retrieval is what makes the difference."""

POLICIES = {"greedy": "most probable action", "sampled": "sampled action"}


@styled
def draw_stimulus(batch: Batch, sizes: Sizes) -> Figure:
    """Return a figure of the first trial of each side in an episode: channels over time."""
    figure, axes = column_figure("single", height=3.6, columns=len(CHOICES), sharey=True)
    inputs = batch.inputs[0, 0].T
    norm = CenteredNorm(halfrange=float(np.abs(inputs).max()))
    sides = batch.events["token"][0, 0, :: sizes.steps]
    for side, ax in enumerate(axes[0]):
        first = int(np.flatnonzero(sides == side)[0]) * sizes.steps
        image = ax.imshow(inputs[:, first : first + sizes.steps], cmap="RdBu_r", norm=norm, aspect="auto")
        ax.axvline(sizes.t_off - 0.5, color=GRAY, linestyle="--")
        ax.axhline(sizes.evidence - 0.5, color=BLACK, linestyle="--")
        ax.set(xlabel="step", title=CHOICES[side])
        ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes[0, 0].set(ylabel=f"channel: evidence to {sizes.evidence - 1}, then context")
    figure.colorbar(image, ax=axes[0], label="input", fraction=0.05, pad=0.03)
    return figure


@styled
def draw_learning(returns: pd.DataFrame, label: str, steps: int) -> Figure:
    """Return a figure of return and value loss by epoch, the mean over agents with its 95 % interval."""
    figure, axes = column_figure("double", height=2.5, columns=2)
    n = returns.index.get_level_values("model").nunique()
    labels = {"return": f"return (of {steps})", "value_loss": "value loss of a trial"}
    for ax, (column, ylabel) in zip(axes[0], labels.items(), strict=True):
        _plot_mean(returns[column], "epoch", ax, BLUE)
        ax.set(xlabel="epoch (episode)", ylabel=ylabel)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.suptitle(f"{label}: learning, n = {n} agent{'s' * (n > 1)}{', band: 95 %' * (n > 1)}")
    return figure


@styled
def draw_rates(rates: pd.DataFrame, label: str, sizes: Sizes) -> Figure:
    """Return a figure of rates of right choices by step, in three conditions, greedy and sampled."""
    figure, axes = column_figure("double", height=2.9, columns=2, sharey=True)
    n = rates.index.get_level_values("model").nunique()
    for ax, policy in zip(axes[0], POLICIES, strict=True):
        plot_rates(rates[policy], sizes, ax).set_title(POLICIES[policy])
    axes[0, 0].set(ylabel="accuracy")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    figure.suptitle(
        f"{label}: frozen weights, n = {n} agent{'s' * (n > 1)}{', bands: 95 % over agents' * (n > 1)}"
    )
    return figure


@styled
def plot_rates(rates: "pd.Series[float]", sizes: Sizes, ax: Axes | None = None) -> Axes:
    """Draw one policy's rates of right choices by step, a curve for each condition."""
    ax = single_axes(ax)
    for condition, color in COLORS.items():
        values = rates.xs(condition, level="condition")
        _plot_mean(values, "step", ax, color, LABELS[condition], (0.0, 1.0), width=WIDTHS[condition])
    ax.axvline(sizes.t_off - 0.5, color=GRAY, linestyle="--", linewidth=0.8)
    ax.axhline(1 / len(CHOICES), color=GRAY, linestyle=":", linewidth=0.8)
    ax.set(xlabel="step", ylim=(0.35, 1.02))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    return ax


@styled
def draw_comparison(rates: dict[str, pd.DataFrame], sizes: Sizes) -> Figure:
    """Return a figure of the seen trials' greedy rates, a curve for each run."""
    figure, axes = column_figure("single", height=2.9)
    ax = axes[0, 0]
    for (label, table), color in zip(rates.items(), _run_colors(len(rates)), strict=True):
        _plot_mean(table["greedy"].xs("seen", level="condition"), "step", ax, color, label, (0.0, 1.0))
    ax.axvline(sizes.t_off - 0.5, color=GRAY, linestyle="--", linewidth=0.8)
    ax.axhline(1 / len(CHOICES), color=GRAY, linestyle=":", linewidth=0.8)
    ax.set(xlabel="step", ylabel="accuracy in repeated trials", ylim=(0.35, 1.02))
    ax.legend(loc="lower right")
    n = sorted({t.index.get_level_values("model").nunique() for t in rates.values()})
    ax.set_title(f"n = {' or '.join(map(str, n))} agents each, most probable action, bands: 95 %")
    return figure


def draw(
    batch: Batch, sizes: Sizes, returns: pd.DataFrame, rates: pd.DataFrame, label: str
) -> Iterator[tuple[str, Figure]]:
    """Yield the figures of one run and their names: over all its agents, and of the first alone."""
    first = returns.index.get_level_values("model")[0]
    yield "stimulus", draw_stimulus(batch, sizes)
    for name, table_of in (("", lambda table: table), (f"_model-{first}", lambda table: table.loc[[first]])):
        of = f"{label}, model-{first}" if name else label
        yield f"learning{name}", draw_learning(table_of(returns), of, sizes.steps)
        yield f"correct_rate{name}", draw_rates(table_of(rates), of, sizes)


def _plot_mean(
    values: "pd.Series[float]",
    axis: str,
    ax: Axes,
    color: object,
    label: str = "",
    bounds: tuple[float, float] = UNBOUNDED,
    width: float = 1.2,
) -> None:
    """Draw means over models of values within ``bounds`` with their intervals."""
    intervals = {x: mean_interval(group, bounds=bounds) for x, group in values.groupby(level=axis)}
    x, means = list(intervals), [i.estimate for i in intervals.values()]
    ax.plot(x, means, color=color, marker="o", markersize=max(2.5, width), linewidth=width, label=label)
    low, high = ([getattr(i, side) for i in intervals.values()] for side in ("low", "high"))
    ax.fill_between(x, low, high, color=color, alpha=0.2, linewidth=0)


def _run_colors(n: int) -> Sequence[str]:
    from analysis.figures.style import COLORS as PALETTE

    return [PALETTE[i % len(PALETTE)] for i in range(n)]
