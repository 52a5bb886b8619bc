"""Train all populations of one question as one piece of work, on any engine, and test every model.

Rerun the same command to resume an interrupted sweep.
"""

import argparse
import sys

from emt.commands import sweep as sweeps
from emt.commands.script import run_script
from experiments.fwp_capacity import summary
from experiments.fwp_capacity.configs import SWEEPS


def main(arguments: list[str] | None = None) -> int:
    """Parse, train, test, summarise; return the exit code."""
    given = vars(parser().parse_args(arguments))
    name = f"fwp_capacity_{given['question']}"
    code = sweeps.run(name, SWEEPS[given["question"]], given)
    return code or summary.main([str(sweeps.folder_of(name, given))])


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    text = "which populations; experiments/fwp_capacity/README.md describes them"
    return sweeps.build_parser("python -m experiments.fwp_capacity.sweep", __doc__, SWEEPS, text)


if __name__ == "__main__":
    sys.exit(run_script("sweep", main))
