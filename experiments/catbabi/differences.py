"""Compare the tested runs of a folder with one of them, seed by seed, such as the ablations of the paper's appendix E.

Models of two runs that share their seed have read the same stories in the same order. A difference is the
mean over such pairs of a run's accuracy minus the reference's, with its 95 % t interval.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.statistics import Interval, mean_interval
from analysis.tables import to_csv
from emt import runs
from emt.commands.output import open_console, say
from emt.commands.script import run_script
from emt.config import RunConfig
from emt.errors import UserError
from emt.files import write_bytes
from experiments.catbabi.summary import members_of, tested_runs, words_read
from experiments.command_line import build_parser

STARTS = ("first_row", "zero")

PRINTED = {
    "validation": "best validation",
    "accuracy": "test, all",
    "accuracy_whole": "test, complete sets",
    "accuracy_mean": "test, mean of tasks",
}
"""Measures that are printed; the accuracies by task are in the table on disk."""


def main(arguments: list[str] | None = None) -> int:
    """Parse, pair, save, print; return the exit code."""
    parser = build_parser("experiments.catbabi.differences", __doc__)
    add = parser.add_argument
    add("folder", metavar="DIR", help="folder of runs")
    add(
        "--reference",
        default="reads_3",
        metavar="RUN",
        help="folder in DIR of the run to compare with (default: reads_3)",
    )
    add("--output_dir", metavar="DIR", help="where the table goes (default: DIR/summary)")
    options = parser.parse_args(arguments)
    folder = runs.find(options.folder, "folder")
    tested = {
        run.relative_to(folder).as_posix(): (run, config) for run, config in tested_runs(folder).items()
    }
    if options.reference not in tested:
        raise UserError(
            f"--reference: expected a tested run in {folder} ({', '.join(tested)}); got {options.reference}"
        )
    mode = tested[options.reference][1].task["mode"]
    found = {name: run for name, run in tested.items() if run[1].task["mode"] == mode}
    start = common_start({name: run for name, (run, _) in found.items()})
    table = compare({name: accuracies(run, start) for name, (run, _) in found.items()}, options.reference)
    output = Path(options.output_dir or folder / "summary") / "differences.csv"
    write_bytes(output, to_csv(table))
    _report(table, found, options.reference, f"{mode}, start {start}")
    say(f"Written to {output}")
    return 0


def common_start(folders: Mapping[str, Path]) -> str:
    """Return the start state that all members of all runs were tested from, the paper's if there are two.

    Raises
    ------
    UserError
        If there is none.
    """
    starts = [
        member["starts"].keys() for folder in folders.values() for member in members_of(folder).values()
    ]
    shared = [start for start in STARTS if all(start in tested for tested in starts)]
    if not shared:
        raise UserError(
            f"expected a start state that all of {', '.join(folders)} were tested from; got none: test them again with "
            "python -m experiments.catbabi.evaluate"
        )
    return shared[0]


def accuracies(run: Path, start: str) -> pd.DataFrame:
    """Return accuracies in percent, a row for each seed: ``validation`` and what test.json has, tasks as "task 3"."""
    rows = {}
    for result in members_of(run).values():
        figures = result["starts"][start]
        row = {"validation": (result["validation"] or {}).get("accuracy")}
        row |= {measure: figures[measure] for measure in PRINTED if measure in figures}
        row |= {f"task {task}": one["accuracy"] for task, one in figures["by_task"].items()}
        rows[result["seed"]] = row
    return 100 * pd.DataFrame.from_dict(rows, orient="index").astype(float)


def compare(runs_by_name: Mapping[str, pd.DataFrame], reference: str) -> pd.DataFrame:
    """Return means over seeds, and over pairs of members with equal seeds the mean difference from the reference.

    Parameters
    ----------
    runs_by_name
        A row for each seed, a column for each measure.
    reference
        Name of the run that is subtracted; its own rows have no difference.

    Returns
    -------
    table
        By (run, measure): ``mean``, ``low``, ``high`` and ``n``, and the same of the difference, its ``n``
        the pairs.
    """
    rows = {}
    for name, own in runs_by_name.items():
        differences = own.iloc[:0] if name == reference else own - runs_by_name[reference]
        for measure in own:
            mean = mean_interval(own[measure], bounds=(0.0, 100.0))
            paired = mean_interval(differences[measure], bounds=(-100.0, 100.0))
            rows[name, measure] = _columns(mean) | _columns(paired, "difference_")
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index = pd.MultiIndex.from_tuples(rows, names=["run", "measure"])
    return table


def _columns(interval: Interval, prefix: str = "") -> dict[str, Any]:
    values = {"mean": interval.estimate, "low": interval.low, "high": interval.high, "n": interval.n}
    return {f"{prefix}{name}": value for name, value in values.items()}


def _report(
    table: pd.DataFrame, found: Mapping[str, tuple[Path, RunConfig]], reference: str, about: str
) -> None:
    from rich.table import Table

    console = open_console(width=max(open_console().width, 130), soft_wrap=False)
    shown = Table(
        "", "words", *PRINTED.values(), "n", title=f"Accuracy in percent, 95 % over seeds ({about})", box=None
    )
    apart = Table(
        "", *PRINTED.values(), "n", title=f"Difference from {reference}, points, seeds paired", box=None
    )
    for name, (_, config) in found.items():
        rows = table.loc[name].loc[list(PRINTED)]
        cells = [_cell(*row) for row in rows[["mean", "low", "high"]].to_numpy()]
        shown.add_row(name, f"{words_read(config) / 1e6:.1f} M", *cells, str(rows["n"].max()))
        if name != reference:
            paired = rows[["difference_mean", "difference_low", "difference_high"]].to_numpy()
            apart.add_row(name, *(_cell(*row) for row in paired), str(rows["difference_n"].max()))
    console.print(shown)
    if apart.row_count:
        console.print(apart)
    for name in (one for one in found if one != reference):
        say(f"{name}: {_tasks_apart(table.loc[name])}")


def _tasks_apart(rows: pd.DataFrame) -> str:
    """Return on which tasks a run differs from the reference, one by one."""
    tasks = rows[rows.index.str.startswith("task ")]
    apart = tasks[(tasks["difference_low"] > 0) | (tasks["difference_high"] < 0)]
    columns = apart[["difference_mean", "difference_low", "difference_high"]]
    named = ", ".join(
        f"{task} {_cell(*row)}" for task, row in zip(apart.index, columns.to_numpy(), strict=True)
    )
    return f"{len(apart)} of {len(tasks)} intervals by task exclude 0 (1 in 20 would by chance)" + (
        f": {named}" if named else ""
    )


def _cell(mean: float, low: float, high: float) -> str:
    return f"{mean:.1f}" + ("" if pd.isna(low) else f" ({low:.1f} to {high:.1f})")


if __name__ == "__main__":
    sys.exit(run_script("differences", main))
