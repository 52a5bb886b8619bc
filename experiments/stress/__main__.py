"""Attack the product and print what came of it: ``make stress``, or ``python -m experiments.stress``.

Each row of the table counts attacks of one kind by what they came to. A traceback, a silent loss and a hang are
faults; the exit code is 1 if there is one, and what it takes to see it again stays in ``--folder``.
"""

import argparse
import importlib
import math
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from emt.commands.script import run_script
from emt.errors import UserError
from emt.options import Parser
from emt.streams import stream
from experiments.stress import clock
from experiments.stress.cases import Trees, cases
from experiments.stress.commands import import_all
from experiments.stress.disks import attack_disk
from experiments.stress.door import attack_doors
from experiments.stress.kills import attack_case, attack_workers
from experiments.stress.kind import attack_kind
from experiments.stress.outcome import FAULTS, Outcome
from experiments.stress.pairs import attack_pair, pairs
from experiments.stress.parts import Part, attack

FILES = ("experiments.stress.binary", "experiments.stress.weights", "experiments.stress.texts")
"""Modules with a tuple KINDS."""

LIMIT = 60.0
"""Seconds after which reading a damaged file is a hang; readers bound their processor time, and machines are busy."""

SAY_EVERY_S = 300.0
"""Seconds between two lines that say how far the attacks are."""


def main(arguments: list[str] | None = None) -> int:
    """Attack, report; return 1 if there is a fault."""
    given = _parser().parse_args(arguments)
    given.folder = given.folder.absolute()
    given.folder.mkdir(parents=True, exist_ok=True)
    if any(given.folder.iterdir()):
        raise UserError(f"expected an empty folder; got {given.folder}", parameter="folder")
    began = said = time.monotonic()
    clock.end_at(began + given.seconds)
    parts = [part for make in PARTS for part in make(given)]
    counts = {part.name: Counter[Outcome]() for part in parts}
    try:
        for trial_of, trial in attack(parts, given.workers):
            counts[trial_of][trial.outcome] += 1
            if trial.outcome in FAULTS:
                print(f"{trial.outcome}: {trial.name}: {trial.text.strip()}", flush=True)
            if time.monotonic() > said + SAY_EVERY_S:
                said = time.monotonic()
                print(
                    f"{said - began:.0f} s: {_all(counts).total()} attacks, {_faults(counts)} faults",
                    flush=True,
                )
    except KeyboardInterrupt:
        clock.end_at(-math.inf)
    _print_table(counts)
    if clock.left() <= 0:
        print(f"ended after {time.monotonic() - began:.0f} s, before all attacks were made")
    return int(_faults(counts) > 0)


def _parser() -> argparse.ArgumentParser:
    made = Parser(prog="python -m experiments.stress", description=(__doc__ or "").partition("\n\n")[0])
    add = made.add_argument
    add("--kills", type=int, default=200, metavar="N", help="killed commands (default: 200)")
    add("--losses", type=int, default=30, metavar="N", help="commands whose workers are killed (default: 30)")
    add("--disks", type=int, default=60, metavar="N", help="full disks and quotas (default: 60)")
    add("--pairs", type=int, default=20, metavar="N", help="pairs of writers of one folder (default: 20)")
    add("--mutations", type=int, default=10_000, metavar="N", help="damaged files (default: 10000)")
    add(
        "--names", type=int, default=100, metavar="N", help="hostile names, each at every door (default: 100)"
    )
    add("--commands", default="*", metavar="GLOB", help='which commands, such as "train *" (default: all)')
    add(
        "--workers",
        type=int,
        default=os.cpu_count() or 1,
        metavar="N",
        help="attacks at a time (default: one for each core)",
    )
    add("--seed", type=int, default=0, metavar="N", help="seed of all draws (default: 0)")
    add("--seconds", type=float, default=3 * 3600, metavar="S", help="end after this time (default: 10800)")
    add(
        "--folder",
        type=Path,
        default=Path("stress"),
        metavar="DIR",
        help="where to work; empty (default: stress)",
    )
    return made


def _mutations(given: Any) -> Iterator[Part]:
    kinds = [kind for module in FILES for kind in importlib.import_module(module).KINDS]
    for place, kind in enumerate(kinds):
        if count := len(range(place, given.mutations, len(kinds))):
            yield Part(kind.name, attack_kind(kind, count, given.seed, given.folder / "mutations", LIMIT))


def _names(given: Any) -> Iterator[Part]:
    from experiments.stress.names import DOORS, HOSTILE

    for door in DOORS:
        yield Part(
            door.name, attack_doors([door], HOSTILE[: given.names], given.folder / "names" / door.name, LIMIT)
        )


def _commands(given: Any) -> Iterator[Part]:
    """Yield kills, disks and pairs, each spread over commands that are drawn by seed."""
    if not (given.kills or given.losses or given.disks or given.pairs):
        return
    import_all()
    trees, order = Trees(given.folder / "alone"), stream("stress order", given.seed, "test", 0)
    chosen = [case for case in cases() if fnmatch(case.name, given.commands)]
    drawn = [chosen[i] for i in order.permutation(len(chosen))]
    attacks: tuple[tuple[str, int, Any, Any], ...] = (
        ("kill", given.kills, drawn, attack_case),
        ("worker", given.losses, [case for case in drawn if case.has_workers], attack_workers),
        ("disk", given.disks, drawn, attack_disk),
        ("pair", given.pairs, [p for p in pairs() if fnmatch(p.first.name, given.commands)], attack_pair),
    )
    for what, total, subjects, make in attacks:
        for place, subject in enumerate(subjects):
            if count := len(range(place, total, len(subjects))):
                trials = make(subject, trees, count, given.seed, given.folder / what)
                yield Part(f"{what}: {subject.name}", trials, subject.name)


PARTS: tuple[Callable[[Any], Iterator[Part]], ...] = (_commands, _mutations, _names)
"""What is attacked: each yields its parts."""


def _all(counts: dict[str, Counter[Outcome]]) -> Counter[Outcome]:
    return sum(counts.values(), Counter())


def _faults(counts: dict[str, Counter[Outcome]]) -> int:
    return sum(_all(counts)[fault] for fault in FAULTS)


def _print_table(counts: dict[str, Counter[Outcome]]) -> None:
    columns = ["tried", *Outcome]
    width = max(map(len, counts), default=0)
    print(f"{'':{width}}  " + "  ".join(f"{column:>{max(len(column), 6)}}" for column in columns))
    for name, count in [*counts.items(), ("all", _all(counts))]:
        cells = [count.total(), *(count[outcome] for outcome in Outcome)]
        print(
            f"{name:{width}}  "
            + "  ".join(f"{cell:>{max(len(column), 6)}}" for cell, column in zip(cells, columns, strict=True))
        )


if __name__ == "__main__":
    sys.exit(run_script("stress", main))
