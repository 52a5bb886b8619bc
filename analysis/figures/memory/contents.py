"""Figures of `analysis.memory.contents`."""

from collections.abc import Iterator

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from analysis.figures.captions import captioned
from analysis.figures.style import BLUE, COLORS, GRAY, SEQUENTIAL, column_figure, single_axes, styled
from analysis.memory.contents import MemoryAnalysis, MemoryContents
from analysis.memory.log import mixing_text
from analysis.memory.relabelling import NONE

MARKERS = "os^Dv*PX"
"""Of the classes in turn, beside their colours: dots of two of these are hard to tell apart."""

MOST_PANELS = 6
"""Members whose contents are drawn, the first ones: each has its own axes, so they cannot share a panel."""


CAPTIONS = {
    "memory_*_spectrum": (
        "Largest singular values and effective rank of the memory over time, mean over members with 95 % "
        "intervals; of a layer also its weights. A rank that rises with the writes means that each takes a "
        "direction of its own; one that levels off, a full memory."
    ),
    "memory_*_similarity": (
        "Similarity of the keys (left) and values (right) that one sequence writes, sorted by class; white "
        "lines part classes. Bright blocks on the diagonal mean that items of a class share an address or a "
        "content."
    ),
    "memory_*": (
        "Contents of the memory of the first members on their two largest principal components, a dot for each "
        "step; colours: classes. Clusters of one colour mean that contents say the class; an AUC of 0.5 is "
        "chance, 1 is full separation."
    ),
}


@captioned(CAPTIONS)
def draw(analysis: MemoryAnalysis) -> Iterator[tuple[str, Figure]]:
    """Yield the figures of a memory analysis and their names."""
    for held in analysis.drawn:
        yield f"memory_{held.memory}_{analysis.contents}", draw_contents(analysis, held)
        yield f"memory_{held.memory}_spectrum", draw_spectrum(analysis, held)
        if len(held.similarity.classes):
            yield f"memory_{held.memory}_similarity", draw_similarity(analysis, held)


@styled
def draw_contents(analysis: MemoryAnalysis, held: MemoryContents) -> Figure:
    """Return a figure of the contents of the first members, with one legend or colour bar for all."""
    shown = min(len(held.model_names), MOST_PANELS)
    rows, columns = (1, shown) if shown <= 3 else (2, -(-shown // 2))
    figure, axes = column_figure(
        "single" if shown == 1 else "double", height=2.6 * rows + 0.6, rows=rows, columns=columns
    )
    for spare in axes.flat[shown:]:
        spare.remove()
    for place, ax in enumerate(axes.flat[:shown]):
        plot_contents(analysis, held, place, ax)
    _add_key(figure, axes.flat[:shown].tolist(), analysis, held)
    of = "" if shown == len(held.model_names) else f"first {shown} of "
    what = f"{analysis.contents} of {of}{_members(len(held.model_names))}{mixing_text(held.mixes)}"
    figure.suptitle(f"{analysis.label}, memory {held.memory}: {what}")
    return figure


@styled
def draw_spectrum(analysis: MemoryAnalysis, held: MemoryContents) -> Figure:
    """Return a figure of singular values and effective rank over time, and of a layer's weights where it has them."""
    weights = any(name.startswith("weights") for name in held.spectrum.index.unique("quantity"))
    figure, axes = column_figure("double", height=2.5, columns=3 if weights else 2)
    plot_singular_values(held, axes[0, 0])
    plot_effective_rank(held, axes[0, 1])
    if weights:
        plot_weights(held, axes[0, 2])
    n = len(held.model_names)
    bands, mixing = ", band: 95 % over members" if n > 1 else "", mixing_text(held.mixes)
    figure.suptitle(
        f"{analysis.label}, memory {held.memory}: {_members(n)} × {held.trials} trials{bands}{mixing}"
    )
    return figure


@styled
def draw_similarity(analysis: MemoryAnalysis, held: MemoryContents) -> Figure:
    """Return a figure of how similar the keys, and the values, of one sequence are: the first member's, and means."""
    names = held.similarity.model_names
    rows = 1 if len(names) == 1 else 2
    figure, axes = column_figure("double", height=3.0 * rows + 0.3, rows=rows, columns=2)
    shown = [f"{names[0]}", f"mean of {_members(len(names))}"]
    for what, column in zip(("keys", "values"), axes.T, strict=True):
        matrices = getattr(held.similarity, what)
        for ax, matrix, title in zip(column, (matrices[0], matrices.mean(axis=0)), shown, strict=False):
            plot_similarity(analysis, held, matrix, ax).set_title(f"{what}, {title}")
    what = f"writes of one sequence compared with each other, {_members(len(names))}{mixing_text(held.mixes)}"
    figure.suptitle(f"{analysis.label}, memory {held.memory}: {what}")
    return figure


@styled
def plot_similarity(
    analysis: MemoryAnalysis, held: MemoryContents, matrix: NDArray[np.float64], ax: Axes | None = None
) -> Axes:
    """Draw similarities (write, write) with a colour bar; few classes are named at their blocks."""
    ax = single_axes(ax, height=3.1)
    classes = held.similarity.classes
    kinds, first, count = np.unique(classes, return_index=True, return_counts=True)
    image = ax.imshow(matrix, cmap=SEQUENTIAL, interpolation="nearest")
    ax.figure.colorbar(image, ax=ax, label=held.similarity.measure, fraction=0.046, pad=0.03)
    if len(kinds) <= len(COLORS):
        names = ["none" if kind == NONE else _class_name(analysis, int(kind)) for kind in kinds]
        ax.set_xticks(first + (count - 1) / 2, names)
        ax.set_yticks(first + (count - 1) / 2, names, rotation=90, va="center")
        for edge in first[1:]:
            ax.axhline(edge - 0.5, color="white", linewidth=0.6)
            ax.axvline(edge - 0.5, color="white", linewidth=0.6)
    ax.set(xlabel=f"write, by {analysis.color_by}", ylabel=f"write, by {analysis.color_by}")
    return ax


@styled
def plot_contents(
    analysis: MemoryAnalysis, held: MemoryContents, member: int, ax: Axes | None = None
) -> Axes:
    """Draw the contents of one member, ``held.model_names[member]``, on its first two principal components."""
    ax = single_axes(ax, height=3.1)
    x, y = held.coordinates[member][:, :2].T
    classes = held.classes[member]
    none = classes == NONE
    if none.any():
        ax.scatter(x[none], y[none], s=5, color=GRAY, alpha=0.5, linewidths=0, label="none")
    few = len(_classes(held)) <= len(COLORS)
    for place, (kind, color) in enumerate(zip(_classes(held), _class_colors(held), strict=True)):
        here = classes == kind
        if here.any():
            look = {"marker": MARKERS[place], "s": 9} if few else {"s": 7}
            ax.scatter(
                x[here],
                y[here],
                color=[color],
                linewidths=0,
                label=_class_name(analysis, int(kind)),
                **look,
            )
    first, second = (
        f"PC {i + 1} ({100 * share:.0f} %)" for i, share in enumerate(held.variance_ratio[member][:2])
    )
    ax.set(xlabel=first, ylabel=second)
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.yaxis.set_major_locator(MaxNLocator(4))
    ax.set_title(f"{held.model_names[member]}: AUC {held.auc[member]:.2f}")
    return ax


@styled
def plot_singular_values(held: MemoryContents, ax: Axes | None = None) -> Axes:
    """Draw the largest singular values of the memory over time, each with its interval over members."""
    ax = single_axes(ax)
    names = [name for name in held.spectrum.index.unique("quantity") if name.startswith("singular_value")]
    for name, color in zip(names, mpl.colormaps[SEQUENTIAL](np.linspace(0, 0.88, len(names))), strict=True):
        _plot_quantity(held, name, color, name.rpartition("_")[2], ax)
    ax.set(xlabel="step", ylabel="singular value", ylim=(0, None))
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5), title="value", title_fontsize=7, borderaxespad=0.4)
    return ax


@styled
def plot_effective_rank(held: MemoryContents, ax: Axes | None = None) -> Axes:
    """Draw the effective rank of the memory over time with its interval over members."""
    ax = single_axes(ax)
    _plot_quantity(held, "effective_rank", BLUE, "", ax)
    ax.set(xlabel="step", ylabel="effective rank", ylim=(0, None))
    return ax


@styled
def plot_weights(held: MemoryContents, ax: Axes | None = None) -> Axes:
    """Draw the largest singular value of the weights, memory included, over time, and of square ones the radius."""
    ax = single_axes(ax)
    names = {
        "weights_singular_value_1": "largest singular value",
        "weights_spectral_radius": "spectral radius",
    }
    for (name, label), color in zip(names.items(), COLORS, strict=False):
        if name in held.spectrum.index.unique("quantity"):
            _plot_quantity(held, name, color, label, ax)
    ax.set(xlabel="step", ylabel="of the weights", ylim=(0, None))
    ax.legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2, labelspacing=0.2)
    return ax


def _plot_quantity(held: MemoryContents, name: str, color: object, label: str, ax: Axes) -> None:
    curve = held.spectrum.loc[name]
    ax.plot(curve.index, curve["mean"], color=color, marker="o", markersize=2, label=label)
    ax.fill_between(curve.index, curve["low"], curve["high"], color=color, alpha=0.2, linewidth=0)
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))


def _classes(held: MemoryContents) -> NDArray[np.int64]:
    """Return the classes of all members, without none."""
    classes = np.unique(np.concatenate(held.classes))
    return classes[classes != NONE]


def _class_colors(held: MemoryContents) -> list[object]:
    classes = _classes(held)
    if len(classes) <= len(COLORS):
        return list(COLORS[: len(classes)])
    return list(mpl.colormaps[SEQUENTIAL](Normalize(classes[0], classes[-1])(classes)))


def _class_name(analysis: MemoryAnalysis, kind: int) -> str:
    return analysis.class_names[kind] if kind < len(analysis.class_names) else str(kind)


def _add_key(figure: Figure, axes: list[Axes], analysis: MemoryAnalysis, held: MemoryContents) -> None:
    """Add one legend for all panels, or a colour bar if there are more classes than colours."""
    classes = _classes(held)
    if len(classes) > len(COLORS):
        bar = ScalarMappable(Normalize(classes[0], classes[-1]), SEQUENTIAL)
        ticks = classes[:: -(-len(classes) // 12)].tolist()
        names = [_class_name(analysis, kind) for kind in ticks]
        figure.colorbar(bar, ax=axes, label=analysis.color_by, fraction=0.04, pad=0.02).set_ticks(
            ticks, labels=names
        )
        return
    handles = {
        label: handle for ax in axes for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)
    }
    figure.legend(
        list(handles.values()),
        list(handles),
        loc="outside lower center",
        ncols=9,
        title=analysis.color_by,
        title_fontsize=7,
        handletextpad=0.2,
        columnspacing=1.0,
    )


def _members(n: int) -> str:
    return f"n = {n} member{'' if n == 1 else 's'}"
