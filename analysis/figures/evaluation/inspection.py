"""Figures of one evaluated member (`analysis.evaluation.inspection`)."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from analysis.evaluation.inspection import STATISTICS, Inspection, LengthInspection
from analysis.evaluation.summary import wrong_outputs
from analysis.figures.captions import captioned
from analysis.figures.spectra.values import (
    few_ticks,
    jitter,
    scatter_modes,
    scatter_spectrum,
    spectra_by_length,
)
from analysis.figures.style import BLUE, GRAY, VERMILION, column_figure, complex_plane, single_axes, styled
from analysis.figures.variables import from_powers as variable_basis
from analysis.figures.variables import subspaces

N_STEPS = 40
"""Scored steps that the sample shows, of as many sequences as it takes."""

_STATISTICS = {
    "mag_mean": "mean |λ|",
    "mag_max": "largest |λ|",
    "mag_std": "std of |λ|",
    "n_unstable_tolerance": "number of |λ| > 1 + 10⁻⁵",
}


CAPTIONS = {
    **variable_basis.CAPTIONS,
    **subspaces.CAPTIONS,
    "test_sample": (
        "Outputs, targets and absolute errors in the first scored steps, a row for each output channel; "
        "crosses: wrong answers. Look for errors at particular positions or channels: random ones are noise, "
        "regular ones a missing memory."
    ),
    "eigenspectrum_full": (
        "All eigenvalues in the complex plane, the leading ones filled; open circles: the modes of the theory; "
        "gray: unit circle. The network has learnt the theory's solution where each open circle holds a dot."
    ),
    "eigenvalue_angle_distribution": (
        "Angles of the leading eigenvalues; of several lengths a row for each. Triangles: angles of the "
        "theory. Bars should stand below triangles, equally high."
    ),
    "eigenvalue_magnitude_distribution": (
        "Moduli of the leading eigenvalues; of several lengths a row for each. Triangles: moduli of the "
        "theory. Values near 1 keep what they hold; smaller ones forget it."
    ),
    "eigenvalue_distribution_vs_length": (
        "Moduli and angles of the leading eigenvalues at each sequence length: violin, points, and the median "
        "in red. Look for moduli that fall below 1 as sequences get longer."
    ),
    "eigenvalue_statistics_vs_length": (
        "Statistics of the leading eigenvalues over sequence length. Look for lengths at which the mean "
        "modulus falls or eigenvalues become unstable."
    ),
}


@captioned(CAPTIONS)
def draw_model(inspection: Inspection) -> Iterator[tuple[str, Figure]]:
    """Yield the figures of one member and their names; what needs a theory or several lengths is left out without.

    Parameters
    ----------
    inspection
        Of at least one length.
    """
    lengths = inspection.lengths
    if inspection.member.scored.any() and inspection.member.outputs.shape[-1]:
        yield "test_sample", _test_sample(inspection)
    yield "eigenspectrum_full", spectra_by_length(inspection, plot_full_spectrum, "eigenvalues")
    yield "eigenvalue_angle_distribution", _single(plot_angles, inspection)
    yield "eigenvalue_magnitude_distribution", _single(plot_moduli, inspection)
    yield from variable_basis.draw(inspection)
    yield from subspaces.draw(inspection)
    if len(lengths) > 1:
        yield "eigenvalue_distribution_vs_length", _distribution_by_length(inspection)
        yield "eigenvalue_statistics_vs_length", _statistics_by_length(inspection)


@styled
def plot_trial(inspection: Inspection, what: str = "prediction", ax: Axes | None = None) -> AxesImage:
    """Draw "prediction", "target" or "error" (output, step) of the first scored steps and return the image."""
    ax = single_axes(ax, "double", 1.4)
    member = inspection.member
    outputs, targets = (a[member.scored][:N_STEPS].T for a in (member.predictions, member.targets))
    if what == "error":
        largest = 2 if member.rule == "sign" else 1
        image = ax.imshow(np.abs(outputs - targets), cmap="Greys", vmin=0, vmax=largest, aspect="auto")
        bit, step = np.nonzero(wrong_outputs(outputs.T, targets.T, member.rule).T)
        ax.plot(step, bit, "x", color=VERMILION, markersize=5, markeredgewidth=1.5)
    else:
        shown = outputs if what == "prediction" else targets
        scale: dict[str, Any] = (
            {"cmap": "RdBu_r", "vmin": -1} if member.rule == "sign" else {"cmap": "viridis", "vmin": 0}
        )
        image = ax.imshow(shown, vmax=1, aspect="auto", **scale)
    ax.set(ylabel="output", title=what, yticks=few_ticks(len(outputs)))
    return image


@styled
def plot_full_spectrum(inspection: Inspection, at: LengthInspection, ax: Axes | None = None) -> Axes:
    """Draw all eigenvalues of the member's matrix, the leading ones filled, and the modes of the theory."""
    ax = single_axes(ax, height=3.3)
    complex_plane(ax, float(np.abs(inspection.spectrum).max()))
    rest = inspection.spectrum[len(at.eigenvalues) :]
    if len(rest):
        ax.scatter(
            rest.real, rest.imag, s=5, facecolors="none", edgecolors=GRAY, linewidths=0.5, label="other"
        )
    scatter_spectrum(ax, at.eigenvalues, BLUE, "leading")
    scatter_modes(ax, at.modes)
    return ax


@styled
def plot_angles(inspection: Inspection, ax: Axes | None = None) -> Axes:
    """Draw the distribution of the angles of the leading eigenvalues, and the angles of the theory's modes."""
    ax = single_axes(ax)
    # Bins of 9 degrees centred on multiples of 9, so that -180 and 180, which are the same, fall into one.
    edges = np.linspace(-175.5, 184.5, 41)
    _distribution(ax, inspection, edges, lambda values: (np.degrees(np.angle(values)) + 175.5) % 360 - 175.5)
    ax.set(xlabel="angle of λ (degrees)", xticks=[-90, 0, 90, 180])
    return ax


@styled
def plot_moduli(inspection: Inspection, ax: Axes | None = None) -> Axes:
    """Draw the distribution of the moduli of the leading eigenvalues, and the moduli of the theory's modes."""
    ax = single_axes(ax)
    largest = max(float(np.abs(at.eigenvalues).max()) for at in inspection.lengths)
    _distribution(ax, inspection, np.linspace(0, 1.1 * max(largest, 1.0), 30), np.abs)
    ax.set(xlabel="modulus |λ|")
    return ax


@styled
def plot_length_distributions(inspection: Inspection, what: str = "modulus", ax: Axes | None = None) -> Axes:
    """Draw the "modulus" or the absolute "angle" of each length's leading eigenvalues: violin, median and points."""
    ax = single_axes(ax)
    values = [
        np.abs(at.eigenvalues) if what == "modulus" else np.degrees(np.abs(np.angle(at.eigenvalues)))
        for at in inspection.lengths
    ]
    positions = np.arange(len(values))
    bodies = ax.violinplot(values, positions, widths=0.8, showextrema=False, showmedians=True)
    bodies["cmedians"].set_color(VERMILION)
    for body in bodies["bodies"]:  # type: ignore[attr-defined]
        body.set(facecolor=BLUE, alpha=0.25, linewidth=0)
    for position, points in zip(positions, values, strict=True):
        ax.plot(position + jitter(points), points, ".", color=BLUE, markersize=1.8)
    ax.set_xticks(positions, [str(at.length) for at in inspection.lengths])
    label = "modulus |λ|" if what == "modulus" else "|angle| of λ (degrees)"
    ax.set(xlabel="sequence length L (vectors)", ylabel=label)
    return ax


@styled
def plot_length_statistic(inspection: Inspection, name: str = "mag_mean", ax: Axes | None = None) -> Axes:
    """Draw one of `analysis.evaluation.inspection.STATISTICS` over lengths."""
    ax = single_axes(ax)
    lengths = [at.length for at in inspection.lengths]
    ax.plot(lengths, [at.statistics[name] for at in inspection.lengths], "o-", color=BLUE)
    ax.set(xlabel="sequence length L (vectors)", ylabel=_STATISTICS[name], xticks=lengths)
    if name.startswith("n_"):
        ax.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        ax.set_ylim(0, None)
    return ax


@styled
def _test_sample(inspection: Inspection) -> Figure:
    figure, axes = column_figure("double", height=3.6, rows=3, sharex=True)
    for ax, what, label in zip(
        axes[:, 0],
        ("prediction", "target", "error"),
        ("output", "target", "|error|"),
        strict=True,
    ):
        figure.colorbar(plot_trial(inspection, what, ax), ax=ax, label=label, pad=0.01)
    member = inspection.member
    mark = "wrong sign" if member.rule == "sign" else "wrong choice"
    axes[2, 0].set(xlabel="scored step", title=f"absolute error (× {mark})")
    figure.suptitle(f"{member.name}: the first of n = {len(member.outputs)} sequences")
    return figure


@styled
def _single(plot: Callable[[Inspection, Axes], Axes], inspection: Inspection) -> Figure:
    figure, axes = column_figure()
    plot(inspection, axes[0, 0])
    return figure


@styled
def _distribution_by_length(inspection: Inspection) -> Figure:
    figure, axes = column_figure("double", height=2.5, columns=2)
    plot_length_distributions(inspection, "modulus", axes[0, 0])
    plot_length_distributions(inspection, "angle", axes[0, 1])
    counts = ", ".join(str(len(at.eigenvalues)) for at in inspection.lengths)
    figure.suptitle(f"{inspection.member.name}: leading eigenvalues, n = {counts}; red: median")
    return figure


@styled
def _statistics_by_length(inspection: Inspection) -> Figure:
    figure, axes = column_figure("double", height=3.6, rows=2, columns=2, sharex=True)
    for ax, name in zip(axes.flat, STATISTICS, strict=True):
        plot_length_statistic(inspection, name, ax)
    for ax in axes[0]:
        ax.set_xlabel("")
    counts = ", ".join(str(len(at.eigenvalues)) for at in inspection.lengths)
    figure.suptitle(f"{inspection.member.name}: leading eigenvalues, n = {counts}")
    return figure


def _distribution(
    ax: Axes,
    inspection: Inspection,
    edges: NDArray[np.float64],
    measure: Callable[[NDArray[np.complex128]], NDArray[np.float64]],
) -> None:
    """Histogram of one length; a row of shares for each of several."""
    lengths = inspection.lengths
    name = inspection.member.name
    if len(lengths) == 1:
        (at,) = lengths
        ax.hist(measure(at.eigenvalues), edges.tolist(), color=BLUE)
        positions = np.unique(measure(at.modes).round(6))
        # Above the bars, where the marks hide nothing.
        above = ax.get_xaxis_transform()
        ax.plot(
            positions,
            np.full(len(positions), 1.02),
            "v",
            color=VERMILION,
            markersize=3,
            transform=above,
            clip_on=False,
        )
        ax.set_ylabel("number of eigenvalues")
        ax.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        ax.set_title(f"{name}: L = {at.length}, n = {len(at.eigenvalues)}{_mark(at)}", pad=10)
        return
    shares = [np.histogram(measure(at.eigenvalues), edges)[0] / len(at.eigenvalues) for at in lengths]
    image = ax.pcolormesh(edges, np.arange(len(lengths) + 1) - 0.5, shares, cmap="viridis", vmin=0)
    for row, at in enumerate(lengths):
        positions = np.unique(measure(at.modes).round(6))
        ax.plot(positions, np.full(len(positions), row), "v", color=VERMILION, markersize=3)
    ax.set_yticks(range(len(lengths)), [f"{at.length} (n = {len(at.eigenvalues)})" for at in lengths])
    ax.set(ylabel="length L", title=f"{name} (n = 1 network){_mark(lengths[0])}")
    ax.figure.colorbar(image, ax=ax, label="share of eigenvalues")


def _mark(at: LengthInspection) -> str:
    return "; ▾ theory" if len(at.modes) else ""
