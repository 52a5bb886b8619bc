"""Figures of `analysis.homology.persistence`."""

from collections.abc import Iterator
from textwrap import fill
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.figures.captions import captioned
from analysis.figures.homology.nulls import draw_tests
from analysis.figures.style import (
    BLACK,
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
_DIMENSIONS = ("components", "loops", "voids", "3-cycles")
_COLORS_BY = {
    "accuracy": "accuracy",
    "h0_mean_birth": "mean birth of components",
    "h1_mean_death": "mean death of loops",
}
_METHODS = {"mds": "MDS", "tsne": "t-SNE", "pca": "principal coordinate"}


CAPTIONS = {
    "example_barcodes": (
        "Bars from the scale at which a component, loop or void of the eigenvalues appears to that at which it "
        "vanishes; colours: dimension. Bars to the dashed line never end. One long bar among short ones is "
        "structure, as the loop of eigenvalues around the unit circle; many short ones are noise."
    ),
    "topological_features": (
        "Number, total and longest persistence of features, against accuracy if it is known, else as "
        "histograms; each point is a member. Look for a trend: topology that comes with accuracy."
    ),
    "persistence_betti_curves": (
        "Number of components, loops and voids at each scale: a line for each member, black: mean. A plateau "
        "is structure at these scales; lines that part show members with another topology."
    ),
    "persistence_tests": (
        "Longest bar of each member (dot), and what 95 % of null clouds stay below (open marks); band: other "
        "subsets of the points. Dots above the open marks are structure beyond chance; the titles count them."
    ),
    "persistence_*_embedding": (
        "Each point is a member, placed by the distances between persistence diagrams; colour: as the bar "
        "says. Points close together have the same topology at the same scales; look for clusters and for "
        "colour that follows position."
    ),
}


@captioned(CAPTIONS)
def draw(persistence: Persistence) -> Iterator[tuple[str, Figure]]:
    """Yield the figures of a persistence analysis and their names."""
    yield "example_barcodes", _examples(persistence)
    yield "topological_features", _features(persistence)
    yield "persistence_betti_curves", _betti_curves(persistence)
    if persistence.tests is not None:
        yield "persistence_tests", draw_tests(persistence.tests, persistence.population.label, "|Δλ|")
    if persistence.embedding is not None:
        figure, axes = column_figure("single", height=3.1)
        plot_embedding(persistence, axes[0, 0])
        yield f"persistence_{persistence.method}_embedding", figure


@styled
def plot_barcode(persistence: Persistence, member: int = 0, ax: Axes | None = None) -> Axes:
    """Draw the barcode of the model at position ``member``; bars that never die end on the dashed line ∞."""
    ax = single_axes(ax)
    # The largest scale of all models, so that panels compare.
    draw_bars(ax, persistence.diagrams[member], float(persistence.betti_curves["scale"].max()))
    ax.set(xlabel="scale (|Δλ|)", ylabel="bars")
    ax.set_title(_title(persistence, member))
    return ax


@styled
def draw_bars(ax: Axes, diagrams: Diagrams, largest: float) -> None:
    """Draw one model's bars from birth to death, by dimension and then by length, up to the scale ``largest``."""
    top = 1.05 * max(largest, 1e-9)
    never, drawn = 1.05 * top, 0
    for dimension, bars in enumerate(diagrams):
        lengths = bars[:, 1] - bars[:, 0]
        ordered = bars[np.argsort(lengths, kind="stable")]
        place = drawn + np.arange(len(bars))
        deaths = np.where(np.isinf(ordered[:, 1]), never, ordered[:, 1])
        ax.hlines(place, ordered[:, 0], deaths, color=COLORS[dimension], label=_DIMENSIONS[dimension])
        drawn += len(bars) + max(len(bars) // 20, 1)
    ax.axvline(never, color=GRAY, linewidth=0.6, linestyle="--")
    ax.text(never, 1, "∞", ha="center", va="bottom", color=GRAY, transform=ax.get_xaxis_transform())
    ax.set(xlim=(0, 1.06 * never), ylim=(-1, drawn))
    ax.set_yticks([])
    ax.locator_params(axis="x", nbins=4)


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
    if feature.endswith("_count"):
        ax.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
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
    """Draw Betti numbers against scale, a line for each model and their mean, infinite bars included."""
    ax = single_axes(ax)
    curves = persistence.betti_curves[persistence.betti_curves["dimension"] == dimension]
    alpha = float(np.clip(5 / len(persistence.population), 0.1, 0.8))
    for _, curve in curves.groupby("model_name", sort=False):
        ax.plot(curve["scale"], curve["betti"], color=COLORS[dimension], alpha=alpha, drawstyle="steps-post")
    mean = curves.groupby("scale")["betti"].mean()
    ax.plot(mean.index, mean, color=BLACK, linewidth=1.5, drawstyle="steps-post", label="mean")
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
    figure, axes = column_figure(width, height=0.7 + 2.0 * rows, rows=rows, columns=columns)
    for position, ax in enumerate(axes.flat):
        if position < len(shown):
            plot_barcode(persistence, int(shown[position]), ax)
        else:
            ax.remove()
    figure.suptitle(f"{_caption(persistence)}, {len(shown)} shown")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(_DIMENSIONS))
    return figure


@styled
def _features(persistence: Persistence) -> Figure:
    known = int(persistence.population.scalars["accuracy"].notna().sum())
    plot = plot_feature if known else plot_histogram
    features = {
        f"h{dimension}_{name}": label
        for dimension in range(min(len(persistence.distances), 2))
        for name, label in (
            ("count", f"number of {_DIMENSIONS[dimension]}"),
            ("total_persistence", f"H{'₀₁'[dimension]} total persistence"),
            ("max_persistence", f"H{'₀₁'[dimension]} longest persistence"),
        )
    }
    # What is the same in all models needs no panel, as the number of finite bars in dimension 0.
    varying = [name for name in features if persistence.features[name].nunique() > 1]
    shown = varying or list(features)
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    width: Literal["single", "double"] = "double" if columns > 1 else "single"
    figure, axes = column_figure(width, height=0.4 + 1.9 * rows, rows=rows, columns=columns)
    for spare in axes.flat[len(shown) :]:
        spare.remove()
    for name, ax in zip(shown, axes.flat, strict=False):
        plot(persistence, name, features[name], ax)
    same = [f"{features[n]}: {persistence.features[n].iloc[0]:g} in all" for n in features if n not in shown]
    title = f"{_caption(persistence)}, {known} with an accuracy; finite bars, persistence in |Δλ|"
    figure.suptitle("\n".join([title, *filter(None, ["; ".join(same)])]))
    return figure


@styled
def _betti_curves(persistence: Persistence) -> Figure:
    n_dimensions = len(persistence.distances)
    figure, axes = column_figure("double" if n_dimensions > 1 else "single", height=2.4, columns=n_dimensions)
    for dimension, ax in enumerate(axes[0]):
        plot_betti_curves(persistence, dimension, ax)
    figure.suptitle(f"{_caption(persistence)}, one line per model; black: mean")
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
