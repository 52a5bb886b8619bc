"""Compare the tested runs of a folder: table 1's columns, learning curves, accuracy by task.

Runs of the same model, mode and settings that differ in their seeds belong into one run; each run is one row
here.
"""

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from analysis.accuracy.groups import Answered, GroupSummary, summarise_groups
from analysis.accuracy.learning import Learner, summarise_learning
from analysis.figures.accuracy import groups as group_figures
from analysis.figures.accuracy import learning as learning_figures
from analysis.figures.style import save_figure
from analysis.tables import save_results
from emt import locks, runs
from emt.commands.output import open_console, say
from emt.commands.script import run_script
from emt.config import RunConfig
from emt.errors import UserError
from emt.files import write_bytes
from emt.tasks.catbabi import CatBabi
from emt.text import cell, shell_path
from experiments.catbabi.configs import LABELS, PAPER_ACCURACIES
from experiments.catbabi.results import MemberTest, RunTest
from experiments.command_line import add_folder, build_parser, find_runs
from experiments.training import read_test, validation_errors

MODES = {"qa": "question answering", "lm": "language modelling"}


def main(arguments: list[str] | None = None) -> int:
    """Parse, collect, summarise, save, print; return the exit code."""
    parser = build_parser("experiments.catbabi.summary", __doc__)
    add_folder(parser, "a run, or a folder of runs")
    options = parser.parse_args(arguments)
    tested = tested_runs(Path(options.folder))
    output = Path(options.output_dir or runs.find(options.folder, "folder") / "summary")
    labels = labels_of(tested)
    with locks.writing_into(output):
        curves = summarise_learning([_learner(run, config, labels[run]) for run, config in tested.items()])
        written = save_results(curves, output)
        figures = list(learning_figures.draw(curves, linear=True))
        for mode, summary in _by_task(tested, labels).items():
            written += save_results(summary, output / mode)
            figures += [(f"{mode}_{name}", figure) for name, figure in group_figures.draw(summary)]
        rows = [row for run, config in tested.items() for row in _rows(run, config, labels[run])]
        write_bytes(output / "table.csv", _csv(rows).encode())
        written += [output / "table.csv"]
        written += [path for name, figure in figures for path in save_figure(figure, output / name)]
    _report(rows)
    say(f"Written to {output}: {', '.join(str(path.relative_to(output)) for path in written)}")
    return 0


def tested_runs(folder: Path) -> dict[Path, RunConfig]:
    """Return the tested runs of a folder, sorted by path, and name the others.

    Raises
    ------
    UserError
        If there are none.
    """
    found = find_runs(folder, "catbabi")
    tested = {run: config for run, config in found.items() if (run / "test.json").exists()}
    for run in found.keys() - tested.keys():
        say(f"{run}: not tested yet: python -m experiments.catbabi.evaluate {shell_path(run)}")
    if not tested:
        raise UserError(f"{folder}: expected tested runs; python -m experiments.catbabi.evaluate tests them")
    return tested


def words_read(config: RunConfig) -> int:
    """Return how many words a member of a run is trained on."""
    training = config.training
    steps = training.epochs * (training.epoch_batches or CatBabi.epoch_batches)
    words: int = steps * training.batch_size * config.task["segment"]
    return words


def labels_of(tested: dict[Path, RunConfig]) -> dict[Path, str]:
    """Return what figures call each run: its model, with the folder's name where a mode has it twice."""
    label = {run: LABELS.get(config.model_type, config.model_type) for run, config in tested.items()}
    seen = Counter((config.task["mode"], label[run]) for run, config in tested.items())
    return {
        run: f"{label[run]} ({run.name})" if seen[config.task["mode"], label[run]] > 1 else label[run]
        for run, config in tested.items()
    }


def members_of(run: Path) -> dict[str, dict[str, Any]]:
    """Return test.json of each tested member, in order."""
    return {
        folder.name: read_test(folder, MemberTest)
        for folder in runs.model_folders(run)
        if (folder / "test.json").exists()
    }


def _figures(result: dict[str, Any]) -> dict[str, Any]:
    """Return a member's figures from the paper's start state, else from zero."""
    figures: dict[str, Any] = result["starts"].get("first_row") or result["starts"]["zero"]
    return figures


def _learner(run: Path, config: RunConfig, label: str) -> Learner:
    members = members_of(run)
    curves = [validation_errors(run / name / "training_curve.csv") for name in members]
    steps = sorted(set().union(*curves))
    return Learner(
        panel=MODES[config.task["mode"]],
        label=label,
        members=tuple(members),
        steps=np.array(steps),
        errors=np.array([[curve.get(step, np.nan) for step in steps] for curve in curves]),
        test_errors=np.array([100 * (1 - _figures(result)["accuracy"]) for result in members.values()]),
    )


def _by_task(tested: dict[Path, RunConfig], labels: dict[Path, str]) -> dict[str, GroupSummary]:
    modes = dict.fromkeys(config.task["mode"] for config in tested.values())
    return {
        mode: summarise_groups(
            [_answered(run, labels[run]) for run, c in tested.items() if c.task["mode"] == mode]
        )
        for mode in modes
    }


def _answered(run: Path, label: str) -> Answered:
    members = members_of(run)
    shares = [_figures(result)["by_task"] for result in members.values()]
    groups = sorted({int(task) for by_task in shares for task in by_task})
    right = [
        [by_task[str(g)]["accuracy"] if str(g) in by_task else np.nan for g in groups] for by_task in shares
    ]
    return Answered(label, tuple(members), tuple(groups), np.array(right))


def _rows(run: Path, config: RunConfig, label: str) -> list[dict[str, Any]]:
    """Return a row for each start state, accuracies in percent."""
    test = read_test(run, RunTest)
    rows = []
    for start, figures in test["starts"].items():
        row = {"run": label, "mode": config.task["mode"], "start": start, "seeds": figures["accuracy"]["n"]}
        row |= {"words": words_read(config)}
        for name in ("accuracy", "accuracy_whole", "accuracy_mean"):
            row |= {f"{name}_{k}": _percent(figures[name][k]) for k in ("mean", "sd", "low", "high")}
        row |= {f"perplexity_{k}": figures["perplexity"][k] for k in ("mean", "sd", "low", "high")}
        paper = PAPER_ACCURACIES.get((config.model_type, config.task["mode"]))
        rows.append(row | {k: test[k] for k in ("weights", "activations")} | {"paper_accuracy": paper})
    return rows


def _percent(share: float | None) -> float | None:
    return None if share is None else min(max(100 * share, 0.0), 100.0)


def _csv(rows: list[dict[str, Any]]) -> str:
    import pandas as pd

    return pd.DataFrame(rows).map(cell).to_csv(index=False, lineterminator="\n")


def _report(rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    def number(value: float | None, digits: int = 2) -> str:
        return "" if value is None else f"{value:.{digits}f}"

    names = (
        "",
        "mode",
        "start",
        "seeds",
        "words",
        "right %",
        "95 %",
        "sd",
        "complete sets %",
        "mean of tasks %",
        "perplexity",
    )
    table = Table(*names, "weights", "activations", "paper %", title="Test questions", box=None)
    for row in rows:
        interval = (
            "" if row["accuracy_low"] is None else f"{row['accuracy_low']:.2f}–{row['accuracy_high']:.2f}"
        )
        table.add_row(
            *(row["run"], row["mode"], row["start"], str(row["seeds"]), f"{row['words'] / 1e6:.1f} M"),
            *(number(row["accuracy_mean"]), interval),
            *(
                number(row["accuracy_sd"]),
                number(row["accuracy_whole_mean"]),
                number(row["accuracy_mean_mean"]),
            ),
            *(number(row["perplexity_mean"], 3), f"{row['weights']:,}", f"{row['activations']:,}"),
            number(row["paper_accuracy"]),
        )
    # Where output goes into a file rich takes 80 columns, too few for this table.
    open_console(width=max(open_console().width, 150), soft_wrap=False).print(table)


if __name__ == "__main__":
    sys.exit(run_script("summary", main))
