"""Figures of `analysis.spectra.eigenvalue`."""

from collections.abc import Iterator
from itertools import product
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.figures.spectra.values import legend_of_models, scatter_modes
from analysis.figures.style import (
    BLUE,
    WIDTHS,
    column_figure,
    complex_plane,
    plot_counts,
    share_text,
    single_axes,
    styled,
    thinned,
)
from analysis.spectra.eigenvalue import EigenvalueSummary

N_EXAMPLES = 5
SCATTERED = ("spectral_radius", "mag_mean", "mag_std", "n_unstable")
_LABELS = {
    "spectral_radius": "spectral radius",
    "mag_mean": "mean |λ|",
    "mag_std": "std of |λ|",
    "n_unstable": "number of |λ| > 1",
}


def draw(summary: EigenvalueSummary) -> Iterator[tuple[str, Figure]]:
    """Yield the figures of an eigenvalue summary and their names."""
    yield "complex_plane_examples", _examples(summary)
    figure, axes = column_figure("single", height=3.5)
    plot_overlay(summary, axes[0, 0])
    yield "spectra_overlay", figure
    if len(summary.population) > 1:
        yield "statistics_scatter_matrix", _scatter_matrix(summary)


@styled
def plot_spectrum(summary: EigenvalueSummary, member: int = 0, ax: Axes | None = None) -> Axes:
    """Draw the spectrum of the member at position ``member``, and the theory's as open circles."""
    ax = single_axes(ax, height=3.3)
    population = summary.population
    complex_plane(ax, _radius(summary))
    _draw_theory(summary, ax)
    values = population.eigenvalues[member]
    ax.scatter(values.real, values.imag, s=7, color=BLUE, linewidths=0, alpha=0.8, label="model")
    ax.set_title(population.names[member])
    return ax


@styled
def plot_overlay(summary: EigenvalueSummary, ax: Axes | None = None) -> Axes:
    """Draw the spectra of all members on one plane, and the theory's as open circles."""
    ax = single_axes(ax, height=3.5)
    population = summary.population
    complex_plane(ax, _radius(summary))
    everything = np.concatenate(population.eigenvalues)
    values = thinned(everything)
    alpha = float(np.clip(200 / len(values), 0.15, 0.8))
    ax.scatter(
        values.real, values.imag, s=5, color=BLUE, linewidths=0, alpha=alpha, label="models", rasterized=True
    )
    _draw_theory(summary, ax)
    legend_of_models(ax)
    lines = [f"{population.label}: n = {len(population)} models, L = {population.seq_length}"]
    ax.set_title("\n".join([*lines, *filter(None, [share_text(len(values), len(everything))])]))
    return ax


@styled
def plot_statistics_pair(summary: EigenvalueSummary, x: str, y: str, ax: Axes | None = None) -> Axes:
    """Draw one statistic against another, a point for each member; a histogram of 20 bins where they are the same."""
    ax = single_axes(ax)
    if x == y:
        plot_counts(ax, summary.statistics[x])
        ax.set_ylabel("models")
        ax.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    else:
        ax.scatter(summary.statistics[x], summary.statistics[y], s=7, color=BLUE, linewidths=0, alpha=0.8)
        ax.set_ylabel(_LABELS.get(y, y))
        ax.yaxis.set_major_locator(MaxNLocator(4, integer=y.startswith("n_")))
    ax.set_xlabel(_LABELS.get(x, x))
    ax.xaxis.set_major_locator(MaxNLocator(2, integer=x.startswith("n_")))
    return ax


@styled
def _examples(summary: EigenvalueSummary) -> Figure:
    shown = min(N_EXAMPLES, len(summary.population))
    width: Literal["single", "double"] = "single" if shown < 3 else "double"
    figure, axes = column_figure(
        width, height=WIDTHS[width] / max(shown, 1.3) + 0.75, columns=shown, sharey=True
    )
    for member, ax in enumerate(axes[0]):
        plot_spectrum(summary, member, ax)
        ax.label_outer()
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    number = len(summary.population)
    figure.suptitle(
        f"{summary.population.label}: n = {number} models"
        + (f", the first {shown}" if shown < number else "")
    )
    return figure


@styled
def _scatter_matrix(summary: EigenvalueSummary) -> Figure:
    size = len(SCATTERED)
    figure, axes = column_figure("double", height=6.4, rows=size, columns=size, sharex="col")
    for row, column in product(range(size), repeat=2):
        ax = plot_statistics_pair(summary, SCATTERED[column], SCATTERED[row], axes[row, column])
        if row < size - 1:
            ax.set_xlabel("")
        # The first panel of a row that shows the row's statistic carries its label.
        if column not in (row, 0 if row else 1):
            ax.set_ylabel("")
            ax.tick_params(labelleft=False)
    figure.suptitle(f"{summary.population.label}: n = {len(summary.population)} models")
    figure.align_ylabels(axes[:, 0])
    return figure


def _draw_theory(summary: EigenvalueSummary, ax: Axes) -> None:
    theory = summary.population.theory
    if theory is not None:
        scatter_modes(ax, theory)


def _radius(summary: EigenvalueSummary) -> float:
    return float(summary.statistics["mag_max"].max())
