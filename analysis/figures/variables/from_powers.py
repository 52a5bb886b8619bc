"""Figures of `analysis.variables.companion` and `analysis.variables.from_powers`: the theory's Φ and the network's."""

from collections.abc import Callable, Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from analysis.evaluation.inspection import Inspection, LengthInspection
from analysis.figures.spectra.values import (
    few_ticks,
    jitter,
    legend_below,
    length_colors,
    panel_grid,
    scatter_modes,
    scatter_spectrum,
)
from analysis.figures.style import GRAY, VERMILION, column_figure, complex_plane, single_axes, styled

CAPTIONS = {
    "phi_theoretical": (
        "The transition Φ of the task, from position (column) to position (row): red positive, blue negative "
        "weights. Each slot is copied to the next one; the last rows form the next vector."
    ),
    "phi_empirical_all_lengths": (
        "The recurrent matrix in the basis of variable memories, W_hh between the task's positions; red "
        "positive, blue negative. Look for the off-diagonal bands of the task's Φ up to the gray lines, where "
        "the window ends. κ is the condition of the basis: large ones make the matrix meaningless."
    ),
    "transition_func_all_lengths": (
        "How the next vector follows from the window: the last rows of Φ, in the network (left) and in the "
        "task (right). Both columns should have the same cells coloured."
    ),
    "variable_basis_eigenspectra": (
        "Eigenvalues of the empirical Φ on the stored positions: in the plane, by modulus and by angle; red: "
        "theory. Dots in the open circles, moduli on the red line and angles on the red marks mean that "
        "variables are passed on without loss."
    ),
}


def draw(inspection: Inspection) -> Iterator[tuple[str, Figure]]:
    """Yield Φ of the task, and what the basis of variable memories shows, as far as there are such; and their names."""
    if all(at.companion is not None for at in inspection.lengths):
        yield "phi_theoretical", _matrices(inspection, plot_companion, "Φ of the task")
    if all(at.variables is not None for at in inspection.lengths):
        yield (
            "phi_empirical_all_lengths",
            _matrices(
                inspection,
                plot_transition,
                f"empirical Φ = Ψ* W_hh Ψ{inspection.member.states_shown}\nκ: condition of Ψ; lines: end of the window",
            ),
        )
        yield "transition_func_all_lengths", _transition_functions(inspection)
        yield "variable_basis_eigenspectra", _variable_spectra(inspection)


@styled
def plot_companion(inspection: Inspection, at: LengthInspection, ax: Axes | None = None) -> Axes:
    """Draw the companion matrix Φ of the theory."""
    ax = single_axes(ax, height=3.0)
    if at.companion is not None:
        _matrix(ax, at.companion)
    return ax


@styled
def plot_transition(inspection: Inspection, at: LengthInspection, ax: Axes | None = None) -> Axes:
    """Draw the empirical Φ in the basis of variable memories; lines part window positions and residual directions."""
    ax = single_axes(ax, height=3.0)
    if at.variables is not None:
        _matrix(ax, at.variables.transition)
        size = len(at.eigenvalues) if at.companion is None else len(at.companion)
        if size < len(at.variables.transition):
            ax.axhline(size - 0.5, color=GRAY, linewidth=0.6)
            ax.axvline(size - 0.5, color=GRAY, linewidth=0.6)
        ax.set_title(_verdict(at), loc="left")
    return ax


@styled
def _matrices(inspection: Inspection, plot: Callable[..., Axes], title: str) -> Figure:
    figure, axes = panel_grid(len(inspection.lengths), 3.2)
    figure.set_layout_engine("compressed")
    for ax, at in zip(axes, inspection.lengths, strict=True):
        plot(inspection, at, ax)
        verdict = ax.get_title("left").replace(", ", "\n")
        ax.set_title("", loc="left")
        ax.set_title(f"L = {at.length}: {verdict}" if verdict else f"L = {at.length}")
    _weight_bar(figure, axes)
    figure.suptitle(f"{inspection.member.name} (n = 1 network): {title}")
    return figure


@styled
def _transition_functions(inspection: Inspection) -> Figure:
    """Next vector as a function of the window: the last d rows of Φ, empirical beside theory."""
    rows = len(inspection.lengths)
    figure, axes = column_figure("double", height=0.6 + 0.9 * rows, rows=rows, columns=2)
    for (left, right), at in zip(axes, inspection.lengths, strict=True):
        if at.companion is None or at.variables is None:
            continue
        size, width = len(at.companion), len(at.companion) // at.length
        for ax, phi in ((left, at.variables.transition), (right, at.companion)):
            _matrix(ax, phi[size - width : size, :size])
            ax.set(xlabel="", ylabel="next vector", aspect="auto", yticks=few_ticks(width))
        left.set_title(f"L = {at.length}, network: {_verdict(at)}")
        right.set_title(f"L = {at.length}, task")
    for ax in axes[-1]:
        ax.set_xlabel("position in window (slot · d + bit)")
    _weight_bar(figure, list(axes.flat))
    name = f"{inspection.member.name} (n = 1 network)"
    title = f"{name}: how the next vector follows from the window (κ: condition of Ψ)"
    figure.suptitle(title + inspection.member.states_shown)
    return figure


@styled
def _variable_spectra(inspection: Inspection) -> Figure:
    figure, axes = column_figure("double", height=2.6, columns=3)
    plane, moduli, angles = axes[0]
    spectra = [at.variables.eigenvalues for at in inspection.lengths if at.variables is not None]
    complex_plane(plane, max(float(np.abs(values).max()) for values in spectra))
    rows = zip(inspection.lengths, spectra, length_colors(inspection), strict=True)
    several = len(spectra) > 1
    for place, (at, values, color) in enumerate(rows):
        rank = np.arange(1, len(values) + 1)
        scatter_spectrum(plane, values, color, f"L = {at.length}")
        moduli.plot(rank, np.sort(np.abs(values))[::-1], ".-", color=color, linewidth=0.6, markersize=3)
        heights = place + jitter(values) if several else np.abs(values)
        angles.plot(np.degrees(np.angle(values)), heights, ".", color=color, markersize=2.5)
        angles.plot(
            np.degrees(np.angle(at.modes)),
            np.full(len(at.modes), place if several else 1),
            "|",
            color=VERMILION,
            markersize=14,
            zorder=0,
        )
    scatter_modes(plane, np.concatenate([at.modes for at in inspection.lengths]))
    moduli.axhline(1.0, color=VERMILION, linewidth=0.6)
    moduli.set(xlabel="rank", ylabel="modulus |λ|", ylim=(0, None))
    angles.set(xlabel="angle of λ (degrees)", xticks=[-180, -90, 0, 90, 180])
    if several:
        angles.set_yticks(range(len(spectra)), [str(at.length) for at in inspection.lengths])
        angles.set(ylabel="length L", ylim=(-0.6, len(spectra) - 0.4))
    else:
        angles.set(ylabel="modulus |λ|", ylim=(0, 1.2 * max(float(np.abs(spectra[0]).max()), 1)))
    legend_below(figure, plane)
    counts = ", ".join(str(len(values)) for values in spectra)
    figure.suptitle(
        f"{inspection.member.name}: eigenvalues of the empirical Φ on stored positions, n = {counts}"
        + inspection.member.states_shown
    )
    return figure


def _matrix(ax: Axes, matrix: NDArray[np.float64]) -> None:
    ax.imshow(matrix, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
    ax.set(xlabel="from position", ylabel="to position")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(5, integer=True))


def _weight_bar(figure: Figure, axes: list[Axes]) -> None:
    images = [ax.images[0] for ax in axes]
    largest = max(float(np.abs(np.asarray(image.get_array())).max()) for image in images)
    extend = "both" if largest > 1 else "neither"
    figure.colorbar(images[0], ax=axes, label="weight", extend=extend, aspect=25, fraction=0.05, pad=0.01)


def _verdict(at: LengthInspection) -> str:
    if at.variables is None:
        return ""
    number = at.variables.condition_number
    condition = f"κ = {number:.1f}" if number < 10 else f"κ = {number:.0f}"
    return condition if at.variables.identifiable else f"{condition}, not identifiable"
