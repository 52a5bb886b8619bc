"""Figures of `analysis.degeneracy.measure`."""

from collections.abc import Iterator
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.degeneracy.measure import Degeneracy
from analysis.figures.captions import captioned
from analysis.figures.style import BLUE, COLORS, GRAY, VERMILION, column_figure, single_axes, styled

PANELS = {
    "loss_spread": "SD of log loss",
    "disagreement": "share of different answers",
    "dmd": "dynamics without inputs",
    "dmdc": "dynamics with inputs",
    "dsa": "DSA",
    "input_dsa": "InputDSA",
    "weights_per_unit": "weights, d per unit",
    "weights_relative": "weights, relative d",
    "weights": "weights, d",
}
"""Measures that are drawn, and the labels of their axes."""

MOST_LETTERS = 16
"""Of all labels below a panel."""

MOST_NAMED = 8
"""Labels of settings on an axis, or in a legend; of more, numbers."""


CAPTIONS = {
    "degeneracy": (
        "How much networks that differ in their seed alone differ in behaviour, dynamics and weights, over "
        "settings. Dots: estimate, bars: 95 % over seeds; orange: a network compared with itself, gray: units "
        "in random order. Differences above the orange mark are real; look for levels that move with the "
        "setting while others stay."
    ),
    "degeneracy_levels": (
        "Each dot is a pair of networks: its distance by one measure against that by another; colours: "
        "settings. A rising cloud means that networks which differ in one respect differ in the other too; a "
        "shapeless one, that one level says nothing of the other."
    ),
}


@captioned(CAPTIONS)
def draw(result: Degeneracy) -> Iterator[tuple[str, Figure]]:
    """Yield the figures of differences between seeds and their names."""
    yield "degeneracy", _settings(result)
    known = result.levels.drop("over settings", level="label", errors="ignore").dropna(
        subset="rank_correlation"
    )
    if len(known):
        yield "degeneracy_levels", _levels(result)


@styled
def plot_settings(result: Degeneracy, measure: str, ax: Axes | None = None) -> Axes:
    """Draw one measure over settings with its intervals, and the floor or the distance of unmatched units."""
    ax = single_axes(ax)
    rows = result.settings.xs(measure, level="measure")
    labels = list(result.sizes)
    places = np.array([labels.index(label) for label in rows.index])
    low, high = rows["low"].fillna(rows["estimate"]), rows["high"].fillna(rows["estimate"])
    reach = [rows["estimate"] - low, high - rows["estimate"]]
    ax.errorbar(places, rows["estimate"], reach, fmt="o", color=BLUE, capsize=2, linewidth=1)
    if rows["floor"].notna().any():
        ax.plot(places, rows["floor"], "_", color=VERMILION, markersize=9, markeredgewidth=1.5)
    if measure == "weights_relative":
        ax.plot(
            places,
            result.settings.xs("unmatched", level="measure")["estimate"],
            "_",
            color=GRAY,
            markersize=9,
        )
    ax.set(ylabel=PANELS[measure], xlim=(-0.5, len(labels) - 0.5))
    ax.set_ylim(0, 1.08 * max(ax.dataLim.y1, 1e-12))
    names = _names(result)
    ax.set_xticks(range(len(labels)), names if len(labels) <= MOST_NAMED else [""] * len(labels))
    if len(labels) > MOST_NAMED:
        ax.set_xticks([0, len(labels) - 1], [names[0], names[-1]])
    ax.set_xlabel(result.setting or ("" if names == labels else "setting"))
    return ax


@styled
def plot_levels(result: Degeneracy, first: str, second: str, ax: Axes | None = None) -> Axes:
    """Draw the distances of all pairs of members by two measures against each other, a colour for each setting."""
    ax = single_axes(ax)
    for place, label in enumerate(result.sizes):
        pairs = result.pairs.loc[label]
        alpha = float(np.clip(150 / max(len(pairs), 1), 0.25, 0.8))
        color = COLORS[place % len(COLORS)]
        size = 5 if len(pairs) < 50 else 3
        ax.plot(
            pairs[first], pairs[second], ".", color=color, markersize=size, alpha=alpha, markeredgewidth=0
        )
    ax.set(xlabel=PANELS[first], ylabel=PANELS[second])
    ax.locator_params(nbins=5)
    return ax


@styled
def _settings(result: Degeneracy) -> Figure:
    held = [name for name in PANELS if name in result.settings.index.get_level_values("measure")]
    columns = min(len(held), 4)
    rows = -(-len(held) // columns)
    figure, axes = column_figure("double", height=0.8 + 1.9 * rows, rows=rows, columns=columns)
    for ax in axes.flat[len(held) :]:
        ax.remove()
    for name, ax in zip(held, axes.flat, strict=False):
        plot_settings(result, name, ax)
    marks = ["bars: 95 % over seeds"]
    if result.settings["floor"].notna().any():
        marks.append("orange: a network with itself over halves of its trials")
    if "weights_relative" in held:
        marks.append("gray: units in random order")
    figure.suptitle(fill(f"{_about(result)}; {', '.join(marks)}", 105))
    return figure


@styled
def _levels(result: Degeneracy) -> Figure:
    rows = result.levels.drop("over settings", level="label", errors="ignore")
    pairs = list(dict.fromkeys((first, second) for _, first, second in rows.index))
    several = 1 < len(result.sizes) <= MOST_NAMED
    height = 2.7 + (0.2 * -(-len(result.sizes) // 4) if several else 0)
    figure, axes = column_figure("double", height=height, columns=len(pairs))
    for ax, (first, second) in zip(axes[0], pairs, strict=True):
        plot_levels(result, first, second, ax)
        values = rows.xs((first, second), level=("first", "second"))["rank_correlation"].dropna()
        span = f"{values.min():z.2f}" if len(values) == 1 else f"{values.min():z.2f} to {values.max():z.2f}"
        ax.set_title(f"rank correlation {span}" if len(values) else "no rank correlation")
    if several:
        for place, name in enumerate(_names(result)):
            axes[0, 0].plot([], [], "o", color=COLORS[place % len(COLORS)], markersize=3, label=name)
        figure.legend(loc="outside lower center", ncols=4)
    figure.suptitle(fill(f"{_about(result)}: pairs of networks", 105))
    return figure


def _names(result: Degeneracy) -> list[str]:
    """Return what axes call settings: the number they differ in, else their labels, or places if these are long."""
    labels = list(result.sizes)
    if result.setting:
        values = result.settings["setting"].groupby(level="label", sort=False).first()
        return [f"{values[label]:g}" for label in labels]
    if sum(map(len, labels)) > MOST_LETTERS:
        return [str(place + 1) for place in range(len(labels))]
    return labels


def _about(result: Degeneracy) -> str:
    counts = sorted(set(result.sizes.values()))
    n = " to ".join(str(count) for count in dict.fromkeys((counts[0], counts[-1])))
    where = next(iter(result.sizes)) if len(result.sizes) == 1 else _settings_text(result)
    return f"{where}, n = {n} networks{' each' if len(result.sizes) > 1 else ''}"


def _settings_text(result: Degeneracy) -> str:
    """Return "3 settings", with what places on axes stand for."""
    labels = list(result.sizes)
    text = f"{len(labels)} settings"
    if result.setting or _names(result) == labels or len(labels) > MOST_NAMED:
        return text
    return f"{text} ({'; '.join(f'{place + 1}: {label}' for place, label in enumerate(labels))})"
