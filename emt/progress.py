"""Progress of long work: a bar on a terminal, elsewhere a line periodically; nothing is silent for long."""

import threading
import time
from types import TracebackType
from typing import Any

LINE_EVERY_S = 15.0
"""Seconds until the first line, and between lines. After some minutes a line follows whenever a tenth more time has
passed, so that the log of a long night stays short."""


class Progress:
    """Shows how much of some work is done, on standard error unless another console is given.

    Parameters
    ----------
    what
        What is counted, as in "models".
    total
        How much there is to do.
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

    def __init__(self, what: str, total: int, console: Any = None, enabled: bool = True) -> None:
        from rich.console import Console

        self.what, self.total, self.enabled = what, total, enabled
        self.console = console or Console(stderr=True, highlight=False, soft_wrap=True)
        self._done, self._note = 0, ""
        self._started = time.monotonic()
        self._over = threading.Event()
        self._bar: Any = None
        self._lines = threading.Thread(target=self._write_lines, daemon=True)

    def update(self, done: int, note: str = "") -> None:
        """Say that ``done`` of the work is done; ``note`` is shown behind the number."""
        self._done, self._note = done, note
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=done, note=note)

    def __enter__(self) -> "Progress":
        if not self.enabled:
            return self
        if self.console.is_terminal:
            self._bar = self._new_bar()
            self._bar.start()
        else:
            self._lines.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._bar is not None:
            self._bar.stop()
        elif self.enabled:
            self._lines.join()

    def _new_bar(self) -> Any:
        from rich import progress as rich_progress

        columns = (
            *rich_progress.Progress.get_default_columns()[:2],
            rich_progress.MofNCompleteColumn(),
            rich_progress.TimeRemainingColumn(),
            rich_progress.TextColumn("{task.fields[note]}"),
        )
        bar = rich_progress.Progress(*columns, console=self.console, transient=True)
        bar.add_task(self.what, total=self.total, note="")
        return bar

    def _write_lines(self) -> None:
        while not self._over.wait(max(LINE_EVERY_S, (time.monotonic() - self._started) / 10)):
            self.console.print(self._line(time.monotonic() - self._started), markup=False)

    def _line(self, elapsed: float) -> str:
        parts = [f"{self.what}: {self._done} of {self.total}", *filter(None, [self._note])]
        parts.append(f"{duration(elapsed)} so far")
        if 0 < self._done < self.total:
            parts.append(f"about {duration(elapsed * (self.total - self._done) / self._done)} left")
        return ", ".join(parts)


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
