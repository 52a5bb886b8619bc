"""Figures of tests against null clouds (`analysis.homology.nulls`)."""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.figures.style import BLACK, BLUE, COLORS, SKY, column_figure, single_axes, styled
from analysis.homology.nulls import N_SUBSETS, BarTests

_KINDS = ("gap", "loop", "void", "hole of dimension 3")


@styled
def draw_tests(tests: BarTests, label: str, unit: str) -> Figure:
    """Return a figure with a panel for each dimension; ``unit`` is what bars are lengths of."""
    dimensions = tests.population.index.unique("dimension")
    figure, axes = column_figure(
        "double" if len(dimensions) > 1 else "single", height=3.1, columns=len(dimensions)
    )
    for dimension, ax in zip(dimensions, axes[0], strict=True):
        plot_tests(tests, dimension, ax).set_ylabel(f"longest {_KINDS[dimension]} ({unit})")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3 if len(dimensions) > 1 else 2)
    figure.suptitle(
        f"{label}: n = {tests.population['n'].max():.0f} members, {tests.n_nulls} clouds of each null"
    )
    return figure


@styled
def plot_tests(tests: BarTests, dimension: int = 1, ax: Axes | None = None) -> Axes:
    """Draw each member's longest bar, its range over subsets, and what 95 % of null clouds stay below."""
    ax = single_axes(ax)
    rows = tests.members.xs(dimension, level="dimension")
    names = rows.index.unique("model_name")
    nulls = rows.index.unique("null")
    own = rows.xs(nulls[0], level="null").loc[names]
    place = range(len(names))
    # A wide band: a thin line would look like an interval around the dot, which may lie outside.
    low, high = own["subset_low"], own["subset_high"]
    ax.vlines(
        place, low, high, color=SKY, alpha=0.5, linewidth=5, label=f"5 to 95 % of {N_SUBSETS} other subsets"
    )
    ax.plot(place, own["longest"], "o", color=BLUE, label="longest bar")
    for null, color, marker in zip(nulls, (*COLORS[1:4], BLACK), "v^s_", strict=False):
        bound = rows.xs(null, level="null").loc[names, "null_95"]
        ax.plot(
            place, bound, marker, color=color, markersize=4, fillstyle="none", label=f"95 % of null {null!r}"
        )
    found = ", ".join(
        f"{null} {tests.population.loc[(dimension, null), 'significant']:.0f}" for null in nulls
    )
    ax.set_title(f"members with p ≤ {tests.level:g} (B–H):\n{found}")
    ax.set_xlabel("model")
    ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    ticks = [int(tick) for tick in ax.get_xticks() if 0 <= tick < len(names)]
    ax.set_xticks(ticks, [str(names[tick]).removeprefix("model-") for tick in ticks])
    ax.margins(x=0.5 / max(len(names), 2))
    return ax
