"""Kills: a command is ended at a random moment by SIGKILL, SIGTERM or Ctrl-C, once or twice, and run again."""

import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from emt.streams import stream
from experiments.stress.cases import LIMIT, Case, Trees
from experiments.stress.commands import POLL_S
from experiments.stress.outcome import FAULTS, Outcome, Trial
from experiments.stress.results import differing, left_over, results_of

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


def save_often() -> None:
    """Let training save its resume state after every few steps, not once a minute."""
    from emt.training import module

    module.SAVE_EVERY_S = 0.0


def attack_case(case: Case, trees: Trees, count: int, seed: int, folder: Path) -> Iterator[Trial]:
    """Yield what ``count`` kills of a command come to: the same bytes as when it is left alone, or a fault."""
    for number in range(count):
        case.prepare(trees, save_often)
        place = folder / f"{case.name} {number}"
        trees.copy(case.tree, place)
        trial = _kill(case, number, seed, place)
        if trial.outcome not in FAULTS:
            shutil.rmtree(place)
        yield trial


def _kill(case: Case, number: int, seed: int, place: Path) -> Trial:
    random = stream(f"stress kill {case.name}", seed, "test", number)
    told = []
    for _ in range(int(random.integers(1, 3))):
        chosen = SIGNALS[int(random.integers(len(SIGNALS)))]
        moment = float(random.uniform(0, case.seconds))
        running = case.run(place, save_often)
        while not (over := running.ended()) and time.monotonic() < running.began + moment:
            time.sleep(POLL_S)
        if not over:
            # Ctrl-C reaches the workers too.
            (os.killpg if chosen == signal.SIGINT and _leads(running.child) else os.kill)(
                running.child, chosen
            )
        told.append(f"{chosen.name} after {moment:.2f} s")
        ended = running.wait(LIMIT)
        name = f"{case.name} {number} ({', '.join(told)})"
        if ended.outcome() in FAULTS:
            return Trial(name, ended.outcome(), ended.text())
    ended = case.run(place, save_often).wait(LIMIT)
    outcome = ended.outcome()
    if outcome != Outcome.SAME or ended.code:
        told_of = outcome in FAULTS or ended.code in (1, 2)
        return Trial(name, outcome if told_of else Outcome.TRACEBACK, ended.text())
    faults = differing(case.alone, results_of(place)) + left_over(place)
    return Trial(name, Outcome.SILENT if faults else Outcome.SAME, f"differ: {', '.join(faults)[:2000]}")


def _leads(process: int) -> bool:
    """Whether a child leads its process group by now."""
    return os.getpgid(process) == process
