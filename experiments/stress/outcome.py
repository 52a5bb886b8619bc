"""How an attack ends, and children of this process in which attacks are tried: a crash or a hang costs one child."""

import enum
import faulthandler
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple, NoReturn

from emt.errors import UserError
from emt.files import explain_os_error


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


def try_each(attacks: Sequence[Attack], limit: float, output: Path = Path(os.devnull)) -> Iterator[Trial]:
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
    """
    place = 0
    while place < len(attacks):
        receiving, sending = Pipe(duplex=False)
        sys.stdout.flush()
        child = os.fork()
        if not child:
            receiving.close()
            _work_through(attacks[place:], sending, output)
        sending.close()
        for attack in attacks[place:]:
            trial = _receive(receiving, attack, child, limit)
            place += 1
            yield trial
            if trial.outcome == Outcome.HANG or trial.text.startswith(_DIED):
                break
        else:
            os.waitpid(child, 0)
        receiving.close()


_DIED = "its process died: "


def _receive(receiving: Connection, attack: Attack, child: int, limit: float) -> Trial:
    try:
        if receiving.poll(limit):
            return Trial(attack.name, *receiving.recv())
    except EOFError:
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return Trial(attack.name, Outcome.TRACEBACK, _DIED + how)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return Trial(attack.name, Outcome.HANG, f"no end after {limit:g} s")


def _work_through(attacks: Sequence[Attack], sending: Connection, output: Path) -> NoReturn:
    """Try attacks in this child and report each; never return."""
    try:
        faulthandler.disable()
        with output.open("ab") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        limit_memory(MEMORY)
        for attack in attacks:
            sending.send(classify(attack.work))
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
