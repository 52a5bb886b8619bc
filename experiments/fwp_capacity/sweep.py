"""Train the populations of one setting as one piece of work, on any engine, and test every model.

Rerun the same command to resume an interrupted sweep.
"""

import argparse
import sys

from emt.commands import sweep as sweeps
from emt.commands.script import run_script
from emt.options import Option
from experiments.fwp_capacity import summary
from experiments.fwp_capacity.configs import SWEEPS, cell_of

NUM_KEYS = Option("num_keys", tuple[int, ...], (), "numbers of keys to train (default: all)")
CELLS = Option("cells", tuple[str, ...], (), "write rules and features to train, as sum_dpfp1 (default: all)")


def main(arguments: list[str] | None = None) -> int:
    """Parse, train, test, summarise; return the exit code."""
    given = vars(parser().parse_args(arguments))
    name, configs = f"fwp_capacity_{given['question']}", SWEEPS[given["question"]]
    chosen = sweeps.part_of(configs, given, NUM_KEYS, lambda config: config.task["num_keys"])
    chosen = sweeps.part_of(chosen, given, CELLS, cell_of)
    code = sweeps.run(name, chosen, given)
    return code or summary.main([str(sweeps.folder_of(name, given))])


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    text = "which setting; experiments/fwp_capacity/README.md describes them"
    groups = {"part of it": (NUM_KEYS, CELLS)}
    return sweeps.build_parser("python -m experiments.fwp_capacity.sweep", __doc__, SWEEPS, text, groups)


if __name__ == "__main__":
    sys.exit(run_script("sweep", main))
