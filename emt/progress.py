"""Progress of long work: a bar on a terminal, elsewhere a line periodically; nothing is silent for long."""

import threading
import time
from types import TracebackType
from typing import Any

from emt.text import visible

LINE_EVERY_S = 10.0
"""Seconds until the first line, and between lines. After some minutes a line follows whenever a tenth more time has
passed, so that the log of a long night stays short."""

_OPEN: list["Progress"] = []
"""What is in progress in this process, the outermost first: it shows the others, which are parts of it."""


class Progress:
    """Shows how much of some work is done, on standard error unless another console is given.

    Within another one, such as that of a whole command, it is shown as what the other is at.

    Parameters
    ----------
    what
        What is counted, as in "models", or the name of the whole.
    total
        How much there is to do; None where that is unknown.
    console
        A `rich.console.Console`.
    enabled
        False shows nothing.

    Examples
    --------
    >>> with Progress("numbers", total=3) as progress:
    ...     for done in range(3):
    ...         progress.update(done + 1)
    """

    def __init__(
        self, what: str, total: int | None = None, console: Any = None, enabled: bool = True
    ) -> None:
        self.what, self.total, self.console, self.enabled = visible(what), total, console, enabled
        self._done, self._note, self._started = 0, "", 0.0
        self._bar: Any = None
        self._task: Any = None
        self._over = threading.Event()
        self._lines: threading.Thread | None = None

    def update(self, done: int, note: str = "") -> None:
        """Say that ``done`` of the work is done; ``note`` is shown behind the number."""
        self._done, self._note = done, visible(note)
        if self._bar is not None:
            self._bar.update(self._task, completed=done, note=self._counted())

    def __enter__(self) -> "Progress":
        self._started = time.monotonic()
        if not self.enabled:
            return self
        if _OPEN:
            self._bar = _OPEN[0]._bar
        else:
            self._open()
        if self._bar is not None:
            self._task = self._bar.add_task(self.what, total=self.total, note=self._counted())
        _OPEN.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self not in _OPEN:
            return
        if _OPEN[0] is self:
            # Parts that are still open, of a loop that was left, end with the whole.
            _OPEN.clear()
            self._close()
        else:
            _OPEN.remove(self)
            if self._bar is not None:
                self._bar.remove_task(self._task)

    def _open(self) -> None:
        """Start the display of the outermost."""
        from rich.console import Console

        self.console = self.console or Console(stderr=True, highlight=False, soft_wrap=True)
        if self.console.is_terminal:
            self._bar = _new_bar(self.console)
            self._bar.start()
        else:
            self._lines = threading.Thread(target=self._write_lines, daemon=True)
            self._lines.start()

    def _close(self) -> None:
        self._over.set()
        if self._bar is not None:
            self._bar.stop()
        if self._lines is not None:
            self._lines.join()

    def _write_lines(self) -> None:
        while not self._over.wait(max(LINE_EVERY_S, (time.monotonic() - self._started) / 10)):
            self.console.print(self.line(), markup=False)

    def line(self) -> str:
        """Return where the work stands, in words: of the outermost the last of its parts too."""
        last, now = (_OPEN or [self])[-1], time.monotonic()
        parts = [self._count()] if last is self else [self.what, last._count()]
        so_far = f"{duration(now - self._started)} so far"
        return f"{': '.join(parts)}; {', '.join([so_far, *last._left(now)])}"

    def _left(self, now: float) -> list[str]:
        """Return how long the rest takes at this pace, in words; nothing where that is unknown."""
        if self.total is None or not 0 < self._done < self.total:
            return []
        return [f"about {duration((now - self._started) * (self.total - self._done) / self._done)} left"]

    def _counted(self) -> str:
        number = "" if self.total is None else f"{self._done} of {self.total}"
        return ", ".join(filter(None, [number, self._note]))

    def _count(self) -> str:
        return " ".join(filter(None, [self.what, self._counted()]))


def _new_bar(console: Any) -> Any:
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        *(TextColumn("{task.description}", markup=False), BarColumn(bar_width=24)),
        *(TextColumn("{task.fields[note]}", markup=False), TimeElapsedColumn(), TimeRemainingColumn()),
    )
    # Standard output is the command's own, wherever the bar is.
    return Bar(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False)


def duration(seconds: float) -> str:
    """Return seconds in words.

    >>> duration(89), duration(600), duration(7200)
    ('89 s', '10 min', '2.0 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
