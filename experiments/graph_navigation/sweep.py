"""Train all agents of one question as one piece of work, on any engine, and play every one on the test graphs.

Rerun the same command to resume an interrupted sweep.
"""

import argparse
import sys

from emt.commands import sweep as sweeps
from emt.commands.script import run_script
from emt.options import Option
from experiments.graph_navigation import summary
from experiments.graph_navigation.configs import SWEEPS

CHOICE = Option("agents", tuple[str, ...], (), "names of the agents to train (default: all)")


def main(arguments: list[str] | None = None) -> int:
    """Parse, train, play, summarise; return the exit code."""
    given = vars(parser().parse_args(arguments))
    name, configs = f"graph_navigation_{given['question']}", SWEEPS[given["question"]]
    chosen = sweeps.part_of(configs, given, CHOICE, lambda config: config.metadata["experiment_name"])
    code = sweeps.run(name, chosen, given)
    return code or summary.main([str(sweeps.folder_of(name, given))])


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    text = "which agents; experiments/graph_navigation/README.md describes them"
    groups = {"part of it": (CHOICE,)}
    return sweeps.build_parser("python -m experiments.graph_navigation.sweep", __doc__, SWEEPS, text, groups)


if __name__ == "__main__":
    sys.exit(run_script("sweep", main))
