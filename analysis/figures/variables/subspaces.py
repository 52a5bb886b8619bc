"""Figures of `analysis.variables.subspaces`: what the leading subspaces of a network hold and share."""

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.evaluation.inspection import Inspection, LengthInspection
from analysis.figures.spectra.values import legend_below, scatter_modes, scatter_spectrum, spectra_by_length
from analysis.figures.style import (
    BLUE,
    GRAY,
    ORANGE,
    VERMILION,
    column_figure,
    complex_plane,
    single_axes,
    styled,
)

CAPTIONS = {
    "pca_subspace_analysis": (
        "Left: moduli of all eigenvalues by rank and those of the theory; middle: spectra of the leading "
        "subspaces; right: variance of the states over principal components. Dotted: the dimension that the "
        "task needs. Look for a drop of moduli, and a curve that saturates, at the dotted line."
    ),
    "multi_length_pca_analysis": (
        "Spectra of the leading invariant subspace (dots) and of the left singular subspace (crosses) at each "
        "length; open circles: theory. Where dots and crosses agree, the matrix is close to normal in its "
        "leading directions."
    ),
    "subspace_overlap_analysis": (
        "Shared part of each pair of subspaces, from 0 (orthogonal) to 1 (the same); over lengths if there are "
        "several. High values mean that eigenvectors, singular vectors and states find the same memory."
    ),
}


def draw(inspection: Inspection) -> Iterator[tuple[str, Figure]]:
    """Yield the figures of subspaces and their names; none without a theory, which gives them their dimension."""
    lengths = inspection.lengths
    if any(at.companion is None for at in lengths):
        return
    yield "pca_subspace_analysis", _subspaces(inspection)
    if len(lengths) > 1:
        yield (
            "multi_length_pca_analysis",
            spectra_by_length(inspection, plot_subspace_spectra, "leading subspaces"),
        )
    # Subspaces that fill the whole space share everything, whatever they are.
    proper = [at for at in lengths if len(at.eigenvalues) < len(inspection.spectrum)]
    if proper:
        yield "subspace_overlap_analysis", _overlaps(inspection, proper)


@styled
def plot_subspace_spectra(inspection: Inspection, at: LengthInspection, ax: Axes | None = None) -> Axes:
    """Draw the spectra of the leading invariant and left singular subspaces, and the modes of the theory."""
    ax = single_axes(ax, height=3.3)
    complex_plane(ax, float(np.abs(inspection.spectrum).max()))
    scatter_spectrum(ax, at.eigenvalues, BLUE, "invariant")
    if at.singular_eigenvalues is not None:
        ax.scatter(
            at.singular_eigenvalues.real,
            at.singular_eigenvalues.imag,
            s=8,
            marker="+",
            color=ORANGE,
            linewidths=0.7,
            label="left singular",
        )
    scatter_modes(ax, at.modes)
    return ax


@styled
def plot_moduli_by_rank(inspection: Inspection, ax: Axes | None = None) -> Axes:
    """Draw all moduli in descending order, those of the theory, and where each length's subspace ends."""
    ax = single_axes(ax)
    moduli = np.abs(inspection.spectrum)
    ax.plot(
        np.arange(1, len(moduli) + 1),
        moduli,
        ".",
        color=BLUE,
        markersize=3,
        label=inspection.member.matrix_name,
    )
    for at in inspection.lengths:
        ax.axvline(len(at.eigenvalues) + 0.5, color=GRAY, linewidth=0.6, linestyle=":")
    last = inspection.lengths[-1]
    if last.theory is not None:
        ax.step(
            np.arange(1, len(last.theory) + 1),
            np.abs(last.theory),
            where="mid",
            color=VERMILION,
            label="theory",
        )
    ax.set(xlabel="rank", ylabel="modulus |λ|", ylim=(0, None))
    ax.legend(loc="best")
    return ax


@styled
def plot_activity(inspection: Inspection, ax: Axes | None = None) -> Axes:
    """Draw the cumulative share of the recorded variance over principal components."""
    ax = single_axes(ax)
    shares = np.concatenate([[0.0], np.cumsum(inspection.activity_shares)])
    ax.plot(np.arange(len(shares)), 100 * shares, color=BLUE)
    for at in inspection.lengths:
        ax.axvline(len(at.eigenvalues), color=GRAY, linewidth=0.6, linestyle=":")
    ax.set(xlabel="principal components", ylabel="variance of states (%)", ylim=(0, 102))
    return ax


@styled
def plot_overlap(at: LengthInspection, ax: Axes | None = None) -> Axes:
    """Draw the shared part ‖Uᴴ V‖² / min(dimensions) of each pair of subspaces."""
    ax = single_axes(ax, height=2.9)
    values = at.overlap.to_numpy()
    ax.imshow(values, cmap="cividis", vmin=0, vmax=1)
    for (row, column), value in np.ndenumerate(values):
        ax.text(
            column, row, f"{value:.2f}", ha="center", va="center", color="white" if value < 0.5 else "black"
        )
    ticks = range(len(values))
    ax.set_xticks(ticks, list(at.overlap.columns))
    ax.set_yticks(ticks, list(at.overlap.index))
    return ax


@styled
def plot_overlap_by_length(lengths: Sequence[LengthInspection], ax: Axes | None = None) -> Axes:
    """Draw the shared part of each pair of subspaces over lengths."""
    ax = single_axes(ax)
    for (a, b), marker in zip(combinations(lengths[0].overlap.index, 2), "os^vDP", strict=False):
        values = [at.overlap.loc[a, b] for at in lengths]
        ax.plot([at.length for at in lengths], values, marker=marker, label=f"{a}, {b}", clip_on=False)
    ax.set(
        xlabel="sequence length L (vectors)",
        ylabel="overlap",
        ylim=(0, 1),
        xticks=[at.length for at in lengths],
    )
    return ax


@styled
def _subspaces(inspection: Inspection) -> Figure:
    figure, axes = column_figure("double", height=2.6, columns=3)
    last = inspection.lengths[-1]
    plot_moduli_by_rank(inspection, axes[0, 0])
    plot_subspace_spectra(inspection, last, axes[0, 1])
    axes[0, 1].set_title(f"leading subspaces, L = {last.length}")
    plot_activity(inspection, axes[0, 2])
    legend_below(figure, axes[0, 1])
    states = len(inspection.member.scored_states)
    figure.suptitle(
        f"{inspection.member.name}: {inspection.member.matrix_name}, n = {len(inspection.spectrum)} eigenvalues, "
        f"{states} recorded states{inspection.member.states_shown}; dotted: dimension L·d"
    )
    return figure


@styled
def _overlaps(inspection: Inspection, lengths: list[LengthInspection]) -> Figure:
    figure, axes = column_figure("single", height=3.0)
    units = len(inspection.spectrum)
    if len(lengths) == 1:
        (at,) = lengths
        plot_overlap(at, axes[0, 0]).set_title(
            f"L = {at.length}: {len(at.eigenvalues)} of {units} dimensions"
        )
    else:
        plot_overlap_by_length(lengths, axes[0, 0])
        legend_below(figure, axes[0, 0], columns=2)
    member = inspection.member
    figure.suptitle(f"{member.name} (n = 1 network): overlap of subspaces{member.states_shown}")
    return figure
