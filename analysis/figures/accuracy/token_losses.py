"""Figures of `analysis.accuracy.token_losses`."""

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.accuracy.token_losses import TokenLosses
from analysis.figures.captions import captioned
from analysis.figures.style import BLACK, BLUE, GRAY, VERMILION, column_figure, single_axes, styled

LINE = 40
"""Tokens in one line of text."""

LINES = 3

COLUMNS = ("loss_a", "loss_b")


CAPTIONS = {
    "token_losses": (
        "Upper rows: loss of each token of a text under two models; the bar between the dots has the colour of "
        "the better one. Last row: the running sum of the difference. Look for the words at which it jumps: "
        "these decide which model is better."
    ),
}


@captioned(CAPTIONS)
def draw(result: TokenLosses, first: int = 0) -> Iterator[tuple[str, Figure]]:
    """Yield the figure of a comparison and its name; the excerpt starts at token ``first``."""
    yield "token_losses", _figure(result, first)


@styled
def plot_excerpt(result: TokenLosses, start: int, ax: Axes | None = None) -> Axes:
    """Draw one line of text: each token's loss under both models, the bar between them in the better one's colour."""
    ax = single_axes(ax, "double", 1.6)
    tokens = result.tokens.iloc[start : start + LINE]
    places = np.arange(len(tokens))
    better = np.where(tokens["difference"] >= 0, BLUE, VERMILION)
    ax.bar(
        places,
        tokens["difference"],
        bottom=tokens["loss_a"],
        color=better,
        alpha=0.35,
        width=0.5,
        linewidth=0,
    )
    # Where both lose the same the smaller dot lies on the larger.
    for label, column, color, size in zip(result.labels, COLUMNS, (BLUE, VERMILION), (3.6, 2.0), strict=True):
        ax.plot(places, tokens[column], "o", color=color, label=label, markersize=size, clip_on=False)
    ax.set_xticks(range(len(tokens)), tokens["word"], rotation=90)
    ax.tick_params(axis="x", length=0)
    ax.set(xlim=(-0.7, LINE - 0.3), ylim=(0, None), ylabel="loss (nats)")
    return ax


@styled
def plot_advantage(result: TokenLosses, ax: Axes | None = None) -> Axes:
    """Draw how much more the second model has lost up to each token of the whole text."""
    ax = single_axes(ax, "double", 1.6)
    advantage = result.tokens["difference"].cumsum()
    ax.plot(np.arange(1, len(advantage) + 1), advantage, color=BLACK)
    ax.axhline(0, color=GRAY, linewidth=0.6, zorder=0)
    a, b = result.labels
    ax.set(xlabel="predicted tokens", ylabel=f"loss of {b}\n− {a} (nats)", xlim=(1, len(advantage)))
    return ax


@styled
def _figure(result: TokenLosses, first: int) -> Figure:
    starts = [s for s in range(first, first + LINE * LINES, LINE) if s < len(result.tokens)]
    figure, axes = column_figure("double", height=1.3 * (len(starts) + 1) + 0.3, rows=len(starts) + 1)
    for start, ax in zip(starts, axes[:, 0], strict=False):
        plot_excerpt(result, start, ax)
    highest = max(ax.get_ylim()[1] for ax in axes[:-1, 0])
    for ax in axes[:-1, 0]:
        ax.set_ylim(0, highest)
    plot_advantage(result, axes[-1, 0])
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    a, b = result.labels
    d = result.difference
    interval = "" if np.isnan(d["low"]) else f" (95 %: {d['low']:.3f} to {d['high']:.3f})"
    figure.suptitle(
        f"Loss of {b} minus loss of {a}: {d['mean']:.3f} nats{interval}, "
        f"n = {d['stories']:.0f} {result.pieces}, {len(result.tokens)} tokens"
    )
    return figure
