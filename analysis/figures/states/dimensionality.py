"""Figures of `analysis.states.dimensionality`."""

from collections.abc import Iterator
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures.captions import captioned
from analysis.figures.spectra.values import jitter
from analysis.figures.style import BLUE, GRAY, ORANGE, column_figure, single_axes, styled
from analysis.states.dimensionality import KINDS, MEASURES, Dimensionality

_COLORS = dict(zip(KINDS, (BLUE, ORANGE, GRAY), strict=True))
_LABELS = dict(zip(KINDS, ("recorded", "units\nshuffled", "random\nstates"), strict=True))


CAPTIONS = {
    "dimensionality": (
        "Participation ratio and effective rank of the recorded states, beside states with shuffled units and "
        "random ones: dots, members; bars: mean with 95 % interval; dotted: largest possible. Right: variance "
        "of each principal component. Recorded states far below the shuffled ones lie in few dimensions."
    ),
}


@captioned(CAPTIONS)
def draw(result: Dimensionality) -> Iterator[tuple[str, Figure]]:
    """Yield the figure of the dimensionality of a population's states, and its name."""
    yield "dimensionality", _dimensionality(result)


@styled
def plot_measure(result: Dimensionality, measure: str, ax: Axes | None = None) -> Axes:
    """Draw each member's participation ratio or effective rank, and means with 95 % intervals, beside the controls."""
    ax = single_axes(ax)
    for place, kind in enumerate(KINDS):
        members = result.members[measure].xs(kind, level="states").to_numpy()
        ax.plot(
            place + jitter(members), members, "o", color=_COLORS[kind], alpha=0.5, markersize=2.5, linewidth=0
        )
        row = result.population.loc[(measure, kind)]
        reach = np.array([[row["mean"] - row["low"]], [row["high"] - row["mean"]]])
        known = reach if np.isfinite(reach).all() else None
        ax.errorbar(
            place + 0.33, row["mean"], known, fmt="_", color="black", capsize=2, markersize=6, linewidth=0.9
        )
    ax.axhline(result.largest, color=GRAY, linestyle=":", linewidth=0.8)
    ax.set_xticks(range(len(KINDS)), [_LABELS[kind] for kind in KINDS])
    ax.set(xlim=(-0.5, len(KINDS) - 0.4), ylim=(0, 1.06 * result.largest), ylabel=measure.replace("_", " "))
    ax.tick_params(axis="x", length=0)
    return ax


@styled
def plot_spectra(result: Dimensionality, ax: Axes | None = None) -> Axes:
    """Draw the share of the variance of each principal component, means over members."""
    ax = single_axes(ax)
    for kind in KINDS:
        shares = result.spectra["variance_share"].xs(kind, level="states")
        shown = shares[shares > 1e-8]
        label = _LABELS[kind].replace("\n", " ")
        ax.plot(shown.index, shown, "o-", color=_COLORS[kind], markersize=2, linewidth=0.8, label=label)
    ax.set(xlabel="principal component", ylabel="share of variance", yscale="log")
    ax.legend()
    return ax


@styled
def _dimensionality(result: Dimensionality) -> Figure:
    figure, axes = column_figure("double", height=2.8, columns=3)
    for measure, ax in zip(MEASURES, axes[0], strict=False):
        plot_measure(result, measure, ax)
    plot_spectra(result, axes[0, 2])
    n = result.n_members
    figure.suptitle(
        f"{result.label}: n = {n} member{'' if n == 1 else 's'}; {result.states_analysed}\n"
        f"bars: mean with 95 % interval; dotted: largest possible ({result.largest})"
        + (f"\n{fill(result.left_out, 110)}" if result.left_out else "")
    )
    return figure
