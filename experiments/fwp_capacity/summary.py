"""Compare the runs of a folder with theory and with the published runs: losses of all seeds, and how long they took.

Tests every finished model on new sequences and writes tables and a figure. ``clean`` losses weigh all keys
equally; ``published`` ones are averaged as the published program does, which for repeated keys also tests
sequences of half the trained length.
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
from experiments.command_line import add_folder, build_parser, each_run
from experiments.fwp_capacity import theory
from experiments.fwp_capacity.figures import draw_capacity
from experiments.fwp_capacity.measure import measure
from experiments.fwp_capacity.published import PUBLISHED

SEQUENCES = 20
"""New sequences of each test, as many as the published program has."""


@dataclass(frozen=True)
class Summary:
    """Cells side by side.

    Attributes
    ----------
    cells
        A row for each run: features F, the loss in theory, mean, median and 95 % interval over members of the
        clean loss, range of the published loss, and the published run.
    members
        A row for each member.
    """

    cells: pd.DataFrame
    members: pd.DataFrame

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return both tables."""
        return {"fwp_capacity_cells": self.cells, "fwp_capacity_members": self.members}


def main(arguments: list[str] | None = None) -> int:
    """Parse, test, summarise, save, print; return the exit code."""
    parser = build_parser("experiments.fwp_capacity.summary", __doc__)
    add_folder(parser, "a run, or a folder of runs")
    options = parser.parse_args(arguments)
    folder = runs.find(options.folder, "folder")
    members = pd.concat(members_of(run, config) for run, config in each_run(folder, *PUBLISHED))
    if members.empty:
        raise UserError(f"{folder}: expected finished models; found none")
    summary = summarise(members)
    output = Path(options.output_dir) if options.output_dir else folder / "summary"
    with locks.writing_into(output):
        written = save_results(summary, output)
        written += save_figure(draw_capacity(summary.cells), output / "capacity")
    say(*summary.cells.to_string(float_format="{:.4f}".format).splitlines())
    say(f"Written to {output}: {', '.join(path.name for path in written)}")
    return 0


def members_of(run: Path, config: RunConfig) -> pd.DataFrame:
    """Return a row for each finished member of a run."""
    done = done_markers(config, run)
    if not done:
        return pd.DataFrame()
    keys, task = int(config.task["num_keys"]), config.task_name
    clean_pairs = keys if task == "unique_keys" else 2 * keys
    numbers = sorted(done)
    clean = measure(run, config, numbers, clean_pairs, SEQUENCES)
    as_published = measure(run, config, numbers, keys, SEQUENCES)
    return pd.DataFrame(
        {
            "task": task,
            "cell": run.name.rpartition("_")[0],
            "keys": keys,
            "features": features_of(config),
            "model": [f"model-{number}" for number in numbers],
            "seed": [config.training.seeds()[number - 1] for number in numbers],
            "steps": [done[number]["step"] for number in numbers],
            "status": [done[number]["status"] for number in numbers],
            "loss": clean.clean,
            "loss_at_half_length": as_published.clean if task == "repeated_keys" else np.nan,
            "published_loss": as_published.published,
        }
    )


def features_of(config: RunConfig) -> float:
    """Return F, the number of features of a key; NaN for softmax attention."""
    size, kind = config.model["hidden_dim"], config.model["features"]
    counts = {
        "elu": size,
        "tanh": size,
        "dpfp": 2 * config.model["nu"] * size,
        "favor": 2 * config.model["random_features"],
    }
    return float(counts.get(kind, np.nan))


def summarise(members: pd.DataFrame) -> Summary:
    """Return the tables of members: by cell and number of keys, and as they are."""
    rows = []
    for (task, cell, keys), group in members.groupby(["task", "cell", "keys"], sort=False):
        features = group["features"].iloc[0]
        interval = mean_interval(group["loss"], bounds=(0.0, np.inf))
        single = PUBLISHED[task].get((cell, keys))
        row: dict[str, Any] = {"task": task, "cell": cell, "keys": keys, "n": len(group)}
        row |= {"features": features, "theory": expected(task, cell, keys, features)}
        row |= {"mean": interval.estimate, "low": interval.low, "high": interval.high}
        row |= {"median": group["loss"].median(), "steps": group["steps"].median()}
        row |= {f"as_published_{name}": getattr(group["published_loss"], name)() for name in ("min", "max")}
        row |= {"published": np.nan, "published_steps": np.nan}
        if single is not None:
            row |= {"published": single.loss, "published_steps": single.steps}
        rows.append(row)
    index = ["task", "cell", "keys"]
    return Summary(pd.DataFrame(rows).set_index(index), members.set_index([*index, "model"]))


def expected(task: str, cell: str, keys: int, features: float) -> float:
    """Return the loss that theory says: the floor, or for a sum over repeated keys a mean of values; NaN if none."""
    if cell.startswith("fwm") or np.isnan(features):
        return np.nan
    least = theory.floor(int(features), keys)
    if task == "repeated_keys" and cell.startswith("sum"):
        return max(least, theory.mean_of_values(keys, 2 * keys))
    return least


if __name__ == "__main__":
    sys.exit(run_script("summary", main))
