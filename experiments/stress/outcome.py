"""How an attack ends, and children of this process in which attacks are tried: a crash or a hang costs one child."""

import enum
import faulthandler
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple, NoReturn

from emt.errors import UserError
from emt.files import explain_os_error
from experiments.stress import clock


class Outcome(enum.StrEnum):
    """What came of an attack; the last three are faults."""

    SAME = "same bytes"
    CLEAR = "clear line"
    LEGAL = "legal edit"
    TRACEBACK = "traceback"
    SILENT = "silent"
    HANG = "hang"


FAULTS = (Outcome.TRACEBACK, Outcome.SILENT, Outcome.HANG)

MEMORY = 4 * 2**30
"""Bytes that a child may use beyond what it begins with."""


class Trial(NamedTuple):
    """One attack: what was attacked and how, what came of it, and what was printed or raised."""

    name: str
    outcome: Outcome
    text: str = ""


Trials = Generator[Trial, None, None]


@dataclass(frozen=True)
class Attack:
    """A piece of work for a child, which says how it ended: bad input is raised as the product does.

    Attributes
    ----------
    name
        Says which attack this is, so that it can be repeated.
    work
        Returns `Outcome.SAME`, `LEGAL` or `SILENT`, or raises what the product raises.
    """

    name: str
    work: Callable[[], Outcome]


def try_each(attacks: Sequence[Attack], limit: float, output: Path = Path(os.devnull)) -> Trials:
    """Yield a trial of each attack, in order.

    One forked child works through them all; another continues where one crashes, or takes longer than ``limit``
    seconds over an attack. Nothing that an attack does stays in this process.

    Parameters
    ----------
    attacks
        What to try. Files that they write do stay.
    limit
        Seconds for each; longer is a hang.
    output
        Where what the attacks print goes.

    Raises
    ------
    TimeUpError
        If the attacks end (`experiments.stress.clock`) before the one that runs.
    """
    place = 0
    while place < len(attacks):
        child = _Child(attacks[place:], output)
        try:
            for attack in attacks[place:]:
                trial = child.try_next(attack, limit)
                place += 1
                yield trial
                if child.died:
                    break
        finally:
            child.end()


class _Child:
    """A forked child that tries one attack each time it is told to, so that it works only while it is waited for."""

    def __init__(self, attacks: Sequence[Attack], output: Path) -> None:
        self.connection, other = Pipe()
        self.died = False
        sys.stdout.flush()
        self.number = os.fork()
        if not self.number:
            self.connection.close()
            _work_through(attacks, other, output)
        other.close()

    def try_next(self, attack: Attack, limit: float) -> Trial:
        """Let it try its next attack.

        Raises
        ------
        TimeUpError
            If the attacks end before this one and its limit.
        """
        try:
            self.connection.send(None)
            if self._answers(limit):
                return Trial(attack.name, *self.connection.recv())
        except (EOFError, OSError):
            self.died = True
            code = os.waitstatus_to_exitcode(os.waitpid(self.number, 0)[1])
            how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
            return Trial(attack.name, Outcome.TRACEBACK, f"its process died: {how}")
        if clock.left() <= 0:
            raise clock.TimeUpError
        self.end()
        return Trial(attack.name, Outcome.HANG, f"no end after {limit:g} s")

    def _answers(self, limit: float) -> bool:
        """Whether it has an answer within a limit, or by the end of all attacks, which may come sooner than thought."""
        end = time.monotonic() + limit
        while (left := min(end - time.monotonic(), clock.left())) > 0:
            if self.connection.poll(min(left, 1.0)):
                return True
        return False

    def end(self) -> None:
        """Kill it, unless it has ended."""
        self.connection.close()
        if not self.died:
            self.died = True
            os.kill(self.number, signal.SIGKILL)
            os.waitpid(self.number, 0)


def _work_through(attacks: Sequence[Attack], connection: Connection, output: Path) -> NoReturn:
    """Try attacks in this child, each when told to, and report it; never return."""
    try:
        faulthandler.disable()
        with output.open("ab") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        limit_memory(MEMORY)
        for attack in attacks:
            connection.recv()
            connection.send(classify(attack.work))
        os._exit(0)
    finally:
        os._exit(1)


def classify(work: Callable[[], Outcome]) -> tuple[Outcome, str]:
    """Return how a piece of work ends, and the line or the traceback that it ends with."""
    try:
        return work(), ""
    except UserError as error:
        line = error.in_flags()
    except OSError as error:
        # What a command line does with it: see `emt.commands.script`.
        line = explain_os_error(error)
    except BaseException:
        return Outcome.TRACEBACK, traceback.format_exc()
    whole = line.strip() and all(character.isprintable() for character in line)
    return (Outcome.CLEAR if whole else Outcome.TRACEBACK), line


def limit_memory(more: int) -> None:
    """Let this process use ``more`` bytes of memory besides what it has."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[5])
    limit = pages * resource.getpagesize() + more
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
