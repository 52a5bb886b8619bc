"""Figures of interventions on writes."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from analysis.figures.interventions.prediction import draw_prediction, panels
from analysis.figures.style import BLACK, BLUE, GRAY, SEQUENTIAL, VERMILION, single_axes, styled
from analysis.interventions.summary import Interventions

SHOWN = {
    "unchanged": ("unchanged", "right"),
    "without other": ("without\nother", "right"),
    "without queried": ("without\nqueried", "right"),
    "only queried": ("only\nqueried", "right"),
    "only other": ("only\nother", "right"),
    "without any": ("without\nany", "right"),
    "queried with the value of another answer": ("value\nswapped", "counterfactual_right"),
    "other with a value of another answer": ("other\nswapped", "counterfactual_right"),
}
"""Conditions of the figure of members: what it calls each, and which score it shows."""

_DOSE_COLORS = {"queried": VERMILION, "other": BLUE}


CAPTIONS = {
    "interventions_writes": (
        "Right answers of each member (lines) and their mean (bars) when some writes are taken out or "
        "exchanged; dotted: commonest answer. Without the queried write accuracy should fall to the dotted "
        "line, without another one it should stay."
    ),
    "interventions_dose": (
        "Right answers by the strength of the queried write and of other ones, with 95 % bands; hollow: "
        "strengths never trained. A rise with the queried write and a flat line for others mean that the "
        "memory alone carries the answer."
    ),
    "interventions_map": (
        "Right answers without a single write, by how long before the query it was (columns) and by the "
        "queried item (rows). Dark cells are the writes that an answer needs: one in each row, if each item is "
        "held in one place."
    ),
    "interventions_prediction": (
        "Measured change of the margin against what the query's own reads predict, a dot for each removal; "
        "colours: members, gray: linear estimates; black: identity. Dots on the line mean that writes act "
        "through these reads; dots off it, that they act in other ways too."
    ),
}


def draw_writes(result: Interventions) -> Iterator[tuple[str, Figure]]:
    """Yield the figures of interventions on writes and their names, those that there is something for."""
    figures = {
        "interventions_writes": (plot_writes, "without queried" in result.population.index),
        "interventions_dose": (plot_dose, len(result.doses) > 0),
        "interventions_map": (plot_map, len(result.single) > 0),
    }
    for name, (plot, known) in figures.items():
        if known:
            yield name, plot(result).figure  # type: ignore[misc]
    if panels(result):
        yield "interventions_prediction", draw_prediction(result)


@styled
def plot_writes(result: Interventions, ax: Axes | None = None) -> Axes:
    """Draw each member's answers without some writes, and with the values of others."""
    ax = single_axes(ax, "double", 2.9)
    found = {
        name: scores_of(result, name, SHOWN[name][1]) for name in SHOWN if name in result.population.index
    }
    values = pd.DataFrame(found).dropna(axis="columns", how="all")
    shown = {name: SHOWN[name] for name in values}
    places = np.arange(len(shown))
    swaps = sum(score != "right" for _, score in shown.values())
    for part in (places[: len(places) - swaps], places[len(places) - swaps :]):
        draw_members(ax, part, values.iloc[:, part])
    draw_chance(ax, result)
    ax.set_xticks(places, [label for label, _ in shown.values()])
    ax.set(ylabel="share of answers", ylim=(-0.03, 1.03), xlim=(-0.5, len(shown) - 0.5))
    ax.set_title(
        f"{result.label}: right answers, and answers of the source where values are swapped\n"
        f"{sample_text(result)}; bars: mean; dotted: commonest answer"
    )
    return ax


@styled
def plot_dose(result: Interventions, ax: Axes | None = None) -> Axes:
    """Draw the accuracy by the strength of the queried writes and of others; hollow beyond what training has."""
    ax = single_axes(ax)
    for target, color in _DOSE_COLORS.items():
        rows = result.doses.xs(target, level="target")
        # All that is known without other items is what is unchanged.
        if rows["accuracy"].notna().sum() < 2:
            continue
        ax.plot(rows.index, rows["accuracy"], "-", color=color, label=f"{target} item")
        ax.fill_between(rows.index, rows["low"], rows["high"], color=color, alpha=0.2, linewidth=0)
        for hollow in (False, True):
            some = rows[((rows.index < 0) | (rows.index > 1)) == hollow]
            ax.plot(some.index, some["accuracy"], "o", color=color, fillstyle="none" if hollow else "full")
    draw_chance(ax, result)
    ax.set(xlabel="strength of its writes", ylabel="right answers", ylim=(-0.03, 1.03))
    ax.legend(loc="best")
    ax.set_title(
        f"{result.label}: strength of writes\n{sample_text(result)}\nbands: 95 %; hollow: strengths never trained"
    )
    return ax


@styled
def plot_map(result: Interventions, ax: Axes | None = None) -> Axes:
    """Draw the accuracy without single writes, by how long before the query they were and by the queried item."""
    ax = single_axes(ax)
    accuracy = result.single.reset_index().pivot_table("accuracy", "item", "steps_before", dropna=False)
    accuracy = accuracy.sort_index(axis=1, ascending=False)
    image = ax.imshow(accuracy, vmin=0, vmax=1, cmap=SEQUENTIAL, aspect="auto", interpolation="nearest")
    steps, items = accuracy.columns.tolist(), accuracy.index.tolist()
    every = -(-len(steps) // 12)
    ax.set_xticks(range(len(steps))[::every], steps[::every])
    ax.set_yticks(range(len(items)), ["all" if item < 0 else item + 1 for item in items])
    ax.set(xlabel="write removed, steps before the query", ylabel="queried item")
    assert ax.figure is not None
    ax.figure.colorbar(image, ax=ax, label="right answers")
    ax.set_title(f"{result.label}: without single writes\n{sample_text(result)}")
    return ax


def draw_members(ax: Axes, places: NDArray[np.intp], values: pd.DataFrame) -> None:
    """Draw a line for each member (row) over some places, and a bar at the mean of each."""
    for _, member in values.iterrows():
        ax.plot(places, member, "o-", color=BLUE, alpha=0.4, markersize=2.5, linewidth=0.6)
    ax.plot(places, values.mean(), "_", color=BLACK, markersize=14)


def draw_chance(ax: Axes, result: Interventions) -> None:
    """Draw the accuracy of always giving the commonest answer."""
    ax.axhline(result.chance, color=GRAY, linestyle=":", linewidth=0.8)


def scores_of(result: Interventions, condition: str, score: str = "right") -> pd.Series:
    """Return a score of each member under a condition."""
    return result.members[score].xs(condition, level="condition")


def sample_text(result: Interventions) -> str:
    """Return how many members and trials there are, as captions say it."""
    n = result.n_members
    return f"n = {n} member{'' if n == 1 else 's'}, {result.trials} trials"
