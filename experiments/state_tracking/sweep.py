"""Train all populations of one question as one piece of work, on any engine, and test every model.

Rerun the same command to resume an interrupted sweep.
"""

import argparse
import sys

from emt.commands import sweep as sweeps
from emt.commands.script import run_script
from experiments.state_tracking import summary
from experiments.state_tracking.configs import SWEEPS


def main(arguments: list[str] | None = None) -> int:
    """Parse, train, test, summarise; return the exit code."""
    given = vars(parser().parse_args(arguments))
    name = f"state_tracking_{given['question']}"
    code = sweeps.run(name, SWEEPS[given["question"]], given)
    return code or summary.main([str(sweeps.folder_of(name, given))])


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    text = "which populations; experiments/state_tracking/README.md describes them"
    return sweeps.build_parser("python -m experiments.state_tracking.sweep", __doc__, SWEEPS, text)


if __name__ == "__main__":
    sys.exit(run_script("sweep", main))
