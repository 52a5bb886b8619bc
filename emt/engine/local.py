"""The engine of this machine: worker processes of one thread each, or of one GPU each."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

from emt.engine.base import TICK_S, Function, Result, Tick, attempt, nothing

ATTEMPTS = 2
"""How often a chunk is started whose worker dies without a word."""

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")


class _Running(NamedTuple):
    process: BaseProcess
    item: Any
    tries: int
    place: Mapping[str, str]


def run(
    function: Function, items: Sequence[Any], workers: int, tick: Tick = nothing, gpus: Sequence[str] = ()
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
    gpus
        GPUs of this machine: if there are any, one process for each works at a time, and sees that one only.

    Returns
    -------
    list of Result
        One for each item, in the order in which they ended.
    """
    # A worker's place is what its environment has that others' have not.
    free: list[Mapping[str, str]] = [{"CUDA_VISIBLE_DEVICES": gpu} for gpu in gpus] or [{}] * workers
    waiting = [(item, 1) for item in items]
    running: dict[Any, _Running] = {}
    results: list[Result] = []
    try:
        while waiting or running:
            while waiting and free:
                (item, tries), place = waiting.pop(0), free.pop(0)
                connection, process = _start(function, item, place)
                running[connection] = _Running(process, item, tries, place)
            for ready in wait(list(running), timeout=TICK_S):
                process, item, tries, place = running.pop(ready)
                free.append(place)
                result = _receive(ready, process, item)
                if result is None and tries < ATTEMPTS:
                    waiting.append((item, tries + 1))
                else:
                    died = Result(item, failure=f"its worker process died ({_exit_text(process.exitcode)})")
                    results.append(result or died)
            tick()
    except KeyboardInterrupt:
        _stop([worker.process for worker in running.values()])
        raise
    return results


def find_gpus() -> list[str]:
    """Return what CUDA calls this machine's GPUs, as far as this process may use them, without importing torch."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [gpu for gpu in visible.split(",") if gpu and gpu != "-1"]
    if version("torch").endswith("+cpu") or not shutil.which("nvidia-smi"):
        return []
    done = subprocess.run(["nvidia-smi", "--list-gpus"], capture_output=True, text=True, check=False)
    return [str(i) for i in range(sum(line.startswith("GPU ") for line in done.stdout.splitlines()))]


def _start(function: Function, item: Any, place: Mapping[str, str]) -> tuple[Connection, BaseProcess]:
    context = multiprocessing.get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(function, item, sending), daemon=True)
    # Workers inherit the environment: one thread each, whatever the numerical library.
    before = {name: os.environ.get(name) for name in (*ONE_THREAD, *place)}
    os.environ.update({**ONE_THREAD, **place})
    # Workers inherit this too: the parent decides what Ctrl-C means and asks them with SIGTERM to stop.
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process.start()
    finally:
        signal.signal(signal.SIGINT, handler)
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
    sending.close()
    return receiving, process


def _work(function: Function, item: Any, sending: Connection) -> None:
    signal.signal(signal.SIGTERM, _interrupt)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    try:
        result = attempt(function, item)
    except KeyboardInterrupt:
        os._exit(1)
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
