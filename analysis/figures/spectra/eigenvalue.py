"""Figures of `analysis.spectra.eigenvalue`."""

from collections.abc import Iterator
from functools import partial
from itertools import product
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, MultipleLocator
from numpy.typing import NDArray

from analysis.figures.captions import captioned
from analysis.figures.spectra.values import legend_below, scatter_modes
from analysis.figures.style import (
    BLUE,
    GRAY,
    MOST_POINTS,
    WIDTHS,
    column_figure,
    complex_plane,
    plot_counts,
    share_text,
    single_axes,
    styled,
    thinned,
)
from analysis.population import Population
from analysis.spectra.eigenvalue import EigenvalueSummary

N_EXAMPLES = 5
NEAR = 0.1
"""Distance from the unit circle within which half of the eigenvalues are to be, for a closer look."""

SCATTERED = ("spectral_radius", "mag_mean", "mag_std", "n_unstable")
_LABELS = {
    "spectral_radius": "spectral radius",
    "mag_mean": "mean |λ|",
    "mag_std": "std of |λ|",
    "n_unstable": "number of |λ| > 1",
}


CAPTIONS = {
    "complex_plane_examples": (
        "Eigenvalues of the first members, one panel each; open circles: theory; gray: unit circle. Look for "
        "circles that no dot fills, and whether members miss the same ones."
    ),
    "spectra_overlay": (
        "Moduli of all members' eigenvalues over their angles; open circles: theory; line: the unit circle. "
        "Dots that pile up in the circles mean that members found the same modes; vertical smears, that they "
        "agree in angle only."
    ),
    "statistics_scatter_matrix": (
        "Statistics of the members against each other, a point for each, with their distributions on the "
        "diagonal. Look for clusters and for members apart from the rest; points on a line mean that two "
        "statistics say the same."
    ),
}


@captioned(CAPTIONS)
def draw(summary: EigenvalueSummary) -> Iterator[tuple[str, Figure]]:
    """Yield the figures of an eigenvalue summary and their names."""
    yield "complex_plane_examples", _examples(summary)
    yield "spectra_overlay", _overlay(summary)
    if len(summary.population) > 1:
        yield "statistics_scatter_matrix", _scatter_matrix(summary)


@styled
def plot_spectrum(summary: EigenvalueSummary, member: int = 0, ax: Axes | None = None) -> Axes:
    """Draw the spectrum of the member at position ``member``, and the theory's as open circles."""
    ax = single_axes(ax, height=3.3)
    population = summary.population
    complex_plane(ax, _radius(summary))
    _draw_theory(summary, ax)
    values = summary.shown(population.eigenvalues[member])
    ax.scatter(values.real, values.imag, s=7, color=BLUE, linewidths=0, alpha=0.8, label="model")
    ax.set_title(population.names[member])
    return ax


@styled
def plot_overlay(summary: EigenvalueSummary, ax: Axes | None = None, *, closely: bool = False) -> Axes:
    """Draw the moduli of all members' eigenvalues over their angles, and the theory's as open circles.

    ``closely`` cuts the moduli to twice the distance from 1 of the nearer half of them.
    """
    ax = single_axes(ax, "double", height=2.6)
    population = summary.population
    everything = summary.shown(np.concatenate(population.eigenvalues))
    values = thinned(everything)
    theory = np.empty(0, complex) if population.theory is None else population.theory
    theory = theory[np.abs(theory) > 0]
    cut = _cut(np.concatenate([values, theory]))
    angles = partial(_angles, cut=cut)
    alpha = float(np.clip(200 / len(values), 0.15, 0.8))
    ax.axhline(1, color=GRAY, linewidth=0.6, zorder=0)
    ax.scatter(
        angles(values),
        np.abs(values),
        s=5,
        color=BLUE,
        linewidths=0,
        alpha=alpha,
        label="models",
        rasterized=True,
    )
    scatter_modes(ax, theory, angles, np.abs)
    if closely:
        far = _half_distance(population)
        ax.set_ylim(1 - 2 * far, 1 + 2 * far)
    ax.set(xlabel="angle of λ (degrees)", ylabel="modulus |λ|", xlim=(cut, cut + 360))
    ax.xaxis.set_major_locator(MultipleLocator(90))
    return ax


def _half_distance(population: Population) -> float:
    """Return the distance of moduli from 1 that half of the eigenvalues keep, at least a thousandth."""
    return max(float(np.median(np.abs(np.abs(np.concatenate(population.eigenvalues)) - 1))), 1e-3)


def _cut(values: NDArray[np.complex128]) -> float:
    """Return the angle below 0 at which the circle is cut, in degrees: within a gap at least half as wide as any."""
    angles = np.unique(np.degrees(np.angle(values)) % 360)
    if not len(angles):
        return -180.0
    gaps = np.diff(np.append(angles, angles[0] + 360))
    middle = (angles + gaps / 2) % 360
    return float(middle[gaps >= gaps.max() / 2].max() - 360)


def _angles(values: NDArray[np.complex128], cut: float) -> NDArray[np.float64]:
    """Return angles in degrees, from the cut on, so that neighbours stand together."""
    angle: NDArray[np.float64] = (np.degrees(np.angle(values)) - cut) % 360 + cut
    return angle


@styled
def _overlay(summary: EigenvalueSummary) -> Figure:
    population = summary.population
    many_near = _half_distance(population) < NEAR
    figure, axes = column_figure("double" if many_near else "single", height=2.7, columns=1 + many_near)
    for place, ax in enumerate(axes[0]):
        plot_overlay(summary, ax, closely=place == 1)
    if many_near:
        axes[0, 1].set_title("near the unit circle")
    legend_below(figure, axes[0, 0])
    count = len(summary.shown(np.concatenate(population.eigenvalues)))
    lines = [
        f"{population.label}: n = {len(population)} models, L = {population.seq_length}{summary.shown_text()}"
    ]
    figure.suptitle("\n".join([*lines, *filter(None, [share_text(min(count, MOST_POINTS), count)])]))
    return figure


@styled
def plot_statistics_pair(summary: EigenvalueSummary, x: str, y: str, ax: Axes | None = None) -> Axes:
    """Draw one statistic against another, a point for each member; a histogram of 20 bins where they are the same."""
    ax = single_axes(ax)
    if x == y:
        plot_counts(ax, summary.statistics[x])
        ax.set_ylabel("models")
        ax.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    else:
        ax.scatter(summary.statistics[x], summary.statistics[y], s=14, color=BLUE, linewidths=0, alpha=0.8)
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
        + summary.shown_text()
    )
    return figure


@styled
def _scatter_matrix(summary: EigenvalueSummary) -> Figure:
    size = len(SCATTERED)
    figure, axes = column_figure("double", height=6.4, rows=size, columns=size, sharex="col")
    for row, column in product(range(size), repeat=2):
        if column > row:
            # The other half would say the same.
            axes[row, column].remove()
            continue
        ax = plot_statistics_pair(summary, SCATTERED[column], SCATTERED[row], axes[row, column])
        if row < size - 1:
            ax.set_xlabel("")
        if 0 < column < row:
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
