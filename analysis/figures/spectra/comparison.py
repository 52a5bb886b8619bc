"""Figures of `analysis.spectra.comparison`: a number, in the order given, and a colour stand for each set."""

from collections.abc import Iterator
from textwrap import fill

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.figures.captions import captioned
from analysis.figures.style import (
    BLACK,
    COLORS,
    GRAY,
    column_figure,
    complex_plane,
    share_text,
    single_axes,
    styled,
    thinned,
)
from analysis.spectra.comparison import Comparison

N_COLUMNS = 5
N_PLANES = 3
"""Panels in a row of the figures of statistics and of spectra."""

MOST_STATISTICS = 10
"""Panels of the figure of statistics: the others are in the tables and in the figures of differences."""

MANY_POINTS = 500
"""Members of a set from which on points are an image: as vectors in thirty panels they take longer than all tests."""

FIRST = ("accuracy", "spectral_error_deg", "missing_modes")
"""Statistics that are always shown if they vary: what a reader asks for first."""

_LABELS = {
    "accuracy": "accuracy",
    "spectral_error_deg": "spectral error (°)",
    "spectral_relative_error": "relative error",
    "missing_modes": "missing modes",
    "mag_mean": "mean |λ|",
    "mag_std": "std of |λ|",
    "mag_median": "median |λ|",
    "mag_min": "smallest |λ|",
    "mag_max": "largest |λ|",
    "mag_q25": "25 % point of |λ|",
    "mag_q75": "75 % point of |λ|",
    "angle_mean": "mean angle (rad)",
    "angle_std": "std of angle (rad)",
    "angle_median": "median angle (rad)",
    "real_mean": "mean Re λ",
    "real_std": "std of Re λ",
    "imag_mean": "mean Im λ",
    "imag_std": "std of Im λ",
    "spectral_radius": "spectral radius",
    "n_unstable": "n(|λ| > 1)",
    "n_near_unit_circle": "n(|λ| ≈ 1)",
    "mean_direction_cos": "mean cos(angle)",
    "mean_direction_sin": "mean sin(angle)",
    "mag_range": "|λ| range",
    "angle_range": "angle range (rad)",
    "n_unstable_tolerance": "n(|λ| > 1 + 10⁻⁵)",
    "angle_circular_std": "circ. std (rad)",
    "angle_resultant_length": "resultant length",
    "angle_circular_range": "circ. range (rad)",
    "angle_folded_mean": "mean |angle| (rad)",
    "angle_folded_std": "std of |angle| (rad)",
}


CAPTIONS = {
    "comparison_complex_plane": (
        "Eigenvalues of each set: gray, all members; colour, the most central one; open circles: theory. Look "
        "for circles that one set fills and another does not."
    ),
    "comparison_metrics": (
        "Statistics that differ most between the sets: dots, members; beside them the mean with its interval. "
        "Sets differ where intervals are apart; compare also how far members spread."
    ),
    "comparison_differences_*": (
        "Difference of the means of two sets, in units of the pooled standard deviation, with intervals; "
        "filled: significant after correction. Intervals on one side of the gray line are the differences to "
        "report."
    ),
    "comparison_distances": (
        "Left: distances of spectra between all members, white lines between sets; right: means within and "
        "between sets. Dark blocks on the diagonal with bright ones beside them mean that sets have spectra of "
        "their own."
    ),
}


@captioned(CAPTIONS)
def draw(comparison: Comparison) -> Iterator[tuple[str, Figure]]:
    """Yield the figures of a comparison and their names."""
    yield "comparison_complex_plane", _planes(comparison)
    if comparison.varying:
        yield "comparison_metrics", _metrics(comparison)
    for a, b in comparison.pairs:
        if len(comparison.standardised((a, b))):
            name = f"comparison_differences_{comparison.labels.index(a) + 1}_{comparison.labels.index(b) + 1}"
            yield name, _differences(comparison, (a, b))
    if len(comparison.members) > 1:
        yield "comparison_distances", _distances(comparison)


@styled
def plot_set(comparison: Comparison, position: int = 0, ax: Axes | None = None) -> Axes:
    """Draw all spectra of the set at ``position`` in gray, its medoid in colour, theory as open circles."""
    ax = single_axes(ax, height=3.5)
    population, medoid = comparison.populations[position], comparison.medoids[position]
    complex_plane(ax, float(comparison.members["mag_max"].max()))
    everything, central = (
        np.concatenate(population.eigenvalues),
        population.eigenvalues[population.names.index(medoid)],
    )
    values = thinned(everything)
    ax.scatter(values.real, values.imag, s=5, color=GRAY, alpha=0.4, linewidths=0, rasterized=True)
    ax.scatter(central.real, central.imag, s=6, color=_color(position), linewidths=0)
    if population.theory is not None:
        theory = np.unique(np.round(population.theory, 9))
        ax.scatter(theory.real, theory.imag, s=70, facecolors="none", edgecolors=BLACK, linewidths=0.6)
    lines = [fill(_name(comparison, position), 32), share_text(len(values), len(everything)), medoid]
    ax.set_title("\n".join(filter(None, lines)))
    return ax


@styled
def plot_statistic(comparison: Comparison, statistic: str, ax: Axes | None = None) -> Axes:
    """Draw a statistic of all members, a column for each set, and beside them the mean with its interval."""
    ax = single_axes(ax)
    for position, label in enumerate(comparison.labels):
        values = comparison.members.xs(label, level="label")[statistic].dropna()
        summary = comparison.summary.loc[(label, statistic)]
        spread = np.linspace(-0.25, 0.05, len(values)) if len(values) > 1 else np.array([-0.1])
        ax.scatter(
            position + 1 + spread,
            values,
            s=5,
            color=_color(position),
            alpha=0.5,
            linewidths=0,
            rasterized=len(values) > MANY_POINTS,
        )
        if np.isfinite(summary["mean"]):
            ax.plot([position + 1.25], [summary["mean"]], "o", color=_color(position), markersize=3)
        if np.isfinite(summary["low"]):
            ax.plot([position + 1.25] * 2, [summary["low"], summary["high"]], color=_color(position))
    ax.set(xlim=(0.5, len(comparison.labels) + 0.6), xticks=range(1, len(comparison.labels) + 1))
    ax.set_title(_LABELS.get(statistic, statistic))
    ax.locator_params(axis="y", nbins=4)
    ax.ticklabel_format(axis="y", useOffset=False)
    return ax


@styled
def plot_differences(comparison: Comparison, pair: tuple[str, str], ax: Axes | None = None) -> Axes:
    """Draw the differences of two sets over the pooled standard deviation, filled where corrected p is below the level.

    Statistics that do not vary within the sets are left out.
    """
    rows = comparison.standardised(pair).iloc[::-1]
    ax = single_axes(ax, height=6.0)
    p = comparison.differences.xs(pair, level=["set_a", "set_b"])["p_holm"]
    ax.axvline(0, color=GRAY, linewidth=0.6)
    for height, (statistic, row) in enumerate(rows.iterrows()):
        ax.plot([row["low"], row["high"]], [height, height], color=COLORS[0])
        face = COLORS[0] if p[statistic] < comparison.level else "white"
        ax.plot([row["difference"]], [height], "o", color=COLORS[0], markerfacecolor=face)
    far = rows[["low", "difference", "high"]].abs().max(axis=None) > 3
    if far:
        ax.set_xscale("symlog", linthresh=1)
        ax.xaxis.set_major_formatter("{x:g}")
    ax.set(
        yticks=range(len(rows)),
        yticklabels=[_LABELS.get(s, s) for s in rows.index],
        ylim=(-0.7, len(rows) - 0.3),
    )
    ax.set_xlabel("difference / pooled std" + ("\n(logarithmic beyond ±1)" if far else ""))
    first, second = (_name(comparison, comparison.labels.index(label)) for label in pair)
    filled = f"filled: p < {comparison.level:.2g} after Holm's correction" + (
        ", paired" if comparison.paired else ""
    )
    ax.set_title(f"{fill(second, 32)}\nminus {fill(first, 32)}\n{filled}", loc="left")
    return ax


@styled
def plot_distances(comparison: Comparison, ax: Axes | None = None) -> Axes:
    """Draw the distances of spectra between all members, white lines between sets."""
    ax = single_axes(ax, height=3.2)
    image = ax.imshow(comparison.distances, interpolation="nearest")
    ends = np.cumsum([len(population) for population in comparison.populations])
    for end in ends[:-1]:
        ax.axhline(end - 0.5, color="white", linewidth=1.2)
        ax.axvline(end - 0.5, color="white", linewidth=1.2)
    middles = ends - 0.5 - np.array([len(population) for population in comparison.populations]) / 2
    numbers = [str(position + 1) for position in range(len(ends))]
    ax.set(
        xticks=middles, yticks=middles, xticklabels=numbers, yticklabels=numbers, xlabel="set", ylabel="set"
    )
    ax.tick_params(length=0)
    ax.figure.colorbar(image, ax=ax, label=f"distance of spectra ({comparison.metric})")
    ax.set_title(f"all n = {len(comparison.members)} members\n{comparison.metric}")
    return ax


@styled
def plot_set_distances(comparison: Comparison, ax: Axes | None = None) -> Axes:
    """Draw the mean distances within (diagonal) and between sets as an annotated matrix."""
    ax = single_axes(ax, height=3.2)
    labels = list(comparison.labels)
    means = comparison.set_distances["mean_distance"]
    matrix = np.array([[means[a, b] for b in labels] for a in labels])
    image = ax.imshow(matrix, cmap="Greys", vmin=0, vmax=2.2 * np.nanmax(matrix, initial=1e-12))
    if len(labels) <= 6:
        for (row, column), value in np.ndenumerate(matrix):
            text = f"{value:.2g}" if np.isfinite(value) else "n = 1"
            ax.text(column, row, text, ha="center", va="center")
    else:
        ax.figure.colorbar(image, ax=ax)
    ticks = range(len(labels))
    numbers = [str(position + 1) for position in ticks]
    ax.set(xticks=ticks, yticks=ticks, xticklabels=numbers, yticklabels=numbers, xlabel="set", ylabel="set")
    ax.tick_params(length=0)
    ax.set_title("mean distance of members")
    return ax


@styled
def _planes(comparison: Comparison) -> Figure:
    n_sets = len(comparison.labels)
    columns = min(n_sets, N_PLANES)
    rows = -(-n_sets // columns)
    figure, axes = column_figure(
        "double", height=0.4 + (2.5 if columns == N_PLANES else 3.1) * rows, rows=rows, columns=columns
    )
    for position, ax in enumerate(axes.flat):
        if position < n_sets:
            plot_set(comparison, position, ax)
        else:
            ax.remove()
    theory = any(population.theory is not None for population in comparison.populations)
    note = "gray: all members; colour: the most central member (named)" + (
        "; open circles: theory" if theory else ""
    )
    figure.supxlabel(_remarked(note, comparison), fontsize=7)
    return figure


@styled
def _metrics(comparison: Comparison) -> Figure:
    shown = _most_different(comparison)
    rows = -(-len(shown) // N_COLUMNS)
    figure, axes = column_figure(
        "double", height=0.9 + 1.15 * rows, rows=rows, columns=min(N_COLUMNS, len(shown))
    )
    for index, ax in enumerate(axes.flat):
        if index < len(shown):
            plot_statistic(comparison, shown[index], ax)
        else:
            ax.remove()
    share = f"{100 * comparison.confidence:g}"
    sizes = " and ".join(str(len(population)) for population in comparison.populations)
    others = len(comparison.varying) - len(shown)
    left_out = (
        f"\nthe {len(shown)} statistics that differ most; {others} more are in the tables" if others else ""
    )
    text = f"n = {sizes} members, mean and {share} % interval of the mean{left_out}"
    figure.suptitle(_remarked(text, comparison))
    _legend(figure, comparison)
    return figure


def _most_different(comparison: Comparison) -> list[str]:
    """Return statistics that vary: accuracy and spectral errors first, then those that differ most, in any pair."""
    largest = pd.Series(0.0, index=list(comparison.varying))
    for pair in comparison.pairs:
        found = comparison.standardised(pair)["difference"].abs().replace(np.inf, np.nan)
        largest = largest.combine(found.reindex(largest.index), np.fmax)
    ranked = largest.sort_values(ascending=False, kind="stable").index
    first = [name for name in FIRST if name in comparison.varying]
    return [*first, *(name for name in ranked if name not in first)][:MOST_STATISTICS]


@styled
def _differences(comparison: Comparison, pair: tuple[str, str]) -> Figure:
    figure, axes = column_figure("single", height=1.3 + 0.16 * len(comparison.standardised(pair)))
    plot_differences(comparison, pair, axes[0, 0])
    return figure


@styled
def _distances(comparison: Comparison) -> Figure:
    figure, axes = column_figure("double", height=3.5, columns=2)
    plot_distances(comparison, axes[0, 0])
    plot_set_distances(comparison, axes[0, 1])
    _legend(figure, comparison, marker="")
    return figure


def _legend(figure: Figure, comparison: Comparison, marker: str = "o") -> None:
    """Name the sets by their numbers, and by their colours unless ``marker`` is empty."""
    handles = [
        Line2D([], [], color=_color(i), marker=marker, linestyle="", label=fill(_name(comparison, i), 60))
        for i in range(len(comparison.labels))
    ]
    length = None if marker else 0
    figure.legend(
        handles=handles, loc="outside lower center", ncols=min(len(handles), 3), handlelength=length
    )


def _remarked(text: str, comparison: Comparison) -> str:
    """Return a caption with what differs between the sets beside their members."""
    return f"{text}\n{fill(comparison.remark, 110)}" if comparison.remark else text


def _name(comparison: Comparison, position: int) -> str:
    population = comparison.populations[position]
    return f"{position + 1}: {population.label} (n = {len(population)})"


def _color(position: int) -> str:
    return COLORS[position % len(COLORS)]
