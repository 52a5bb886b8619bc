"""Where chunks of work run. ``run(function, items)`` hands each item to a worker; results and named failures come back.

An engine knows nothing about the work: the truth about what is done is on the file system, and a chunk looks there
first, so that running it twice is harmless.
"""

import importlib
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from emt.options import UserError

TICK_S = 0.5
ATTEMPTS = 2
"""How often a chunk is started whose worker dies without a word."""


Function = str | Callable[[Any], Any]
"""What workers call: ``"module:name"``, imported in the workers only, or a function that can be pickled."""


@dataclass(frozen=True)
class Result:
    """What came of an item: a value, or in one line why not; ``details`` is a traceback where that helps."""

    item: Any
    value: Any = None
    failure: str = ""
    details: str = ""


def run(
    function: Function, items: Sequence[Any], workers: int, tick: Callable[[], None] = lambda: None
) -> list[Result]:
    """Call ``function(item)`` for each item in worker processes of one thread each.

    Parameters
    ----------
    function
        What to call.
    items
        What to hand out, in order; each must be picklable.
    workers
        How many processes work at a time.
    tick
        Called about twice a second while work goes on.

    Returns
    -------
    list of Result
        One for each item, in the order in which they ended.
    """
    waiting = [(item, 1) for item in items]
    running: dict[Any, tuple[BaseProcess, Any, int]] = {}
    results: list[Result] = []
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                item, attempt = waiting.pop(0)
                connection, process = _start(function, item)
                running[connection] = (process, item, attempt)
            for ready in wait(list(running), timeout=TICK_S):
                process, item, attempt = running.pop(ready)
                result = _receive(ready, process, item)
                if result is None and attempt < ATTEMPTS:
                    waiting.append((item, attempt + 1))
                else:
                    died = Result(item, failure=f"its worker process died ({_exit_text(process.exitcode)})")
                    results.append(result or died)
            tick()
    except KeyboardInterrupt:
        _stop([process for process, _, _ in running.values()])
        raise
    return results


def run_inline(function: Function, items: Sequence[Any]) -> list[Result]:
    """Call ``function(item)`` for each item in this process."""
    results = []
    for item in items:
        try:
            results.append(Result(item, _resolve(function)(item)))
        except (UserError, OSError) as error:
            results.append(Result(item, failure=str(error)))
        except Exception as error:
            results.append(Result(item, failure=f"{type(error).__name__}: {error}", details=traceback.format_exc()))
    return results


def _start(function: Function, item: Any) -> tuple[Connection, BaseProcess]:
    context = multiprocessing.get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(function, item, sending), daemon=True)
    # Workers inherit the environment: one thread each, whatever the numerical library.
    before = {name: os.environ.get(name) for name in _THREADS}
    os.environ.update(dict.fromkeys(_THREADS, "1"))
    try:
        process.start()
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
    sending.close()
    return receiving, process


_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def _resolve(function: Function) -> Callable[[Any], Any]:
    if callable(function):
        return function
    module, _, name = function.partition(":")
    resolved: Callable[[Any], Any] = getattr(importlib.import_module(module), name)
    return resolved


def _work(function: Function, item: Any, sending: Connection) -> None:
    # The parent decides what Ctrl-C means: it asks with SIGTERM, and work in progress is saved.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _interrupt)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    result = run_inline(function, [item])[0]
    sending.send((result.value, result.failure, result.details))


def _interrupt(_signal: int, _frame: Any) -> None:
    raise KeyboardInterrupt


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _receive(ready: Any, process: BaseProcess, item: Any) -> Result | None:
    """Return what a worker reports, or None if it died without a word."""
    try:
        value, failure, details = ready.recv()
    except EOFError:
        process.join()
        return None
    finally:
        ready.close()
    process.join()
    return Result(item, value, failure, details)


def _exit_text(code: int | None) -> str:
    return f"signal {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit code {code}"


def _stop(processes: Sequence[BaseProcess]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(timeout=60)
        if process.is_alive():
            process.kill()
