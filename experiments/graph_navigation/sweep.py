"""Train all agents of one question as one piece of work, on any engine, and play every one on the test graphs.

Rerun the same command to resume an interrupted sweep.
"""

import sys

from emt.commands.script import run_script
from experiments.graph_navigation import summary
from experiments.graph_navigation.configs import SWEEPS
from experiments.sweeps import run_sweep


def main(arguments: list[str] | None = None) -> int:
    """Parse, train, play, summarise; return the exit code."""
    return run_sweep(
        arguments,
        "graph_navigation",
        __doc__,
        "which agents",
        SWEEPS,
        lambda folder, _: summary.main([str(folder)]),
    )


if __name__ == "__main__":
    sys.exit(run_script("sweep", main))
