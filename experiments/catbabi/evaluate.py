"""Test the models of a run, or of all runs in a folder: accuracy of the answers, together and by task, and perplexity.

The test stories stand in one row, read in segments with the state carried. What is tested already is not
tested again.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emt.commands.output import open_console
from emt.commands.script import run_script
from emt.devices import choose_device
from emt.errors import UserError
from emt.options import Option
from experiments.command_line import (
    ACCELERATORS,
    Count,
    add_device,
    add_folder,
    build_parser,
    find_runs,
    values_of,
)

if TYPE_CHECKING:
    from experiments.catbabi.results import Start

STARTS: dict[str, tuple["Start", ...]] = {
    "zero": ("zero",),
    "first_row": ("first_row",),
    "both": ("first_row", "zero"),
}

BATCH = Option("batch", Count, 1, "number of rows into which the stories are divided")


def main(arguments: list[str] | None = None) -> int:
    """Parse, test, report; return the exit code."""
    parser = build_parser("experiments.catbabi.evaluate", __doc__, {"": (BATCH,)})
    add_folder(parser, "a run, or a folder of runs", output=None)
    add_device(parser, "test")
    parser.add_argument(
        "--start",
        choices=STARTS,
        default="both",
        help="state before the first word: zeros, as the published code; that of the first row in training, as the "
        "paper; or one after the other (default: both)",
    )
    options = parser.parse_args(arguments)
    batch = values_of((BATCH,), vars(options), "test")["batch"]
    found = find_runs(options.folder, "catbabi")

    from experiments.catbabi.results import write_results

    how = STARTS[options.start], batch, choose_device(ACCELERATORS[options.device])
    tested = {run: write_results(run, config, *how) for run, config in found.items()}
    if not any(tested.values()):
        raise UserError(f"{options.folder}: expected finished models; found none")
    for run, results in tested.items():
        _report(run, found[run].task["mode"], results)
    return 0


def _report(run: Path, mode: str, results: dict[int, dict[str, Any]]) -> None:
    from rich.table import Table

    names = ("", "", "questions", "right", "complete sets", "mean of tasks", "words", "perplexity")
    table = Table(*names, title=f"{run} ({mode})", box=None)
    for number, result in results.items():
        rows = {"validation": result["validation"]} if result["validation"] else {}
        for name, figure in (
            rows | {f"test, {start}": figure for start, figure in result["starts"].items()}
        ).items():
            shares = [figure.get(name) for name in ("accuracy", "accuracy_whole", "accuracy_mean")]
            right, *others = ["" if share is None else f"{100 * share:.2f} %" for share in shares]
            asked, words = (str(figure.get(count, "")) for count in ("questions", "words"))
            table.add_row(
                f"model-{number}", name, asked, right, *others, words, f"{figure['perplexity']:.3f}"
            )
    # Where output goes into a file rich takes 80 columns, too few for this table.
    open_console(width=max(open_console().width, 110), soft_wrap=False).print(table)


if __name__ == "__main__":
    sys.exit(run_script("evaluate", main))
