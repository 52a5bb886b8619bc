"""Figure of measured changes of the margin against predicted ones."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.figures.style import BLACK, COLORS, GRAY, column_figure, styled
from analysis.interventions.summary import Interventions

PANELS = {"queried": "queried item's write", "other": "another item's write", "lag ": "each single write"}
"""Titles by what targets are called, or start with."""

MOST = 60
"""Removals of each member that a panel shows."""


@styled
def draw_prediction(result: Interventions) -> Figure:
    """Draw what each removal changes in all against what it changes through the query's reads alone.

    Members have colours; what the linear estimate predicts is grey.
    """
    targets = result.points.index.get_level_values("target")
    shown = {title: result.points[targets.str.startswith(start)] for start, title in PANELS.items()}
    shown = {title: points for title, points in shown.items() if len(points)}
    figure, axes = column_figure("double", height=2.9, columns=len(shown), sharex=True, sharey=True)
    for ax, (title, points) in zip(axes[0], shown.items(), strict=True):
        _plot_panel(ax, points)
        ax.set(title=title, xlabel="predicted change of margin")
    axes[0, 0].set(ylabel="measured change of margin")
    rows = result.prediction
    texts = [f"single writes: mean R² {rows['r2'].mean():.2f}, linear {rows['linear_r2'].mean():.2f}"]
    texts += [f"queried: bias {rows['bias'].mean():.2f}, linear {rows['linear_bias'].mean():.2f}"]
    n = result.n_members
    figure.suptitle(
        f"{result.label}: effect of the query's own reads, n = {n} member{'' if n == 1 else 's'}\n"
        f"{'; '.join(texts)}; grey: linear estimates"
    )
    return figure


def _plot_panel(ax: Axes, points: pd.DataFrame) -> None:
    known = points.dropna(subset=["measured", "predicted"])
    for place, (_, own) in enumerate(known.groupby("model_name", sort=False)):
        some = own.iloc[:: max(1, len(own) // MOST)]
        look: dict[str, Any] = {"s": 3, "alpha": 0.3, "linewidths": 0, "rasterized": True}
        ax.scatter(some["linear"], some["measured"], color=GRAY, **look)
        ax.scatter(some["predicted"], some["measured"], color=COLORS[place % len(COLORS)], **look)
    if len(known):
        ends = [np.nanmin(known["measured"]), np.nanmax(known["measured"])]
        ax.plot(ends, ends, color=BLACK, linewidth=0.6)
    ax.xaxis.set_major_locator(MaxNLocator(5))
