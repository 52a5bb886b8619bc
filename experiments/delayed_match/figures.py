"""Figure of the experiment: the code through the delay, when and whence it is read, and how alike the seeds are."""

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.conditions.trajectories import MEAN, Trajectories
from analysis.degeneracy.measure import Degeneracy
from analysis.figures.conditions.decoding import plot_matrix, plot_times
from analysis.figures.conditions.trajectories import add_legend, plot_axis, plot_space
from analysis.figures.degeneracy.measure import plot_levels
from analysis.figures.style import BLUE, GRAY, VERMILION, WIDTHS, styled

STAGES = ("fixation", "sample", "delay", "test", "response")
"""Of a trial, in the order of the event "stage"."""

PANELS: Any = [["space", "times", "matrix"], ["axis", "shared", "pairs"]]


@styled
def draw_population(results: Mapping[str, Any]) -> Figure:
    """Return one figure of the results of the analyses, by command."""
    trajectories, decoding = results["trajectories"], results["decode"]
    figure = Figure(figsize=(WIDTHS["double"], 5.2), layout="constrained")
    axes = figure.subplot_mosaic(
        PANELS,
        per_subplot_kw={"space": {"projection": "3d"}},
        width_ratios=[1, 1, 1.15],
        height_ratios=[1.15, 1],
    )
    who = MEAN if trajectories.aligned else trajectories.shown
    plot_space(trajectories, who, axes["space"]).set_title(f"States by sample, {who}")
    plot_axis(trajectories, who, 1, axes["axis"]).set_title("Along the first axis")
    plot_times(decoding, axes["times"]).set_title("The sample is read from states\n(bar: both tests find it)")
    for step in list(trajectories.starts.values())[1:]:
        axes["times"].axvline(step, color=GRAY, linewidth=0.4, zorder=0)
    plot_matrix(decoding, axes["matrix"]).set_title("… by one step's readout\nat other steps")
    plot_shared(trajectories, axes["shared"])
    plot_pairs(results["degeneracy"], axes["pairs"])
    # It would stand on the next panel's label.
    axes["space"].set_zlabel("")
    add_legend(figure, trajectories.conditions, STAGES[: len(trajectories.starts)])
    n = decoding.test.n
    figure.suptitle(
        f"Delayed match to sample, n = {n} rate networks; bands: 95 % over networks, gray: labels permuted"
    )
    return figure


@styled
def plot_shared(result: Trajectories, ax: Axes) -> Axes:
    """Draw how much of their condition means networks share after rotation, beside permuted conditions."""
    table = result.shared
    for place, (_, row) in enumerate(table.iterrows()):
        ax.bar(place, row["agreement"], 0.6, color=BLUE)
        ax.plot([place - 0.35, place + 0.35], [row["chance_high"]] * 2, color=VERMILION, linewidth=1.5)
    names = {"states": "states", "conditions": "what depends\non the sample"}
    ax.set_xticks(range(len(table)), [names.get(str(name), str(name)) for name in table.index])
    ax.set(
        ylim=(0, 1),
        ylabel="shared after rotation",
        title="Is the code the same in all seeds?\n(line: 95 % of permuted samples)",
    )
    return ax


@styled
def plot_pairs(result: Degeneracy, ax: Axes) -> Axes:
    """Draw the distances of dynamics and of weights of all pairs of networks, and what they are compared with."""
    plot_levels(result, "dmdc", "weights_relative", ax)
    label = next(iter(result.sizes))
    rows = result.settings.loc[label]
    ax.axvline(rows.loc["dmdc", "floor"], color=VERMILION, linewidth=1)
    ax.axhline(rows.loc["unmatched", "estimate"], color=GRAY, linewidth=1)
    ax.set(
        xlim=(0, None),
        ylim=(0, 1.08),
        title="Pairs of seeds (orange: one with itself,\ngray: units in random order)",
    )
    return ax
