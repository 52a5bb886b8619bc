"""The engine of this machine: worker processes of one thread each, or of one GPU each."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

from emt import stopping
from emt.engine.base import TICK_S, Function, Result, Tick, attempt, nothing, with_plugins

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
        Called about twice a second during the work.
    gpus
        GPUs of this machine: if there are any, one process for each works at a time, and sees that one only.

    Returns
    -------
    list of Result
        One for each item, in the order in which they ended.
    """
    # A worker's place is what its environment has that others' have not.
    crew = _Crew(
        with_plugins(function), items, [{"CUDA_VISIBLE_DEVICES": gpu} for gpu in gpus] or [{}] * workers
    )
    with stopping.deferred():
        try:
            while crew.waiting or crew.running:
                if stopping.requested():
                    crew.stop()
                crew.fill()
                crew.collect()
                tick()
        finally:
            crew.kill()
    return crew.results


class _Crew:
    """Worker processes, the items that wait for one, and the results so far."""

    def __init__(self, function: Function, items: Sequence[Any], places: Sequence[Mapping[str, str]]) -> None:
        self.function, self.free = function, list(places)
        self.waiting = [(item, 1) for item in items]
        self.running: dict[Any, _Running] = {}
        self.results: list[Result] = []
        self._asked: set[int | None] = set()

    def fill(self) -> None:
        """Start a process at each free place, as far as items wait."""
        while self.waiting and self.free:
            (item, tries), place = self.waiting.pop(0), self.free.pop(0)
            connection, process = _start(self.function, item, place)
            self.running[connection] = _Running(process, item, tries, place)

    def collect(self) -> None:
        """Wait a moment for results; an item whose worker died without one waits again, up to `ATTEMPTS` times."""
        for ready in wait(list(self.running), timeout=TICK_S):
            process, item, tries, place = self.running.pop(ready)
            self.free.append(place)
            result = _receive(ready, process, item)
            if result is None and tries < ATTEMPTS:
                self.waiting.append((item, tries + 1))
            else:
                died = Result(item, failure=f"its worker process died ({_exit_text(process.exitcode)})")
                self.results.append(result or died)

    def stop(self) -> None:
        """Drop what waits and ask each process once to stop; it decides where."""
        self.waiting.clear()
        for process, *_ in self.running.values():
            if process.pid not in self._asked:
                process.terminate()
        self._asked |= {worker.process.pid for worker in self.running.values()}

    def kill(self) -> None:
        """End the processes that still run, at once."""
        for process, *_ in self.running.values():
            process.kill()
            process.join()


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
    # Workers inherit this too: the parent decides what Ctrl-C means and asks them with SIGTERM to stop. It gets a
    # Ctrl-C of this moment afterwards. (The resource tracker unblocks signals when it starts.)
    resource_tracker.ensure_running()
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
    sending.close()
    return receiving, process


def _work(function: Function, item: Any, sending: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    threading.Thread(target=_die_with_parent, daemon=True).start()
    try:
        with stopping.handled():
            result = attempt(function, item)
    except KeyboardInterrupt:
        os._exit(1)
    sending.send((result.value, result.failure, result.details))


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
