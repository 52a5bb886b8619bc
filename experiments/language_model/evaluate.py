"""Test the models of a run, or of all runs in a folder: perplexities, and the loss of each word of the test text.

Both also at the temperature that is best on the validation text. The state is carried through a whole text. What is
tested already is not tested again.
"""

import sys
from pathlib import Path
from typing import Any

from emt.commands.output import open_console, say
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

ROWS = Option(
    "rows", Count, 1, "rows that each text is cut into; with more it goes faster, and each starts anew"
)


def main(arguments: list[str] | None = None) -> int:
    """Parse, test, report; return the exit code."""
    parser = build_parser("experiments.language_model.evaluate", __doc__, {"": (ROWS,)})
    add_folder(parser, "a run, or a folder of runs", output=None)
    add_device(parser, "test")
    options = parser.parse_args(arguments)
    rows = values_of((ROWS,), vars(options), "test")["rows"]
    found = find_runs(options.folder, "words")

    from experiments.language_model.results import write_results

    device = choose_device(ACCELERATORS[options.device])
    tested = {run: write_results(run, config, rows, device) for run, config in found.items()}
    if not any(tested.values()):
        raise UserError(f"{options.folder}: expected finished models; found none")
    for run, results in tested.items():
        _report(run, results)
    return 0


def _report(run: Path, results: dict[int, dict[str, Any]]) -> None:
    from rich.table import Table

    if not results:
        say(f"{run}: no finished models")
        return
    names = ("", "seed", "validation", "test", "temperature", "validation", "test", "words")
    table = Table(*names, title=f"{run}: perplexities, then at the best temperature", box=None)
    for number, result in sorted(results.items()):
        figures = ("validation_perplexity", "test_perplexity")
        tempered = ("validation_tempered_perplexity", "test_tempered_perplexity")
        plain, divided = ([f"{result[name]:.2f}" for name in group] for group in (figures, tempered))
        words = f"{result['words']:,}"
        table.add_row(
            f"model-{number}", str(result["seed"]), *plain, f"{result['temperature']:.2f}", *divided, words
        )
    open_console(width=max(open_console().width, 110), soft_wrap=False).print(table)


if __name__ == "__main__":
    sys.exit(run_script("evaluate", main))
