"""Figures at the width of a column, styled as `analysis.figures.house` says; and how they are saved.

Figures are made without pyplot: nothing is registered globally, no window opens, and the user's own
matplotlib settings stay as they are. Decorate each drawing function with `styled`; `column_figure` and
`save_figure` already are. To draw into a figure of your own, pass its axes: ``plot_x(result, ax)``.
"""

import errno
import io
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from numpy.typing import ArrayLike, NDArray

from analysis.figures.house import chosen_house
from emt.files import write_bytes
from emt.text import visible

_HOUSE = chosen_house()

WIDTHS = _HOUSE.widths
"""Column widths in inches."""

BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, BLACK, YELLOW, GRAY, SEQUENTIAL, DIVERGING = (
    _HOUSE.colors.values()
)
COLORS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, BLACK, YELLOW)

MOST_POINTS = 50_000
"""Points of one cloud: more of them hide each other, and take minutes to draw."""

_SETTINGS: Any = {
    "image.cmap": SEQUENTIAL,
    "axes.prop_cycle": cycler(color=COLORS),
    **_HOUSE.matplotlib,
}

MATH_SCALES = ("log", "symlog")
"""Scales of axes whose tick labels are mathtext of matplotlib's own, powers of ten; all other text is no mathtext."""

styled = mpl.rc_context(_SETTINGS)
"""Decorator: run a function under the settings of this package and restore the user's afterwards."""


@styled
def column_figure(
    width: Literal["single", "double"] = "single",
    *,
    height: float | None = None,
    rows: int = 1,
    columns: int = 1,
    **layout: Any,
) -> tuple[Figure, NDArray[Any]]:
    """Return an empty figure one column wide and its axes, always as an array (row, column).

    Parameters
    ----------
    width
        "single" (3.5 in) or "double" (7.1 in).
    height
        In inches; without it the panels are about 3 : 4.
    rows, columns
        Panels.
    layout
        What else ``Figure.subplots`` takes: ``sharex``, ``sharey``, ``width_ratios``, ``subplot_kw``, …
    """
    inches = WIDTHS[width]
    height = 0.75 * inches / columns * rows if height is None else height
    figure = Figure(figsize=(inches, height), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **layout)


@styled
def single_axes(
    ax: Axes | None, width: Literal["single", "double"] = "single", height: float | None = None
) -> Axes:
    """Return ``ax``, or the axes of a new figure where it is None."""
    return column_figure(width, height=height)[1][0, 0] if ax is None else ax


@styled
def complex_plane(ax: Axes, radius: float = 1.0) -> Axes:
    """Prepare axes for a spectrum: unit circle, equal scales, labels, room for moduli up to ``radius``."""
    angle = np.linspace(0, 2 * np.pi, 200)
    ax.plot(np.cos(angle), np.sin(angle), color=GRAY, linewidth=0.6, zorder=0)
    limit = 1.12 * max(radius, 1.0)
    ax.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal", xlabel="Re λ", ylabel="Im λ")
    ax.locator_params(nbins=5)
    return ax


def plot_counts(ax: Axes, values: ArrayLike, bins: int = 20) -> None:
    """Draw the distribution of finite values in equal bins; values that differ by rounding alone are one bar."""
    array = np.asarray(values, dtype=float)
    array = array[np.isfinite(array)]
    low, high = (float(array.min()), float(array.max())) if len(array) else (0.0, 0.0)
    size = max(abs(low), abs(high))
    if high - low <= 1e-9 * size:
        # numpy cuts no range into bins that are narrower than its numbers are exact.
        low, high, bins = low - (size / 20 or 0.5), high + (size / 20 or 0.5), 1
    ax.hist(array, bins=np.linspace(low, high, bins + 1).tolist(), color=BLUE)


def thinned(values: NDArray[Any], most: int = MOST_POINTS) -> NDArray[Any]:
    """Return at most ``most`` values at even distances, all where they are no more; the same ones on every run."""
    return values[np.arange(most) * len(values) // most] if len(values) > most else values


def share_text(shown: int, of: int) -> str:
    """Say how many eigenvalues of a cloud are drawn; empty where all are."""
    return f"{shown:,} of {of:,} eigenvalues shown" if shown < of else ""


@styled
def save_figure(
    figure: Figure, stem: str | Path, formats: tuple[str, ...] = ("png", "pdf"), dpi: float = 300
) -> list[Path]:
    """Write ``figure`` as ``<stem>.<format>`` for each format; a file appears under its name only when whole.

    The figure's `description` goes into the file: "Description" of a PNG or SVG, "Subject" of a PDF.

    Returns
    -------
    paths
        The files written, in the order of ``formats``.
    """
    paths = [Path(f"{stem}.{extension}") for extension in formats]
    _fit_texts(figure)
    for path, extension in zip(paths, formats, strict=True):
        # Without a date the same data give the same bytes.
        metadata = {
            "png": {"Description": description(figure)},
            "pdf": {"CreationDate": None, "Subject": description(figure)},
            "svg": {"Date": None, "Description": description(figure)},
        }.get(extension)
        buffer = io.BytesIO()
        figure.savefig(buffer, format=extension, dpi=dpi, metadata=metadata)
        write_bytes(path, buffer.getvalue())
    return paths


def _fit_texts(figure: Figure) -> None:
    """Make room for users' labels, which may be long, and hold dollar signs and characters that are not seen.

    A title that is wider than its figure is broken into lines, at spaces.
    """
    for text in figure.texts:
        text.set_wrap(True)
    scales = [axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis) if axis.get_scale() in MATH_SCALES]
    math = {id(tick) for axis in scales for tick in axis.findobj(Text) if tick is not axis.label}
    for text in figure.findobj(Text):
        if id(text) not in math:
            text.set_parse_math(False)
            text.set_text(visible(text.get_text(), lines=True))


def caption(figure: Figure) -> str:
    """Return what a figure says of itself in one line: its title, else those of its panels."""
    panels = [ax.get_title(place) for ax in figure.axes for place in ("center", "left", "right")]
    titles = [figure.get_suptitle()] if figure.get_suptitle() else panels
    return "; ".join(dict.fromkeys(" ".join(title.split()) for title in titles if title))


def description(figure: Figure) -> str:
    """Return what a file says of its figure: the line that it says of itself, and if it has one its caption below."""
    label = str(figure.get_label())
    return f"{caption(figure)}\n{label}" if label else caption(figure)


@dataclass(frozen=True)
class Film:
    """A figure that moves: ``show(frame)`` changes it to one of ``frames`` frames, ``rate`` of them a second."""

    figure: Figure
    show: Callable[[int], None]
    frames: int
    rate: int


@styled
def save_film(film: Film, stem: str | Path, dpi: float = 100) -> list[Path]:
    """Write ``<stem>.gif``, and ``<stem>.mp4`` where ffmpeg is installed; files appear only when whole.

    The figure's `description` goes into the GIF file as its comment.

    Returns
    -------
    paths
        The files written.
    """
    from matplotlib.animation import FFMpegWriter, PillowWriter

    film.show(0)
    _fit_texts(film.figure)
    film.figure.draw_without_rendering()
    film.figure.set_layout_engine(
        "none"
    )  # Frames laid out one by one would shake, and take three times as long.
    paths = []
    for extension, kind in (("gif", PillowWriter), ("mp4", FFMpegWriter)):
        if not kind.isAvailable():
            continue
        path = Path(f"{stem}.{extension}")
        content = _film_content(film, kind(fps=film.rate), path, dpi)
        write_bytes(path, _commented(content, description(film.figure)) if extension == "gif" else content)
        paths.append(path)
    return paths


def _film_content(film: Film, writer: Any, path: Path, dpi: float) -> bytes:
    """Return the content of a film's file ``path``, which is made elsewhere: writers make files only."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            whole = Path(folder) / path.name
            with writer.saving(film.figure, str(whole), dpi):
                for frame in range(film.frames):
                    film.show(frame)
                    writer.grab_frame()
            return whole.read_bytes()
    except OSError as error:
        error.filename = f"{path}, made in a temporary folder"
        raise
    except subprocess.CalledProcessError as error:
        raise OSError(errno.EIO, f"ffmpeg ended with exit code {error.returncode}", str(path)) from None


def _commented(gif: bytes, text: str) -> bytes:
    """Return a GIF with a comment: matplotlib's writer makes none."""
    from PIL import Image

    content = io.BytesIO()
    with Image.open(io.BytesIO(gif)) as film:
        film.save(content, "gif", save_all=True, comment=text)
    return content.getvalue()
