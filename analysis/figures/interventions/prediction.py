"""Figure of measured changes of the margin against predicted ones."""

from math import isnan
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.figures.style import BLACK, COLORS, GRAY, column_figure, styled
from analysis.interventions.summary import Interventions
from analysis.statistics import number_text

PANELS = {"queried": "queried item's write", "other": "another item's write", "lag ": "each single write"}
"""Titles by what targets are called, or start with."""

MOST = 60
"""Removals of each member that a panel shows."""


@styled
def draw_prediction(result: Interventions) -> Figure:
    """Draw what each removal changes in all against what it changes through the query's reads alone.

    Members have colours; what the linear estimate predicts is grey.
    """
    shown = panels(result)
    figure, axes = column_figure("double", height=2.9, columns=len(shown), sharex=True, sharey=True)
    for ax, (title, points) in zip(axes[0], shown.items(), strict=True):
        _plot_panel(ax, points)
        ax.set(title=title, xlabel="predicted change of margin")
    axes[0, 0].set(ylabel="measured change of margin")
    rows = result.prediction
    means = {name: rows[name].mean() for name in ("r2", "linear_r2", "bias", "linear_bias")}
    r2, linear, bias, linear_bias = (
        "undefined" if isnan(mean) else number_text(mean, 2) for mean in means.values()
    )
    texts = [f"single writes: mean R² {r2}, linear {linear}", f"queried: bias {bias}, linear {linear_bias}"]
    n = result.n_members
    figure.suptitle(
        f"{result.label}: effect of the query's own reads, n = {n} member{'' if n == 1 else 's'}\n"
        f"{'; '.join(texts)}; grey: linear estimates"
    )
    return figure


def panels(result: Interventions) -> dict[str, pd.DataFrame]:
    """Return the removals whose changes are known, by the panel's title; panels without any are left out."""
    if not len(result.points):
        return {}
    known = result.points.dropna(subset=["measured", "predicted"])
    targets = known.index.get_level_values("target")
    shown = {title: known[targets.str.startswith(start)] for start, title in PANELS.items()}
    return {title: points for title, points in shown.items() if len(points)}


def _plot_panel(ax: Axes, known: pd.DataFrame) -> None:
    for place, (_, own) in enumerate(known.groupby("model_name", sort=False)):
        some = own.iloc[:: max(1, len(own) // MOST)]
        look: dict[str, Any] = {"s": 3, "alpha": 0.3, "linewidths": 0, "rasterized": True}
        ax.scatter(some["linear"], some["measured"], color=GRAY, **look)
        ax.scatter(some["predicted"], some["measured"], color=COLORS[place % len(COLORS)], **look)
    ends = [known["measured"].min(), known["measured"].max()]
    ax.plot(ends, ends, color=BLACK, linewidth=0.6)
    ax.xaxis.set_major_locator(MaxNLocator(5))
