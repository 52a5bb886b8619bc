"""Parts that figures of spectra share."""

from collections.abc import Callable
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from numpy.typing import NDArray

from analysis.evaluation.inspection import Inspection
from analysis.figures.style import VERMILION, column_figure, styled

_GOLDEN = (np.sqrt(5) - 1) / 2


@styled
def panel_grid(n: int, height: float) -> tuple[Figure, list[Axes]]:
    """Return a figure with ``n`` panels: one column wide for one panel, ``height`` inches in that case."""
    if n == 1:
        figure, axes = column_figure("single", height=height)
        return figure, [axes[0, 0]]
    rows = -(-n // 4)
    columns = -(-n // rows)
    figure, axes = column_figure(
        "double", height=0.6 + rows * 6.6 / max(columns, 3), rows=rows, columns=columns
    )
    for spare in axes.flat[n:]:
        spare.remove()
    return figure, list(axes.flat[:n])


@styled
def spectra_by_length(inspection: Inspection, plot: Callable[..., Axes], title: str) -> Figure:
    """One panel a length, with one legend below all of them."""
    figure, axes = panel_grid(len(inspection.lengths), 3.4)
    for ax, at in zip(axes, inspection.lengths, strict=True):
        plot(inspection, at, ax).set_title(
            f"L = {at.length}: {len(at.eigenvalues)} of {len(inspection.spectrum)}"
        )
    legend_below(figure, axes[0])
    figure.suptitle(f"{inspection.member.name} (n = 1 network): {title} of {inspection.member.matrix_name}")
    return figure


def scatter_spectrum(ax: Axes, values: NDArray[np.complex128], color: object, label: str) -> None:
    """Draw eigenvalues as dots."""
    ax.scatter(values.real, values.imag, s=7, color=color, linewidths=0, label=label)


def scatter_modes(
    ax: Axes,
    modes: NDArray[np.complex128],
    across: Callable[[NDArray[np.complex128]], NDArray[np.float64]] = np.real,
    up: Callable[[NDArray[np.complex128]], NDArray[np.float64]] = np.imag,
) -> None:
    """Draw the theory's modes as open circles, each once; the legend says how often they occur."""
    if len(modes):
        modes, times = np.unique(modes.round(6), return_counts=True)
        often = str(times[0]) if (times == times[0]).all() else f"{times.min()} to {times.max()}"
        ax.scatter(
            across(modes),
            up(modes),
            s=26,
            facecolors="none",
            edgecolors=VERMILION,
            linewidths=0.8,
            label="theory" if often == "1" else f"theory (each {often} times)",
        )


def legend_of_models(ax: Axes) -> None:
    """Draw the legend below a plane of eigenvalues, its dots as dark as they are where many coincide."""
    # Nothing of a spectrum lies in the corners, so the legend outside the axes needs no search for a place.
    _darken(
        ax.legend(loc="upper left", bbox_to_anchor=(0, -0.14), ncols=2, borderaxespad=0, handletextpad=0.2)
    )


def jitter(points: NDArray[Any]) -> NDArray[np.float64]:
    """Return offsets in ±0.2 that spread points evenly, the same on every run."""
    return (np.arange(len(points)) * _GOLDEN % 1 - 0.5) * 0.4


def legend_below(figure: Figure, ax: Axes, columns: int = 6) -> None:
    """Draw the legend of one panel below all of them."""
    handles, labels = ax.get_legend_handles_labels()
    _darken(
        figure.legend(
            handles, labels, loc="outside lower center", ncols=min(len(labels), columns), handletextpad=0.2
        )
    )


def _darken(legend: Legend) -> None:
    for handle in legend.legend_handles:
        if handle is not None:
            handle.set_alpha(1.0)


def length_colors(inspection: Inspection) -> NDArray[np.float64]:
    """Return a colour for each length, dark to light."""
    return mpl.colormaps["viridis"](np.linspace(0, 0.88, len(inspection.lengths)))


def few_ticks(n: int) -> list[int]:
    """Return the first, middle and last of ``n`` positions."""
    return sorted({0, n // 2, n - 1})
