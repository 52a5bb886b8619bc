"""Figures of `analysis.states.similarity`."""

from collections.abc import Iterator
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.figures.captions import captioned
from analysis.figures.style import BLUE, column_figure, single_axes, styled
from analysis.states.similarity import Similarity

_NAMES = {
    "cka": "linear CKA",
    "cka_unbiased": "unbiased CKA",
    "procrustes": "Procrustes",
    "rsa": "RSA",
    "dsa": "DSA",
    "input_dsa": "InputDSA",
}
_UNITS = dict.fromkeys(_NAMES, "angle (rad)") | dict.fromkeys(("dsa", "input_dsa"), "Wasserstein distance")


CAPTIONS = {
    "similarity_distances": (
        "Distances between the states of all pairs of members by each measure; white lines part sets; titles: "
        "the distance of shuffled states. Dark blocks mean alike members; compare them with the shuffled "
        "distance, which is what chance gives."
    ),
    "similarity_agreement": (
        "Each dot is a pair of members: its distance by one measure against that by another. A rising cloud "
        "means that measures agree on which members are similar; otherwise report more than one."
    ),
}


@captioned(CAPTIONS)
def draw(similarity: Similarity) -> Iterator[tuple[str, Figure]]:
    """Yield the figures of a comparison of states and their names."""
    yield "similarity_distances", _distances(similarity)
    if len(similarity.members) > 2:
        yield "similarity_agreement", _agreement(similarity)


@styled
def plot_distances(similarity: Similarity, measure: str, ax: Axes | None = None) -> Axes:
    """Draw the distances of all pairs of members by one measure, white lines between sets."""
    ax = single_axes(ax, height=3.2)
    image = ax.imshow(similarity.distances[measure], interpolation="nearest", vmin=0)
    counts = np.array(list(similarity.sizes.values()))
    ends = np.cumsum(counts)
    for end in ends[:-1]:
        ax.axhline(end - 0.5, color="white", linewidth=1.2)
        ax.axvline(end - 0.5, color="white", linewidth=1.2)
    middles, numbers = ends - 0.5 - counts / 2, [str(place + 1) for place in range(len(counts))]
    if len(counts) == 1:
        models = similarity.members.index.get_level_values("model_name")
        middles = np.unique(np.linspace(0, len(models) - 1, min(len(models), 6)).astype(int))
        numbers = [str(models[place]).removeprefix("model-") for place in middles]
    axis = "set" if len(counts) > 1 else "model"
    ax.set(xticks=middles, yticks=middles, xticklabels=numbers, yticklabels=numbers, xlabel=axis, ylabel=axis)
    ax.tick_params(length=0)
    ax.figure.colorbar(image, ax=ax, label=_UNITS[measure], fraction=0.046, pad=0.03)
    ax.set_title(f"{_NAMES[measure]}{_shuffled(similarity, measure)}")
    return ax


@styled
def plot_agreement(similarity: Similarity, first: str, second: str, ax: Axes | None = None) -> Axes:
    """Draw the distances of all pairs of members by one measure against those by another."""
    ax = single_axes(ax)
    upper = np.triu_indices(len(similarity.members), 1)
    ax.scatter(
        similarity.distances[first][upper],
        similarity.distances[second][upper],
        s=5,
        color=BLUE,
        alpha=float(np.clip(100 / len(upper[0]), 0.15, 0.8)),
        linewidths=0,
        rasterized=True,
    )
    row = similarity.agreement.loc[(first, second)]
    ax.set(xlabel=_label(first), ylabel=_label(second))
    known = np.isfinite(row["rank_correlation"])
    verdict = (
        f"{row['rank_correlation']:.2f}{'' if row['agree'] else ': disagree'}" if known else "not defined"
    )
    ax.set_title(f"rank correlation {verdict}")
    ax.locator_params(nbins=5)
    return ax


@styled
def _distances(similarity: Similarity) -> Figure:
    measures = list(similarity.distances)
    columns = 3 if len(measures) in (3, 5, 6) else 2
    rows = -(-len(measures) // columns)
    figure, axes = column_figure("double", height=0.6 + rows * 5.4 / columns, rows=rows, columns=columns)
    for measure, ax in zip(measures, _places(axes, len(measures)), strict=True):
        plot_distances(similarity, measure, ax)
    figure.suptitle(_caption(similarity))
    return figure


@styled
def _agreement(similarity: Similarity) -> Figure:
    pairs = list(similarity.agreement.index)
    rows = -(-len(pairs) // 3)
    figure, axes = column_figure("double", height=0.6 + 2.1 * rows, rows=rows, columns=3)
    for (first, second), ax in zip(pairs, _places(axes, len(pairs)), strict=True):
        plot_agreement(similarity, first, second, ax)
    n = len(similarity.members)
    figure.suptitle(f"n = {n} members, {n * (n - 1) // 2} pairs; measures agree above {similarity.bar:g}")
    return figure


def _places(axes: NDArray[np.object_], n: int) -> list[Axes]:
    """Return the first n axes; the others are removed."""
    for ax in axes.flat[n:]:
        ax.remove()
    return list(axes.flat[:n])


def _shuffled(similarity: Similarity, measure: str) -> str:
    """Return the distance of shuffled states, of several pairs of sets its range; nothing for dynamics."""
    values = similarity.sets.xs(measure, level="measure")["shuffled"].dropna()
    if not len(values):
        return ""
    low, high = f"{values.min():.2f}", f"{values.max():.2f}"
    return f" (shuffled: {low})" if low == high else f" (shuffled: {low} to {high})"


def _label(measure: str) -> str:
    return f"{_NAMES[measure]}, {_UNITS[measure]}"


def _caption(similarity: Similarity) -> str:
    sizes = list(similarity.sizes.items())
    several = len(sizes) > 1
    named = ", ".join(
        f"{f'{i + 1}: ' if several else ''}{label} (n = {n})" for i, (label, n) in enumerate(sizes)
    )
    remarks = " ".join(filter(None, [similarity.refused, similarity.remark]))
    told = fill(f"{named}; {similarity.states_compared}", 110)
    return f"{told}\n{fill(remarks, 110)}" if remarks else told
