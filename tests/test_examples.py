"""Every public function has an example, and examples run from the imports that the page of the API shows."""

import doctest
import importlib
import inspect
import re
import shlex
import warnings
from pathlib import Path

import pytest
from command_line import stay_in_this_process

import analysis
import emt
from emt.commands import evaluate as evaluate_multiple
from emt.commands import train as train_multiple
from emt.dynamics import describe
from experiments.own_models import latches

ROOT = Path(__file__).parents[1]
API = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
[IMPORTS] = re.findall(r"^```python\n(.*?)^```", API, re.S | re.M)

PUBLIC = {
    name: getattr(importlib.import_module(f"{package.__name__}.{module}"), name)
    for package in (emt, analysis)
    for module, names in package._PUBLIC.items()
    for name in names
}

NEEDED = {"from_transformers": "transformers", "dynamical_distances": "DSA"}
"""Packages of extras that take seconds to import, by the function that needs them."""

SHORT = "--epochs 1 --epoch_batches 2 --validation_batches 1 --batch_size 8 --accelerator cpu --engine inline"
"""Flags that make the trainings of `make demo` short; all sizes are its own."""


def examples_of(name, documented):
    """Return the examples in a docstring as one test."""
    return doctest.DocTestParser().get_doctest(inspect.getdoc(documented) or "", {}, name, None, None)


def lacking(public):
    """Return the names of functions without an example."""
    return [
        name
        for name, found in public.items()
        if inspect.isfunction(found) and not examples_of(name, found).examples
    ]


def failures(test, imports=IMPORTS):
    """Run examples after imports; return what is said of those that fail."""
    said = []
    exec(imports, test.globs)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    runner.run(test, out=said.append)
    return "".join(said)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Return a folder with what the examples read of `make demo`: the same networks, hardly trained."""
    folder = tmp_path_factory.mktemp("examples") / "demo"

    def make(name, words):
        short = f"--experiment_name {name} --output_dir {folder} {words} {SHORT}"
        assert train_multiple.main(shlex.split(short)) == 0
        words = f"--models_dir {folder / name} --no_figures --num_workers 1"
        assert evaluate_multiple.main(shlex.split(words)) == 0

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        # Lightning's own.
        warnings.simplefilter("ignore", DeprecationWarning)
        stay_in_this_process(patch)
        patch.setattr(describe, "SILENT_STEPS", 50)
        make("repeat_copy", "--seq_length 8 --num_models 5")
        make("orthogonal", "--seq_length 8 --num_models 3 --init orthogonal")
        make("fast_weights", "--task associative_retrieval --model_type fw --num_models 4 --embedding_dim 50")
        tiny = f"--steps 2 --trials 32 --hidden_dim 3 --out {folder / 'own_gru'}"
        assert latches.main(shlex.split(tiny)) == 0
    return folder.parent


@pytest.mark.parametrize(
    "test",
    [
        pytest.param(test, id=name, marks=pytest.mark.slow if name in NEEDED else ())
        for name, found in PUBLIC.items()
        if (test := examples_of(name, found)).examples
    ],
)
def test_examples_run(test, request, tmp_path, monkeypatch):
    if test.name in NEEDED:
        pytest.importorskip(NEEDED[test.name])
    reads_demo = any("demo/" in example.source for example in test.examples)
    monkeypatch.chdir(request.getfixturevalue("demo") if reads_demo else tmp_path)
    assert failures(test) == ""


def test_examples_of_other_names_run_in_their_modules(tmp_path, monkeypatch):
    paths = [path for room in ("analysis", "emt", "experiments") for path in (ROOT / room).rglob("*.py")]
    shown = [path.relative_to(ROOT) for path in paths if ">>> " in path.read_text(encoding="utf-8")]
    modules = [importlib.import_module(".".join(path.with_suffix("").parts)) for path in shown]
    tests = [test for module in modules for test in doctest.DocTestFinder().find(module)]
    others = [test for test in tests if test.examples and test.name.rpartition(".")[2] not in PUBLIC]
    monkeypatch.chdir(tmp_path)
    assert [said for test in others if (said := failures(test, imports=""))] == []
    assert len(others) > 30


def test_every_public_function_has_an_example():
    assert lacking(PUBLIC) == []


def test_a_missing_and_a_wrong_example_would_be_noticed():
    def without():
        pass

    def wrong():
        """Return a distance.

        Examples
        --------
        >>> spectral_distance([1], [3])
        1.0
        """

    assert lacking({"without": without, "wrong": wrong}) == ["without"]
    assert "Got:\n    2.0" in failures(examples_of("wrong", wrong))
