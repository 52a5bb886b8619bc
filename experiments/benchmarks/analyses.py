"""How long do the commands of analyze.py take on a large population?

The population is planted: spectra of Elman networks that hold repeat copy (64 modes) in an exact circuit with noise in
every weight, some networks with more of it than others. Each command runs as a user runs it, in a process of its own;
seconds are those of the clock, and CPU seconds those of all its processes. `persistence` runs once more with one member
added, to see what the distances kept from the first run save.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from analysis.spectra.values import eigenvalue_histograms, spectral_error
from analysis.variables.companion import companion_eigenvalues, companion_matrix
from emt import files
from emt.commands.script import run_script
from emt.errors import UserError
from emt.options import Parser
from emt.tasks.variable_binding import VariableBinding

SCRIPT = Path(__file__).parents[2] / "analyze.py"
LENGTH = BITS = 8
NOISE = (0.02, 0.3)
"""Smallest and largest standard deviation of a weight times the square root of the number of units."""


def main(arguments: list[str] | None = None) -> int:
    """Parse, plant, run, print; return the exit code."""
    parser = Parser(prog="experiments.benchmarks.analyses", description=__doc__)
    parser.add_argument("--members", type=int, default=1000, metavar="N", help="networks (default: 1000)")
    parser.add_argument("--out", metavar="DIR", help="keep the populations and their analyses in this folder")
    options = parser.parse_args(arguments)
    if options.members < 4:
        raise UserError(f"--members: expected at least 4; got {options.members}")
    with tempfile.TemporaryDirectory() as temporary:
        report(Path(options.out or temporary), options.members)
    return 0


def report(folder: Path, members: int) -> None:
    """Run the commands on populations in a folder and print a table."""
    first, second = plant(folder / "first", members), plant(folder / "second", members, seed=1)
    print(f"{members} members in each set, {len(os.sched_getaffinity(0))} cores")
    print(f"{'':34}{'seconds':>9}{'CPU s':>9}")
    for command in ("eigenvalue", "embedding", "persistence"):
        show(command, *run(command, "--summary_file", first))
    plant(folder / "first", members + 1)
    show("persistence, one additional member", *run("persistence", "--summary_file", first))
    show("compare, two sets", *run("compare", "--summary_files", first, second, "--output_dir", folder / "compare"))


def plant(folder: Path, members: int, seed: int = 0) -> Path:
    """Write an evaluation summary of planted members; return its path."""
    task = VariableBinding(seq_length=LENGTH, input_dim=BITS)
    companion = companion_matrix(task.operator(LENGTH), LENGTH)
    theory = companion_eigenvalues(companion)
    metrics = []
    for number in range(1, members + 1):
        rng = np.random.default_rng((seed, number))
        noise = rng.uniform(*NOISE) / np.sqrt(len(companion))
        metrics.append(entry(number, np.linalg.eigvals(companion + noise * rng.normal(size=companion.shape)), theory))
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


def run(*words: str | Path) -> tuple[float, float]:
    """Run a command of analyze.py; return seconds of the clock and of CPUs."""
    before, start = _cpu_seconds(), time.perf_counter()
    done = subprocess.run([sys.executable, str(SCRIPT), *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"analyze.py {words[0]}: {done.stderr}")
    return time.perf_counter() - start, _cpu_seconds() - before


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def show(name: str, seconds: float, cpu_seconds: float) -> None:
    """Print a line of the table."""
    print(f"{name:34}{seconds:9.1f}{cpu_seconds:9.1f}", flush=True)


if __name__ == "__main__":
    sys.exit(run_script("commands", main))
