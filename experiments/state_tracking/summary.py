"""Compare the runs of a folder: accuracy at the trained length and beyond it, over learning rates and seeds.

Tests every finished model on the same 1,024 words and writes tables and a figure.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from emt.commands.script import run_script
from emt.config import RunConfig
from experiments.rates import Panel, Rates, draw_rates, over_rates, report, rows_of_members
from experiments.state_tracking.measure import LONG, measure

WORDS = 1024
TASKS = ("parity", "modular_addition", "word_problem")
TITLES = {"trained": "up to the trained length", "beyond": "3.5 to 6 times the trained length"}


def main(arguments: list[str] | None = None) -> int:
    """Parse, test, summarise, save, print; return the exit code."""
    module = "experiments.state_tracking.summary"
    return report(arguments, module, __doc__, TASKS, members_of, summarise, draw)


def members_of(run: Path, config: RunConfig) -> list[dict[str, Any]]:
    """Return a row for each finished member of a run.

    ``trained`` is the accuracy over all steps up to the trained length, ``beyond`` that over the last steps of
    words LONG times as long, from 3.5 times the trained length on.
    """
    rows = rows_of_members(run, config)
    if not rows:
        return []
    measured = measure(run, config, list(rows), WORDS)
    length = measured.accuracy.shape[1] // LONG
    trained = measured.accuracy[:, :length].mean(axis=1)
    beyond = measured.accuracy[:, 7 * length // 2 :].mean(axis=1)
    for place, row in enumerate(rows.values()):
        row |= {"trained": trained[place], "beyond": beyond[place]}
        if measured.eigenvalue is not None:
            row["smallest_eigenvalue"] = measured.eigenvalue[place].min()
    return list(rows.values())


def summarise(members: pd.DataFrame) -> Rates:
    """Return the tables of members: by run and learning rate, with shares above bars, and as they are."""
    return over_rates("state_tracking", members, tuple(TITLES), shares)


def shares(group: pd.DataFrame) -> Mapping[str, Any]:
    """Return shares of members above bars, and the median of their smallest eigenvalues."""
    row = {
        "share_trained_above_.99": np.mean(group["trained"] > 0.99),
        "share_beyond_above_.9": np.mean(group["beyond"] > 0.9),
        "highest_beyond": group["beyond"].max(),
    }
    if "smallest_eigenvalue" in group:
        row["median_smallest_eigenvalue"] = group["smallest_eigenvalue"].median()
    return row


def draw(summary: Rates) -> dict[str, Figure]:
    """Return the figure by its name."""
    shown = {run: run for run in summary.runs}
    panels = [Panel(title, measure, shown) for measure, title in TITLES.items()]
    return {"accuracy_over_rates": draw_rates(summary, panels, "State tracking")}


if __name__ == "__main__":
    sys.exit(run_script("summary", main))
