"""Colours of conditions, symbols of stages, and what names them below a figure."""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.conditions.labels import Labels
from analysis.figures.style import BLACK, COLORS, SEQUENTIAL

MARKERS = "os^Dv<>p*X"
"""Of the stages of a trial, in turn."""

MOST_NAMED = 12
"""Conditions that a legend names; of more of them the first and the last."""

LINE = 110
"""Characters that fit into a line of a legend, of which each entry takes `ENTRY` beside its name."""

ENTRY = 8


def colors_of(count: int) -> Sequence[Any]:
    """Return a colour for each condition."""
    if count <= len(COLORS):
        return COLORS[:count]
    return list(mpl.colormaps[SEQUENTIAL](np.linspace(0, 0.95, count)))


def legend_of(names: Sequence[str], starts: Sequence[str] = ()) -> list[Line2D]:
    """Return what names the colours of conditions and the symbols of stages."""
    colors = colors_of(len(names))
    named = range(len(names)) if len(names) <= MOST_NAMED else (0, len(names) - 1)
    handles = [Line2D([], [], color=colors[place], label=names[place]) for place in named]
    return handles + [
        Line2D([], [], color=BLACK, marker=marker, linewidth=0, markersize=3.5, label=name)
        for name, marker in zip(starts, MARKERS, strict=False)
    ]


def add_legend(figure: Figure, conditions: Labels, starts: Sequence[str] = ()) -> None:
    """Name conditions, and stages, below a figure of double width."""
    handles = legend_of(conditions.values, starts)
    longest = max(len(str(handle.get_label())) for handle in handles)
    columns = max(min(len(handles), LINE // (longest + ENTRY)), 1)
    figure.legend(handles=handles, title=conditions.name, loc="outside lower center", ncols=columns)
