"""Train all populations of one task as one piece of work, record them on trials of both kinds, and compare seeds.

Rerun the same command to resume an interrupted sweep.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from emt.commands.script import run_script
from emt.config import RunConfig
from emt.options import Option
from experiments.degeneracy import summary
from experiments.degeneracy.configs import OUTSIDE, SWEEPS
from experiments.sweeps import Part, record, run_sweep

WIDTHS = Option("hidden_dim", tuple[int, ...], (), "widths to train (default: all)")


def main(arguments: list[str] | None = None) -> int:
    """Parse, train, record, summarise; return the exit code."""
    return run_sweep(
        arguments,
        "degeneracy",
        __doc__,
        "which task",
        SWEEPS,
        finish,
        [Part(WIDTHS, lambda config: config.model["hidden_dim"])],
    )


def finish(folder: Path, configs: Sequence[RunConfig]) -> int:
    """Record the runs, compare their seeds; return the exit code."""
    for config in configs:
        if code := record(folder, config, OUTSIDE[config.task_name], "--test_horizon 20"):
            return code
    return summary.main([str(folder)])


if __name__ == "__main__":
    sys.exit(run_script("sweep", main))
