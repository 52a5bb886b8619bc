"""Train small populations and draw every figure of them, for the gallery of the documentation.

Two processes share the populations. What is done is not done again: rerun the same command to resume. A
population is trained again once the code of models or of training changes, and analysed again once that of
analyses does.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from threading import Lock
from typing import Any

from emt.commands.main import main as emt
from emt.commands.output import complain, say
from emt.files import read_json, write_json
from emt.identity import code_of, hash_of
from emt.text import shortened
from experiments.gallery.populations import FOLDER, POPULATIONS, Population

ROOT = FOLDER.parents[1]

PROCESSES = 2

WIDTH = 90
"""Characters of a command line that are shown."""

LOG_LINES = 20
"""Of what a command printed, shown if it failed."""


def main() -> int:
    """Make all populations, or one of them in this process."""
    parser = argparse.ArgumentParser(prog="python -m experiments.gallery", description=__doc__)
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder of results (default: build/gallery)")
    parser.add_argument("--only", choices=[one.name for one in POPULATIONS], help="one population")
    options = parser.parse_args()
    out = options.out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    chosen = [one for one in POPULATIONS if one.name == options.only]
    return make(chosen[0], out) if chosen else make_all(out)


def make_all(out: Path) -> int:
    """Make what is not there, say how far it is, and return the exit code."""
    left = {one.name: count for one in POPULATIONS if (count := len(one.lines) - _state(one, out)["done"])}
    total, start, lock, told = sum(left.values()), time.monotonic(), Lock(), iter(range(1, 10_000))
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    # Processes of several threads would take turns.
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path}

    def run(name: str) -> int:
        words = [sys.executable, "-m", "experiments.gallery", "--only", name, "--out", str(out)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment) as process:
            assert process.stdout is not None
            for line in process.stdout:
                with lock:
                    seconds = time.monotonic() - start
                    say(
                        f"gallery: {next(told)} of {total}, {seconds:.0f} s: {shortened(line.rstrip(), WIDTH)}",
                        flush=True,
                    )
        return process.returncode

    with ThreadPoolExecutor(PROCESSES) as pool:
        return max(pool.map(run, left), default=0)


def make(population: Population, out: Path) -> int:
    """Run the command lines of a population that are left, in its folder; a log beside it has what they print."""
    folder, state = out / population.name, _state(population, out)
    if not state["done"] and state["again"]:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(exist_ok=True)
    os.chdir(folder)
    for line in population.lines[state["done"] :]:
        say(line, flush=True)
        log = out / f"{population.name}.log"
        with log.open("w", encoding="utf-8") as file, redirect_stdout(file), redirect_stderr(file):
            code = _run(shlex.split(line))
        if code:
            complain(f"gallery: exit code {code} of {line}")
            complain("\n".join(log.read_text(encoding="utf-8").splitlines()[-LOG_LINES:]))
            return code
        state["done"] += 1
        write_json(_state_file(population, out), state)
    return 0


def _run(words: list[str]) -> int:
    if words[0] == "emt":
        return emt(words[1:])
    return subprocess.run([sys.executable, *words[1:]], check=False).returncode


def _state(population: Population, out: Path) -> dict[str, Any]:
    """Return how many lines are done, by code and lines as they are, and whether all is to be done again."""
    training = [line for line in population.lines if not line.startswith(("emt evaluate", "emt analyze"))]
    state = {
        "trained": hash_of([training, code_of("emt", "experiments.gallery.stories")]),
        "analysed": hash_of([population.lines, code_of("emt", "analysis")]),
    }
    path = _state_file(population, out)
    held = read_json(path) if path.is_file() and (out / population.name).is_dir() else {}
    known = {name: held.get(name) == value for name, value in state.items()}
    return state | {"again": not known["trained"], "done": held["done"] if all(known.values()) else 0}


def _state_file(population: Population, out: Path) -> Path:
    return out / f"{population.name}.json"


if __name__ == "__main__":
    sys.exit(main())
