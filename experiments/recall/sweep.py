"""Train all populations of one task, or some, as one piece of work, on any engine, and test every model.

Rerun the same command to resume an interrupted sweep.
"""

import argparse
import sys

from emt.commands import sweep as sweeps
from emt.commands.script import run_script
from emt.options import Option
from experiments.recall import summary
from experiments.recall.configs import SWEEPS

CHOICE = Option("runs", tuple[str, ...], (), "populations to train, such as deltanet_conv gru (default: all)")


def main(arguments: list[str] | None = None) -> int:
    """Parse, train, test, summarise; return the exit code."""
    given = vars(parser().parse_args(arguments))
    name, configs = f"recall_{given['question']}", SWEEPS[given["question"]]
    chosen = sweeps.part_of(configs, given, CHOICE, lambda config: config.metadata["experiment_name"])
    code = sweeps.run(name, chosen, given)
    return code or summary.main([str(sweeps.folder_of(name, given))])


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    text = "which task; experiments/recall/README.md describes them"
    groups = {"part of it": (CHOICE,)}
    return sweeps.build_parser("python -m experiments.recall.sweep", __doc__, SWEEPS, text, groups)


if __name__ == "__main__":
    sys.exit(run_script("sweep", main))
