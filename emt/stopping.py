"""Ctrl-C and SIGTERM: an exception where nothing is half done, a request where something may be.

Within ``handled()`` a signal raises `Stopped` where it strikes. That is enough for work whose files are whole or
absent. Within ``deferred()`` the first signal is a request: `requested` is true from then on, the work ends itself at
the next place from which it can be resumed, and `Stopped` is raised at the end of the block::

    with stopping.deferred():
        while steps_left and not stopping.requested():
            step()
        save()

A second Ctrl-C raises at once, a third one kills the process. A second SIGTERM changes nothing: a scheduler
and a parent process may both send one. Signals that the process ignores, such as Ctrl-C in a shell's
background job, stay ignored.
"""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)

STRIKE_S = 0.02
"""Seconds after which a signal strikes again whose exception was ignored."""

PARENT_LOOK_S = 0.5
"""Seconds between a worker's looks at its parent."""


class Stopped(KeyboardInterrupt):
    """The user or a scheduler wants this process to end; ``number`` is the signal."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number

    @property
    def exit_code(self) -> int:
        """128 plus the signal, as shells have it: 130 for Ctrl-C, 143 for SIGTERM."""
        return 128 + self.number


@dataclass
class _State:
    """What this process was sent, and how it takes it."""

    received: list[int] = field(default_factory=list)
    installed: bool = False
    deferring: int = 0


_STATE = _State()


@contextlib.contextmanager
def handled() -> Iterator[None]:
    """Let SIGINT and SIGTERM raise `Stopped`; within another such block, or outside the main thread, do nothing."""
    if _STATE.installed or threading.current_thread() is not threading.main_thread():
        yield
        return
    _STATE.installed = True
    try:
        with kept_handlers(), _struck_again():
            take_over()
            yield
    finally:
        _STATE.installed = False
        forget()


@contextlib.contextmanager
def _struck_again() -> Iterator[None]:
    """Let a signal strike again that struck where Python ignores exceptions: in a finalizer, in a weak reference."""
    before = sys.unraisablehook

    def ignored(unraisable: Any) -> None:
        if not isinstance(unraisable.exc_value, Stopped):
            before(unraisable)
            return
        number = unraisable.exc_value.number
        _STATE.received.remove(number)
        timer = threading.Timer(STRIKE_S, signal.pthread_kill, (threading.main_thread().ident, number))
        timer.daemon = True
        timer.start()

    sys.unraisablehook = ignored
    try:
        yield
    finally:
        sys.unraisablehook = before


@contextlib.contextmanager
def kept_handlers() -> Iterator[None]:
    """Put back the handlers of both signals at the end of the block, such as an import that replaces them."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                if handler is not None:
                    signal.signal(number, handler)


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Take the first signal as a request; raise `Stopped` at the end of the block if there was one."""
    with handled():
        _STATE.deferring += 1
        try:
            yield
        finally:
            _STATE.deferring -= 1
        check()


def take_over() -> None:
    """Install the handlers of ``handled()`` anew, after a library has replaced them."""
    if not _STATE.installed or threading.current_thread() is not threading.main_thread():
        return
    for number in SIGNALS:
        if signal.getsignal(number) not in (signal.SIG_IGN, None):
            signal.signal(number, _handle)


def requested() -> bool:
    """Whether this process was asked to stop."""
    return bool(_STATE.received)


def check() -> None:
    """Raise `Stopped` if this process was asked to stop."""
    if _STATE.received:
        raise Stopped(_STATE.received[0])


def request(number: int = signal.SIGTERM) -> None:
    """Ask this process to stop as the first signal within ``deferred()`` does, from whichever thread."""
    _STATE.received.append(int(number))


def forget() -> None:
    """Drop a request, before the next piece of work of a process that outlives it."""
    _STATE.received.clear()


def end_with(parent: int) -> None:
    """Let this process, a worker, end within a second of the process that started it, however that one ends.

    Parameters
    ----------
    parent
        Number of the process that started this one.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_LOOK_S)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _handle(number: int, _frame: object) -> None:
    request(number)
    interrupts = _STATE.received.count(signal.SIGINT)
    if number == signal.SIGINT and interrupts > 2:
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)
    if not _STATE.deferring or (number == signal.SIGINT and interrupts > 1):
        raise Stopped(number)
