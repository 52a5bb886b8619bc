"""CONTRIBUTING.md: its examples run, and typical mistakes are told in one line."""

import ast
import os
import re
import shlex
import signal
import sys
from pathlib import Path

import pytest

import analysis
import analysis.figures
import analysis.figures.states
import analysis.states
import emt.models
import emt.tasks
from analysis import COMMANDS
from analysis.command import Command
from emt import engine, files, identity
from emt.commands.main import main as run_emt
from emt.engine import inline
from emt.options import plugins, signatures
from emt.training.stack import Stack

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^```python\n# ((?:emt|analysis)/\S+)\n(.*?)^```", TEXT, re.S | re.M))
TASK, MODEL = (ast.literal_eval("{" + line + "}") for line in re.findall(r'`("\w+": "emt[\w.:]+",)`', TEXT))
COMMAND = eval(re.search(r"`(Command\(.*?\)),`", TEXT)[1], {"Command": Command})
PACKAGES = (emt.tasks, emt.models, analysis.states, analysis.figures.states)

# Lightning's own, where a population trains in this process.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture
def extend(tmp_path, monkeypatch):
    """Return a function that adds the examples, with texts replaced, to the packages and registries."""

    def add(file="", old="", new="", registered=COMMAND):
        for name, text in FILES.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            assert name != file or old in text
            path.write_text(text.replace(old, new) if name == file else text, encoding="utf-8")
        for package in PACKAGES:
            folder = tmp_path / package.__name__.replace(".", "/")
            monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
        for registry, added in ((emt.tasks.TASKS, TASK), (emt.models.MODELS, MODEL)):
            for name, target in added.items():
                monkeypatch.setitem(registry, name, target)
        monkeypatch.setitem(COMMANDS, registered.name, registered)
        return tmp_path

    for name in FILES:
        monkeypatch.delitem(sys.modules, name.removesuffix(".py").replace("/", "."), raising=False)
    signatures._tree.cache_clear()
    monkeypatch.setattr(engine, "run", lambda function, items, *_: inline.run(function, items))
    monkeypatch.chdir(tmp_path)
    yield add
    signatures._tree.cache_clear()
    for name in FILES:
        module = name.removesuffix(".py").replace("/", ".")
        sys.modules.pop(module, None)


MODULE = re.search(r"^```python\n# my_networks.py\n(.*?)^```", TEXT, re.S | re.M)[1]
PLUGGED = re.search(r"^```bash\n(emt train --plugins.*?)^```", TEXT, re.S | re.M)[1].splitlines()
QUICKLY = "--engine inline --num_models 2 --epochs 1 --epoch_batches 6 --validation_batches 1 --batch_size 4"


@pytest.fixture
def plugged(tmp_path, monkeypatch):
    """Work in a folder with the example of a plug-in; return a function that runs a command in it."""
    (tmp_path / "my_networks.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(plugins, "_GIVEN", {})
    monkeypatch.setattr(engine, "run", lambda function, items, *_: inline.run(function, items))

    def run(line, *more):
        signatures._tree.cache_clear()
        identity.source_hash.cache_clear()
        return run_emt([*shlex.split(line.removeprefix("emt ")), *shlex.split(" ".join(more))])

    yield run
    signatures._tree.cache_clear()
    identity.source_hash.cache_clear()
    sys.modules.pop("my_networks", None)


def test_a_plugin_trains_resumes_is_evaluated_and_analysed(plugged, tmp_path, monkeypatch, capsys):
    """Interrupted after its third step and continued by other code, as it must be told, it ends with the same bytes."""
    train, evaluate, analyze = PLUGGED
    assert plugged(train, QUICKLY, "--experiment_name whole") == 0
    assert "Next: emt evaluate --models_dir whole --plugins my_networks" in capsys.readouterr().out
    original = Stack.advance

    def interrupted(stack, report):
        original(stack, report)
        if stack.step == 3:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(Stack, "advance", interrupted)
        assert plugged(train, QUICKLY) == 143
    assert not (tmp_path / "mine/model-1/checkpoint/done.json").exists()
    capsys.readouterr()
    (tmp_path / "my_networks.py").write_text(MODULE + "# another line\n")
    assert plugged(train, QUICKLY) == 2
    assert re.search(r"begun by other code \(my_networks_source \w+ → \w+\)", capsys.readouterr().err)
    assert plugged(train, QUICKLY, "--allow_other_code") == 0
    weights = [tmp_path / f"{run}/model-2/checkpoint/weights.safetensors" for run in ("whole", "mine")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
    assert plugged(evaluate, "--test_horizon 4 --num_workers 1 --no_figures") == 0
    assert plugged(analyze) == 0
    assert (tmp_path / "mine/eigenvalue_analysis/eigenvalue_summary.csv").exists()


def test_without_its_plugin_a_run_says_which_to_name(plugged, tmp_path, capsys):
    train, evaluate, _ = PLUGGED
    assert plugged(train, QUICKLY) == 0
    sys.modules.pop("my_networks")
    marked = MODULE.replace("MODELS =", "raise SystemExit('imported')\nMODELS =")
    (tmp_path / "my_networks.py").write_text(marked)
    capsys.readouterr()
    bare = train.replace("--plugins my_networks ", "")
    for line in (evaluate.replace("--plugins my_networks ", ""), bare, "train --config mine/config.json"):
        assert plugged(line) == 2
        assert re.search(r"is of a plug-in: add --plugins my_networks$", capsys.readouterr().err.strip())
    # The help is that of the source, which is not imported either.
    with pytest.raises(SystemExit) as left:
        plugged(train, "--help")
    assert left.value.code == 0
    shown = capsys.readouterr().out
    assert "--bits N" in shown
    assert "entries of a vector (default: 2)" in shown


SMALL = (
    "--experiment_name run --num_models 3 --epochs 1 --epoch_batches 2 --validation_batches 1 --batch_size 4"
)
TRAIN = (
    f"train --task running_parity --model_type identity_rnn --signs 6 --hidden_dim 7 --engine inline {SMALL}"
)
EVALUATE = "evaluate --models_dir run --test_horizon 4 --num_workers 1 --no_figures"
ANALYZE = "analyze speed --summary_file run --first 1"


def test_a_run_and_a_sweep_of_a_file_train(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("run.yaml", "my_sweep.py"):
        text = re.search(rf"^```\w+\n# {re.escape(name)}\n(.*?)^```", TEXT, re.S | re.M)[1]
        (tmp_path / name).write_text(text, encoding="utf-8")
    lines = re.findall(r"^emt (?:train .*--config|sweep my_sweep.py).*", TEXT, re.M)
    assert len(lines) == 3
    for line in lines:
        quickly = [] if "--cost" in line else ["--engine", "inline"]
        assert run_emt([*shlex.split(line, comments=True)[1:], *quickly]) == 0, line
    assert {p.parent.name for p in tmp_path.rglob("config.json")} == {"from_file", "width_8", "width_16"}
    assert files.read_json(tmp_path / "from_file" / "config.json")["training"]["learning_rate"] == 5e-3


def test_the_examples_are_whole():
    assert len(FILES) == 4
    assert [*TASK, *MODEL, COMMAND.name] == ["running_parity", "identity_rnn", "speed"]


def test_what_is_added_as_described_trains_evaluates_and_is_analysed_and_reported(extend, capsys):
    folder = extend() / "run"
    for words in (TRAIN, EVALUATE, ANALYZE, "analyze report --summary_file run"):
        assert run_emt(shlex.split(words)) == 0, capsys.readouterr().err
    results = {path.name for path in (folder / "speed_analysis").iterdir()}
    assert {"speed_members.csv", "speed.png"} <= results
    assert "mean speed" in (folder / "report.html").read_text(encoding="utf-8")
    assert "(n = 3 members)" in capsys.readouterr().out


TASK_FILE, MODEL_FILE, ANALYSIS_FILE, FIGURE_FILE = FILES
MISTAKES = {
    "a task without a docstring": (
        (TASK_FILE, '"""Running parity: each', 'x = """Running parity: each'),
        "train --help",
        "emt/tasks/running_parity.py: expected RunningParity to have a docstring",
    ),
    "an option without a type": (
        (TASK_FILE, "signs: int = 5", "signs=5"),
        TRAIN,
        "emt/tasks/running_parity.py: option 'signs' of RunningParity: expected a type annotation, such as signs: int",
    ),
    "an option of an unknown type": (
        (TASK_FILE, "signs: int = 5", "signs: np.int64 = 5"),
        TRAIN,
        "option 'signs' of RunningParity: expected a type made of int, float, .*; got np.int64",
    ),
    "a default that is computed": (
        (TASK_FILE, "signs: int = 5", "signs: int = len('five')"),
        TRAIN,
        "option 'signs' of RunningParity: expected a default written out, such as 3",
    ),
    "an option that training has": (
        (TASK_FILE, "signs", "seed"),
        TRAIN,
        "--seed: training and another part of the command line have an option of this name",
    ),
    "an option of an analysis that its command has": (
        (ANALYSIS_FILE, "first: int", "seq_length: int"),
        ANALYZE,
        "--seq_length: this command and another part of the command line have an option of this name",
    ),
    "a class of another name": (
        (MODEL_FILE, "class IdentityRNN", "class Identity"),
        TRAIN,
        "emt/models/identity_rnn.py: expected a class or function 'IdentityRNN', which a registry names",
    ),
    "a task that lacks a member": (
        (TASK_FILE, "    carries = False\n", ""),
        TRAIN,
        "task 'running_parity': expected RunningParity to have carries",
    ),
    "an option of a task that is not keyword-only": (
        (TASK_FILE, "self, *, signs", "self, signs"),
        TRAIN,
        "emt/tasks/running_parity.py: option 'signs' of RunningParity: expected a keyword-only parameter",
    ),
    "an option of a model that is not keyword-only": (
        (MODEL_FILE, "*, hidden_dim", "hidden_dim"),
        TRAIN,
        "emt/models/identity_rnn.py: option 'hidden_dim' of IdentityRNN: expected a keyword-only parameter",
    ),
    "an option of an analysis that is not keyword-only": (
        (ANALYSIS_FILE, "*, first", "first"),
        ANALYZE,
        "analysis/states/speed.py: option 'first' of measure_speed: expected a keyword-only parameter",
    ),
    "a model that takes no seeds": (
        (MODEL_FILE, "seeds: Sequence[int], ", ""),
        TRAIN,
        "emt/models/identity_rnn.py: expected IdentityRNN to take seeds, input_channels, output_channels before \\*; "
        "got input_channels, output_channels$",
    ),
    "a figure module without draw": (
        (FIGURE_FILE, "def draw", "def paint"),
        ANALYZE,
        "analysis/figures/states/speed.py: expected this file to define draw, which yields names and figures",
    ),
}


@pytest.mark.parametrize(("change", "words", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_typical_mistake_is_told_in_one_line(extend, capsys, change, words, message):
    extend(*change)
    assert run_emt(shlex.split(words)) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert re.search(message, line), line


def test_no_figure_module_and_no_tables_are_told(extend, capsys):
    folder = extend(ANALYSIS_FILE, "def tables", "def table")
    for words in (TRAIN, EVALUATE):
        assert run_emt(shlex.split(words)) == 0
    capsys.readouterr()
    assert run_emt(shlex.split(ANALYZE)) == 2
    assert "measure_speed: expected a result with a method tables()" in capsys.readouterr().err
    (folder / FIGURE_FILE).unlink()
    signatures._tree.cache_clear()
    assert run_emt(shlex.split(ANALYZE)) == 2
    assert "analysis/figures/states/speed.py: expected this file to define draw" in capsys.readouterr().err


BARE = """from emt.models.base import Model


class IRNN(Model):
    def __init__(self, seeds, *_channels, **_options):
        super().__init__(seeds)"""


def test_a_model_that_lacks_members_is_told_in_one_line_before_any_training(extend, capsys):
    folder = extend(MODEL_FILE, "from emt.models.irnn import IRNN", BARE)
    assert run_emt(shlex.split(TRAIN)) == 1
    [line] = capsys.readouterr().err.splitlines()
    missing = "state_dims, torch_names, forward, zero_state (emt/models/base.py says what)"
    assert line.endswith(f": models 1 to 3: model 'identity_rnn': expected IdentityRNN to have {missing}")
    assert not list((folder / "run").glob("model-*"))
