"""Where chunks of work run: each item is handed to a worker; results and named failures come back.

An engine knows nothing about the work: the truth about what is done is on the file system, and a chunk looks
there first, so that running it twice is harmless. A worker that dies costs its chunk's progress since the
last save, no more.

======== ========================================================================================
local    worker processes on this machine, one thread each; on GPUs one worker each
inline   this process
dask     a running Dask scheduler; it and its workers have this package and see the same file system
slurm    SLURM jobs of one worker each, started and replaced through dask-jobqueue
======== ========================================================================================
"""

import importlib
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from emt.config import ExecutionConfig
from emt.engine import inline, local
from emt.engine.base import Function, Result, Tick, nothing
from emt.engine.local import run
from emt.errors import UserError, install_hint

__all__ = ["Function", "Result", "Tick", "capacity", "hand_out", "run"]


def capacity(execution: ExecutionConfig) -> tuple[int, bool]:
    """Return how many items are worked on at a time, and whether each worker has a GPU."""
    if execution.engine == "slurm":
        return execution.num_workers, execution.slurm_gpus is not None
    if execution.engine == "dask":
        return execution.num_workers, execution.accelerator == "gpu"
    gpus = [] if execution.accelerator == "cpu" else local.find_gpus()
    return (1 if execution.engine == "inline" else len(gpus) or execution.num_workers), bool(gpus)


def hand_out(
    function: Function, items: Sequence[Any], execution: ExecutionConfig, logs: Path, tick: Tick = nothing
) -> list[Result]:
    """Call ``function(item)`` for each item where ``execution.engine`` says.

    Parameters
    ----------
    function
        What to call.
    items
        What to hand out, in order; each must be picklable.
    execution
        Which engine, and what it needs to know.
    logs
        Folder that SLURM jobs write their output to.
    tick
        Called about twice a second during the work.

    Returns
    -------
    list of Result
        One for each item, in the order in which they ended.

    Raises
    ------
    UserError
        If the engine is not there: no scheduler, no SLURM, or the extra ``cluster`` is not installed.
    """
    if not items:
        return []
    if execution.engine == "inline":
        return inline.run(function, items, tick)
    if execution.engine == "local":
        gpus = [] if execution.accelerator == "cpu" else local.find_gpus()
        return local.run(function, items, execution.num_workers, tick, gpus)
    results: list[Result]
    if execution.engine == "dask":
        results = _with_the_extra("dask").run(function, items, execution.scheduler, tick)
    else:
        results = _with_the_extra("slurm").run(function, items, execution, logs, tick)
    return results


def _with_the_extra(name: str) -> ModuleType:
    try:
        return importlib.import_module(f"emt.engine.{name}")
    except ModuleNotFoundError as error:
        what = f"expected the package {error.name}; it is not installed: {install_hint('cluster')}"
        raise UserError(f"{name}: {what}", parameter="engine") from None
