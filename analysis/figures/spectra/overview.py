"""Figures across the members of one population (`analysis.spectra.overview`)."""

from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from analysis.figures.captions import captioned
from analysis.figures.spectra.values import jitter, legend_of_models, scatter_modes
from analysis.figures.style import (
    BLACK,
    BLUE,
    VERMILION,
    column_figure,
    complex_plane,
    single_axes,
    styled,
    thinned,
)
from analysis.population import Population
from analysis.spectra.overview import STATISTICS, Overview, density_band, summarise_population

_LABELS = {
    "accuracy": "accuracy",
    "spectral_error_deg": "spectral error\n(degrees)",
    "mag_mean": "mean |λ|",
    "spectral_radius": "spectral radius",
    "n_unstable_tolerance": "number of\n|λ| > 1 + 10⁻⁵",
}


CAPTIONS = {
    "global_magnitude_distribution": (
        "Density of the moduli of eigenvalues: line, mean over members; band, 95 % of members; triangles: "
        "theory. A peak below the triangles means modes that neither grow nor decay; mass below 1 is "
        "forgetting."
    ),
    "global_angle_distribution": (
        "Density of the angles of eigenvalues: line, mean over members; band, 95 % of members; triangles: "
        "theory. Peaks at the triangles mean that members agree with the theory's modes."
    ),
    "global_complex_plane": (
        "Eigenvalues of all members in the complex plane; open circles: theory; gray: unit circle. Look for "
        "open circles without dots, the missing modes, and for dots outside the unit circle."
    ),
    "global_statistics_summary": (
        "Each point is a member, the diamond the mean with its 95 % interval. Look for members far from the "
        "others, and for a spread that the intervals hide."
    ),
}


@captioned(CAPTIONS)
def draw_population(
    population: Population, *, magnitude_threshold: float = 0.0
) -> Iterator[tuple[str, Figure]]:
    """Yield the figures across members and their names.

    Parameters
    ----------
    population
        At least one member.
    magnitude_threshold
        Hides eigenvalues of smaller modulus in ``global_complex_plane``, nowhere else.
    """
    overview = summarise_population(population)
    yield "global_magnitude_distribution", _figure_of(plot_magnitudes(overview))
    yield "global_angle_distribution", _figure_of(plot_angles(overview))
    yield "global_complex_plane", _figure_of(plot_spectra(population, magnitude_threshold))
    yield "global_statistics_summary", _statistics(overview)


@styled
def plot_magnitudes(overview: Overview, ax: Axes | None = None) -> Axes:
    """Draw the density of moduli: mean over members, and the band that holds the middle 95 % of them."""
    ax = single_axes(ax)
    theory = np.abs(_modes(overview.population))
    _density(ax, overview, overview.magnitude_edges, overview.magnitude_density, theory)
    ax.set(xlabel="modulus |λ|", ylabel="density", xlim=(0, None))
    return ax


@styled
def plot_angles(overview: Overview, ax: Axes | None = None) -> Axes:
    """Draw the density of angles: mean over members, and the band that holds the middle 95 % of them."""
    ax = single_axes(ax)
    theory = np.degrees(np.angle(_modes(overview.population)))
    _density(ax, overview, overview.angle_edges, overview.angle_density, theory)
    ax.set(xlabel="angle of λ (degrees)", ylabel="density (1/degree)", xticks=[-90, 0, 90, 180])
    return ax


@styled
def plot_spectra(population: Population, magnitude_threshold: float = 0.0, ax: Axes | None = None) -> Axes:
    """Draw the eigenvalues of all members from ``magnitude_threshold`` on, and the modes of the theory."""
    ax = single_axes(ax, height=3.6)
    values = np.concatenate(population.eigenvalues)
    above = values[np.abs(values) >= magnitude_threshold]
    shown = thinned(above)
    complex_plane(ax, float(np.abs(values).max()))
    opacity = float(np.clip(200 / max(len(shown), 1), 0.15, 0.8))
    ax.scatter(
        shown.real, shown.imag, s=5, color=BLUE, alpha=opacity, linewidths=0, label="models", rasterized=True
    )
    scatter_modes(ax, _modes(population))
    hidden = f" with |λ| ≥ {magnitude_threshold:g}" if magnitude_threshold > 0 else ""
    drawn = f", {len(shown):,} shown" if len(shown) < len(above) else ""
    ax.set_title(f"{_title(population)}\n{len(above)} of {len(values)} eigenvalues{hidden}{drawn}")
    legend_of_models(ax)
    return ax


@styled
def plot_statistic(overview: Overview, name: str = "spectral_radius", ax: Axes | None = None) -> Axes:
    """Draw one of `STATISTICS`: a point for each member, and the mean with its 95 % interval."""
    ax = single_axes(ax)
    values = overview.statistics[name].dropna().to_numpy()
    interval = overview.intervals[name]
    ax.plot(jitter(values) - 0.15, values, "o", color=BLUE, alpha=0.6)
    if interval.n > 1:
        ax.plot([0.35, 0.35], [interval.low, interval.high], color=BLACK)
        ax.plot(0.35, interval.estimate, "D", color=BLACK)
    if name.startswith("n_"):
        ax.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    ax.set(xlim=(-0.6, 0.6), xticks=[], ylabel=_LABELS[name], xlabel=f"n = {len(values)}")
    ax.spines["bottom"].set_visible(False)
    return ax


@styled
def _statistics(overview: Overview) -> Figure:
    held = [name for name in STATISTICS if overview.statistics[name].notna().any()]
    figure, axes = column_figure("double", height=2.2, columns=len(held))
    for ax, name in zip(axes[0], held, strict=True):
        plot_statistic(overview, name, ax)
    figure.suptitle(f"{_title(overview.population)}; points: models; diamond: mean and 95 % interval")
    return figure


def _density(
    ax: Axes,
    overview: Overview,
    edges: NDArray[np.float64],
    density: NDArray[np.float64],
    theory: NDArray[np.float64],
) -> None:
    mean, low, high = density_band(density)
    if len(density) > 1:
        ax.stairs(
            high, edges, baseline=low, fill=True, color=BLUE, alpha=0.25, linewidth=0, label="95 % of models"
        )
    ax.stairs(mean, edges, color=BLUE, label="mean")
    positions = np.unique(theory.round(6))
    if len(positions):
        # Above the curves, where the marks hide nothing.
        above = ax.get_xaxis_transform()
        ax.plot(
            positions,
            np.full(len(positions), 1.03),
            "v",
            color=VERMILION,
            markersize=3,
            transform=above,
            clip_on=False,
            label="theory",
        )
    ax.set_title(_title(overview.population), pad=11)
    ax.set_ylim(0, None)
    ax.legend(loc="upper left", bbox_to_anchor=(0, -0.22), ncols=3, borderaxespad=0)


def _modes(population: Population) -> NDArray[np.complex128]:
    theory = np.empty(0, dtype=np.complex128) if population.theory is None else population.theory
    return theory[np.abs(theory) > 0]


def _title(population: Population) -> str:
    return f"{population.label}: n = {len(population)} models, L = {population.seq_length}"


def _figure_of(ax: Axes) -> Figure:
    figure = ax.get_figure(root=True)
    assert figure is not None
    return figure
