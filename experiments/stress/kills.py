"""Kills: a command, or one of its workers, is ended at a random moment, and the command is run again."""

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

from numpy.random import Generator

from emt.streams import stream
from experiments.stress.cases import LIMIT, Case, Trees
from experiments.stress.commands import Running
from experiments.stress.outcome import FAULTS, Outcome, Trial, Trials
from experiments.stress.results import differing, left_over, results_of

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)

POLL_S = 0.02

Kill = Callable[[Running, Generator], str]


def save_often() -> None:
    """Let training save its resume state after every few steps, not once a minute."""
    from emt.training import module

    module.SAVE_EVERY_S = 0.0


def attack_case(case: Case, trees: Trees, count: int, seed: int, folder: Path) -> Trials:
    """Yield what ``count`` kills of a command, once or twice each, come to: the same bytes, or a fault."""
    return _attack(case, trees, count, seed, folder, "kill", _kill)


def attack_workers(case: Case, trees: Trees, count: int, seed: int, folder: Path) -> Trials:
    """Yield what ``count`` kills of workers of a command, one or two each, come to."""
    return _attack(case, trees, count, seed, folder, "worker", _kill_worker)


def _attack(case: Case, trees: Trees, count: int, seed: int, folder: Path, what: str, kill: Kill) -> Trials:
    for number in range(count):
        case.prepare(trees, save_often)
        place = folder / f"{case.name} {number}"
        trees.copy(case.tree, place)
        random = stream(f"stress {what} {case.name}", seed, "test", number)
        trial = _kill_and_repeat(case, number, place, random, kill)
        if trial.outcome not in FAULTS:
            shutil.rmtree(place)
        yield trial


def _kill_and_repeat(case: Case, number: int, place: Path, random: Generator, kill: Kill) -> Trial:
    told = []
    for _ in range(int(random.integers(1, 3))):
        moment = float(random.uniform(0, case.seconds))
        running = case.run(place, save_often)
        running.wait_until(running.began + moment)
        told.append(f"{kill(running, random)} after {moment:.2f} s")
        ended = running.wait(LIMIT)
        name = f"{case.name} {number} ({', '.join(told)})"
        if ended.outcome() in FAULTS:
            return Trial(name, ended.outcome(), ended.text())
    again = case.run(place, save_often).wait(LIMIT)
    if again.outcome() != Outcome.SAME or again.code:
        outcome = again.outcome() if again.outcome() in FAULTS else Outcome.TRACEBACK
        return Trial(name, outcome, f"run again: {again.text()}")
    faults = differing(case.alone, results_of(place)) + left_over(place)
    return Trial(name, Outcome.SILENT if faults else Outcome.SAME, f"differ: {', '.join(faults)[:2000]}")


def _kill(running: Running, random: Generator) -> str:
    """Kill a command that still runs; return the name of the signal."""
    chosen = SIGNALS[int(random.integers(len(SIGNALS)))]
    if not running.ended():
        # Ctrl-C reaches the workers too.
        (os.killpg if chosen == signal.SIGINT and _leads(running.child) else os.kill)(running.child, chosen)
    return chosen.name


def _kill_worker(running: Running, random: Generator) -> str:
    """Kill one of a command's workers, the next one where it has none; return what was killed."""
    while not (workers := running.workers()):
        if running.wait_until(time.monotonic() + POLL_S):
            return "no worker"
    with contextlib.suppress(ProcessLookupError):
        os.kill(int(random.choice(workers)), signal.SIGKILL)
    return "a worker"


def _leads(process: int) -> bool:
    """Whether a child leads its process group by now."""
    return os.getpgid(process) == process
