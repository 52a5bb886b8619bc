"""Figures of `analysis.conditions.geometry`."""

from collections.abc import Iterator, Sequence
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.conditions.dissimilarities import doubly_centred
from analysis.conditions.geometry import Geometry
from analysis.figures.captions import captioned
from analysis.figures.conditions.trajectories import add_legend, colors_of
from analysis.figures.style import BLACK, BLUE, GRAY, SEQUENTIAL, column_figure, single_axes, styled

MOST_STEPS = 4
"""Steps that are drawn; of more, some at even distances."""

MOST_LABELLED = 8
"""Conditions up to which a matrix has their names."""


CAPTIONS = {
    "geometry": (
        "Above: dissimilarity between the conditions' states at some steps, mean over members; below: the "
        "conditions in the plane that shows these distances best. Look for conditions that cluster, or lie on "
        "a line or a ring, and for steps at which the arrangement changes."
    ),
    "geometry_models": (
        "How well each hypothesis about the conditions explains their dissimilarities, at some steps. Dots: "
        "members; square and line: mean and 95 % interval; black: what 95 % of relabelled conditions stay "
        "below; gray band: noise ceiling. A hypothesis whose square lies right of its black mark is supported, "
        "and in the gray band nothing is left to explain."
    ),
}


@captioned(CAPTIONS)
def draw(result: Geometry) -> Iterator[tuple[str, Figure]]:
    """Yield matrices with maps of the conditions, and how well models agree."""
    steps = _shown(result.steps)
    yield "geometry", _matrices(result, steps)
    yield "geometry_models", _models(result, steps)


@styled
def plot_matrix(result: Geometry, step: int, ax: Axes | None = None) -> Axes:
    """Draw the mean dissimilarities of conditions over members at a step; gray is undefined."""
    ax = single_axes(ax)
    mean = _mean(result, step)
    masked = np.ma.masked_where(np.eye(len(mean), dtype=bool) | ~np.isfinite(mean), mean)
    image = ax.imshow(masked, cmap=SEQUENTIAL, interpolation="nearest")
    ax.set_facecolor(GRAY)
    names = result.conditions.values
    if len(names) <= MOST_LABELLED:
        ax.set_yticks(range(len(names)), names)
        ax.set_xticks([])
    ax.set(title=f"step {step}")
    ax.figure.colorbar(image, ax=ax, shrink=0.8)
    return ax


@styled
def plot_map(result: Geometry, step: int, ax: Axes | None = None) -> Axes:
    """Draw conditions in the plane in which their distances are shown best (classical scaling of the mean)."""
    ax = single_axes(ax)
    mean = np.nan_to_num(_mean(result, step))
    values, vectors = np.linalg.eigh(doubly_centred(-mean / 2))
    points = vectors[:, -2:] * np.sqrt(np.maximum(values[-2:], 0))
    for (second, first), color in zip(points, colors_of(len(points)), strict=True):
        ax.plot(first, second, "o", color=color, markersize=5)
    total = np.maximum(values, 0).sum()
    share = np.maximum(values[-2:], 0).sum() / total if total > 0 else 0.0
    ax.set(aspect="equal", xlabel="axis 1", ylabel="axis 2", title=f"{share:.0%} of distances")
    ax.margins(0.15)
    ax.set_xticks([])
    ax.set_yticks([])
    return ax


@styled
def plot_models(result: Geometry, step: int, ax: Axes | None = None) -> Axes:
    """Draw each model's coefficient: members, mean with interval, 95 % of relabellings, and the noise ceiling."""
    ax = single_axes(ax)
    rows = result.models.loc[step]
    places = np.arange(len(rows))[::-1]
    lower, upper = rows["lower"].iloc[0], rows["upper"].iloc[0]
    if np.isfinite(lower):
        ax.axvspan(lower, upper, color=GRAY, alpha=0.35, linewidth=0)
        ax.axvline(upper, color=GRAY, linewidth=0.5)
    for place, name in zip(places, rows.index, strict=True):
        own = result.members.xs((step, name), level=("step", "model"))["coefficient"]
        ax.plot(own, np.full(len(own), place), "o", color=BLUE, alpha=0.4, markersize=2.5)
        row = rows.loc[name]
        ax.plot([row["low"], row["high"]], [place, place], color=BLUE, linewidth=1.2)
        ax.plot(row["coefficient"], place, "s", color=BLUE, markersize=4)
        ax.plot(row["null_95"], place, "|", color=BLACK, markersize=9)
    ax.axvline(0, color=GRAY, linewidth=0.4)
    ax.set(xlabel=result.coefficient, title=f"step {step}", ylim=(-0.6, len(rows) - 0.4))
    return ax


def _mean(result: Geometry, step: int) -> np.ndarray:
    matrices = result.matrices[:, result.steps.index(step)]
    known = np.isfinite(matrices)
    sums, counts = np.where(known, matrices, 0).sum(axis=0), known.sum(axis=0)
    return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)


def _shown(steps: Sequence[int]) -> tuple[int, ...]:
    places = np.linspace(0, len(steps) - 1, min(len(steps), MOST_STEPS)).round().astype(int)
    return tuple(steps[place] for place in places)


@styled
def _matrices(result: Geometry, steps: Sequence[int]) -> Figure:
    figure, axes = column_figure("double", height=4.4, rows=2, columns=len(steps))
    for column, step in enumerate(steps):
        plot_matrix(result, step, axes[0, column])
        plot_map(result, step, axes[1, column])
        if column:
            axes[0, column].set_yticks([])
    add_legend(figure, result.conditions)
    figure.suptitle(fill(f"{_about(result)}; below: conditions in the plane", 98))
    return figure


@styled
def _models(result: Geometry, steps: Sequence[int]) -> Figure:
    height = 1.3 + 0.3 * len(result.names)
    figure, axes = column_figure("double", height=height, columns=len(steps), sharex=True)
    for column, step in enumerate(steps):
        plot_models(result, step, axes[0, column])
        axes[0, column].set_yticks(
            np.arange(len(result.names))[::-1], result.names if not column else [""] * len(result.names)
        )
    figure.suptitle(fill(f"{_about(result)}; black: 95 % of relabelled conditions, gray: noise ceiling", 98))
    return figure


def _about(result: Geometry) -> str:
    members = f"n = {result.n} member{'s'[: result.n > 1]}"
    return f"{result.label}: {result.conditions.name}; {members}; {result.design}"
