"""Hostile names, and doors through which a name goes into another language: terminal, shell, table, figure, page."""

import csv
import io
import itertools
import json
import os
import subprocess
from collections.abc import Callable
from contextlib import redirect_stdout
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
from PIL import Image

from analysis.report.page import report_experiment
from analysis.report.sections import Experiment
from analysis.tables import to_csv
from emt import config as configuration
from emt import runs, trace
from emt.commands import train
from emt.commands.known_systems.summaries import plant_summary
from emt.commands.output import open_console, say
from emt.errors import UserError
from emt.files import write_json, write_text
from emt.interventions.conditions_file import read_conditions_file
from emt.models import MODELS
from emt.options import plugins
from emt.tasks import TASKS
from emt.text import from_cell, shell_path, visible
from emt.training.sweep import write_members
from experiments.stress.door import Door
from experiments.stress.outcome import Outcome
from experiments.stress.weights import as_imported_experiment, in_a_weight_file

_PIECES = (
    *("$(touch ran)", "`touch ran`", "; touch ran;", "' touch ran '", '" touch ran "', "&& touch ran"),
    *("| touch ran", "\ntouch ran\n", "[v2]", "[/v2]", "[bold red]", "[link=x]y[/link]", ":smile:", "\\[x]"),
    *("=1+1", "+1", "-x", "@x", "\t=1", "\r=1", "'=1", "-0.5", "=cmd|' /C calc'!A0"),
    *(
        "\x1b[31m",
        "\x1b]0;title\x07",
        "\x9b31m",
        "\b\b\b",
        "\r",
        "\x00",
        "\x7f",
        "\u202e",
        "\u200b",
        "\ufeff",
    ),
    *("<b>", "</script><script>alert(1)</script>", '" onload="x', "<!--", "&lt;", "javascript:alert(1)"),
    *(
        "$y$",
        r"$\nosuch$",
        "$5 and $6",
        "_^{x}",
        "%s %n {0}",
        "%d",
        "x" * 150,
        "é漢字",
        "٣",
        "\udcff",
        "\u2028",
    ),
    *("..", "/", "~", "*", "--help", "{{x}}"),
)
HOSTILE = (
    "x$(touch ran)'y [v2] [/v2] =1+1 \x1b[31m <b> $y$ \"",
    *_PIECES,
    *(a + b for a, b in itertools.pairwise(_PIECES)),
)
"""Names that mean something in some language."""


def _is(carried: bool) -> Outcome:
    return Outcome.SAME if carried else Outcome.SILENT


def _said(text: str, folder: Path) -> Outcome:
    with redirect_stdout(io.StringIO()) as printed:
        say(f"run {text}")
    return _is(printed.getvalue() == f"run {visible(text)}\n" and printed.getvalue()[:-1].isprintable())


def _on_a_console(text: str, folder: Path) -> Outcome:
    from rich.table import Table

    printed = io.StringIO()
    console = open_console(file=printed, width=2000, force_terminal=False)
    table = Table(text, title=f"run {text}")
    table.add_row(text)
    console.print(f"run {text}")
    console.print(table)
    # Rich drops spaces at the ends of a cell.
    shown = [line.strip("│┃ \n") for line in printed.getvalue().splitlines()]
    name = visible(text).strip()
    return _is(shown[0] == f"run {visible(text)}".strip() and {name, f"run {name}".strip()} <= set(shown))


def _refused(text: str, folder: Path) -> Outcome:
    line = UserError(f"got {text}", parameter="label").in_flags()
    return _is(line == f"--label: got {visible(text)}" and line.isprintable())


def _in_a_shell(text: str, folder: Path) -> Outcome:
    if "\x00" in text:
        raise UserError("no path has this character")
    word = shell_path(text)
    done = subprocess.run(["bash", "-c", f"printf %s {word}"], cwd=folder, capture_output=True, check=True)
    path = os.fsencode(f"./{text}" if text.startswith("-") else text)
    return _is(done.stdout == path and word.isprintable() and not os.listdir(folder))


def _inert(content: str, text: str, wanted: int) -> Outcome:
    """Whether a table shows a text so often, and no cell that a spreadsheet computes."""
    cells = [cell for row in csv.reader(io.StringIO(content, newline="")) for cell in row]
    live = [
        cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r")) and not _is_number(cell)
    ]
    return _is(not live and sum(from_cell(cell) == visible(text) for cell in cells) == wanted)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _in_a_table(text: str, folder: Path) -> Outcome:
    frame = pd.DataFrame(
        {text: [text, "b"], "number": [-7.5, 1.0]}, index=pd.Index([text, "c"], name="label")
    )
    square = pd.DataFrame([[0.0, -1.0], [1.0, 0.0]], index=[text, "b"], columns=[text, "b"])
    outcomes = {_inert(to_csv(frame).decode(), text, 3), _inert(to_csv(square).decode(), text, 2)}
    return _is(outcomes == {Outcome.SAME})


def _in_a_sweep(text: str, folder: Path) -> Outcome:
    write_members(
        [{"experiment": text, "words": (text, 1)}, {"experiment": "b", "words": -1}], folder / "members.csv"
    )
    return _inert((folder / "members.csv").read_bytes().decode(), text, 1)


def _in_a_figure(text: str, folder: Path) -> Outcome:
    from analysis.figures.style import column_figure, save_figure

    figure, axes = column_figure()
    axes[0, 0].set_title(text)
    axes[0, 0].set_xticks([0.25, 0.75], [visible(text), "b"])
    [path] = save_figure(figure, folder / "figure", ("png",), dpi=20)
    with Image.open(path) as picture:
        said = picture.info["Description"]
    return _is(said == " ".join(visible(text, lines=True).split()) and not axes[0, 0].title.get_parse_math())


def _as_experiment_name(text: str, folder: Path) -> Outcome:
    task = ["--seq_length", "3", "--input_dim", "4"]
    config, path = train.parse([f"--experiment_name={text}", "--output_dir", str(folder), *task])
    write_json(path / "config.json", config.model_dump())
    name = configuration.read(path / "config.json").metadata["experiment_name"]
    return _is(name == text and path.parent == folder and os.listdir(folder) == [text])


def _as_a_plugin(text: str, folder: Path) -> Outcome:
    """Neither a configuration nor a command line has a module imported that is called so, nor a line run."""
    config = configuration.RunConfig(task={}, model={"type": "unknown"}, metadata={"plugins": text})
    try:
        configuration.check_plugins(config, {"task": TASKS, "model_type": MODELS}, "config.json")
    except UserError as error:
        words = text.replace(".", " ").split(" ")
        return _is(str(error).endswith(f"add --plugins {text}") and all(map(str.isidentifier, words)))
    plugins.use([text])
    return Outcome.SILENT


def _in_a_trace(text: str, folder: Path) -> Outcome:
    content = {"tokens": [text], "experiment": text, "format_version": 1}
    try:
        about = trace.About.model_validate_json(json.dumps(content))
    except ValueError as error:
        raise UserError(f"about: {visible(str(error))}") from None
    return _is(about.tokens == (visible(text),) and about.experiment.isprintable())


def _as_a_condition(text: str, folder: Path) -> Outcome:
    write_json(folder / "conditions.json", [{"name": text, "edit": "scale", "target": "queried"}])
    [_, condition] = read_conditions_file(folder / "conditions.json")
    return _is(condition.name == visible(text) and condition.name.isprintable())


class _Skeleton(HTMLParser):
    """Elements of a page and the names of their attributes; its texts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[Any] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, [name for name, _ in attrs]))

    def handle_comment(self, data: str) -> None:
        self.elements.append("comment")


def _page(name: str, folder: Path) -> str:
    """Return the page of an experiment in which everything that has a name is called so."""
    summary = plant_summary(2, lengths=[3])
    summary["metrics"][0] |= {"model_name": name, "note": name, "output_dir": name}
    summary |= {
        "timestamp": name,
        "evaluation_config": {"training_config": {"task": {"name": name, name: name}}},
    }
    write_json(folder / "evaluation_summary.json", summary)
    made = folder / "eigenvalue_analysis"
    write_text(made / "table.csv", to_csv(pd.DataFrame({"model_name": [name], "label": [name]})).decode())
    write_json(made / "about.json", {"headline": name, "options": {name: name, "list": [name]}})
    words = {"eigenvalue": name, "embedding": name}
    experiment = Experiment(folder, visible(name), runs.read_summary(folder), None, words, words)
    return report_experiment(experiment).pages()["report"]


def _on_a_page(text: str, folder: Path) -> Outcome:
    page = _page(text, folder / "hostile")
    plain = _page("plain", folder / "plain")
    return _is(_Skeleton(page).elements == _Skeleton(plain).elements)


_ENTRIES: dict[str, Callable[[str, Path], Outcome]] = {
    "printed line": _said,
    "console and its tables": _on_a_console,
    "error message": _refused,
    "command to paste": _in_a_shell,
    "table": _in_a_table,
    "table of a sweep": _in_a_sweep,
    "figure": _in_a_figure,
    "experiment name": _as_experiment_name,
    "plug-in": _as_a_plugin,
    "imported experiment": as_imported_experiment,
    "weight file": in_a_weight_file,
    "tokens of a trace": _in_a_trace,
    "condition of interventions": _as_a_condition,
    "page": _on_a_page,
}

DOORS = tuple(Door(name, enter) for name, enter in _ENTRIES.items())
