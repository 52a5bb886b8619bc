"""Train all populations of one task as one piece of work, record them on trials of both kinds, and compare seeds.

Rerun the same command to resume an interrupted sweep.
"""

import argparse
import sys

from emt.commands import evaluate
from emt.commands import sweep as sweeps
from emt.commands.script import run_script
from emt.options import Option
from experiments.degeneracy import summary
from experiments.degeneracy.configs import OUTSIDE, SWEEPS

CHOICE = Option("hidden_dim", tuple[int, ...], (), "widths to train (default: all)")

TRIALS = 256
"""Recorded trials: of fewer, dynamics are not resolved."""


def main(arguments: list[str] | None = None) -> int:
    """Parse, train, record, summarise; return the exit code."""
    given = vars(parser().parse_args(arguments))
    question = given["question"]
    name = f"degeneracy_{question}"
    chosen = sweeps.part_of(SWEEPS[question], given, CHOICE, lambda config: config.model["hidden_dim"])
    code = sweeps.run(name, chosen, given)
    folder = sweeps.folder_of(name, given)
    for config in () if code else chosen:
        words = ["--models_dir", str(folder / config.metadata["experiment_name"]), "--no_figures"]
        words += ["--trace_sequences", str(TRIALS), "--test_horizon", "20", "--num_workers", "1"]
        code = code or evaluate.main([*words, "--accelerator", "cpu", "--outside", *OUTSIDE[question]])
    return code or summary.main([str(folder)])


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    text = "which task; experiments/degeneracy/README.md describes them"
    groups = {"part of it": (CHOICE,)}
    return sweeps.build_parser("python -m experiments.degeneracy.sweep", __doc__, SWEEPS, text, groups)


if __name__ == "__main__":
    sys.exit(run_script("sweep", main))
