"""Figures of the experiment: returns over updates beside the published runs, and an episode on its graph."""

from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch
from matplotlib.ticker import MaxNLocator

from analysis.figures.style import BLACK, COLORS, GRAY, column_figure, styled
from emt.tasks.graph_navigation import GraphNavigation
from emt.tasks.graphs import ACTIONS, NONE, PLACES
from experiments.graph_navigation.measure import Episode
from experiments.graph_navigation.published import PUBLISHED

PLACE_NAMES = GraphNavigation.tokens


@styled
def draw_returns(agents: pd.DataFrame, yardsticks: pd.DataFrame) -> Figure:
    """Return curves of mean return on test graphs with 95 % intervals, published runs, and yardsticks as lines.

    Parameters
    ----------
    agents
        By agent and updates (`summary.Summary`).
    yardsticks
        By dynamics and agent.
    """
    figure, axes = column_figure("double", height=3.4)
    ax, last = axes[0, 0], max(agents.index.get_level_values("updates"))
    names = list(dict.fromkeys(agents.index.get_level_values("agent")))
    for name, color in zip(names, cycle(COLORS)):
        table = agents.xs(name, level="agent").sort_index()
        ax.plot(
            table.index,
            table["test"],
            color=color,
            marker="o",
            ms=2.5,
            label=f"{name} (n = {table['n'].max()})",
        )
        ax.fill_between(table.index, table["low"], table["high"], color=color, alpha=0.2, lw=0)
    for name, entries in PUBLISHED.items():
        color = COLORS[names.index(name) % len(COLORS)] if name in names else GRAY
        shown = {update: entry.test for update, entry in entries.items() if update <= last}
        ax.plot(list(shown), list(shown.values()), "x", color=color, ms=5)
    for (dynamics, name), row in yardsticks.iterrows():
        ax.axhline(row["mean_return"], color=GRAY, lw=0.6, ls=":")
        several = len(set(yardsticks.index.get_level_values("dynamics"))) > 1
        text = f"{name} ({dynamics})" if several else name
        ax.annotate(
            text,
            (1, row["mean_return"]),
            xycoords=("axes fraction", "data"),
            ha="right",
            va="bottom",
            fontsize=6,
        )
    ax.set(xlabel="updates", ylabel="mean return on test graphs", xlim=(0, max(last, 1)))
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    published = Line2D([], [], color=GRAY, marker="x", ls="", label="one published run each")
    figure.legend(
        handles=[*ax.get_legend_handles_labels()[0], published], loc="outside lower center", ncols=4
    )
    counts = sorted(set(agents["n"]))
    n = " to ".join(str(c) for c in dict.fromkeys((counts[0], counts[-1])))
    figure.suptitle(
        f"Returns of agents on graphs that are new to them: n = {n} seeds; mean and 95 % interval"
    )
    return figure


@styled
def draw_episode(episode: Episode, name: str) -> Figure:
    """Return a graph with the actions that lead from place to place, and an episode on it, step by step."""
    figure, axes = column_figure("double", height=3.0, columns=2, width_ratios=(1, 2))
    draw_graph(episode, axes[0, 0])
    draw_steps(episode, axes[0, 1])
    colors = [Line2D([], [], color=COLORS[u], label=f"action {u + 1}") for u in range(ACTIONS)]
    marks = [
        Line2D([], [], color=BLACK, marker="*", ls="", label="reward's place"),
        Line2D([], [], color=GRAY, marker="x", ls="", label="invalid action"),
    ]
    figure.legend(handles=[*colors, *marks], loc="outside lower center", ncols=5)
    total = f"return {episode.reward.sum():.2f}, {int((episode.reward > 0).sum())} rewards"
    figure.suptitle(f"An episode of {name} on the first test graph: {total}; n = 1 episode")
    return figure


def draw_graph(episode: Episode, ax: Axes) -> None:
    """Draw places on a circle and an arrow for each valid pair (place, action)."""
    angle = np.pi / 2 - 2 * np.pi * np.arange(PLACES) / PLACES
    at = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    for place, action in zip(*np.nonzero(episode.graph != NONE), strict=True):
        ends = at[place], at[episode.graph[place, action]]
        bend = f"arc3,rad={0.12 + 0.1 * action}"
        ax.add_patch(
            FancyArrowPatch(
                *ends,
                connectionstyle=bend,
                arrowstyle="-|>",
                mutation_scale=8,
                shrinkA=9,
                shrinkB=9,
                color=COLORS[action],
            )
        )
    ax.plot(*at.T, "o", ms=14, color="white", mec=BLACK, mew=0.8)
    for (x, y), text in zip(at, PLACE_NAMES, strict=True):
        ax.text(x, y, text, ha="center", va="center")
    ax.set(xlim=(-1.35, 1.35), ylim=(-1.35, 1.35), aspect="equal")
    ax.set_axis_off()


def draw_steps(episode: Episode, ax: Axes) -> None:
    """Draw by step where the agent and the reward are, and what the agent does."""
    steps = np.arange(len(episode.place))
    ax.plot(steps, episode.place, color=GRAY, lw=0.6, zorder=1)
    for action in range(ACTIONS):
        chosen = episode.action == action
        ax.plot(steps[chosen], episode.place[chosen], "o", color=COLORS[action], ms=5)
    invalid = episode.reward < 0
    ax.plot(steps[invalid], episode.place[invalid], "x", color=GRAY, ms=8)
    ax.plot(steps, episode.goal, "*", color=BLACK, ms=4)
    for step in steps[episode.reward > 0]:
        ax.axvline(step + 0.5, color=GRAY, lw=0.6, ls=":")
    ax.set(
        xlabel="step (dotted: reward reached)", ylabel="place", yticks=range(PLACES), xlim=(-0.7, len(steps))
    )
    ax.set_yticklabels(PLACE_NAMES)
    ax.set_ylim(-0.5, PLACES - 0.5)
