"""ANALYSIS_GUIDE.md: its code runs as it stands."""

import functools
import importlib
import importlib.util
import re
import shlex
from pathlib import Path

import pytest

from emt import dynamics_file, effects, trace
from emt.commands import analyze, selftest
from emt.commands import evaluate as evaluate_multiple
from emt.commands import train as train_multiple
from emt.commands.script import SCRIPTS

GUIDE = (Path(__file__).parents[1] / "ANALYSIS_GUIDE.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"^```python\n(.*?)^```", GUIDE, re.S | re.M)
COMMANDS = [
    line
    for block in re.findall(r"^```bash\n(.*?)^```", GUIDE, re.S | re.M)
    for line in block.replace("\\\n", " ").splitlines()
]


@pytest.mark.parametrize("code", PYTHON, ids=range(1, len(PYTHON) + 1))
def test_examples_show_something(
    code,
    write_summary,
    make_recording,
    make_portrait,
    make_effects,
    make_circuits,
    tmp_path,
    monkeypatch,
    capsys,
):
    write_summary(tmp_path / "experiment", 6, lengths=(8,))
    trace.save(make_circuits()[0], tmp_path / "experiment" / "traces" / "seq8.nc")
    trace.save(make_recording(trials=40), tmp_path / "fw" / "traces" / "seq11.nc")
    for step in (0, 500, 1000):
        write_summary(
            tmp_path / "experiment" / "checkpoints" / f"step-{step}", 6, lengths=(8,), noise=0.3 - step / 5000
        )
    dynamics_file.save(make_portrait(), tmp_path / "experiment" / "dynamics" / "seq8.nc")
    effects.save(make_effects(), tmp_path / "fw" / "interventions" / "seq11.nc")
    monkeypatch.chdir(tmp_path)
    files = set(tmp_path.rglob("*"))
    exec(compile(code, "ANALYSIS_GUIDE.md", "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out.strip() or set(tmp_path.rglob("*")) > files


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_parse(command):
    first, second, *words = shlex.split(command)
    stage = second if first == "emt" else {script: stage for stage, script in SCRIPTS.items()}[second]
    assert first in ("emt", "python")
    if stage == "train":
        assert train_multiple.parse(words)[0].training.num_models
    elif stage == "evaluate":
        assert evaluate_multiple.parser().parse_args(words).models_dir in ("experiment", "fw")
    elif stage == "selftest":
        assert selftest.parser().parse_args(words)
    else:
        assert stage == "analyze"
        assert analyze.build_parser().parse_args(words).command == words[0]


def resolve(name):
    """Return what a dotted name stands for: a module, or what modules hold."""
    parts = name.split(".")
    found, rest = importlib.import_module(parts[0]), parts[1:]
    while rest and importlib.util.find_spec(f"{found.__name__}.{rest[0]}"):
        found, rest = importlib.import_module(f"{found.__name__}.{rest[0]}"), rest[1:]
        if not hasattr(found, "__path__"):
            break
    return functools.reduce(getattr, rest, found)


NAMES = sorted(set(re.findall(r"(?<![\w./-])(?:analysis|emt)(?:\.[A-Za-z]\w*)+", GUIDE)))


@pytest.mark.parametrize("name", NAMES)
def test_every_name_of_the_guide_exists(name):
    assert resolve(name) is not None


def test_a_name_that_is_not_there_is_noticed():
    assert len(NAMES) > 3
    for name in (
        "analysis.spectra.no_such_name",
        "analysis.no_such_module.values",
        "analysis.spectra.values.no_such",
    ):
        with pytest.raises((AttributeError, ImportError)):
            resolve(name)


def test_every_section_is_there():
    sections = re.findall(r"^## (.+)", GUIDE, re.M)
    assert sections == [
        "Eigenvalue distributions",
        "Dimensionality reduction",
        "Persistent homology",
        "Loops in trajectories",
        "Distances and comparison",
        "Similarity of states",
        "Dimensionality of states",
        "What can be read from states, and when?",
        "Which way do states go?",
        "How far apart are conditions?",
        "How much do seeds differ?",
        "Variable memories",
        "Fixed points and Lyapunov exponents",
        "Did the answer depend on that write?",
        "Along training",
        "Associative memories",
        "One page for an experiment",
        "Is it right on my machine?",
        "Programmatic API",
        "Glossary",
        "A Dask scheduler with TLS",
    ]
