"""Figure of `analysis.variables.from_trajectories`: certificates of members by each estimator."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from analysis.figures.style import BLUE, GRAY, GREEN, ORANGE, column_figure, single_axes, styled
from analysis.variables.find import CONDITION_LIMITS
from analysis.variables.results import VariableMemories

ESTIMATORS = {"trajectories": (BLUE, "o", -0.12), "powers": (ORANGE, "s", 0.12)}
"""Colour, marker and place beside the member's of each estimator."""

ANGLES = {
    "transition_angle_deg": ("Ψ* W Ψ to Φ", BLUE, "o"),
    "observed_angle_deg": ("recorded\nmoves to Φ", GREEN, "^"),
    "agreement_deg": ("Ψ between\nestimators", ORANGE, "s"),
    "precision_deg": ("Ψ, standard\nerror", GRAY, "x"),
}
"""Label, colour and marker of what is drawn in degrees."""

SHARES = {"reconstruction": "states reconstructed", "reading": "variables read"}
"""What is drawn of the held-out trials."""

LOWEST = -0.1
"""Shares below this are drawn as triangles there."""


@styled
def draw_certificate(result: VariableMemories) -> Figure:
    """Return a figure of what the certificates say of each member and estimator."""
    if result.found:
        figure, axes = column_figure("double", height=4.6, rows=2, columns=2)
        plot_angles(result, axes[1, 1])
    else:
        figure, axes = column_figure("double", height=2.6, columns=3)
    for name, ax in zip(SHARES, axes.flat, strict=False):
        plot_share(result, name, ax)
    plot_condition(result, axes.flat[2])
    _add_key(figure, result)
    figure.suptitle(
        f"{result.label}: n = {len(result.members)} member{'s' if len(result.members) > 1 else ''} × "
        f"{result.trials} trials, {len(result.found)} with variable memories"
    )
    return figure


@styled
def plot_share(result: VariableMemories, name: str, ax: Axes | None = None) -> Axes:
    """Draw each estimator's held-out "reconstruction" or "reading" over trials; triangles mark what is far below 0."""
    ax = single_axes(ax)
    for estimator, (color, marker, beside) in ESTIMATORS.items():
        rows = _rows(result, estimator)
        place = np.arange(len(rows)) + beside
        share, low, high = (rows[key].to_numpy() for key in (name, f"{name}_low", f"{name}_high"))
        below = share <= LOWEST
        for part, face in _faces(rows, color):
            inside = part & ~below
            errors = [(share - low)[inside], (high - share)[inside]]
            ax.errorbar(place[inside], share[inside], errors, fmt=marker, c=color, mfc=face, markersize=3)
            _off_scale(ax, place[part & below], LOWEST, "v", color, face)
    ax.axhline(0, color=GRAY, linewidth=0.6, linestyle="--")
    ax.set(ylabel=SHARES[name], ylim=(LOWEST - 0.04, 1.03))
    ax.set_title("held-out trials, 95 %")
    return _member_axis(result, ax)


@styled
def plot_condition(result: VariableMemories, ax: Axes | None = None) -> Axes:
    """Draw each estimator's condition number and its limit; triangles mark infinite ones."""
    ax = single_axes(ax)
    limits = [limit for name, limit in CONDITION_LIMITS.items() if len(_rows(result, name))]
    numbers = result.estimates["condition_number"]
    top = 3 * max([*numbers[np.isfinite(numbers)], *limits])
    for name, (color, marker, beside) in ESTIMATORS.items():
        rows = _rows(result, name)
        if not len(rows):
            continue
        place, numbers = np.arange(len(rows)) + beside, rows["condition_number"].to_numpy()
        infinite = np.isinf(numbers)
        for part, face in _faces(rows, color):
            ax.plot(
                place[part & ~infinite], numbers[part & ~infinite], marker, c=color, mfc=face, markersize=3
            )
            _off_scale(ax, place[part & infinite], top, "^", color, face)
        ax.axhline(CONDITION_LIMITS[name], color=color, linewidth=0.6, linestyle="--")
    ax.set(yscale="log", ylabel="condition number of Ψ", ylim=(0.8, 1.5 * top))
    ax.set_title("dashed: limit")
    return _member_axis(result, ax)


@styled
def plot_angles(result: VariableMemories, ax: Axes | None = None) -> Axes:
    """Draw in degrees how far Φ is from the task's, the estimators from each other, and Ψ from its true mean."""
    ax = single_axes(ax)
    for name, (label, color, marker) in ANGLES.items():
        values = result.members[name].to_numpy()
        if np.isfinite(values).any():
            ax.plot(np.arange(len(values)), values, marker, color=color, markersize=3, label=label)
    ax.set(ylabel="angle (degrees)", ylim=(0, None))
    ax.set_title("members with a basis")
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), borderaxespad=0.2, handletextpad=0.2)
    return _member_axis(result, ax)


def _add_key(figure: Figure, result: VariableMemories) -> None:
    """Say below all panels what colours, hollow markers and triangles are."""
    look: dict[str, Any] = {"linestyle": "", "markersize": 3.5}
    handles = [
        Line2D([], [], color=color, marker=marker, label=f"from {name}", **look)
        for name, (color, marker, _) in ESTIMATORS.items()
        if len(_rows(result, name))
    ]
    verdicts = [face for name in ESTIMATORS for face in _faces(_rows(result, name), GRAY)]
    for label, face in (("accepted", GRAY), ("rejected", "none")):
        if any(some.any() for some, drawn in verdicts if drawn == face):
            handles.append(Line2D([], [], color=GRAY, marker="o", markerfacecolor=face, label=label, **look))
    estimates = result.estimates
    far = np.isinf(estimates["condition_number"]) | (estimates[list(SHARES)] <= LOWEST).any(axis=1)
    if far.any():
        handles.append(Line2D([], [], color=GRAY, marker="v", label="triangle: off the scale", **look))
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), handletextpad=0.2)


def _off_scale(ax: Axes, place: NDArray[np.float64], edge: float, marker: str, color: str, face: str) -> None:
    """Draw triangles at the edge of the scale, beyond which the values are."""
    ax.plot(place, np.full(len(place), edge), marker, c=color, mfc=face, markersize=3.5)


def _rows(result: VariableMemories, estimator: str) -> Any:
    """Return an estimator's certificates in the order of the members; empty where it was not asked for."""
    names = result.estimates.index.unique("estimator")
    return (
        result.estimates.xs(estimator, level="estimator") if estimator in names else result.estimates.iloc[:0]
    )


def _faces(rows: Any, color: str) -> list[tuple[NDArray[np.bool_], str]]:
    """Return which estimates are identified and which refused, with the colour that fills their markers."""
    identified = (rows["verdict"] == "identified").to_numpy()
    return [(identified, color), (~identified, "none")]


def _member_axis(result: VariableMemories, ax: Axes) -> Axes:
    n = len(result.members)
    shown = range(0, n, max(1, -(-n // 10)))
    ax.set_xticks(list(shown), [str(result.members.index[i]).removeprefix("model-") for i in shown])
    ax.set(xlabel="model", xlim=(-0.6, n - 0.4))
    return ax
