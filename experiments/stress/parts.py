"""Parts of the attacks, each of one kind, and worker processes that make them in turn."""

import math
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from typing import NamedTuple, NoReturn

from experiments.stress import clock
from experiments.stress.outcome import Outcome, Trial, Trials


class Part(NamedTuple):
    """Attacks of one kind, made as they are asked for.

    Attributes
    ----------
    subject
        What is attacked. Parts with the same subject share what it takes to attack it, and so one process.
    """

    name: str
    trials: Trials
    subject: str = ""


def attack(parts: Sequence[Part], workers: int) -> Iterator[tuple[str, Trial]]:
    """Yield the name of a part and a trial of it as worker processes make them, each part a trial in turn."""
    places = {
        subject: place for place, subject in enumerate(dict.fromkeys(p.subject or p.name for p in parts))
    }
    running: dict[Connection, int] = {}
    try:
        for number in range(workers):
            own = [part for part in parts if places[part.subject or part.name] % workers == number]
            receiving, sending = Pipe(duplex=False)
            sys.stdout.flush()
            child = os.fork()
            if not child:
                _work(own, sending)
            sending.close()
            running[receiving] = child
        while running:
            for ready in wait(list(running)):
                assert isinstance(ready, Connection)
                try:
                    yield ready.recv()
                except EOFError:
                    code = os.waitstatus_to_exitcode(os.waitpid(running.pop(ready), 0)[1])
                    if code:
                        raise RuntimeError(f"a process that attacks ended with code {code}") from None
    finally:
        for child in running.values():
            os.kill(child, signal.SIGTERM)
            os.waitpid(child, 0)


def _work(parts: Sequence[Part], sending: Connection) -> NoReturn:
    # Ctrl-C is for the first process, which asks this one to end, at a place where nothing is left behind.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: clock.end_at(-math.inf))
    code = 1
    try:
        for name, trial in _taking_turns(parts):
            sending.send((name, trial))
        code = 0
    except (clock.TimeUpError, BrokenPipeError):
        code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        for part in parts:
            part.trials.close()
        os._exit(code)


def _taking_turns(parts: Sequence[Part]) -> Iterator[tuple[str, Trial]]:
    """Yield trials of all parts in turn, so that each has its share when time is up."""
    left = list(parts)
    while left:
        for part in list(left):
            try:
                trial = next(part.trials, None)
            except RuntimeError as error:
                # What it attacks does not even work when it is left alone.
                trial = Trial(part.name, Outcome.TRACEBACK, str(error))
                left.remove(part)
            if trial is None:
                left.remove(part)
            else:
                yield part.name, trial
