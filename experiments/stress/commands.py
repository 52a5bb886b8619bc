"""Commands of the product in forked children: a process that has imported everything forks one for each run.

A child does what ``python -m emt`` does after its imports, in a session of its own: it parses its words, handles
signals, prints into files and ends with an exit code. The workers that it starts are forked too. What it costs is
the command's own work, so that hundreds of runs can be killed in minutes.
"""

import atexit
import contextlib
import gc
import importlib
import multiprocessing
import os
import pkgutil
import signal
import sys
import tempfile
import time
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NoReturn

from experiments.stress import clock
from experiments.stress.outcome import Outcome

POLL_S = 0.002


def import_all() -> None:
    """Import every module of the product, so that children need not, and keep it out of their garbage collections."""
    for name in ("emt", "analysis"):
        package = importlib.import_module(name)
        for module in pkgutil.walk_packages(package.__path__, f"{name}."):
            if not module.name.endswith(("__main__", "engine.dask", "engine.slurm")):
                importlib.import_module(module.name)
    for name in (
        "pytorch_lightning",
        "matplotlib.pyplot",
        "sklearn.manifold",
        "ripser",
        "h5netcdf",
        "rich.progress",
        "experiments.stress.quick",
    ):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()


ENDS = (0, *(code for n in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL) for code in (128 + n, -n)))
"""Exit codes of a command that did its work or did what a signal asked for."""


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes
    ----------
    code
        Exit code; minus the signal that killed it; None if it ran into the time limit.
    printed, complained
        What it wrote to standard output and to standard error.
    left
        Processes that it left behind, which were then killed.
    seconds
        What it took.
    """

    code: int | None
    printed: str
    complained: str
    left: int
    seconds: float

    def outcome(self) -> Outcome:
        """Return what a user would call this end, results aside."""
        if self.code is None or self.left:
            return Outcome.HANG
        asked = self.code in ENDS
        lines = [line for line in self.complained.splitlines() if line.strip()]
        if "Traceback" in self.complained or not (asked or (self.code in (1, 2) and lines)):
            return Outcome.TRACEBACK
        return Outcome.SAME if asked else Outcome.CLEAR

    def text(self) -> str:
        """Return what there is to say of it in a line or a traceback."""
        left = f", {self.left} processes left" if self.left else ""
        return f"exit code {self.code}{left}: {self.complained.strip()[-2000:]}"


_LIVING: list["Running"] = []
"""Commands that were started and not waited for."""


class Running:
    """A command that runs in a child, in ``folder``; ``before`` is called in the child first."""

    def __init__(self, words: Sequence[str], folder: Path, before: Callable[[], None] = lambda: None) -> None:
        _LIVING.append(self)
        # Without names, on a disk that no attack fills.
        self.files = [tempfile.TemporaryFile() for _ in ("output", "errors")]  # noqa: SIM115 - closed by `wait`
        self.began = time.monotonic()
        sys.stdout.flush()
        self.child = os.fork()
        if not self.child:
            _run(words, folder, [file.fileno() for file in self.files], before)

    def ended(self) -> bool:
        """Whether it has ended; it is not reaped."""
        return os.waitid(os.P_PID, self.child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def wait_until(self, moment: float) -> bool:
        """Wait until a moment of `time.monotonic`, or its end; return whether it has ended.

        Raises
        ------
        TimeUpError
            If the attacks end before. All its processes are killed.
        """
        while not (over := self.ended()) and time.monotonic() < moment:
            if clock.left() <= 0:
                for each in list(_LIVING):
                    each.kill()
                    for file in each.files:
                        file.close()
                raise clock.TimeUpError
            time.sleep(POLL_S)
        return over

    def kill(self) -> tuple[int, int]:
        """Kill it, wait for its workers to end; return its status and how many workers had to be killed too."""
        _LIVING.remove(self)
        if not self.ended():
            os.kill(self.child, signal.SIGKILL)
        status = os.waitpid(self.child, 0)[1]
        return status, _kill_session(self.child)

    def workers(self) -> list[int]:
        """Return the processes that it has started and that do its work."""
        return [p for p in _session(self.child) if p != self.child and not _is_tracker(p)]

    def wait(self, limit: float) -> Ended:
        """Wait for its end and that of its workers, at most ``limit`` seconds; then kill all.

        Raises
        ------
        TimeUpError
            If the attacks end before.
        """
        over = self.wait_until(self.began + limit)
        seconds = time.monotonic() - self.began
        status, left = self.kill()
        printed, complained = map(_content, self.files)
        code = os.waitstatus_to_exitcode(status) if over else None
        return Ended(code, printed, complained, left, seconds)


def _content(file: IO[bytes]) -> str:
    with file:
        file.seek(0)
        return file.read().decode(errors="replace")


GRACE_S = 10.0
"""Seconds after which a worker should have seen that its parent has ended."""


def _kill_session(leader: int) -> int:
    """Wait for the processes that a command started to end; kill those that do not, and return how many."""
    end = time.monotonic() + min(GRACE_S, clock.left())
    while (members := _session(leader)) and time.monotonic() < end:
        time.sleep(POLL_S)
    for process in members:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    return len(members)


def _session(leader: int) -> list[int]:
    """Return the living processes of a session, which has the number of the child that began it."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            state, _, _, session, *_ = (place / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        except (OSError, ValueError):
            continue
        if int(session) == leader and state != "Z":
            found.append(int(place.name))
    return found


def _is_tracker(process: int) -> bool:
    """Whether a process counts what Python's workers share, and does none of their work."""
    with contextlib.suppress(OSError):
        return b"resource_tracker" in Path(f"/proc/{process}/cmdline").read_bytes()
    return False


def _run(words: Sequence[str], folder: Path, files: Sequence[int], before: Callable[[], None]) -> NoReturn:
    code = 70
    try:
        os.setsid()
        os.chdir(folder)
        for descriptor, file in enumerate(files, start=1):
            os.dup2(file, descriptor)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdout, sys.stderr = (open(n, "w", closefd=False) for n in (1, 2))  # noqa: SIM115 - until its end
        for number in (signal.SIGINT, signal.SIGTERM):
            # Before a command takes them over, both end it at once.
            signal.signal(number, signal.SIG_DFL)
        sys.argv = ["emt", *words]
        _fork_workers()
        _make_quick()
        before()
        code = _main(words)
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _main(words: Sequence[str]) -> int:
    from emt.commands.main import main

    try:
        return main(words)
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        # What the interpreter does with it.
        sys.excepthook(*sys.exc_info())
        return 1


def _make_quick() -> None:
    from experiments.stress.quick import make_quick

    make_quick()


def _fork_workers() -> None:
    """Let workers be forked, where the product would start new interpreters."""
    from emt.engine import local

    context = multiprocessing.get_context("fork")
    forking = types.SimpleNamespace(
        get_context=lambda _: context, parent_process=multiprocessing.parent_process
    )
    local.multiprocessing = forking  # type: ignore[assignment]
