"""Compare the runs of a folder: accuracy at the trained length and beyond it, over learning rates and seeds.

Tests every finished model on the same 1,024 words and writes tables and a figure.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.figures.style import save_figure
from analysis.statistics import mean_interval
from analysis.tables import save_results
from emt import locks, runs
from emt.commands.output import say
from emt.commands.script import run_script
from emt.config import RunConfig
from emt.errors import UserError
from emt.training.population import done_markers
from experiments.command_line import add_folder, build_parser, find_runs
from experiments.state_tracking.figures import draw_rates
from experiments.state_tracking.measure import LONG, measure

WORDS = 1024
TASKS = ("parity", "modular_addition", "word_problem")


@dataclass(frozen=True)
class Summary:
    """Runs side by side.

    Attributes
    ----------
    rates
        A row for each run and learning rate: mean and 95 % interval over members of the accuracy at the trained
        length and of that over the last part of long words, and shares of members above bars.
    members
        A row for each member.
    """

    rates: pd.DataFrame
    members: pd.DataFrame

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return both tables."""
        return {"state_tracking_rates": self.rates, "state_tracking_members": self.members}


def main(arguments: list[str] | None = None) -> int:
    """Parse, test, summarise, save, print; return the exit code."""
    parser = build_parser("experiments.state_tracking.summary", __doc__)
    add_folder(parser, "a run, or a folder of runs")
    options = parser.parse_args(arguments)
    folder = runs.find(options.folder, "folder")
    rows = [row for run, config in find_runs(folder, *TASKS).items() for row in members_of(run, config)]
    if not rows:
        raise UserError(f"{folder}: expected finished models; found none")
    summary = summarise(pd.DataFrame(rows))
    output = Path(options.output_dir) if options.output_dir else folder / "summary"
    with locks.writing_into(output):
        written = save_results(summary, output)
        written += save_figure(draw_rates(summary.rates, summary.members), output / "accuracy_over_rates")
    say(*summary.rates.to_string(float_format="{:.3f}".format).splitlines())
    say(f"Written to {output}: {', '.join(path.name for path in written)}")
    return 0


def members_of(run: Path, config: RunConfig) -> list[dict[str, Any]]:
    """Return a row for each finished member of a run.

    ``trained`` is the accuracy over all steps up to the trained length, ``beyond`` that over the last steps of
    words LONG times as long, from 3.5 times the trained length on.
    """
    numbers = sorted(done_markers(config, run))
    if not numbers:
        return []
    measured = measure(run, config, numbers, WORDS)
    length = measured.accuracy.shape[1] // LONG
    beyond = measured.accuracy[:, 7 * length // 2 :].mean(axis=1)
    rows = []
    for place, number in enumerate(numbers):
        row: dict[str, Any] = {
            "run": run.name,
            "model": f"model-{number}",
            "learning_rate": config.training.rates()[number - 1],
            "seed": config.training.seeds()[number - 1],
            "trained": measured.accuracy[place, :length].mean(),
            "beyond": beyond[place],
        }
        if measured.eigenvalue is not None:
            row["smallest_eigenvalue"] = measured.eigenvalue[place].min()
        rows.append(row)
    return rows


def summarise(members: pd.DataFrame) -> Summary:
    """Return the tables of members: by run and learning rate, and as they are."""
    rows = []
    for (run, rate), group in members.groupby(["run", "learning_rate"], sort=False):
        row: dict[str, Any] = {"run": run, "learning_rate": rate, "n": len(group)}
        for name in ("trained", "beyond"):
            interval = mean_interval(group[name], bounds=(0.0, 1.0))
            row |= {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}
        row |= {
            "share_trained_above_.99": np.mean(group["trained"] > 0.99),
            "share_beyond_above_.9": np.mean(group["beyond"] > 0.9),
            "highest_beyond": group["beyond"].max(),
        }
        if "smallest_eigenvalue" in group:
            row["median_smallest_eigenvalue"] = group["smallest_eigenvalue"].median()
        rows.append(row)
    return Summary(
        pd.DataFrame(rows).set_index(["run", "learning_rate"]), members.set_index(["run", "model"])
    )


if __name__ == "__main__":
    sys.exit(run_script("summary", main))
