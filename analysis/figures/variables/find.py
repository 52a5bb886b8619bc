"""Figures of `analysis.variables.find`: certainty of variable memories, how they pass values on, and a film."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from analysis.figures.captions import captioned
from analysis.figures.style import (
    BLUE,
    GRAY,
    VERMILION,
    Film,
    column_figure,
    single_axes,
    styled,
)
from analysis.figures.variables.from_trajectories import draw_certificate
from analysis.variables.results import MemberVariables, TrialVariables, VariableMemories

MOVE, REST = 6, 3
"""Frames of the film in which variables move from step to step, and in which they stand."""

_VALUES: dict[str, Any] = {"cmap": "RdBu_r", "vmin": -1, "vmax": 1}

CAPTIONS = {
    "variables_certificate": (
        "Whether each member's states are explained by variables in memory slots: shares of held-out states "
        "and variables with 95 % intervals, condition of the basis against its limit (dashed), and angles to "
        "the task's transition. Filled marks: accepted; hollow: rejected; triangles: off the scale. Shares "
        "near 1 with conditions below the limit are a found basis."
    ),
    "variables_transition": (
        "Transition between the variables: of the task, of the network's weights in the basis, and of recorded "
        "steps; red positive, blue negative. The three should have the same cells coloured; titles give the "
        "angle to the task's Φ."
    ),
    "variables_trial": (
        "Variables of one held-out trial over time: as the task has them (left), and as read from the states "
        "(right); rows: slots, red line: first answer. The panels should agree after the line too, when "
        "nothing comes in any more."
    ),
    "variables_film": (
        "Variables of one trial as they move through memory slots: discs, read from the state; rings, the "
        "task's values. Discs should have the colour of their rings at every stop."
    ),
}


@captioned(CAPTIONS)
def draw(result: VariableMemories) -> Iterator[tuple[str, Figure]]:
    """Yield the figures of variable memories and their names: without a basis only why there is none."""
    yield "variables_certificate", draw_certificate(result)
    if result.shown is not None:
        yield "variables_transition", draw_transitions(result)
        yield "variables_trial", draw_trial(result)


@captioned(CAPTIONS)
def animate(result: VariableMemories) -> Iterator[tuple[str, Film]]:
    """Yield the film of variables that move through memory slots, and its name."""
    if result.shown is not None:
        yield "variables_film", film_variables(result)


@styled
def draw_transitions(result: VariableMemories) -> Figure:
    """Return a figure of the task's Φ and of those of the member that is shown."""
    figure, axes = column_figure("double", height=2.55, columns=3)
    figure.set_layout_engine("compressed")
    member = _shown_member(result)
    angles = result.members.loc[member.model_name]
    for ax, matrix, title in (
        (axes[0, 0], result.theory.transition, "task: Φ"),
        (axes[0, 1], member.transition, f"one step, Ψ* W Ψ: {angles['transition_angle_deg']:.1f}°"),
        (axes[0, 2], member.observed, f"recorded steps: {angles['observed_angle_deg']:.1f}°"),
    ):
        plot_transition(result, matrix, ax).set_title(title)
    axes[0, 1].set_ylabel("")
    axes[0, 2].set_ylabel("")
    figure.colorbar(
        axes[0, 0].images[0], ax=list(axes[0]), label="weight", extend="both", aspect=25, fraction=0.05
    )
    figure.suptitle(
        f"{result.label}, {member.model_name}: transition between variables, and its angle to the task's Φ "
        f"(n = {result.trials} trials)"
    )
    return figure


@styled
def draw_trial(result: VariableMemories) -> Figure:
    """Return a figure of the variables of one trial over time, as the task has them and as they are read."""
    figure, axes = column_figure("double", height=3.2, columns=2, sharey=True)
    shown = result.shown
    assert shown is not None
    plot_variables(result, shown.known, axes[0, 0]).set_title("task")
    plot_variables(result, shown.read, axes[0, 1]).set(ylabel="", title="read from the states")
    figure.colorbar(
        axes[0, 0].images[0], ax=list(axes[0]), label="value", extend="both", aspect=25, fraction=0.05
    )
    figure.suptitle(
        f"{result.label}, {shown.model_name}, trial {shown.trial}: variables in memory slots, "
        f"n = 1 of {result.trials} trials, basis from the others (line: first answer)"
    )
    return figure


@styled
def plot_transition(result: VariableMemories, matrix: NDArray[np.float64], ax: Axes | None = None) -> Axes:
    """Draw a matrix (to, from) between the positions that are kept."""
    ax = single_axes(ax, height=3.0)
    ax.imshow(matrix, interpolation="nearest", **_VALUES)
    ax.set(xlabel="from slot", ylabel="to slot")
    ax.set_xticks(*_slot_ticks(result))
    ax.set_yticks(*_slot_ticks(result))
    return ax


@styled
def plot_variables(result: VariableMemories, values: NDArray[np.float64], ax: Axes | None = None) -> Axes:
    """Draw variables (time, variable) of the trial shown over time; white if there is no vector yet."""
    ax = single_axes(ax, "double", 3.0)
    shown = result.shown
    assert shown is not None
    ax.imshow(values.T, aspect="auto", interpolation="nearest", **_VALUES)
    slots = _slots(result)
    for border in np.flatnonzero(np.diff(slots)):
        ax.axhline(border + 0.5, color="white", linewidth=0.8)
    ax.axvline(float(np.argmax(shown.used)) - 0.5, color=VERMILION, linewidth=0.8)
    ax.set(xlabel="step", ylabel="slot (1: oldest; rows: bits)")
    ax.set_yticks(*_slot_ticks(result))
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    return ax


@styled
def film_variables(result: VariableMemories) -> Film:
    """Return a film of the trial shown: discs are what is read from the state, rings what the task has there."""
    shown = result.shown
    assert shown is not None
    figure, axes = column_figure("double", height=1.1 + 0.33 * (result.theory.width + 1))
    ax = axes[0, 0]
    discs = _stage(result, ax)
    title = ax.set_title("")
    figure.suptitle(
        f"{result.label}, {shown.model_name}, trial {shown.trial}: variables in memory slots, "
        f"n = 1 member, 1 of {result.trials} trials"
    )
    steps = _consecutive_steps(shown, 2 * result.theory.length)
    target = np.abs(result.theory.transition).argmax(axis=0)
    start, end = _places(result), _places(result)[target]
    # What goes back to the newest slot passes above the others.
    hop = np.where(end[:, 0] > start[:, 0], 0.45, 0.0)

    def show(frame: int) -> None:
        number, part = divmod(frame, MOVE + REST)
        step = steps[number]
        share = max(0, part - REST + 1) / MOVE if number + 1 < len(steps) else 0.0
        share = share * share * (3 - 2 * share)
        following = shown.read[step + 1, target] if share else shown.read[step]
        place = start + share * (end - start)
        place[:, 1] -= hop * 4 * share * (1 - share)
        discs.set_offsets(place)
        discs.set_array((1 - share) * shown.read[step] + share * following)
        discs.set_edgecolor([VERMILION if value > 0 else BLUE for value in shown.known[step]])
        answer = step - int(np.argmax(shown.used)) + 1
        title.set_text(f"step {step}, answer {answer}")

    return Film(figure, show, frames=len(steps) * (MOVE + REST) - MOVE, rate=12)


def _stage(result: VariableMemories, ax: Axes) -> PathCollection:
    """Prepare the axes of the film and return its discs, one for each variable."""
    length, width = result.theory.length, result.theory.width
    for edge in np.arange(length + 1) - 0.5:
        ax.axvline(edge, color=GRAY, linewidth=0.4, zorder=0)
    ax.set(xlim=(-0.5, length - 0.5), ylim=(width - 0.4, -1.0), ylabel="bit")
    ax.set_xlabel(
        "slot (1: oldest; the newest is the output)   disc: read from the state, ring: the task's value"
    )
    ax.set_xticks(range(length), [str(slot + 1) for slot in range(length)])
    ax.set_yticks(range(width), [str(bit + 1) for bit in range(width)])
    ax.tick_params(length=0)
    x, y = _places(result).T
    discs = ax.scatter(x, y, c=np.zeros(len(x)), s=110, linewidths=1.4, **_VALUES)
    ax.figure.colorbar(discs, ax=ax, label="value", fraction=0.03, pad=0.01, extend="both")
    return discs


def _consecutive_steps(shown: TrialVariables, most: int) -> NDArray[np.intp]:
    """Return the first run of used steps, at most ``most`` and one."""
    steps = np.flatnonzero(shown.used)
    gaps = np.flatnonzero(np.diff(steps) > 1)
    return steps[: gaps[0] + 1 if len(gaps) else None][: most + 1]


def _places(result: VariableMemories) -> NDArray[np.float64]:
    """Return where variables stand in the film (variable, 2): slot and bit."""
    slot, bit = np.divmod(result.theory.positions, result.theory.width)
    return np.stack([slot, bit], axis=1).astype(float)


def _slots(result: VariableMemories) -> NDArray[np.intp]:
    return np.asarray(result.theory.positions // result.theory.width)


def _slot_ticks(result: VariableMemories) -> tuple[list[float], list[str]]:
    """Return the middle of each slot's variables and the slots' numbers from 1, of slots that have room for one."""
    slots = _slots(result)
    ticks: dict[str, float] = {}
    for slot in np.unique(slots):
        middle = float(np.flatnonzero(slots == slot).mean())
        if not ticks or middle - max(ticks.values()) >= len(slots) / 20:
            ticks[str(slot + 1)] = middle
    return list(ticks.values()), list(ticks)


def _shown_member(result: VariableMemories) -> MemberVariables:
    return next(
        member for member in result.found if result.shown and member.model_name == result.shown.model_name
    )
