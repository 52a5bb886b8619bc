"""Figures of `analysis.homology.persistence`."""

from collections.abc import Iterator
from textwrap import fill
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.figures.homology.nulls import draw_tests
from analysis.figures.style import (
    BLUE,
    COLORS,
    GRAY,
    SEQUENTIAL,
    column_figure,
    plot_counts,
    single_axes,
    styled,
)
from analysis.homology.diagram_distances import Diagrams
from analysis.homology.persistence import Persistence

N_EXAMPLES = 6
_MARKERS = "o^sD"
_DIMENSIONS = ("components", "loops", "voids", "3-cycles")
_COLORS_BY = {
    "accuracy": "accuracy",
    "h0_mean_birth": "mean birth of components",
    "h1_mean_death": "mean death of loops",
}
_METHODS = {"mds": "MDS", "tsne": "t-SNE", "pca": "principal coordinate"}


def draw(persistence: Persistence) -> Iterator[tuple[str, Figure]]:
    """Yield the figures of a persistence analysis and their names."""
    yield "example_persistence_diagrams", _examples(persistence)
    yield "topological_features", _features(persistence)
    yield "persistence_betti_curves", _betti_curves(persistence)
    if persistence.tests is not None:
        yield "persistence_tests", draw_tests(persistence.tests, persistence.population.label, "|Δλ|")
    if persistence.embedding is not None:
        figure, axes = column_figure("single", height=3.1)
        plot_embedding(persistence, axes[0, 0])
        yield f"persistence_{persistence.method}_embedding", figure


@styled
def plot_diagram(persistence: Persistence, member: int = 0, ax: Axes | None = None) -> Axes:
    """Draw births and deaths of the model at position ``member``; bars that never die stand on the dashed line ∞."""
    ax = single_axes(ax, height=3.3)
    # The largest scale of all models, so that panels compare.
    draw_bars(ax, persistence.diagrams[member], float(persistence.betti_curves["scale"].max()))
    ax.set(xlabel="birth (|Δλ|)", ylabel="death (|Δλ|)")
    ax.set_title(_title(persistence, member))
    return ax


@styled
def draw_bars(ax: Axes, diagrams: Diagrams, largest: float) -> None:
    """Draw one model's bars on axes up to the scale ``largest``; those that never die stand on the dashed line ∞."""
    top = 1.05 * max(largest, 1e-9)
    never = 1.1 * top
    ax.plot([0, top], [0, top], color=GRAY, linewidth=0.6)
    ax.axhline(never, color=GRAY, linewidth=0.6, linestyle="--")
    for dimension, bars in enumerate(diagrams):
        deaths = np.where(np.isinf(bars[:, 1]), never, bars[:, 1])
        marker, color, label = _MARKERS[dimension], COLORS[dimension], _DIMENSIONS[dimension]
        ax.scatter(bars[:, 0], deaths, s=9, marker=marker, color=color, linewidths=0, alpha=0.6, label=label)
    ax.text(top, never, "∞", ha="right", va="bottom", color=GRAY)
    ax.set(xlim=(-0.05 * top, 1.1 * top), ylim=(-0.05 * top, 1.2 * top), aspect="equal")
    ax.locator_params(nbins=4)


@styled
def plot_feature(persistence: Persistence, feature: str, label: str, ax: Axes | None = None) -> Axes:
    """Draw a feature against accuracy, a point for each model that has one."""
    ax = single_axes(ax)
    ax.scatter(
        persistence.population.scalars["accuracy"],
        persistence.features[feature],
        s=7,
        color=BLUE,
        linewidths=0,
    )
    ax.set(xlabel="accuracy", ylabel=label)
    _plain_ticks(ax)
    return ax


@styled
def plot_histogram(persistence: Persistence, feature: str, label: str, ax: Axes | None = None) -> Axes:
    """Draw the distribution of a feature over models in 20 bins."""
    ax = single_axes(ax)
    plot_counts(ax, persistence.features[feature])
    ax.set(xlabel=label, ylabel="models")
    ax.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    _plain_ticks(ax)
    return ax


@styled
def plot_betti_curves(persistence: Persistence, dimension: int = 0, ax: Axes | None = None) -> Axes:
    """Draw Betti numbers against scale, a line for each model, infinite bars included."""
    ax = single_axes(ax)
    curves = persistence.betti_curves[persistence.betti_curves["dimension"] == dimension]
    alpha = float(np.clip(5 / len(persistence.population), 0.1, 0.8))
    for _, curve in curves.groupby("model_name", sort=False):
        ax.plot(curve["scale"], curve["betti"], color=COLORS[dimension], alpha=alpha, drawstyle="steps-post")
    ax.set_ylim(0, 1.05 * max(curves["betti"].max(), 1))
    ax.set(xlabel="scale (|Δλ|)", ylabel=f"β{'₀₁₂₃'[dimension]}, {_DIMENSIONS[dimension]}")
    ax.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    return ax


@styled
def plot_embedding(persistence: Persistence, ax: Axes | None = None) -> Axes:
    """Draw models as points placed by the distances of their diagrams; gray ones have no value for the colour."""
    ax = single_axes(ax, height=3.1)
    assert persistence.embedding is not None, "an embedding needs at least three models"
    placed = np.isfinite(persistence.embedding).all(axis=1)
    x, y = persistence.embedding[placed].T
    color = None if persistence.color is None else persistence.color[placed]
    if color is None:
        ax.scatter(x, y, s=14, color=BLUE)
    else:
        known = np.isfinite(color.to_numpy())
        points = ax.scatter(x[known], y[known], s=14, c=color[known], cmap=SEQUENTIAL)
        if known.any():
            label = _COLORS_BY.get(str(color.name), str(color.name))
            ax.figure.colorbar(points, ax=ax, label=label, fraction=0.05, pad=0.02)
        if not known.all():
            ax.scatter(x[~known], y[~known], s=14, color=GRAY, label="no value")
            ax.legend(loc="upper left", bbox_to_anchor=(0, -0.16), borderaxespad=0, handletextpad=0.2)
    method = _METHODS[persistence.method]
    ax.set(xlabel=f"{method} 1", ylabel=f"{method} 2", aspect="equal", adjustable="datalim")
    ax.margins(0.12)
    ax.locator_params(nbins=5)
    left_out = f"; infinitely far: {', '.join(persistence.left_out)}" if persistence.left_out else ""
    ax.set_title(fill(f"{_caption(persistence)}, {persistence.metric} distances{left_out}", 46))
    return ax


@styled
def _examples(persistence: Persistence) -> Figure:
    n_models = len(persistence.population)
    shown = np.linspace(0, n_models - 1, min(N_EXAMPLES, n_models)).astype(int)
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    width: Literal["single", "double"] = "double" if columns > 1 else "single"
    figure, axes = column_figure(width, height=0.7 + 2.6 * rows, rows=rows, columns=columns)
    for position, ax in enumerate(axes.flat):
        if position < len(shown):
            plot_diagram(persistence, int(shown[position]), ax)
        else:
            ax.remove()
    figure.suptitle(f"{_caption(persistence)}, {len(shown)} shown")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(_DIMENSIONS))
    return figure


@styled
def _features(persistence: Persistence) -> Figure:
    n_dimensions = min(len(persistence.distances), 2)
    known = int(persistence.population.scalars["accuracy"].notna().sum())
    figure, axes = column_figure("double", height=0.4 + 1.9 * n_dimensions, rows=n_dimensions, columns=3)
    plot = plot_feature if known else plot_histogram
    for dimension, row in enumerate(axes):
        plot(persistence, f"h{dimension}_count", f"number of {_DIMENSIONS[dimension]}", row[0])
        plot(persistence, f"h{dimension}_total_persistence", f"H{'₀₁'[dimension]} total persistence", row[1])
        plot_histogram(
            persistence, f"h{dimension}_max_persistence", f"H{'₀₁'[dimension]} longest persistence", row[2]
        )
    figure.suptitle(f"{_caption(persistence)}, {known} with an accuracy; finite bars, persistence in |Δλ|")
    return figure


@styled
def _betti_curves(persistence: Persistence) -> Figure:
    n_dimensions = len(persistence.distances)
    figure, axes = column_figure("double" if n_dimensions > 1 else "single", height=2.4, columns=n_dimensions)
    for dimension, ax in enumerate(axes[0]):
        plot_betti_curves(persistence, dimension, ax)
    figure.suptitle(f"{_caption(persistence)}, one line per model")
    return figure


def _title(persistence: Persistence, member: int) -> str:
    accuracy = persistence.population.scalars["accuracy"].iloc[member]
    value = f"accuracy {accuracy:.3f}" if np.isfinite(accuracy) else "accuracy unknown"
    return f"{persistence.population.names[member]}, {value}"


def _caption(persistence: Persistence) -> str:
    population = persistence.population
    return f"{population.label}: n = {len(population)} models, L = {population.seq_length}"


def _plain_ticks(ax: Axes) -> None:
    ax.locator_params(axis="x", nbins=5)
    ax.ticklabel_format(useOffset=False)
