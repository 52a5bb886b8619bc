"""Figures of `analysis.states.dynamics`."""

from collections.abc import Iterator
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from analysis.figures.captions import captioned
from analysis.figures.style import (
    BLACK,
    BLUE,
    GRAY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    WIDTHS,
    column_figure,
    complex_plane,
    single_axes,
    styled,
)
from analysis.states.dynamics import Dynamics, MemberPlane

MOST_PANELS = 6
"""Members whose phase portrait is drawn, the first ones: each has its own axes, so they cannot share a panel."""

CLASSES = {
    "stable": BLUE,
    "1 unstable direction": ORANGE,
    "2 unstable directions": VERMILION,
    "3 or more unstable": PURPLE,
    "unresolved": SKY,
    "slow point": BLACK,
}
"""Kinds of point and their colours."""

_DRIVES = {"recorded": ("along recorded inputs", VERMILION), "silence": ("in silence", BLUE)}
_SEGMENT = 0.09
"""Half the length of an unstable direction, as a share of the plane's width."""


CAPTIONS = {
    "dynamics_phase_portraits": (
        "States (gray) of the first members on their two largest principal components, with fixed and slow "
        "points; colour: number of unstable directions, which the lines show. States that gather at stable "
        "points hold discrete memories; slow points in a row or ring hold continuous ones."
    ),
    "dynamics_spectra": (
        "Eigenvalues of the Jacobians at the points, a panel for each kind; gray: unit circle. Outside it a "
        "direction grows, inside it decays; near 1 memories last, and complex pairs turn."
    ),
    "lyapunov_spectra": (
        "Lyapunov exponents by rank, mean over members and their range, along recorded inputs and in silence. "
        "Above 0 dynamics are chaotic, near 0 they keep what they hold, below 0 they forget it."
    ),
}


@captioned(CAPTIONS)
def draw(dynamics: Dynamics) -> Iterator[tuple[str, Figure]]:
    """Yield the figures of the dynamics of a population and their names; those of points if there are points."""
    if len(dynamics.points):
        yield "dynamics_phase_portraits", draw_portraits(dynamics)
        yield "dynamics_spectra", draw_spectra(dynamics)
    figure, axes = column_figure("single", height=2.8)
    plot_exponents(dynamics, axes[0, 0])
    yield "lyapunov_spectra", figure


@styled
def draw_portraits(dynamics: Dynamics) -> Figure:
    """Return a figure of the phase portraits of the first members, with one legend for all."""
    shown = min(len(dynamics.planes), MOST_PANELS)
    rows, columns = (1, shown) if shown <= 3 else (2, -(-shown // 2))
    figure, axes = column_figure(
        "single" if shown == 1 else "double",
        height=2.7 * rows + (0.9 if shown == 1 else 0.5),
        rows=rows,
        columns=columns,
    )
    for spare in axes.flat[shown:]:
        spare.remove()
    for plane, ax in zip(dynamics.planes[:shown], axes.flat[:shown], strict=True):
        plot_portrait(dynamics, plane, ax)
    present = [name for name in CLASSES if (point_classes(dynamics.points) == name).any()]
    handles = [
        _dot(GRAY, "visited state", 2.5),
        *(_dot(CLASSES[name], name, 4, name == "slow point") for name in present),
    ]
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=2 if shown == 1 else 6,
        handletextpad=0.1,
        columnspacing=0.9,
    )
    n = len(dynamics.planes)
    of = "" if shown == n else f", first {shown}"
    figure.suptitle(f"{dynamics.label}: fixed and slow points of {_members(n)}{of}")
    return figure


@styled
def draw_spectra(dynamics: Dynamics) -> Figure:
    """Return a figure of the Jacobians' eigenvalues, a panel for each kind of point that there is."""
    classes = point_classes(dynamics.points)
    present = [name for name in CLASSES if (classes == name).any()]
    shown = len(present)
    width: Literal["single", "double"] = "single" if shown < 3 else "double"
    figure, axes = column_figure(
        width, height=WIDTHS[width] / max(shown, 1.3) + 1.0, columns=shown, sharey=True
    )
    for name, ax in zip(present, axes[0], strict=True):
        plot_spectra(dynamics, name, ax)
        ax.label_outer()
    figure.suptitle(f"{dynamics.label}: eigenvalues of Jacobians, {_members(len(dynamics.members))}")
    return figure


@styled
def plot_portrait(dynamics: Dynamics, plane: MemberPlane, ax: Axes | None = None) -> Axes:
    """Draw a member's states and points on the first two principal components of the states, with ways out."""
    ax = single_axes(ax, height=3.1)
    ax.scatter(plane.visited[:, 0], plane.visited[:, 1], s=3, color=GRAY, alpha=0.5, linewidths=0)
    if not len(plane.points):
        ax.set_title(f"{plane.model_name}: no points")
        return _label_plane(plane, ax)
    classes = point_classes(dynamics.points.loc[plane.model_name])
    reach = _SEGMENT * float(np.ptp(plane.visited[:, :2], axis=0).max())
    for name, color in CLASSES.items():
        here = classes == name
        points = plane.points[here, :2]
        for start, directions in zip(points, plane.directions[here, :, :2], strict=True):
            for way in reach * directions[~np.isnan(directions).any(axis=-1)]:
                ax.plot(*np.stack([start - way, start + way]).T, color=color, linewidth=0.7, zorder=2)
        face, edge = ("none", color) if name == "slow point" else (color, "white")
        ax.scatter(
            points[:, 0], points[:, 1], s=14, facecolors=face, edgecolors=edge, linewidths=0.5, zorder=3
        )
    ax.set_title(f"{plane.model_name}: {_points(len(classes))}")
    return _label_plane(plane, ax)


@styled
def plot_spectra(dynamics: Dynamics, kind: str, ax: Axes | None = None) -> Axes:
    """Draw the eigenvalues of the Jacobians at all points of one kind (a key of `CLASSES`), over members."""
    ax = single_axes(ax, height=3.3)
    here = point_classes(dynamics.points) == kind
    values = dynamics.eigenvalues[here].ravel()
    complex_plane(ax, float(np.abs(dynamics.eigenvalues).max()))
    alpha = float(np.clip(300 / max(len(values), 1), 0.12, 0.8))
    ax.scatter(values.real, values.imag, s=5, color=CLASSES[kind], linewidths=0, alpha=alpha, rasterized=True)
    ax.set_title(f"{kind}\n{_points(int(here.sum()))}")
    return ax


@styled
def plot_exponents(dynamics: Dynamics, ax: Axes | None = None) -> Axes:
    """Draw the leading Lyapunov exponents by rank: mean over members, and a band from the least to the largest."""
    ax = single_axes(ax)
    ax.axhline(0, color=GRAY, linewidth=0.6)
    finite = dynamics.exponents["mean"].replace([np.inf, -np.inf], np.nan)
    for drive, (label, color) in _DRIVES.items():
        by_rank = finite.xs(drive, level="drive").groupby("rank").agg(["mean", "min", "max"])
        ax.plot(by_rank.index, by_rank["mean"], color=color, marker="o", markersize=2, label=label)
        ax.fill_between(by_rank.index, by_rank["min"], by_rank["max"], color=color, alpha=0.2, linewidth=0)
    ax.set(xlabel="rank", ylabel="Lyapunov exponent (per step)")
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    ax.legend(loc="lower left")
    n, sequences = len(dynamics.members), int(dynamics.exponents["sequences"].iloc[0])
    band = "; band: range over members" if n > 1 else ""
    ax.set_title(f"{dynamics.label}: {_members(n)}\n{sequences} sequences each{band}")
    return ax


def point_classes(points: pd.DataFrame) -> NDArray[np.str_]:
    """Return the key of `CLASSES` that each point belongs to."""
    names = np.array([*CLASSES])
    classes = names[points["unstable"].clip(upper=3).to_numpy(dtype=int)]
    classes = np.where(points["kind"] == "unresolved", "unresolved", classes)
    return np.where(points["kind"] == "slow", "slow point", classes)


def _label_plane(plane: MemberPlane, ax: Axes) -> Axes:
    first, second = (f"PC {i + 1} ({100 * share:.0f} %)" for i, share in enumerate(plane.variance_ratio[:2]))
    ax.set(xlabel=first, ylabel=second)
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.yaxis.set_major_locator(MaxNLocator(4))
    return ax


def _dot(color: str, label: str, size: float, hollow: bool = False) -> Line2D:
    face = "none" if hollow else color
    return Line2D(
        [], [], linestyle="", marker="o", markersize=size, color=color, markerfacecolor=face, label=label
    )


def _members(n: int) -> str:
    return f"n = {n} member{'' if n == 1 else 's'}"


def _points(n: int) -> str:
    return f"n = {n} point" if n == 1 else f"n = {n} points"
