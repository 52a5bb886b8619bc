"""Figures of `analysis.spectra.emergence`."""

from collections.abc import Iterator
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from analysis.figures.captions import captioned
from analysis.figures.style import BLUE, GRAY, VERMILION, column_figure, single_axes, styled
from analysis.spectra.emergence import Emergence

_LABELS = {"accuracy": "accuracy", "spectral_error_deg": "spectral error (degrees)"}
_COLORS = {"accuracy": BLUE, "spectral_error_deg": VERMILION}


CAPTIONS = {
    "emergence": (
        "Accuracy and spectral error over training: gray, members; colour, mean with 95 % interval; dashed: "
        "bar; dotted: median step at which members cross it. Compare the dotted lines: which comes first, the "
        "right answers or the theory's spectrum."
    ),
}


@captioned(CAPTIONS)
def draw(emergence: Emergence) -> Iterator[tuple[str, Figure]]:
    """Yield the figure of an emergence and its name."""
    yield "emergence", _panels(emergence)


@styled
def plot_measure(emergence: Emergence, measure: str, ax: Axes | None = None) -> Axes:
    """Draw "accuracy" or "spectral_error_deg" against training step: members, mean and 95 % interval of the mean.

    The dashed line is the bar, the dotted one the median step at which members cross it, where half of them
    do.
    """
    ax = single_axes(ax)
    color = _COLORS[measure]
    for _, member in emergence.members[measure].groupby(level="model_name"):
        ax.plot(member.droplevel("model_name"), color=GRAY, alpha=0.4, linewidth=0.5)
    mean = emergence.means.loc[measure]
    ax.fill_between(mean.index, mean["low"], mean["high"], color=color, alpha=0.25, linewidth=0)
    ax.plot(mean["mean"], color=color, marker="o", markersize=2.5)
    bar, crossing = {
        "accuracy": (emergence.accuracy_bar, "accuracy_step"),
        "spectral_error_deg": (emergence.error_bar, "spectrum_step"),
    }[measure]
    ax.axhline(bar, color=GRAY, linewidth=0.6, linestyle="--")
    median = emergence.median_step(crossing)
    if np.isfinite(median):
        ax.axvline(median, color=color, linewidth=0.8, linestyle=":")
    ax.set(ylabel=_LABELS[measure], xlabel="training step")
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    return ax


@styled
def _panels(emergence: Emergence) -> Figure:
    figure, axes = column_figure("single", height=4.4, rows=2, sharex=True)
    for measure, ax in zip(_LABELS, axes[:, 0], strict=True):
        plot_measure(emergence, measure, ax).label_outer()
    n = len(emergence.crossings)
    crossed = np.isfinite([emergence.median_step(name) for name in ("accuracy_step", "spectrum_step")]).any()
    says = "; dotted: median crossing" if crossed else ""
    figure.suptitle(f"{fill(emergence.label, 44)}\nn = {n} members; mean, 95 % interval\ndashed: bar{says}")
    figure.align_ylabels(axes[:, 0])
    return figure
