"""The engine that works in this process, one item after the other."""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from emt.engine.base import TICK_S, Function, Result, Tick, attempt, nothing


def run(function: Function, items: Sequence[Any], tick: Tick = nothing) -> list[Result]:
    """Call ``function(item)`` for each item."""
    try:
        with _ticking(tick):
            return [attempt(function, item) for item in items]
    except SystemExit:
        # Lightning answers Ctrl-C by ending the process; here the caller has more to say than that.
        raise KeyboardInterrupt from None


@contextlib.contextmanager
def _ticking(tick: Tick) -> Iterator[None]:
    over = threading.Event()

    def watch() -> None:
        while not over.wait(TICK_S):
            tick()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()
