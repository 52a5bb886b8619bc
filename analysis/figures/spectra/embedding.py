"""Figures of `analysis.spectra.embedding`."""

from collections.abc import Iterator
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from analysis.figures.captions import captioned
from analysis.figures.style import BLUE, GRAY, SEQUENTIAL, VERMILION, column_figure, single_axes, styled
from analysis.spectra.embedding import Embedding

_COLOR_LABELS = {
    "accuracy": "accuracy",
    "frob_error": "Frobenius error",
    "spectral_error": "spectral error (degrees)",
}
LEAST_ACCURACIES = 0.1
"""Range of accuracies that the colours span at least."""

MANY_BARS = 100
"""Components from which on bars, each an object that is drawn by itself, are one outline."""

_METHODS = {"pca": "PC", "tsne": "t-SNE", "mds": "MDS", "isomap": "Isomap"}


CAPTIONS = {
    "*_embedding": (
        "Each point is a member, placed by the likeness of its spectrum to the others'; colour: as the bar "
        "says; rings: outliers; gray: no value. Look for clusters, and whether colour follows position. Only "
        "distances between points have a meaning."
    ),
    "pca_variance": (
        "Bars: variance that each principal component of the members' spectra explains; line: running sum; "
        "dashed: 95 %. If two bars do not hold most of it, the map of members shows little of their "
        "differences."
    ),
}


@captioned(CAPTIONS)
def draw(embedding: Embedding) -> Iterator[tuple[str, Figure]]:
    """Yield the figures of an embedding and their names."""
    figure, axes = column_figure("single", height=3.1)
    plot_embedding(embedding, axes[0, 0])
    yield f"{embedding.method}_embedding", figure
    if embedding.method == "pca":
        figure, axes = column_figure("single")
        plot_variance(embedding, axes[0, 0])
        yield "pca_variance", figure


@styled
def plot_embedding(embedding: Embedding, ax: Axes | None = None) -> Axes:
    """Draw models as points; gray ones have no value for the colour, rings mark outliers."""
    ax = single_axes(ax, height=3.1)
    x, y = embedding.coordinates.T
    color = np.full(len(x), np.nan) if embedding.color is None else embedding.color
    known = np.isfinite(color)
    if not known.all():
        plain = embedding.color is None
        ax.scatter(
            x[~known], y[~known], s=14, color=BLUE if plain else GRAY, label=None if plain else "no value"
        )
    if known.any():
        low, high = _color_range(embedding.color_by, color[known])
        points = ax.scatter(x[known], y[known], s=14, c=color[known], cmap=SEQUENTIAL, vmin=low, vmax=high)
        bar = ax.figure.colorbar(
            points, ax=ax, label=_COLOR_LABELS[embedding.color_by], fraction=0.05, pad=0.02
        )
        bar.locator = MaxNLocator(5)
        bar.update_ticks()
    if embedding.outliers.any():
        far = embedding.outliers
        ax.scatter(
            x[far], y[far], s=44, facecolors="none", edgecolors=VERMILION, linewidths=0.9, label="outlier"
        )
    if embedding.annotate_outliers:
        _annotate(embedding, ax)
    _label_axes(embedding, ax)
    if ax.get_legend_handles_labels()[1]:
        ax.legend(loc="upper left", bbox_to_anchor=(0, -0.16), ncols=2, borderaxespad=0, handletextpad=0.2)
    return ax


@styled
def plot_variance(embedding: Embedding, ax: Axes | None = None) -> Axes:
    """Draw the share of variance of each principal component and their running sum."""
    ax = single_axes(ax)
    shares = 100 * embedding.variance_ratio
    component = np.arange(1, len(shares) + 1)
    if len(component) > MANY_BARS:
        edges = np.append(component, len(component) + 1) - 0.5
        ax.stairs(shares, edges, fill=True, color=BLUE, label="component")
    else:
        ax.bar(component, shares, color=BLUE, label="component")
    ax.plot(component, np.cumsum(shares), color=VERMILION, marker="o", markersize=2, label="cumulative")
    ax.axhline(95, color=GRAY, linewidth=0.6, linestyle="--")
    ax.set(xlabel="principal component", ylabel="variance (%)", ylim=(0, 104))
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    ax.set_title(f"{embedding.population.label}: n = {len(embedding.population)} models")
    ax.legend(loc="center right")
    return ax


def _annotate(embedding: Embedding, ax: Axes) -> None:
    middle = np.mean(ax.get_xlim())
    for position in np.flatnonzero(embedding.outliers):
        x, y = embedding.coordinates[position]
        # Names point inwards, if there is room.
        side = 1 if x < middle else -1
        ax.annotate(
            embedding.population.names[position],
            (x, y),
            xytext=(5 * side, 0),
            textcoords="offset points",
            ha="left" if side > 0 else "right",
            va="center",
            fontsize=7,
            path_effects=[withStroke(linewidth=1.5, foreground="white")],
        )


def _color_range(name: str, values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the range of colours: of accuracies at least a tenth, so that small differences look small."""
    low, high = float(values.min()), float(values.max())
    if name == "accuracy" and high - low < LEAST_ACCURACIES:
        high = min(max((low + high + LEAST_ACCURACIES) / 2, high), 1.0)
        low = high - LEAST_ACCURACIES
    return low, high


def _label_axes(embedding: Embedding, ax: Axes) -> None:
    labels = [f"{_METHODS[embedding.method]} {i}" for i in (1, 2)]
    if embedding.method == "pca":
        labels = [
            f"{text} ({100 * share:.0f} %)"
            for text, share in zip(labels, embedding.variance_ratio, strict=False)
        ]
    ax.set(
        xlabel=labels[0], ylabel=labels[-1] if len(labels) > 1 else "", aspect="equal", adjustable="datalim"
    )
    # Equal scales without room at the edge would cut the markers.
    ax.margins(0.12)
    lines = [
        f"{embedding.population.label}: n = {len(embedding.population)} models",
        fill(embedding.measure, 52),
    ]
    shown = float(embedding.variance_ratio[:2].sum()) if embedding.method == "pca" else 1.0
    if shown < 0.5:
        lines.append(f"two axes show {100 * shown:.0f} % of the variance: near here need not be near")
    ax.set_title("\n".join(lines))
