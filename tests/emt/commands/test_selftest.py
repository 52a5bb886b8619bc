"""``emt selftest``: systems whose answers are known, run through every command."""

import ast
import inspect
import json
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest

from analysis import COMMANDS
from analysis.spectra import eigenvalue
from emt import stopping
from emt.commands import known_systems, selftest
from emt.commands.known_systems.answers import Answer
from emt.commands.main import main as emt

FOLDER = Path(known_systems.__file__).parent


@pytest.mark.parametrize(
    "system",
    [pytest.param(s, marks=pytest.mark.slow) if s.startswith("pages:") else s for s in selftest.SYSTEMS],
)
def test_every_answer_of_every_system_is_right(system):
    lines = list(selftest.lines_of(system))
    assert lines
    assert [str(line) for line in lines if not line.ok] == []


def test_every_command_has_a_known_answer():
    calls = [
        node
        for file in FOLDER.glob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Answer"
    ]
    assert len(calls) > 50
    assert {call.args[0].value for call in calls} == set(COMMANDS)


def test_every_system_is_run_and_derives_its_answers():
    found = {
        f"{file.stem}:{name}": function
        for file in FOLDER.glob("*.py")
        for name, function in inspect.getmembers(
            import_module(f"{known_systems.__name__}.{file.stem}".removesuffix(".__init__")),
            inspect.isfunction,
        )
        if function.__module__.endswith(file.stem)
        and "Answer]" in str(function.__annotations__.get("return"))
    }
    assert set(found) == set(selftest.SYSTEMS)
    assert all(len(function.__doc__) > 100 for function in found.values())


def test_a_wrong_number_is_a_fault(monkeypatch, capsys, tmp_path):
    right = eigenvalue.eigenvalue_statistics
    monkeypatch.setattr(
        eigenvalue, "eigenvalue_statistics", lambda values: right(values) | {"spectral_radius": 1.0 + 1e-6}
    )
    path = tmp_path / "table.json"
    assert selftest.run(["circles:roots_of_unity"], path) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[-1] for line in lines if "spectral radius" in line] == ["FAULT"]
    assert "FAULT in 1 of 8 numbers of 1 commands" in lines[-2]
    rows = json.loads(path.read_text())
    assert [row["quantity"] for row in rows if not row["ok"]] == ["spectral radius"]


def test_an_analysis_that_raises_is_a_fault_and_the_others_follow(monkeypatch, capsys):
    def broken(*_):
        raise ZeroDivisionError("no such luck")

    monkeypatch.setattr(eigenvalue, "spectral_error", broken)
    assert selftest.run(["circles:roots_of_unity", "circles:points_on_a_line"]) == 1
    out = capsys.readouterr().out
    assert "FAULT: ZeroDivisionError: no such luck" in out
    assert "sum of gaps" in out


def test_right_numbers_give_the_exit_code_zero(monkeypatch, capsys):
    monkeypatch.setattr(selftest, "SYSTEMS", ("circles:points_on_a_line",))
    assert emt(["selftest"]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("ok: 3 numbers of 1 commands")


@pytest.mark.parametrize(
    ("expected", "got", "tolerance", "ok"),
    [
        (1.0, 1.05, 0.1, True),
        (1.0, 1.15, 0.1, False),
        (1.0, np.nan, np.inf, False),
        (np.nan, 1.0, np.inf, False),
        (np.nan, np.nan, 0.0, True),
        (np.inf, np.inf, 0.0, True),
        (np.inf, 1.0, 1.0, False),
    ],
)
def test_an_answer_is_right_within_its_tolerance(expected, got, tolerance, ok):
    assert Answer("eigenvalue", "any", expected, got, tolerance).ok is ok


def test_an_interruption_that_a_library_turns_into_an_error_is_no_fault(monkeypatch, capsys):
    def broken(*_):
        stopping.request()
        raise SystemError("returned a result with an exception set")

    monkeypatch.setattr(eigenvalue, "spectral_error", broken)
    with stopping.handled(), pytest.raises(stopping.Stopped):
        selftest.run(["circles:roots_of_unity"])
    assert "FAULT" not in capsys.readouterr().out
