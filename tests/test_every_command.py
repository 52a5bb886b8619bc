"""Every command of analyze.py on every registered model, each on a task of its own: it works, or says why not.

The table in the README is what these tests find. ``EMT_WRITE_TABLE=1 pytest tests/test_every_command.py``
writes it, with ``-k`` and the name of a model only the column of that model.
"""

import contextlib
import io
import json
import os
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from command_line import BINDING, RUN_OF
from planted.language_models import language_model, random_text
from torch import nn

import emt
from analysis import COMMANDS
from analysis.figures import style
from emt.commands import analyze
from emt.commands import evaluate as evaluate_multiple
from emt.commands import train as train_multiple
from emt.commands.main import main as run_emt
from emt.dynamics import describe
from emt.models import MODELS
from emt.options import assigns
from emt.tasks.variable_binding import VariableBinding

# Lightning's own, where a population trains in this process.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.usefixtures("in_this_process"),
]

README = Path(__file__).parents[1] / "README.md"
TABLE = re.compile(r"(?<=<!-- every command on every model -->\n).*?(?=<!-- end -->)", re.S)

SMALL = (
    "--num_models 3 --epochs 1 --epoch_batches 3 --validation_batches 1 --batch_size 4 --learning_rate 0.05"
)


LINEAR = ("variables", "emergence")
"""Commands that need a task with a linear operator: their networks are trained on variable binding."""

WITHOUT_RECURRENCE = (
    *("linear_attention", "fwp", "deltanet", "gated_deltanet"),
    *("mamba2", "mlstm", "rwkv7", "kda", "attention", "transformer_xl"),
)
"""Models in which nothing but a memory goes from step to step: the spectra of their steps are zero, and equal."""

WITHOUT_CLASSES = {"decode", "trajectories", "geometry"}
"""Commands that need trials of several kinds."""

FEW_KINDS = {
    "fwp": WITHOUT_CLASSES,
    "dnd_lstm": WITHOUT_CLASSES,
    "ethereal": {"decode", "geometry"},
    "ethereal_rnn": {"decode", "geometry"},
    "fwm": {"geometry"},
    "mnm": {"geometry"},
    "stacked_lstm": {"geometry"},
    "awd_lstm": {"geometry"},
    "awd_fwm": {"geometry"},
    "transformer_xl": {"geometry"},
}
"""What of these refuses models whose tasks here have several items asked for in each trial, or few different trials."""

LABELS = ("once", "the same again, under a label that fills more than a line of a figure")
"""Of the two sets that a command for several is given: an experiment and itself."""

QUICK = {
    "topology": "--points 30 --null_clouds 19",
    "match": "--trials 1",
    "trajectories": "--permutations 19 --demix",
    "geometry": "--permutations 19",
}
"""Flags that change how long a command takes, not what it does."""


INTERVENTIONS = "--intervention_trials 4 --interventions"

FAMILIES = ("rnn", "fwm")
"""A model without and one with a memory; the others are tried among the slow tests."""

OWN = ("own LSTM", "own RNN, linear task", "own delta memory", "arrays", "Qwen3-Next", "Mamba-2")
"""What was not trained here, as columns of the table after the models."""

every_model = pytest.mark.parametrize(
    "model", [name if name in FAMILIES else pytest.param(name, marks=pytest.mark.slow) for name in MODELS]
)


@pytest.fixture
def drawn(layout_faults, monkeypatch):
    """Save figures coarsely; return their captions and faults of layout by experiment, folder and name."""
    saved, save = {}, style.save_figure

    def save_coarsely(figure, stem, *_):
        paths = save(figure, stem, ("png",), 40)
        saved["/".join(stem.parts[-3:])] = style.caption(figure), layout_faults(figure)
        return paths

    def save_and_look(result, *rest):
        text, page = repr(result), result._repr_html_()
        assert len(text) < 300, text
        assert "\n" not in text
        assert result.headline().splitlines()[0][:50] in text, "a result is its headline"
        assert "<table" in page
        assert len(page) < 20_000
        return save_result(result, *rest)

    save_result = analyze._save
    monkeypatch.setattr(analyze, "_save", save_and_look)
    monkeypatch.setattr(style, "save_figure", save_coarsely)
    monkeypatch.setattr(style, "save_film", lambda film, stem: save_coarsely(film.figure, stem))
    return saved


@pytest.fixture
def networks(tmp_path, mini_babi, monkeypatch):
    """Return a function that trains and evaluates networks of a model.

    It returns the folder of those on the task the model was made for, of those on a task with a linear
    operator, and the command that evaluation says comes next.
    """
    # Accuracy of points and exponents is not what is asked here.
    monkeypatch.setattr(describe, "SILENT_STEPS", 50)

    def make(model):
        run = RUN_OF.get(model, BINDING).format(babi=mini_babi)
        experiment = train(tmp_path / model, model, run)
        following = evaluate(experiment, *f"--dynamics --starts 32 {INTERVENTIONS}".split())
        linear = experiment if run == BINDING else train(tmp_path / f"{model}_linear", model, BINDING)
        if linear is not experiment:
            evaluate(linear)
        evaluate(linear, "--step", "0", "2")
        return experiment, linear, following

    return make


def train(experiment, model, run):
    """Train three small networks and return their folder."""
    where = f"--experiment_name {experiment.name} --output_dir {experiment.parent} --engine inline --accelerator cpu"
    assert (
        train_multiple.main(shlex.split(f"{where} --model_type {model} {run} {SMALL} --keep_checkpoints 0 2"))
        == 0
    )
    return experiment


def evaluate(experiment, *flags):
    """Evaluate the networks and return the command that is said to come next."""
    words = f"--models_dir {experiment} --test_horizon 8 --no_figures --num_workers 1"
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert evaluate_multiple.main([*shlex.split(words), *flags]) == 0
    return re.search(r"^Next: emt analyze (\w+) ", printed.getvalue(), re.M)[1]


def outcome(command, experiment):
    """Run a command; return its one line of refusal, or "" where it left figures and tables, or a page."""
    folder, summary = experiment / COMMANDS[command].folder, str(experiment / "evaluation_summary.json")
    several = ["--summary_files", summary, summary, "--labels", *LABELS]
    words = several if COMMANDS[command].several else ["--summary_file", summary]
    words = [command, *words, "--output_dir", str(folder), *QUICK.get(command, "").split()]
    refusal = io.StringIO()
    with contextlib.redirect_stderr(refusal):
        code = run_emt(["analyze", *words])
    if code:
        [line] = refusal.getvalue().splitlines()
        assert code == 2
        assert not folder.exists(), f"{command} refused, but left {sorted(folder.iterdir())}"
        line = line.removeprefix("emt analyze: ").removeprefix(f"{command}: ")
        return re.sub(r"^\S+/evaluation_summary\.json: ", "", line)
    suffixes = {file.suffix for file in folder.iterdir()}
    assert {".html"} <= suffixes if command == "report" else {".csv", ".png"} <= suffixes
    return ""


def as_table(found):
    """Return the README's table of commands by models, and the reasons below it."""
    notes = {}
    titles = [name if name in OWN else f"`{name}`" for name in found]
    rows = [f"| | {' | '.join(titles)} |", f"|---{'|:-:' * len(found)}|"]
    for command in COMMANDS:
        reasons = [of_model.get(command, "") for of_model in found.values()]
        cells = [f"[{notes.setdefault(reason, len(notes) + 1)}]" if reason else "✓" for reason in reasons]
        rows.append(f"| `{command}` | {' | '.join(cells)} |")
    below = "; ".join(f"[{number}] {reason}" for reason, number in notes.items())
    return "\n".join([*rows, "", below]) + "\n"


def read_table(text):
    """Return what a table says: for each model the reason of each command, "" where it works."""
    below = " ".join(line for line in text.splitlines() if "|" not in line)
    notes = {f"[{n}]": reason for n, reason in re.findall(r"\[(\d+)\] (.*?)(?=; \[\d|$)", below)} | {"✓": ""}
    [_, *models], _, *rows = [
        [cell.strip(" `") for cell in row.split("|")[1:-1]] for row in text.splitlines() if "|" in row
    ]
    return {model: {row[0]: notes[row[place]] for row in rows} for place, model in enumerate(models, 1)}


def in_short(reason, model):
    return reason.partition(";")[0].replace(f"model '{model}' ", "the model ")


def write_column(model, reasons):
    text = README.read_text(encoding="utf-8")
    [old] = TABLE.findall(text)
    found = read_table(old) | {model: reasons}
    table = as_table({name: found.get(name, {}) for name in (*MODELS, *OWN)})
    README.write_text(TABLE.sub(lambda _: table, text), encoding="utf-8")


@every_model
def test_every_command_works_on_every_model_or_says_why_not(model, networks, drawn):
    experiment, linear, following = networks(model)
    found = {command: outcome(command, linear if command in LINEAR else experiment) for command in COMMANDS}
    lacks = set() if assigns(MODELS[model], "memories") else {"match", "memory", "capacity"}
    alike = {"embedding"} if model in WITHOUT_RECURRENCE else set()
    unlabelled = FEW_KINDS.get(model, set())
    assert {command for command, reason in found.items() if reason} == lacks | alike | unlabelled, found
    for command in alike:
        assert "expected models whose spectra differ; all are equal" in found[command]
    for command in lacks:
        assert found[command].startswith(f"model '{model}' has no associative memory; models that have one: ")
    assert following == ("eigenvalue" if lacks else "match")

    assert len(drawn) > 20
    assert {name: text for name, (text, _) in drawn.items() if not re.search(r"\bn = \d", text)} == {}
    assert {name: faults for name, (_, faults) in drawn.items() if faults} == {}

    check_column(model, {command: in_short(reason, model) for command, reason in found.items()})


def check_column(model, column):
    """Compare a column with the README's, or write it there."""
    if os.environ.get("EMT_WRITE_TABLE"):
        write_column(model, column)
    [table] = TABLE.findall(README.read_text(encoding="utf-8"))
    assert read_table(table)[model] == column


class OwnNetwork(nn.Module):
    """A recurrent layer and a head, under names that nobody knows."""

    def __init__(self, kind, inputs, outputs):
        super().__init__()
        self.core, self.answer = kind(inputs, 6, batch_first=True), nn.Linear(6, outputs)

    def forward(self, x):
        return self.answer(self.core(x)[0])


def own_lstm():
    """Three LSTMs on trials of different length in four conditions, whose right outputs are known."""
    inputs = np.random.default_rng(1).normal(size=(16, 12, 3))
    trials = emt.trials(inputs, np.sign(inputs[..., :2]), lengths=[12, 9] * 8, group=["a", "b", "c", "d"] * 4)
    networks = [OwnNetwork(nn.LSTM, 3, 2) for _ in range(3)]
    return lambda: emt.from_torch(networks, trials, label="own")


def own_rnn():
    """Three RNNs on variable binding."""
    task = VariableBinding(seq_length=3, input_dim=2)
    trials, networks = emt.task_trials(task, 3, horizon=8), [OwnNetwork(nn.RNN, 2, 2) for _ in range(3)]

    def record():
        for network in networks:
            network.core.weight_hh_l0.data *= 1.1
        return emt.from_torch(networks, trials, label="own", seeds=[3, 4, 5])

    return record


class OwnDelta(nn.Module):
    """A recurrent layer whose states are written to a delta memory, which it reads back."""

    def __init__(self):
        super().__init__()
        self.core, self.key, self.rate = nn.RNNCell(2 + 6, 6), nn.Linear(6, 4), nn.Linear(6, 1)
        self.answer = nn.Linear(6, 2)

    def forward(self, x, state):
        h, memory = state["h"], state["memory"]
        query = nn.functional.normalize(self.key(h), dim=-1)
        read = (memory @ query[..., None])[..., 0]
        emt.log_read("delta", query, read)
        h = self.core(torch.cat([x, read], dim=1), h)
        key, rate = nn.functional.normalize(self.key(h), dim=-1), self.rate(h).sigmoid()
        added = rate * (h - 0.9 * (memory @ key[..., None])[..., 0])
        emt.log_write("delta", key, h, strength=rate, erase=rate, keep=0.9)
        return self.answer(h), {"h": h, "memory": 0.9 * memory + added[..., None] * key[:, None]}


def own_delta():
    """Three networks with a delta memory beside their state, on variable binding."""
    trials = emt.task_trials(VariableBinding(seq_length=3, input_dim=2), 3, horizon=8)
    cells = [OwnDelta() for _ in range(3)]

    def start(batch):
        return {"h": torch.zeros(batch, 6), "memory": torch.zeros(batch, 6, 4)}

    def record():
        for cell in cells:
            cell.core.weight_hh.data *= 1.1
        return emt.from_cells(cells, start, trials, held=["memory"], label="own")

    return record


def arrays():
    """Random states of three animals with different numbers of neurons, in trials of different length."""
    rng = np.random.default_rng(0)
    steps = [12, 9, 12, 10] * 4
    animals = [[rng.normal(size=(t, neurons)) for t in steps] for neurons in (5, 8, 6)]
    return lambda: emt.from_arrays(animals, group=np.arange(16) % 4, label="own")


def language(family):
    """Two heads of three small language models of a family, which are asked for what followed each token last."""
    models = [language_model(family, seed) for seed in range(3)]
    parts = {"layers": [0], "heads": [0, 1]}
    return lambda: emt.from_transformers(
        models, random_text(rows=16, steps=12), induction=True, label="own", **parts
    )


WITHOUT_STEPS = {"variables", "dynamics", "emergence"} | {
    command.name for command in COMMANDS.values() if command.takes in ("population", "populations")
}
"""Commands that need to know what a step does."""

LACKS = {
    "own LSTM": (own_lstm, {"match", "memory", "capacity", "variables", "emergence"}),
    "own RNN, linear task": (own_rnn, {"match", "memory", "capacity"}),
    "own delta memory": (own_delta, set()),
    "arrays": (arrays, {"match", "memory", "capacity"} | WITHOUT_STEPS),
    "Qwen3-Next": (lambda: language("qwen3_next"), WITHOUT_STEPS | WITHOUT_CLASSES),
    "Mamba-2": (lambda: language("mamba2"), WITHOUT_STEPS | WITHOUT_CLASSES),
}
"""How to record what was not trained here, and which commands it has not enough for."""

AGAIN = {"interventions"}
"""Commands for which networks have to run again."""


@pytest.mark.parametrize(
    "name",
    [name if name in ("own LSTM", "arrays") else pytest.param(name, marks=pytest.mark.slow) for name in OWN],
)
def test_every_command_works_on_what_was_not_trained_here_or_says_why_not(name, drawn, tmp_path, monkeypatch):
    monkeypatch.setattr(describe, "STARTS", 32)
    monkeypatch.setattr(describe, "SILENT_STEPS", 50)
    torch.manual_seed(0)
    recorder, lacks = LACKS[name]
    record, folder = recorder(), tmp_path / "own"
    for step in (0, 2):
        record().save(folder, step=step)
    with_steps = "dynamics" not in lacks
    record().save(folder, dynamics=with_steps)
    found = {command: outcome(command, folder) for command in COMMANDS}
    assert {command for command, reason in found.items() if reason} == lacks | AGAIN, found
    assert {n: text for n, (text, _) in drawn.items() if not re.search(r"\bn = \d", text)} == {}
    assert {n: faults for n, (_, faults) in drawn.items() if faults} == {}
    check_column(name, {command: in_short(reason, "own") for command, reason in found.items()})

    before = json.loads((folder / "evaluation_summary.json").read_text())
    (folder / "evaluation_summary.json").unlink()
    assert evaluate_multiple.main(["--models_dir", str(folder)]) == 0
    after = json.loads((folder / "evaluation_summary.json").read_text())
    assert before | {"timestamp": ""} == after | {"timestamp": ""}
    assert (folder / "global_analysis").exists() == with_steps


def test_the_table_has_all_models_and_commands():
    [table] = TABLE.findall(README.read_text(encoding="utf-8"))
    found = read_table(table)
    assert list(found) == [*MODELS, *OWN]
    assert all(list(reasons) == list(COMMANDS) for reasons in found.values())
    assert as_table(found) == table


def test_a_table_says_what_was_written():
    found = {model: dict.fromkeys(COMMANDS, "") for model in ("one", "two", "three")}
    found["one"]["match"] = found["three"]["memory"] = "it keeps nothing"
    found["two"]["variables"] = "no linear operator"
    assert read_table(as_table(found)) == found
