"""The engine that hands work to a Dask scheduler. Dask itself repeats what a worker that died was doing."""

import time
from collections.abc import Sequence
from typing import Any

import distributed
from distributed.scheduler import KilledWorker

from emt.engine.base import TICK_S, Function, Result, Tick, attempt, nothing
from emt.errors import UserError


def run(function: Function, items: Sequence[Any], scheduler: str | None, tick: Tick = nothing) -> list[Result]:
    """Call ``function(item)`` for each item on the workers of a running scheduler.

    Raises
    ------
    UserError
        If no scheduler answers at the address, or a worker would do several items in one process.
    """
    if not scheduler:
        raise UserError("--scheduler: expected the address of a running Dask scheduler (tcp://host:8786); got none")
    try:
        client = distributed.Client(scheduler, set_as_default=False)
    except (OSError, ValueError) as error:
        raise UserError(f"--scheduler: expected a running Dask scheduler at {scheduler}; got {error}") from None
    with client:
        widest = max(client.nthreads().values(), default=1)
        if widest > 1:
            raise UserError(
                "--scheduler: expected workers of one thread each (dask worker --nworkers N --nthreads 1); "
                f"got one of {widest}"
            )
        return hand_out(client, function, items, tick)


def hand_out(client: distributed.Client, function: Function, items: Sequence[Any], tick: Tick) -> list[Result]:
    """Call ``function(item)`` for each item on a client's workers."""
    waiting = {client.submit(attempt, function, item, pure=False): item for item in items}
    results: list[Result] = []
    try:
        while waiting:
            tick()
            time.sleep(TICK_S)
            results += [_result(future, waiting.pop(future)) for future in list(waiting) if future.done()]
    except KeyboardInterrupt:
        _stop(client, waiting)
        raise
    return results


def _result(future: distributed.Future, item: Any) -> Result:
    if future.status == "finished":
        result: Result = future.result()
        return result
    if future.status != "error":
        return Result(item, failure=f"lost with its scheduler ({future.status})")
    error = future.exception()
    if isinstance(error, KilledWorker):
        return Result(item, failure=f"{error.allowed_failures + 1} workers died over it")
    return Result(item, failure=f"{type(error).__name__}: {error}")


def _stop(client: distributed.Client, waiting: dict[distributed.Future, Any]) -> None:
    """Take back what waits, and restart the workers that are at it: a thread cannot be interrupted otherwise."""
    keys = {future.key for future in waiting}
    busy = [worker for worker, tasks in client.processing().items() if keys & set(tasks)]
    client.cancel(list(waiting), force=True)
    client.restart_workers(busy, raise_for_error=False)
