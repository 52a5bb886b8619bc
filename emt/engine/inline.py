"""The engine that works in this process, one item after the other."""

import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from emt import stopping
from emt.engine.base import TICK_S, Function, Result, Tick, attempt, nothing


def run(function: Function, items: Sequence[Any], tick: Tick = nothing) -> list[Result]:
    """Call ``function(item)`` for each item."""
    results = []
    with stopping.handled(), _ticking(tick):
        for item in items:
            results.append(attempt(function, item))
            # An item that fails after a request must not be followed by another.
            stopping.check()
    return results


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
