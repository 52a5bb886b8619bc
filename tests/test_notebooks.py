"""Notebooks run from start to end, and hold no outputs."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)

SHOW = """
import matplotlib.figure
def _show(value):
    if isinstance(value, matplotlib.figure.Figure):
        value.savefig(f"{len(SHOWN)}.png")
    elif value is not None:
        getattr(value, "_repr_html_", lambda: repr(value))()
    SHOWN.append(type(value).__name__)
SHOWN = []
"""
"""What a notebook does with the value of a cell's last line."""


def cells(path, kind):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == kind]


def as_script(path):
    """Return a notebook's code as a script: commands run by this Python, the first cell, which installs, left out."""
    lines = [SHOW]
    for cell in cells(path, "code")[1:]:
        if cell.startswith("!emt "):
            words = [sys.executable, "-m", *shlex.split(cell[1:])]
            lines.append(f"import subprocess\nsubprocess.run({words!r}, check=True)")
            continue
        *before, last = cell.splitlines()
        is_value = re.fullmatch(r"[\w.()\[\]\"', =:*]+", last) and not re.match(r"(\w+, )*\w+ = |\s", last)
        lines.append("\n".join([*before, f"_show({last})" if is_value else last]))
    return "\n".join([*lines, "print(*SHOWN)"])


def test_they_are_there():
    assert {path.stem for path in NOTEBOOKS} == {"demo_rcopy", "associative_memory", "own_network"}


@every_notebook
def test_no_output_is_kept_and_the_first_cell_installs(path):
    notebook = json.loads(path.read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert [cell["outputs"] for cell in code] == [[]] * len(code)
    assert {cell["execution_count"] for cell in code} == {None}
    assert "%pip install" in "".join(code[0]["source"])
    assert (notebook["nbformat"], notebook["metadata"]["kernelspec"]["name"]) == (4, "python3")
    assert not any(
        re.search(r"^[!%]", cell, re.M) and not cell.startswith("!emt ") for cell in cells(path, "code")[1:]
    )
    compile(as_script(path), path.name, "exec")


@pytest.mark.slow
@every_notebook
def test_it_runs_from_start_to_end(path, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"}
    done = subprocess.run(
        [sys.executable, "-c", as_script(path)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    shown = done.stdout.splitlines()[-1].split()
    assert "Figure" in shown
    assert len(shown) > 3
    assert all(picture.stat().st_size > 5000 for picture in tmp_path.glob("*.png"))
