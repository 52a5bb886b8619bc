"""Every command of analyze.py on every registered model, each on a task of its own: it works, or says why not.

The table in the README is what this test finds; ``EMT_WRITE_TABLE=1 pytest tests/test_every_command.py`` writes it.
"""

import contextlib
import io
import os
import re
import shlex
from pathlib import Path

import pytest

from analysis import COMMANDS
from analysis.figures import style
from emt import engine
from emt.commands import evaluate as evaluate_multiple
from emt.commands import train as train_multiple
from emt.commands.main import main as emt
from emt.engine import inline
from emt.models import MODELS
from emt.options import assigns

pytestmark = [
    pytest.mark.slow,
    # Lightning's own, where a population trains in this process.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

README = Path(__file__).parents[1] / "README.md"
TABLE = re.compile(r"(?<=<!-- every command on every model -->\n).*?(?=<!-- end -->)", re.S)

BINDING = "--task variable_binding --seq_length 3 --input_dim 2 --curriculum_horizons 4 6 --hidden_dim 8"
RETRIEVAL = "--task associative_retrieval --pairs 3 --hidden_dim 8"
STORIES = "--task catbabi --data {babi} --folder en-valid --segment 20 --tasks 1 15 --hidden_dim 8 --embedding_dim 6"
CHOICE = "--task contextual_choice --trials 4 --steps 5 --t_off 2 --evidence 3 --hidden_dim 8"
STRINGS = "--task characters --dataset small_palindromes --hidden_dim 8"
RUN_OF = {
    **dict.fromkeys(("irnn", "ar_lstm", "alstm", "fw"), RETRIEVAL),
    "fwm": f"{STORIES} --memory_dim 4",
    "stacked_lstm": STORIES,
    "dnd_lstm": CHOICE,
    "ethereal": STRINGS,
    "ethereal_rnn": f"{STRINGS} --layers 1",
}
"""What each model is trained on, and how large; variable binding if there is no entry."""

SMALL = "--num_models 3 --epochs 1 --epoch_batches 3 --validation_batches 1 --batch_size 4 --learning_rate 0.05"


LINEAR = ("variables", "emergence")
"""Commands that need a task with a linear operator: their networks are trained on variable binding."""

LABELS = ("once", "the same again, under a label that fills more than a line of a figure")
"""Of the two sets that a command for several is given: an experiment and itself."""

QUICK = {"topology": "--points 30 --null_clouds 19"}
"""Flags that change how long a command takes, not what it does."""


@pytest.fixture(scope="module")
def drawn():
    """Return captions and faults of layout of all figures that were saved, by experiment, folder and name."""
    return {}


@pytest.fixture(scope="module")
def following():
    """Return the command that evaluation says comes next, by model."""
    return {}


@pytest.fixture(scope="module")
def found(tmp_path_factory, mini_babi, drawn, following, layout_faults):
    """Return for each model what each command came to: "" where it worked, else its reason."""
    root, save = tmp_path_factory.mktemp("populations"), style.save_figure

    def save_coarsely(figure, stem, *_):
        paths = save(figure, stem, ("png",), 40)
        name = "/".join(stem.parts[-3:])
        drawn[name] = style.caption(figure), layout_faults(figure)
        return paths

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(engine, "run", lambda function, items, *_: inline.run(function, items))
        patch.setattr(style, "save_figure", save_coarsely)
        patch.setattr(style, "save_film", lambda film, stem: save_coarsely(film.figure, stem))
        reasons = {}
        for model in MODELS:
            run = RUN_OF.get(model, BINDING).format(babi=mini_babi)
            experiment = train(root / model, model, run)
            following[model] = evaluate(experiment, "--dynamics")
            linear = experiment if run == BINDING else train(root / f"{model}_linear", model, BINDING)
            evaluate(linear)
            evaluate(linear, "--step", "0", "2")
            reasons[model] = {c: outcome(c, linear if c in LINEAR else experiment) for c in COMMANDS}
        return reasons


def train(experiment, model, run):
    """Train three small networks and return their folder."""
    where = f"--experiment_name {experiment.name} --output_dir {experiment.parent} --engine inline --accelerator cpu"
    assert train_multiple.main(shlex.split(f"{where} --model_type {model} {run} {SMALL} --keep_checkpoints 0 2")) == 0
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
        code = emt(["analyze", *words])
    if code:
        [line] = refusal.getvalue().splitlines()
        assert code == 2
        assert not folder.exists(), f"{command} refused, but left {sorted(folder.iterdir())}"
        return line.removeprefix("emt analyze: ").removeprefix(f"{command}: ")
    suffixes = {file.suffix for file in folder.iterdir()}
    assert {".html"} <= suffixes if command == "report" else {".csv", ".png"} <= suffixes
    return ""


def as_table(found):
    """Return what was found as a table of commands by models, and the reasons below it."""
    notes = {}
    rows = [f"| | {' | '.join(f'`{model}`' for model in found)} |", f"|---{'|:-:' * len(found)}|"]
    for command in COMMANDS:
        cells = []
        for model, reasons in found.items():
            reason = reasons[command].partition(";")[0].replace(f"model '{model}' ", "the model ")
            cells.append(f"[{notes.setdefault(reason, len(notes) + 1)}]" if reason else "✓")
        rows.append(f"| `{command}` | {' | '.join(cells)} |")
    return "\n".join([*rows, "", *(f"[{number}] {reason}" for reason, number in notes.items())]) + "\n"


def test_every_command_works_on_every_model_or_says_why_not(found):
    table = as_table(found)
    text = README.read_text(encoding="utf-8")
    if os.environ.get("EMT_WRITE_TABLE"):
        text = TABLE.sub(lambda _: table, text)
        README.write_text(text, encoding="utf-8")
    assert TABLE.findall(text) == [table]


@pytest.mark.usefixtures("found")
def test_every_figure_says_how_many_it_shows(drawn):
    assert len(drawn) > 20
    assert {name: text for name, (text, _) in drawn.items() if not re.search(r"\bn = \d", text)} == {}


@pytest.mark.usefixtures("found")
def test_no_figure_has_overlapping_labels_or_empty_axes(drawn):
    assert {name: faults for name, (_, faults) in drawn.items() if faults} == {}


def test_what_keeps_a_memory_is_matched_next(found, following):
    assert following == {model: "eigenvalue" if reasons["match"] else "match" for model, reasons in found.items()}


def test_only_what_a_model_lacks_is_refused(found):
    for model, reasons in found.items():
        missing = set() if assigns(MODELS[model], "memories") else {"match", "memory"}
        for command, reason in reasons.items():
            if command in missing:
                assert reason.startswith(f"model '{model}' has no associative memory; models that have one: ")
            else:
                assert not reason, (model, command)
