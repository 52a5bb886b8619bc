"""Compare the runs of a folder: accuracy over learning rates and seeds, at longer lengths and with convolutions cut.

Tests every finished model on the same 512 rows and writes tables and figures. `experiments.recall.mechanism` says
which writes their reads find.
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
from emt.errors import UserError
from emt.options import load
from emt.tasks import TASKS as REGISTRY
from experiments.rates import Panel, Rates, draw_rates, over_rates, report, rows_of_members
from experiments.recall.configs import NAMES, TITLES
from experiments.recall.measure import LONG, measure

ROWS = 512
TASKS = {"mqar": "multi-query recall", "induction": "induction", "selective_copy": "selective copying"}
MEASURES = (
    "accuracy",
    *(f"accuracy_x{factor}" for factors in LONG.values() for factor in factors),
    "accuracy_cut",
)


def main(arguments: list[str] | None = None) -> int:
    """Parse, test, summarise, save, print; return the exit code."""
    return report(arguments, "experiments.recall.summary", __doc__, TASKS, members_of, summarise, draw)


def members_of(run: Path, config: RunConfig) -> list[dict[str, Any]]:
    """Return a row for each finished member of a run."""
    rows = rows_of_members(run, config)
    measured = measure(run, config, list(rows), ROWS) if rows else {}
    for place, row in enumerate(rows.values()):
        row |= describe(config)
        row |= {name: values[place] for name, values in measured.items()}
    return list(rows.values())


def describe(config: RunConfig) -> dict[str, Any]:
    """Return a run's task as figures call it, its model, its condition, and the accuracy of a guess.

    A guess takes one of the row's values in `mqar`, and any answer otherwise. A GRU has no convolution.
    """
    model, name = config.model, config.task_name
    task = load(REGISTRY, name, "task")(**config.task_options())
    mixes, layers = model.get("conv_size", 0) > 0, model.get("layers", 1)
    return {
        "task": TASKS[name] + (f", {config.task['pairs']} pairs" if name == "mqar" else ""),
        "type": config.model_type,
        "condition": "conv" if mixes else "two_layers" if layers > 1 else "no_conv",
        "guess": float(getattr(task, "unbound", task.chance)),
    }


def one_task(members: pd.DataFrame) -> None:
    """Refuse members of several tasks.

    Raises
    ------
    UserError
        Naming them.
    """
    tasks = members["task"].unique()
    if len(tasks) > 1:
        raise UserError(f"must have runs of one task; got {'; '.join(tasks)}", parameter="folder")


def summarise(members: pd.DataFrame) -> Rates:
    """Return the tables of members: by run and learning rate, with the share that learned it, and as they are."""
    one_task(members)
    return over_rates("recall", members, MEASURES, share)


def share(group: pd.DataFrame) -> Mapping[str, Any]:
    """Return the share of members above .99, and their lowest and highest accuracy."""
    accuracy = group["accuracy"]
    return {"share_above_.99": np.mean(accuracy > 0.99), "lowest": accuracy.min(), "highest": accuracy.max()}


def draw(summary: Rates) -> dict[str, Figure]:
    """Return figures by their names: accuracy in each condition, and at longer lengths in the first of these."""
    members = summary.members
    task, guess = members["task"].iloc[0], members["guess"].iloc[0]
    shown = runs_by_condition(summary)
    panels = [
        Panel(TITLES[condition], "accuracy", shown[condition]) for condition in TITLES if condition in shown
    ]
    if "conv" in shown:
        panels.append(Panel("trained with it, then cut", "accuracy_cut", shown["conv"]))
    figures = {"accuracy_over_rates": draw_rates(summary, panels, task, guess)}
    if longer := [name for name in MEASURES if name.startswith("accuracy_x") and name in members]:
        first = next(condition for condition in TITLES if condition in shown)
        panels = [
            Panel(f"{TITLES[first]}, {name.removeprefix('accuracy_x')} times as long", name, shown[first])
            for name in longer
        ]
        figures["accuracy_at_longer_lengths"] = draw_rates(summary, panels, task, guess)
    return figures


def runs_by_condition(summary: Rates) -> dict[str, dict[str, str]]:
    """Return what the model of each run is called, by condition and run."""
    return {
        str(condition): dict(zip(group.index.get_level_values("run"), group["type"].map(NAMES), strict=True))
        for condition, group in summary.members.groupby("condition", sort=False)
    }


if __name__ == "__main__":
    sys.exit(run_script("summary", main))
