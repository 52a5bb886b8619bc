"""Compare the runs of a folder: recall, token accuracy and loss over seeds beside what is best with and without memory.

Finds every run of this task below the folder, however it was trained, and tests models that were not tested
yet. Where the runs differ in learning rate and plasticity alone, it draws the map of explosions too.
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
from emt.commands.output import open_console, say
from emt.commands.script import run_script
from emt.config import RunConfig
from emt.errors import UserError
from experiments.command_line import add_folder, build_parser, find_runs
from experiments.ethereal.figures import draw_curves, draw_map
from experiments.ethereal.results import curve_of, level_figures, write_results

CURVE_STEPS = 250
"""Steps that a point of a learning curve averages over."""

LARGEST_PLAIN = 1000.0
"""Losses from here on are printed as powers of ten."""

FIGURES = {"recall": "test_recall", "accuracy": "test_accuracy", "loss": "test_loss"}


@dataclass(frozen=True)
class Summary:
    """Runs side by side.

    Attributes
    ----------
    runs
        A row for each run: of recall, token accuracy and loss the mean and median over members, spread, and
        95 % interval, members that diverged or exploded, and the levels. Losses that are not finite are left
        out.
    members
        A row for each member.
    """

    runs: pd.DataFrame
    members: pd.DataFrame

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return both tables."""
        return {"results": self.runs, "results_by_model": self.members}


def main(arguments: list[str] | None = None) -> int:
    """Parse, collect, summarise, save, print; return the exit code."""
    parser = build_parser("experiments.ethereal.summary", __doc__)
    add_folder(parser, "a run, or a folder of runs")
    options = parser.parse_args(arguments)
    folder = runs.find(options.folder, "folder")
    found = find_runs(folder, "characters")
    tested = {run: results for run, config in found.items() if (results := write_results(run, config))}
    if not tested:
        raise UserError(f"{folder}: expected finished models; found none")
    summary = summarise(found, tested)
    output = Path(options.output_dir) if options.output_dir else folder / "summary"
    with locks.writing_into(output):
        written = save_results(summary, output)
        figures = {
            f"learning_curves_{name}": draw_curves(c, summary.runs)
            for name, c in _curves(found, tested).items()
        }
        if _is_map(summary.runs):
            figures = {"explosion_map": draw_map(summary.members, summary.runs)}
        written += [path for name, figure in figures.items() for path in save_figure(figure, output / name)]
    _print(summary.runs)
    say(f"Written to {output}: {', '.join(path.name for path in written)}")
    return 0


def summarise(found: dict[Path, RunConfig], tested: dict[Path, dict[int, dict[str, Any]]]) -> Summary:
    """Return the tables of tested runs."""
    rows, members = [], []
    for run, results in tested.items():
        config = found[run]
        about = {"run": run.name, "dataset": dataset_name(config), **_rates(config)}
        table = pd.DataFrame([{"model": f"model-{n}", **r} for n, r in results.items()])
        table = table.astype(dict.fromkeys(FIGURES.values(), float))
        members.append(table.assign(**about))
        row: dict[str, Any] = {**about, "n": len(table)}
        for name, column in FIGURES.items():
            interval = mean_interval(table[column], bounds=(0.0, np.inf if name == "loss" else 1.0))
            row |= {f"{name}_mean": interval.estimate, f"{name}_median": table[column].median()}
            row |= {f"{name}_sd": table[column].std()}
            row |= {f"{name}_low": interval.low, f"{name}_high": interval.high}
        row["diverged"] = int((table["status"] == "diverged").sum())
        row["exploded"] = int(table["exploded_step"].notna().sum())
        rows.append(row | level_figures(config))
    whole = pd.concat(members).set_index(["run", "model"]).drop(columns="weights_sha256")
    return Summary(pd.DataFrame(rows).set_index("run"), whole)


def dataset_name(config: RunConfig) -> str:
    """Return what tables call a run's data."""
    dataset, n = config.task["dataset"], config.task.get("n", 2)
    return f"{n}_{dataset}" if dataset in ("resequence", "palindromes", "small_palindromes") else dataset


def _rates(config: RunConfig) -> dict[str, Any]:
    return {"learning_rate": config.training.learning_rate, "plast_clip": config.model.get("plast_clip")}


def _is_map(rows: pd.DataFrame) -> bool:
    """Whether runs are the cells of a map."""
    cells = rows[["learning_rate", "plast_clip"]]
    several = cells.nunique().min() > 1
    return bool(several and not cells.duplicated().any() and len(cells) == cells.nunique().prod())


def _curves(
    found: dict[Path, RunConfig], tested: dict[Path, dict[int, dict[str, Any]]]
) -> dict[str, pd.DataFrame]:
    """Return loss and recall on training strings, each of them new, by (run, model, step) for each data set."""
    curves: dict[str, list[pd.DataFrame]] = {}
    for run, results in tested.items():
        members = pd.concat({(run.name, number): _training_curve(run, number) for number in results})
        curves.setdefault(dataset_name(found[run]), []).append(members.rename_axis(["run", "model", "step"]))
    return {name: pd.concat(tables) for name, tables in curves.items()}


def _training_curve(run: Path, number: int) -> pd.DataFrame:
    """Return a member's loss and recall by step, means over `CURVE_STEPS`."""
    points = [point for point in curve_of(run, number) if point.is_training]
    table = pd.DataFrame({"loss": [p.train_loss for p in points], "recall": [p.train_acc for p in points]})
    ends = np.array([-(-point.step // CURVE_STEPS) * CURVE_STEPS for point in points], dtype=int)
    return table.groupby(ends).mean()


def _print(rows: pd.DataFrame) -> None:
    from rich.table import Table

    title = "Mean (95 % interval), of losses the median too"
    table = Table("", "seeds", "recall", "token accuracy", "loss", "exploded", box=None, title=title)
    for run, row in rows.iterrows():
        cells = [_interval(row, name) for name in FIGURES]
        cells[-1] += f", {_number(row['loss_median'])}"
        table.add_row(
            str(run), str(row["n"]), *cells, f"{row['exploded']} of {row['n']}" if row["exploded"] else ""
        )
    levels = rows.drop_duplicates(["dataset", "no_memory_loss"])
    for _, row in levels.iterrows():
        for name in ("optimal", "no_memory"):
            figures = [row[f"{name}_{figure}"] for figure in FIGURES]
            label = f"{row['dataset']}: {name.replace('_', ' ')}"
            table.add_row(label, "", *("unknown" if pd.isna(v) else f"{v:.4f}" for v in figures), "")
    open_console(width=160, soft_wrap=False).print(table)


def _interval(row: pd.Series, name: str) -> str:
    mean, low, high = (_number(row[f"{name}_{figure}"]) for figure in ("mean", "low", "high"))
    return f"{mean} ({low}–{high})" if np.isfinite(row[f"{name}_low"]) else mean


def _number(value: float) -> str:
    if np.isnan(value):
        return "not finite"
    return f"{value:.3f}" if abs(value) < LARGEST_PLAIN else f"{value:.0e}"


if __name__ == "__main__":
    sys.exit(run_script("summary", main))
