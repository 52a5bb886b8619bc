"""Put small faults into the source, one at a time, and see whether the tests or ``emt selftest`` notice.

``make mutants``, or ``python -m experiments.mutants --count 60 --seed 0``, in a checkout. Everything happens
in a temporary copy. A fault is caught where a test of its module fails, else where the selftest reports one,
else where a test of a module that imports it or a slow test of its own fails. What does not end is caught too,
and named so. What fails is run once more without the fault, where it must pass. Results are kept: rerun the
same command to resume.
"""

import argparse
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

from emt.commands.script import run_script
from emt.files import read_json, write_json
from emt.options import Parser
from experiments.mutants.draw import Mutant, draw_mutants, find_tests, find_user_tests
from experiments.mutants.equivalent import EQUIVALENT

ROOT = Path(__file__).parents[2]

SHARE = 0.95
"""Share of the mutants that must be caught."""

TIME_LIMIT = 600.0
"""CPU seconds from which on a run is ended as endless: several times those of the longest tests without a fault."""

PATIENCE = 15
"""How much longer than its CPU seconds a run may take, for what only waits and for machines that are shared."""


def main(arguments: list[str] | None = None) -> int:
    """Draw, run, report; return 1 where fewer than `SHARE` are caught."""
    given = _parser().parse_args(arguments)
    mutants = draw_mutants(ROOT, given.count, given.seed)
    results = run(ROOT, mutants, given.results)
    return report(mutants, results)


def _parser() -> argparse.ArgumentParser:
    made = Parser(prog="python -m experiments.mutants", description=(__doc__ or "").partition("\n\n")[0])
    made.add_argument("--count", type=int, default=60, help="number of faults (default: 60)")
    made.add_argument("--seed", type=int, default=0, help="seed of the draw (default: 0)")
    made.add_argument(
        "--results", type=Path, default=Path("mutants.json"), help="file of results (mutants.json)"
    )
    return made


def run(root: Path, mutants: list[Mutant], path: Path) -> dict[str, Any]:
    """Run mutants without a result, write each result as it comes, and return all: name -> caught by, seconds."""
    results: dict[str, Any] = read_json(path) if path.exists() else {}
    with tempfile.TemporaryDirectory() as folder:
        copy = copy_tree(root, Path(folder))
        for place, mutant in enumerate(mutants, 1):
            if mutant.name not in results:
                start = time.monotonic()
                caught = try_mutant(copy, mutant)
                results[mutant.name] = {"caught": caught, "seconds": round(time.monotonic() - start, 1)}
                write_json(path, results)
            caught, seconds = results[mutant.name].values()
            print(
                f"{place}/{len(mutants)} {caught or 'SURVIVED':9} {seconds:6.1f} s  {mutant.name}", flush=True
            )
    return results


def report(mutants: list[Mutant], results: dict[str, Any]) -> int:
    """Print the share that is caught of those that change a result, and the survivors; return 1 if it is too small."""
    survivors = [mutant for mutant in mutants if not results[mutant.name]["caught"]]
    missed = [mutant for mutant in survivors if not why_equivalent(mutant)]
    faults = len(mutants) - len(survivors) + len(missed)
    share = 1 - len(missed) / max(faults, 1)
    print(
        f"{faults - len(missed)} of {faults} caught ({share:.1%}); {len(mutants) - faults} change no result"
    )
    for mutant in survivors:
        why = why_equivalent(mutant)
        print(f"{f'no fault ({why})' if why else 'survived'}: {mutant.name}")
    return int(share < SHARE)


def why_equivalent(mutant: Mutant) -> str:
    """Return why a fault changes no result; empty if it does, or nobody has said so."""
    return EQUIVALENT.get((mutant.module, " ".join(mutant.site.before.split())), "")


def copy_tree(root: Path, folder: Path) -> Path:
    """Return a copy of what Git knows of the source and its tests, as it stands in the working tree."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=root, check=True, capture_output=True).stdout
    for name in filter(None, names.decode().split("\0")):
        if (root / name).is_file():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((root / name).read_bytes())
    return folder


def try_mutant(copy: Path, mutant: Mutant) -> str:
    """Return what catches a mutant, one of `STAGES` or "endless", or "" if nothing does; the copy is as before.

    Raises
    ------
    SystemExit
        If what fails with the fault fails without it.
    """
    own, of_users = find_tests(copy, mutant.module), " ".join(find_user_tests(copy, mutant.module))
    for stage, words in STAGES.items():
        tests = of_users if stage == "users" else own
        if not tests:
            continue
        try:
            output = _with_fault(mutant, copy, words, tests)
        except subprocess.TimeoutExpired:
            return "endless"
        if output is not None:
            _check_without_fault(copy, words, tests, output)
            return stage
    return ""


def _with_fault(mutant: Mutant, copy: Path, words: list[str], tests: str) -> str | None:
    file = copy / mutant.module
    source = file.read_text(encoding="utf-8")
    file.write_text(mutant.site.apply(source), encoding="utf-8")
    try:
        return failure(copy, words, tests)
    finally:
        file.write_text(source, encoding="utf-8")


def _check_without_fault(copy: Path, words: list[str], tests: str, output: str) -> None:
    """Refuse a failure that is none of the fault's: what fails is run once more without it."""
    if "TESTS" in words:
        tests = next(iter(FAILED.findall(output)), tests)
    if failure(copy, words, tests) is not None:
        raise SystemExit(f"expected {tests} to pass without a fault; it fails")


PYTEST = ["-m", "pytest", "-q", "-x", "-rfE", "--tb=no", "-p", "no:cacheprovider", "--no-header", "-m"]
STAGES: dict[str, list[str]] = {
    "tests": [*PYTEST, "not slow", "TESTS"],
    "selftest": ["-m", "emt", "selftest"],
    "users": [*PYTEST, "not slow", "TESTS"],
    "slow": [*PYTEST, "slow", "TESTS"],
}
"""What is run, in turn, until something fails."""

FAILED = re.compile(r"^(?:FAILED|ERROR) ([^\s\[]+)", re.MULTILINE)
"""A failed test in the output of pytest, without its parameters, which may hold blanks."""


def failure(copy: Path, words: list[str], tests: str, limit: float = TIME_LIMIT) -> str | None:
    """Return the output of a command that fails in the copy, None if it succeeds or pytest finds no tests (5).

    Raises
    ------
    subprocess.TimeoutExpired
        If one of its processes takes longer than ``limit`` CPU seconds, or it waits for ever.
    """
    given = [part for word in words for part in (tests.split() if word == "TESTS" else [word])]
    environment = os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, *given]
    done = subprocess.run(
        command,
        cwd=copy,
        env=environment,
        timeout=PATIENCE * limit,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        preexec_fn=partial(resource.setrlimit, resource.RLIMIT_CPU, 2 * (int(limit),)),
    )
    if done.returncode == -signal.SIGKILL:
        raise subprocess.TimeoutExpired(command, limit)
    return None if done.returncode in (0, 5) else done.stdout


if __name__ == "__main__":
    sys.exit(run_script("mutants", main))
