"""Figures of `analysis.interventions.summary`."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.figures.captions import captioned
from analysis.figures.interventions import writes
from analysis.figures.interventions.variables import plot_pairs, plot_variables
from analysis.figures.interventions.writes import (
    draw_chance,
    draw_members,
    draw_writes,
    sample_text,
    scores_of,
)
from analysis.figures.style import BLACK, BLUE, COLORS, GRAY, VERMILION, single_axes, styled
from analysis.interventions.summary import PART_TEXTS, Interventions, tested_step

PART_COLORS = {"moving": BLUE, "memory": VERMILION, "all": BLACK}


CAPTIONS = {
    **writes.CAPTIONS,
    "interventions_states": (
        "Right answers when a part of the state gets another trial's content, by the step of the exchange, "
        "with 95 % bands; dashed: unchanged, dotted: commonest answer. The part and step at which accuracy "
        "falls are where and when the answer is held."
    ),
    "interventions_parts": (
        "Right answers of each member (lines) and their mean (bars) with parts of the state exchanged at one "
        "step; dotted: commonest answer. The part whose exchange costs most holds the answer."
    ),
    "interventions_variables": (
        "Share of answers that become the source's when a slot is exchanged, by the step, with 95 % bands over "
        "members; dotted: random directions, dash-dotted: wrong slot, dashed: nothing exchanged. A line near "
        "the dashed one, with controls near 0, shows that the slot carries the variable."
    ),
    "interventions_pairs_*": (
        "Share of answers that pass from one member (column) to another (row) by this route. A bright diagonal "
        "alone means private codes; bright cells off it, a code that members share."
    ),
}


@captioned(CAPTIONS)
def draw(result: Interventions) -> Iterator[tuple[str, Figure]]:
    """Yield the figures of interventions and their names."""
    yield from draw_writes(result)
    if len(result.states):
        yield "interventions_states", plot_states(result).figure  # type: ignore[misc]
        yield "interventions_parts", plot_parts(result).figure  # type: ignore[misc]
    if len(result.variables):
        yield "interventions_variables", plot_variables(result).figure  # type: ignore[misc]
    for route in () if result.pairs is None else result.pairs.carried:
        yield f"interventions_pairs_{route}", plot_pairs(result, route).figure  # type: ignore[misc]


@styled
def plot_states(result: Interventions, ax: Axes | None = None) -> Axes:
    """Draw the accuracy left when parts of the state get another trial's content, by the step of the change."""
    ax = single_axes(ax)
    states = result.states
    control = states["control_accuracy"].groupby("after").first()
    ax.plot(control.index, control, color=GRAY, linestyle="--", label="unchanged")
    for place, part in enumerate(states.index.unique("part")):
        rows = states.xs(part, level="part")
        color = PART_COLORS.get(part, COLORS[2 + place % (len(COLORS) - 2)])
        ax.plot(rows.index, rows["accuracy"], "o-", color=color, markersize=2.5, label=_name(part))
        ax.fill_between(rows.index, rows["low"], rows["high"], color=color, alpha=0.2, linewidth=0)
    draw_chance(ax, result)
    ax.set(xlabel="content exchanged after steps", ylabel="right answers", ylim=(-0.03, 1.03))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(loc="best")
    ax.set_title(
        f"{result.label}: where it is held\n{sample_text(result)}\nbands: 95 %; dotted: commonest answer"
    )
    return ax


@styled
def plot_parts(result: Interventions, ax: Axes | None = None) -> Axes:
    """Draw each member's accuracy with parts of its state exchanged, at the step that is tested."""
    ax = single_axes(ax)
    after = tested_step(result.states)
    rows = result.states.xs(after, level="after")
    names = ["unchanged", *rows.index]
    conditions = [rows["control"].iloc[0], *rows["condition"]]
    right = pd.DataFrame({name: scores_of(result, c) for name, c in zip(names, conditions, strict=True)})
    places = np.arange(len(names))
    draw_members(ax, places, right)
    draw_chance(ax, result)
    ax.set_xticks(places, [name if name == "unchanged" else _name(name) for name in names])
    ax.set(ylabel="right answers", ylim=(-0.03, 1.03), xlim=(-0.4, len(names) - 0.6))
    ax.set_title(
        f"{result.label}: content exchanged after {after} step{'' if after == 1 else 's'}\n"
        f"{sample_text(result)}\nbars: mean; dotted: commonest answer"
    )
    return ax


def _name(part: str) -> str:
    return PART_TEXTS.get(part, part).removeprefix("the ").replace("contents of memories", "memory")
