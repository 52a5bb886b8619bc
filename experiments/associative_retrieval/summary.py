"""Compare the runs of a folder: test errors over seeds beside the paper's, learning curves.

Finds every run of this task below the folder, however it was trained, and tests models that were not tested
yet.
"""

import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.accuracy.learning import Learner, summarise_learning
from analysis.figures.accuracy.learning import draw
from analysis.figures.style import save_figure
from analysis.tables import save_results
from emt import locks, runs
from emt.commands.output import open_console, say
from emt.commands.script import run_script
from emt.config import RunConfig
from emt.errors import UserError
from experiments.associative_retrieval.configs import LABELS, PAPER_ERRORS
from experiments.associative_retrieval.results import write_results
from experiments.command_line import add_folder, build_parser, find_runs
from experiments.training import validation_errors


def main(arguments: list[str] | None = None) -> int:
    """Parse, collect, summarise, save, print; return the exit code."""
    parser = build_parser("experiments.associative_retrieval.summary", __doc__)
    add_folder(parser, "folder with the runs")
    options = parser.parse_args(arguments)
    folder = runs.find(options.folder, "folder")
    ours = find_runs(folder, "associative_retrieval")
    found = {run: config for run, config in ours.items() if config.model_type in LABELS}
    results = {run: tests for run, config in found.items() if (tests := write_results(run, config))}
    if not results:
        raise UserError(f"{folder}: expected runs of associative retrieval with finished models; found none")
    order = sorted(
        results, key=lambda run: (_place(found[run]), list(LABELS).index(found[run].model_type), run)
    )
    summary = summarise_learning(
        _told_apart([_learner(found[run], run, results[run]) for run in order], order)
    )
    output = Path(options.output_dir) if options.output_dir else folder / "summary"
    with locks.writing_into(output):
        written = save_results(summary, output)
        written += [path for name, figure in draw(summary) for path in save_figure(figure, output / name)]
    _report(summary.errors, [found[run] for run in order])
    say(f"Written to {output}: {', '.join(path.name for path in written)}")
    return 0


def _place(config: RunConfig) -> tuple[int, int]:
    return config.task["pairs"], config.model["hidden_dim"]


def _told_apart(learners: list[Learner], folders: list[Path]) -> list[Learner]:
    """Add the folder's name to labels that occur twice in a panel."""
    seen = Counter((one.panel, one.label) for one in learners)
    return [
        replace(one, label=f"{one.label} ({folder.name})") if seen[one.panel, one.label] > 1 else one
        for one, folder in zip(learners, folders, strict=True)
    ]


def _learner(config: RunConfig, run: Path, tests: dict[int, dict[str, Any]]) -> Learner:
    pairs, units = _place(config)
    curves = [validation_errors(runs.model_folder(run, number) / "training_curve.csv") for number in tests]
    steps = sorted(set().union(*curves))
    return Learner(
        panel=f"R = {units}, K = {pairs}",
        label=LABELS[config.model_type],
        members=tuple(f"model-{number}" for number in tests),
        steps=np.array(steps),
        errors=np.array([[curve.get(step, np.nan) for step in steps] for curve in curves]),
        test_errors=np.array([100 * (1 - test["test_acc"]) for test in tests.values()]),
    )


def _report(errors: pd.DataFrame, configs: list[RunConfig]) -> None:
    from rich.table import Table

    table = Table(
        "", "", "seeds", "mean", "95 %", "sd", "median", "paper", title="Test error in percent", box=None
    )
    for config, ((panel, label), row) in zip(configs, errors.iterrows(), strict=True):
        paper = PAPER_ERRORS.get((config.model_type, config.model["hidden_dim"]))
        spread = (f"{row['low']:.2f}–{row['high']:.2f}", f"{row['std']:.2f}") if row["n"] > 1 else ("", "")
        cells = f"{row['mean']:.2f}", *spread, f"{row['median']:.2f}"
        table.add_row(panel, label, f"{row['n']:.0f}", *cells, "" if paper is None else f"{paper:.2f}")
    open_console(soft_wrap=False).print(table)


if __name__ == "__main__":
    sys.exit(run_script("summary", main))
