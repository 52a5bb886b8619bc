"""What a reader trips over in a figure: labels beyond its edge or over each other, and empty axes."""

from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
from matplotlib.figure import Figure


@pytest.fixture(scope="session")
def layout_faults() -> Callable[[Figure], list[str]]:
    """Return a function that names what a reader would trip over in a figure."""
    return _layout_faults


def _layout_faults(figure: Figure) -> list[str]:
    figure.draw_without_rendering()
    return [*_out_of_view(figure), *_crowded_ticks(figure), *_empty_axes(figure)]


def _out_of_view(figure: Figure) -> Iterator[str]:
    within = figure.bbox.padded(0.05 * figure.dpi)
    labels = [
        text
        for ax in figure.axes
        for text in (ax.title, ax._left_title, ax._right_title, ax.xaxis.label, ax.yaxis.label)
        if ax.get_visible()
    ]
    for text in [*figure.texts, *labels]:
        corners = text.get_window_extent().corners()
        if text.get_text() and not all(within.contains(x, y) for x, y in corners):
            yield f"beyond the figure: {text.get_text()}"


def _crowded_ticks(figure: Figure) -> Iterator[str]:
    for axis in (axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis) if ax.axison):
        low, high = sorted(axis.get_view_interval())
        labels = [tick.label1 for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high]
        boxes = [label.get_window_extent() for label in labels if label.get_visible() and label.get_text()]
        if any(first.overlaps(second) for first, second in pairwise(boxes)):
            yield f"labels overlap: {', '.join(label.get_text() for label in labels)}"


def _empty_axes(figure: Figure) -> Iterator[str]:
    return (f"empty axes: {ax.get_title()}" for ax in figure.axes if ax.axison and not ax.has_data())


@pytest.fixture
def coarse_figures(monkeypatch):
    """Save figures with few pixels, which takes less time and leaves the layout as it is."""
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda figure, *to, **options: save(figure, *to, **(options | {"dpi": 40}))
    )
