"""Figures of `analysis.conditions.decoding`."""

from collections.abc import Iterator
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.conditions.decoding import Decoding
from analysis.figures.captions import captioned
from analysis.figures.style import BLUE, GRAY, SEQUENTIAL, column_figure, single_axes, styled

_NAMES = {"recall": "balanced accuracy", "r2": "R²"}


CAPTIONS = {
    "decode": (
        "How well the label is read from the states of held-out trials at each step. Blue: mean with 95 % "
        "interval, thin lines members; gray: labels permuted, with 95 % of permutations. Squares mark steps "
        "above chance. In the matrix, if there is one, a bright square off the diagonal means that a decoder "
        "trained at one step works at others: the code does not change."
    ),
}


@captioned(CAPTIONS)
def draw(result: Decoding) -> Iterator[tuple[str, Figure]]:
    """Yield the figure of scores over time, with the matrix of training and test steps if there is one."""
    yield "decode", _decode(result)


@styled
def plot_times(result: Decoding, ax: Axes | None = None) -> Axes:
    """Draw scores over time: members, mean with 95 % interval, chance with its band, and where both tests find it."""
    ax = single_axes(ax)
    table = result.times
    for name in result.names:
        own = result.members.loc[name]
        ax.plot(own.index, own["score"], color=BLUE, alpha=0.25, linewidth=0.5)
    ax.fill_between(
        table.index, table["chance_low"], table["chance_high"], color=GRAY, alpha=0.35, linewidth=0
    )
    ax.plot(table.index, table["chance"], color=GRAY, linewidth=0.8, label="labels permuted")
    ax.fill_between(table.index, table["low"], table["high"], color=BLUE, alpha=0.3, linewidth=0)
    ax.plot(table.index, table["mean"], color=BLUE, label="decoded")
    if result.found:
        low, high = ax.get_ylim()
        place = low - 0.04 * (high - low)
        ax.plot(
            result.found, np.full(len(result.found), place), "s", color="black", markersize=2.2, linewidth=0
        )
    ax.set(xlabel="step", ylabel=_NAMES[result.score])
    ax.legend()
    return ax


@styled
def plot_matrix(result: Decoding, ax: Axes | None = None) -> Axes:
    """Draw the mean score by training step (rows) and test step (columns)."""
    ax = single_axes(ax)
    if result.matrix is None:
        return ax
    mean = result.matrix.mean(axis=0)
    lowest = 0.0 if result.score == "recall" else float(np.nanquantile(mean, 0.05))
    image = ax.imshow(mean, origin="lower", cmap=SEQUENTIAL, vmin=lowest, vmax=1.0, interpolation="nearest")
    ax.plot([-0.5, len(mean) - 0.5], [-0.5, len(mean) - 0.5], color="white", linewidth=0.5)
    ax.set(xlabel="tested at step", ylabel="trained at step")
    ax.figure.colorbar(image, ax=ax, label=_NAMES[result.score], shrink=0.85)
    return ax


@styled
def _decode(result: Decoding) -> Figure:
    wide = result.matrix is not None
    figure, axes = column_figure("double" if wide else "single", height=2.9, columns=2 if wide else 1)
    plot_times(result, axes[0, 0])
    if wide:
        plot_matrix(result, axes[0, 1])
    about = (
        f"{result.label}: {result.labels.name}; n = {result.test.n} member{'' if result.test.n == 1 else 's'}; "
        f"{result.design}; band: 95 % interval over members, gray: 95 % of permutations"
    )
    if result.found:
        about += "; squares: above chance in both tests"
    figure.suptitle(fill(about, 108 if wide else 50))
    return figure
