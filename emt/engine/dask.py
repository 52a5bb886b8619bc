"""The engine that hands work to a Dask scheduler. Dask itself repeats what a worker that died was doing."""

import asyncio
import signal
import threading
import time
from collections.abc import Sequence
from typing import Any

import distributed
from distributed.diagnostics.plugin import WorkerPlugin
from distributed.scheduler import KilledWorker

from emt import stopping
from emt.engine.base import TICK_S, Function, Result, Tick, attempt, nothing, with_plugins
from emt.errors import UserError

GRACE_S = 25.0
"""Seconds that a worker which is closed waits for its item to stop; SLURM kills after 30 by default."""

_IDLE = threading.Event()
"""Whether this worker has no item of ours."""
_IDLE.set()

_ITEM: list[Any] = []
"""Key of the item of ours that this worker has."""


def run(
    function: Function, items: Sequence[Any], scheduler: str | None, tick: Tick = nothing
) -> list[Result]:
    """Call ``function(item)`` for each item on the workers of a running scheduler.

    Raises
    ------
    UserError
        If no scheduler answers at the address, or a worker would do several items in one process.
    """
    if not scheduler:
        raise UserError(
            "expected the address of a running Dask scheduler (tcp://host:8786); got none",
            parameter="scheduler",
        )
    try:
        client = distributed.Client(scheduler, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        # A TypeError stands for keys that are missing.
        raise UserError(
            f"expected a running Dask scheduler at {scheduler}; got {error}", parameter="scheduler"
        ) from None
    with client:
        widest = max(client.nthreads().values(), default=1)
        if widest > 1:
            raise UserError(
                f"expected workers of one thread each (dask worker --nworkers N --nthreads 1); got one of {widest}",
                parameter="scheduler",
            )
        return hand_out(client, function, items, tick)


def hand_out(
    client: distributed.Client, function: Function, items: Sequence[Any], tick: Tick
) -> list[Result]:
    """Call ``function(item)`` for each item on a client's workers."""
    results: list[Result] = []
    function = with_plugins(function)
    with stopping.deferred():
        client.register_plugin(StopsItsItem(), name="emt")
        waiting = {client.submit(attempt_on_worker, function, item, pure=False): item for item in items}
        try:
            while waiting:
                tick()
                time.sleep(TICK_S)
                results += [_result(future, waiting.pop(future)) for future in list(waiting) if future.done()]
                if stopping.requested():
                    _ask_to_stop(client, waiting)
        except KeyboardInterrupt:
            _restart(client, waiting)
            raise
    return results


def attempt_on_worker(function: Function, item: Any) -> Result:
    """Call ``function(item)`` on a worker; if it stops because its worker closes, another worker resumes it."""
    _IDLE.clear()
    stopping.forget()
    _ITEM[:] = [distributed.get_worker().get_current_task()]
    try:
        return attempt(function, item)
    except stopping.Stopped:
        if distributed.get_worker().status is not distributed.Status.running:
            raise distributed.Reschedule from None
        return Result(item, failure="stopped")
    finally:
        _ITEM.clear()
        _IDLE.set()


class StopsItsItem(WorkerPlugin):
    """Asks a worker's item to stop when nobody wants it any more or the worker closes; SIGTERM closes the worker."""

    def setup(self, worker: distributed.Worker) -> None:
        """Install a handler where SIGTERM would kill the process: below a nanny."""
        if (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        ):
            loop = asyncio.get_running_loop()

            def close(*_: object) -> None:
                loop.call_soon_threadsafe(lambda: loop.create_task(worker.close(reason="SIGTERM")))

            signal.signal(signal.SIGTERM, close)

    def transition(self, key: Any, start: str, finish: str, **_: Any) -> None:
        """Ask the item to stop when it is taken back: whoever handed it out has ended, perhaps killed."""
        if (start, finish) == ("executing", "released") and key in _ITEM:
            stopping.request()

    async def teardown(self, worker: distributed.Worker) -> None:
        """Ask, and wait: an item that its next worker begins while this one still holds it would be refused."""
        if worker.status is distributed.Status.running:
            # Another client installs its plugin of the same name.
            return
        stopping.request()
        end = time.monotonic() + GRACE_S
        while not _IDLE.is_set() and time.monotonic() < end:
            await asyncio.sleep(0.05)


def _result(future: distributed.Future, item: Any) -> Result:
    if future.status == "finished":
        result: Result = future.result()
        return result
    if future.status != "error":
        return Result(item, failure=f"lost with its scheduler ({future.status})")
    error = future.exception()
    if isinstance(error, KilledWorker):
        return Result(item, failure=f"{error.allowed_failures + 1} workers died while running it")
    return Result(item, failure=f"{type(error).__name__}: {error}")


def _ask_to_stop(client: distributed.Client, waiting: dict[distributed.Future, Any]) -> None:
    """Take back what no worker has, and ask the workers that have the rest to stop it."""
    workers = {key: worker for worker, keys in client.processing().items() for key in keys}
    for future in [future for future in waiting if future.key not in workers]:
        future.cancel(force=True)
        del waiting[future]
    busy = {workers[future.key] for future in waiting}
    if busy:
        client.run(stopping.request, int(signal.SIGINT), workers=sorted(busy), on_error="ignore")


def _restart(client: distributed.Client, waiting: dict[distributed.Future, Any]) -> None:
    """Take back what waits, and restart the workers that are at it: a thread cannot be interrupted otherwise."""
    keys = {future.key for future in waiting}
    busy = [worker for worker, tasks in client.processing().items() if keys & set(tasks)]
    client.cancel(list(waiting), force=True)
    client.restart_workers(busy, raise_for_error=False)
