"""Test the models of a run, or of all runs in a folder: accuracy of the answers, together and by task, and perplexity.

The test stories stand in one row, read in segments with the state carried. What is tested already is not tested again.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emt import config as configuration
from emt import runs
from emt.commands.script import run_script
from emt.config import RunConfig
from emt.devices import choose_device
from emt.errors import UserError
from emt.options import Parser

if TYPE_CHECKING:
    from experiments.catbabi.results import Start

STARTS: dict[str, tuple["Start", ...]] = {
    "zero": ("zero",),
    "first_row": ("first_row",),
    "both": ("first_row", "zero"),
}


def main(arguments: list[str] | None = None) -> int:
    """Parse, test, report; return the exit code."""
    parser = Parser(prog="experiments.catbabi.evaluate", description=__doc__)
    add = parser.add_argument
    add("folder", metavar="DIR", help="a run, or a folder of runs")
    add(
        "--start",
        choices=STARTS,
        default="both",
        help="state before the first word: zeros, as the published code; that of the first row in training, as the "
        "paper; or one after the other (default: both)",
    )
    add(
        "--batch",
        type=int,
        default=1,
        metavar="N",
        help="number of rows into which the stories are divided (default: 1)",
    )
    add("--device", choices=("cpu", "cuda"), default="cpu", help="where to test (default: cpu)")
    options = parser.parse_args(arguments)
    if options.batch < 1:
        raise UserError(f"--batch: expected at least 1; got {options.batch}")
    found = find_runs(Path(options.folder))

    from experiments.catbabi.results import write_results

    how = STARTS[options.start], options.batch, choose_device({"cpu": "cpu", "cuda": "gpu"}[options.device])
    tested = {run: write_results(run, config, *how) for run, config in found.items()}
    if not any(tested.values()):
        raise UserError(f"{options.folder}: expected finished models; found none")
    for run, results in tested.items():
        _report(run, found[run].task["mode"], results)
    return 0


def find_runs(folder: Path) -> dict[Path, RunConfig]:
    """Return the runs of this task in a folder, sorted by path.

    Raises
    ------
    UserError
        If there are none.
    """
    folder = runs.find(folder, "folder")
    configs = {path.parent: configuration.read(path) for path in sorted(folder.rglob("config.json"))}
    found = {run: config for run, config in configs.items() if config.task_name == "catbabi"}
    if not found:
        raise UserError(f"{folder}: expected runs of catbabi; found none")
    return found


def _report(run: Path, mode: str, results: dict[int, dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    names = ("", "", "questions", "right", "complete sets", "mean of tasks", "words", "perplexity")
    table = Table(*names, title=f"{run} ({mode})", box=None)
    for number, result in results.items():
        rows = {"validation": result["validation"]} if result["validation"] else {}
        for name, figure in (rows | {f"test, {start}": figure for start, figure in result["starts"].items()}).items():
            shares = [figure.get(name) for name in ("accuracy", "accuracy_whole", "accuracy_mean")]
            right, *others = ["" if share is None else f"{100 * share:.2f} %" for share in shares]
            asked, words = (str(figure.get(count, "")) for count in ("questions", "words"))
            table.add_row(f"model-{number}", name, asked, right, *others, words, f"{figure['perplexity']:.3f}")
    # Where output goes into a file rich takes 80 columns, too few for this table.
    Console(width=max(Console().width, 110)).print(table)


if __name__ == "__main__":
    sys.exit(run_script("evaluate", main))
