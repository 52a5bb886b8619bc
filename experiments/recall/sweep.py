"""Train all populations of one task, or some, as one piece of work, on any engine, and test every model.

Rerun the same command to resume an interrupted sweep.
"""

import sys

from emt.commands.script import run_script
from experiments.recall import summary
from experiments.recall.configs import SWEEPS
from experiments.sweeps import run_sweep


def main(arguments: list[str] | None = None) -> int:
    """Parse, train, test, summarise; return the exit code."""
    return run_sweep(
        arguments,
        "recall",
        __doc__,
        "which task",
        SWEEPS,
        lambda folder, _: summary.main([str(folder)]),
    )


if __name__ == "__main__":
    sys.exit(run_script("sweep", main))
