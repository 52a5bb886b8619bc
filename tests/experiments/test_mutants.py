"""`experiments.mutants`: faults that are faults, drawn evenly, and noticed or not by tests of a small tree."""

import subprocess
from collections import Counter
from pathlib import Path

import pytest

from experiments.mutants import __main__ as mutants
from experiments.mutants.draw import Mutant, draw_mutants, find_modules, find_tests, find_user_tests
from experiments.mutants.sites import find_sites

ROOT = Path(__file__).parents[2]

SOURCE = '''"""A module that holds 1 + 1."""
SIZE = 2 + 1


def f(a: int, b: float = 1 - 2) -> float:
    """Return a + b."""
    if a < b and b != 0:
        raise ValueError("a" + f"{a + b}")
    return -a @ a.T + b[1]
'''


def test_each_kind_is_found_and_text_defaults_and_constants_are_left_alone():
    found = [(site.line, site.kind, site.before, site.after) for site in find_sites(SOURCE)]
    assert found == [
        (7, "comparison", "a < b", "(a > b)"),
        (7, "dropped", "a < b and b != 0", "(a < b)"),
        (7, "comparison", "b != 0", "(b == 0)"),
        (7, "off by one", "0", "(1)"),
        (9, "dropped", "-a @ a.T + b[1]", "(-a @ a.T)"),
        (9, "sign", "-a", "(a)"),
        (9, "sign", "-a @ a.T + b[1]", "(-a @ a.T - b[1])"),
        (9, "transpose", "a.T", "(a)"),
        (9, "off by one", "1", "(2)"),
    ]


def test_a_fault_changes_its_place_only_also_behind_letters_of_several_bytes():
    source = 'def f(a):\n    "Φ"; φ = a - 1; return φ\n'
    site = next(site for site in find_sites(source) if site.kind == "sign")
    assert site.apply(source) == 'def f(a):\n    "Φ"; φ = (a + 1); return φ\n'


def test_every_fault_of_the_project_is_valid_python_and_differs():
    drawn = draw_mutants(ROOT, 100, 1)
    assert len({mutant.name for mutant in drawn}) == 100
    for mutant in drawn:
        source = (ROOT / mutant.module).read_text(encoding="utf-8")
        compile(mutant.site.apply(source), mutant.module, "exec")
        assert mutant.site.apply(source) != source


def test_faults_are_drawn_evenly_over_modules_and_a_larger_draw_adds_some():
    modules = find_modules(ROOT)
    drawn = draw_mutants(ROOT, 2 * len(modules), 5)
    assert set(Counter(mutant.module for mutant in drawn).values()) <= {1, 2, 3}
    assert {mutant.module for mutant in drawn} == set(modules)
    assert len({mutant.site.kind for mutant in drawn}) == 5
    assert drawn[:7] == draw_mutants(ROOT, 7, 5)


@pytest.mark.parametrize(
    ("module", "tests"),
    [
        ("analysis/spectra/values.py", "tests/analysis/spectra/test_values.py"),
        ("analysis/memory/log.py", "tests/analysis/memory"),
        ("emt/ops/fwm/reading.py", "tests/emt/ops/fwm"),
    ],
)
def test_a_module_has_find_tests_its_name_or_of_its_folder(module, tests):
    assert find_tests(ROOT, module) == tests


def test_tests_that_use_a_module_beside_others_are_found():
    assert "tests/analysis/test_comparability.py" in find_user_tests(ROOT, "analysis/spectra/comparison.py")
    assert find_user_tests(ROOT, "analysis/states/dimensionality.py")[0].startswith("tests/analysis/")
    assert find_user_tests(ROOT, "emt/ops/fwm/reading.py") == []


@pytest.fixture
def small_tree(tmp_path, monkeypatch):
    """A checkout with one module of two functions, of which one is tested; the selftest always passes."""
    files = {
        "pyproject.toml": '[tool.pytest.ini_options]\npythonpath = ["."]\n',
        "analysis/sums.py": "def add(a, b):\n    return a + b\n\n\ndef subtract(a, b):\n    return a - b\n",
        "tests/analysis/test_sums.py": "from analysis.sums import add\n\ndef test_add():\n    assert add(2, 3) == 5\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    for words in (["init", "-q"], ["add", "."]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    monkeypatch.setitem(mutants.STAGES, "selftest", ["-c", "pass"])
    return tmp_path


@pytest.mark.slow
def test_what_is_tested_is_caught_and_the_rest_survives(small_tree, capsys, monkeypatch):
    sites = [
        site for site in find_sites((small_tree / "analysis/sums.py").read_text()) if site.kind == "sign"
    ]
    drawn = [Mutant("analysis/sums.py", site) for site in sites]
    path = small_tree / "results.json"
    results = mutants.run(small_tree, drawn, path)
    assert [results[mutant.name]["caught"] for mutant in drawn] == ["tests", ""]
    assert mutants.report(drawn, results) == 1
    out = capsys.readouterr().out
    assert "1 of 2 caught (50.0%); 0 change no result" in out
    assert "survived: analysis/sums.py:6:12 sign: a - b → (a + b)" in out
    assert mutants.report(drawn[:1], results) == 0
    monkeypatch.setitem(mutants.EQUIVALENT, ("analysis/sums.py", "a - b"), "nobody calls it")
    assert mutants.report(drawn, results) == 0
    assert "1 of 1 caught (100.0%); 1 change no result\nno fault (nobody calls it)" in capsys.readouterr().out

    results[drawn[1].name]["caught"] = "selftest"
    mutants.write_json(path, results)
    assert mutants.run(small_tree, drawn, path) == results


def test_what_does_not_end_is_known_by_its_cpu_seconds(tmp_path):
    with pytest.raises(subprocess.TimeoutExpired):
        mutants.failure(tmp_path, ["-c", "while True: pass"], "", limit=1.0)
    assert mutants.failure(tmp_path, ["-c", "import time; time.sleep(1.5)"], "", limit=1.0) is None
    assert mutants.failure(tmp_path, ["-c", "print(7 / 0)"], "", limit=1.0) == ""


@pytest.mark.slow
def test_tests_that_fail_without_a_fault_are_refused(small_tree):
    (small_tree / "tests/analysis/test_sums.py").write_text("def test_add():\n    assert False\n")
    [site, *_] = find_sites((small_tree / "analysis/sums.py").read_text())
    with pytest.raises(
        SystemExit, match=r"expected tests/analysis/test_sums\.py::test_add to pass without a fault"
    ):
        mutants.run(small_tree, [Mutant("analysis/sums.py", site)], small_tree / "results.json")
