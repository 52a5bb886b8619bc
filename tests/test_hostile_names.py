"""One hostile name from training to the page: nothing runs, and what is printed and written is inert."""

import ast
import csv
import io
import os
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from command_line import TINY

from emt.commands.main import main as emt
from emt.text import from_cell, visible

NAME = "=1+1 x$(touch ran)'y [v2] [bold] \x1b[31m <b> $y$ \""
"""All of it but a slash, which no file's name may have."""

pytestmark = pytest.mark.usefixtures("empty_folder", "in_this_process")


@pytest.fixture
def run(capsys):
    """Return a function that runs a command and returns what it prints, in which nothing takes effect."""

    def run(*words):
        code = emt(list(words))
        out, err = capsys.readouterr()
        assert (code, err) == (0, "")
        lines = out.splitlines()
        assert all(line.isprintable() for line in lines), out
        return lines

    return run


def pasted(line):
    """Return the words that a shell makes of a command that was printed."""
    command = line.removeprefix("Next: ")
    assert command != line
    done = subprocess.run(
        ["bash", "-c", f'set -- {command}; printf "%s\\0" "$@"'], capture_output=True, check=True
    )
    return os.fsdecode(done.stdout).split("\0")[:-1]


class Elements(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.names, self.text = set(), ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.names.add(tag)

    def handle_data(self, data):
        self.text += data


def test_a_hostile_name_is_a_name_everywhere(run, tmp_path, monkeypatch):
    monkeypatch.setattr("analysis.figures.style.save_figure", lambda *_, **__: [])
    lines = run("train", "--experiment_name", NAME, "--output_dir", str(tmp_path / NAME), *TINY)
    experiment = tmp_path / NAME / NAME
    assert lines[0].endswith(visible(str(experiment)))
    words = pasted(lines[-1])
    assert words[words.index("--models_dir") + 1] == str(experiment)

    lines = run("evaluate", *words[words.index("--models_dir") :], "--test_horizon", "5", "--no_figures")
    words = pasted(lines[-1])
    summary = words[words.index("--summary_file") + 1]
    assert Path(summary) == experiment / "evaluation_summary.json"

    assert run("analyze", "eigenvalue", "--summary_file", summary)[0].startswith(f"{visible(NAME)}: 2 models")
    labels = [NAME, "@x"]
    run("analyze", "compare", "--summary_files", summary, summary, "--labels", *labels, "--output_dir", NAME)
    run("analyze", "report", "--summary_file", summary)

    cells = [
        cell for path in (*experiment.rglob("*.csv"), *Path(NAME).glob("*.csv")) for cell in cells_of(path)
    ]
    assert {visible(NAME), "@x"} <= {from_cell(cell) for cell in cells}
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@")) and not is_number(cell)]

    page = Elements((experiment / "report.html").read_text(encoding="utf-8"))
    assert "b" not in page.names
    assert visible(NAME) in page.text
    assert not list(tmp_path.rglob("ran"))
    assert sorted(os.listdir(tmp_path)) == sorted([NAME, "here"])


def cells_of(path):
    return [cell for row in csv.reader(io.StringIO(path.read_text(encoding="utf-8"))) for cell in row]


def is_number(text):
    try:
        float(text)
    except ValueError:
        return False
    return True


def test_a_command_that_is_not_quoted_would_run(tmp_path):
    assert pasted("Next: emt evaluate $(touch ran)") == ["emt", "evaluate"]
    assert list(tmp_path.rglob("ran")), "the test would not notice"


def test_a_name_that_is_no_path_is_refused(capsys):
    for name in ("a/b", "..", "\0", "\udcff"):
        assert emt(["train", "--experiment_name", name, *TINY]) == 2
        [line] = capsys.readouterr().err.splitlines()
        assert line.startswith("emt train: --experiment_name: must be")


ROOT = Path(__file__).parents[1]
APART = ("emt/commands/output.py", "experiments/stress", "experiments/mutants", "experiments/benchmarks")


def prints(tree):
    """Yield the lines that print by themselves, or open a console that obeys markup."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("print", "Console")
        ):
            to_stderr = [word for word in node.keywords if word.arg == "stderr"]
            if node.func.id == "print" or not to_stderr:
                yield node.lineno


def test_what_commands_print_goes_through_one_module():
    paths = sorted(
        path for room in ("emt", "analysis", "experiments") for path in (ROOT / room).rglob("*.py")
    )
    found = {
        name: lines
        for path in paths
        if not (name := path.relative_to(ROOT).as_posix()).startswith(APART)
        and (lines := list(prints(ast.parse(path.read_text(encoding="utf-8")))))
    }
    assert not found, "say, complain and open_console of emt.commands.output show names as they are"
    assert list(prints(ast.parse("print(1)"))) == [1]
