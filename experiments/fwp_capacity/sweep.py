"""Train the populations of one setting as one piece of work, on any engine, and test every model.

Rerun the same command to resume an interrupted sweep.
"""

import sys

from emt.commands.script import run_script
from emt.options import Option
from experiments.fwp_capacity import summary
from experiments.fwp_capacity.configs import SWEEPS, cell_of
from experiments.sweeps import Part, run_sweep

NUM_KEYS = Option("num_keys", tuple[int, ...], (), "numbers of keys to train (default: all)")
CELLS = Option("cells", tuple[str, ...], (), "write rules and features to train, as sum_dpfp1 (default: all)")


def main(arguments: list[str] | None = None) -> int:
    """Parse, train, test, summarise; return the exit code."""
    return run_sweep(
        arguments,
        "fwp_capacity",
        __doc__,
        "which setting",
        SWEEPS,
        lambda folder, _: summary.main([str(folder)]),
        [Part(NUM_KEYS, lambda config: config.task["num_keys"]), Part(CELLS, cell_of)],
    )


if __name__ == "__main__":
    sys.exit(run_script("sweep", main))
