"""Train twenty networks, record them, analyse their states by condition and how alike they are, and draw it all.

Rerun the same command to resume it.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from analysis import COMMANDS
from analysis.figures.style import save_figure
from emt import locks
from emt.commands import analyze, evaluate
from emt.commands import sweep as sweeps
from emt.commands.output import say
from emt.commands.script import run_script
from experiments.delayed_match.configs import OUTSIDE, SWEEPS
from experiments.delayed_match.figures import draw_population

TRIALS = 256

ANALYSES = {
    "trajectories": "--label sample",
    "decode": "--label sample --matrix",
    "geometry": "--label sample --model sample",
    "degeneracy": "",
}
"""What is asked, and of which label."""


def main(arguments: list[str] | None = None) -> int:
    """Parse, train, record, analyse, draw; return the exit code."""
    given = vars(parser().parse_args(arguments))
    name = f"delayed_match_{given['question']}"
    code = sweeps.run(name, SWEEPS[given["question"]], given)
    for config in () if code else SWEEPS[given["question"]]:
        folder = sweeps.folder_of(name, given) / config.metadata["experiment_name"]
        words = f"--no_figures --trace_sequences {TRIALS} --num_workers 1 --accelerator cpu".split()
        code = evaluate.main(["--models_dir", str(folder), *words, "--outside", *OUTSIDE])
        if not code:
            draw(folder)
    return code


def draw(folder: Path) -> None:
    """Analyse an evaluated run, and draw what was found in one figure."""
    results = {
        name: analysed([name, "--summary_file", str(folder), *flags.split()])
        for name, flags in ANALYSES.items()
    }
    output = folder / "summary"
    with locks.writing_into(output):
        written = save_figure(draw_population(results), output / "delayed_match")
    say(f"Written to {output}: {', '.join(path.name for path in written)}")


def analysed(words: list[str]) -> Any:
    """Return the result of `emt analyze`, whose tables and figures are saved."""
    given = vars(analyze.build_parser().parse_args(words))
    return analyze.run(COMMANDS[given.pop("command")], given)


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    text = "which population; experiments/delayed_match/README.md describes it"
    return sweeps.build_parser("python -m experiments.delayed_match.sweep", __doc__, SWEEPS, text)


if __name__ == "__main__":
    sys.exit(run_script("sweep", main))
