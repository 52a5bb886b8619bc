"""How long do the commands of analyze.py take on a large population, and how much memory?

The population is planted: spectra of Elman networks that hold repeat copy (64 modes) in an exact circuit with
noise in every weight, some networks with more of it than others. With `--eigenvalues` spectra have more
modes: those of the theory, each displaced by noise, since eigenvalues of a thousand large matrices would take
hours.

Each command runs as a user runs it, in a process of its own; seconds are those of the clock, CPU seconds
those of all its processes, and memory is the largest that one of them had. `persistence` runs once more with
one member added, to see what the distances kept from the first run save.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from analysis.spectra.values import eigenvalue_histograms, spectral_error
from analysis.variables.companion import companion_eigenvalues, companion_matrix
from emt import files
from emt.commands.script import run_script
from emt.errors import UserError
from emt.options import Parser
from emt.tasks.variable_binding import VariableBinding

SCRIPT = Path(__file__).parents[2] / "analyze.py"
COMMANDS = ("eigenvalue", "embedding", "persistence", "compare")
LENGTH = BITS = 8
NOISE = (0.02, 0.3)
"""Smallest and largest standard deviation of a weight times the square root of the number of units."""


def main(arguments: list[str] | None = None) -> int:
    """Parse, plant, run, print; return the exit code."""
    parser = Parser(prog="experiments.benchmarks.analyses", description=__doc__)
    parser.add_argument("--members", type=int, default=1000, metavar="N", help="networks (default: 1000)")
    parser.add_argument(
        "--eigenvalues",
        type=int,
        default=64,
        metavar="N",
        help="of each network, a multiple of 8 (default: 64)",
    )
    parser.add_argument(
        "--commands",
        nargs="+",
        default=list(COMMANDS),
        choices=(*COMMANDS, "report"),
        help="what to run, in this order (default: eigenvalue embedding persistence compare)",
    )
    parser.add_argument("--out", metavar="DIR", help="keep the populations and their analyses in this folder")
    options = parser.parse_args(arguments)
    if options.members < 4:
        raise UserError(f"--members: expected at least 4; got {options.members}")
    if options.eigenvalues < LENGTH or options.eigenvalues % LENGTH:
        raise UserError(f"--eigenvalues: must be a multiple of {LENGTH}; got {options.eigenvalues}")
    with tempfile.TemporaryDirectory() as temporary:
        report(Path(options.out or temporary), options.members, options.eigenvalues, options.commands)
    return 0


def report(folder: Path, members: int, eigenvalues: int, commands: Sequence[str]) -> None:
    """Run the commands on populations in a folder and print a table."""
    first = planted(folder / "first", members, eigenvalues)
    cores = len(os.sched_getaffinity(0))
    print(f"{members} members in each set, {eigenvalues} eigenvalues each, {cores} cores")
    print(f"{'':34}{'seconds':>9}{'CPU s':>9}{'MB':>9}")
    for command in commands:
        if command == "compare":
            second = planted(folder / "second", members, eigenvalues, seed=1)
            out = folder / "compare"
            show("compare, two sets", run(command, "--summary_files", first, second, "--output_dir", out))
        else:
            show(command, run(command, "--summary_file", first))
        if command == "persistence":
            planted(folder / "first", members + 1, eigenvalues)
            show("persistence, one additional member", run(command, "--summary_file", first))
        if command == "report":
            size = (folder / "first" / "report.html").stat().st_size
            print(f"{'  size of the page':34}{'':18}{size / 1e6:9.1f}")


def planted(folder: Path, members: int, eigenvalues: int, seed: int = 0) -> Path:
    """Plant in a process of its own: the kernel counts the memory of a parent as that of its children."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(plant, folder, members, eigenvalues, seed).result()


def plant(folder: Path, members: int, eigenvalues: int = LENGTH * BITS, seed: int = 0) -> Path:
    """Write an evaluation summary of planted members; return its path."""
    task = VariableBinding(seq_length=LENGTH, input_dim=eigenvalues // LENGTH)
    companion = companion_matrix(task.operator(LENGTH), LENGTH)
    theory = companion_eigenvalues(companion)
    metrics = []
    for number in range(1, members + 1):
        rng = np.random.default_rng((seed, number))
        noise = rng.uniform(*NOISE) / np.sqrt(len(companion))
        if eigenvalues == LENGTH * BITS:
            values = np.linalg.eigvals(companion + noise * rng.normal(size=companion.shape))
        else:
            values = theory * (1 + rng.uniform(*NOISE) * (rng.normal(size=(2, eigenvalues)).T @ [0.3, 0.3j]))
        metrics.append(entry(number, values, theory))
    path = folder / "evaluation_summary.json"
    files.write_json(path, {"n_models": members, "evaluation_config": {}, "metrics": metrics})
    return path


def entry(number: int, eigenvalues: Any, theory: Any) -> dict[str, Any]:
    """Return a member's entry of the summary."""
    values = eigenvalues[np.argsort(-np.abs(eigenvalues), kind="stable")]
    error = spectral_error(values, theory)
    angles, magnitudes, _ = eigenvalue_histograms(values)
    of_length = {
        "eigenvalues_rnn": values.tolist(),
        "eigenvalues_theory": theory.tolist(),
        "spectral_error_deg": error.angle_deg,
        "spectral_relative_error": error.relative,
        "missing_modes": error.missing,
        "angle_histogram_rnn": angles,
        "magnitude_histogram_rnn": magnitudes,
    }
    accuracy = 1 - error.relative / 10
    return {"model_name": f"model-{number}", "accuracy": accuracy, "seq_lengths": [LENGTH]} | {
        f"{name}_seq{LENGTH}": value for name, value in of_length.items()
    }


class Cost(NamedTuple):
    """Seconds of the clock and of CPUs, and the largest memory of a process in MB."""

    seconds: float
    cpu_seconds: float
    megabytes: float


def run(*words: str | Path) -> Cost:
    """Run a command of analyze.py and say what it took."""
    start = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen([sys.executable, str(SCRIPT), *map(str, words)], stdout=said, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        seconds, process.returncode = time.perf_counter() - start, os.waitstatus_to_exitcode(status)
        said.seek(0)
        if process.returncode:
            raise UserError(f"analyze.py {words[0]}: {said.read().decode()}")
    return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def show(name: str, cost: Cost) -> None:
    """Print a line of the table."""
    print(f"{name:34}{cost.seconds:9.1f}{cost.cpu_seconds:9.1f}{cost.megabytes:9.0f}", flush=True)


if __name__ == "__main__":
    sys.exit(run_script("commands", main))
