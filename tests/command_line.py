"""Scripts started as a user starts them, and a finished run to start them on."""

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from emt import engine, files, runs
from emt.config import RunConfig, TrainingConfig
from emt.engine import inline
from emt.engine.base import nothing
from emt.models import MODELS
from emt.options import load

ROOT = Path(__file__).parents[1]
TINY = shlex.split(
    "--seq_length 3 --input_dim 4 --hidden_dim 7 --batch_size 16 --learning_rate 5e-3 --curriculum_horizons 4 6 "
    "--num_models 2 --epochs 1 --epoch_batches 60 --validation_batches 3"
)

BINDING = "--task variable_binding --seq_length 3 --input_dim 2 --curriculum_horizons 4 6 --hidden_dim 8"
RETRIEVAL = "--task associative_retrieval --pairs 3 --hidden_dim 8"
STORIES = "--task catbabi --data {babi} --folder en-valid --segment 20 --tasks 1 15 --hidden_dim 8 --embedding_dim 6"
CHOICE = "--task contextual_choice --trials 4 --steps 5 --t_off 2 --evidence 3 --hidden_dim 8"
STRINGS = "--task characters --dataset small_palindromes --hidden_dim 8"
CONVOLVED = ("linear_attention", "deltanet", "gated_deltanet", "mamba2", "mlstm", "kda", "attention")
RUN_OF = {
    **dict.fromkeys(("irnn", "ar_lstm", "alstm", "fw", "rwkv7"), RETRIEVAL),
    **dict.fromkeys(CONVOLVED, f"{RETRIEVAL} --conv_size 2"),
    "fwp": "--task unique_keys --num_keys 4 --hidden_dim 8",
    "fwm": f"{STORIES} --memory_dim 4",
    "mnm": f"{STORIES} --memory_dim 4",
    "stacked_lstm": STORIES,
    "awd_lstm": STORIES,
    "awd_fwm": f"{STORIES} --memory_dim 4",
    "transformer_xl": f"{STORIES} --layers 1 --heads 2",
    "dnd_lstm": CHOICE,
    "ethereal": STRINGS,
    "ethereal_rnn": f"{STRINGS} --layers 1",
}
"""What each model is trained on, and how large; variable binding if there is no entry."""


@pytest.fixture
def empty_folder(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.delenv("EXPERIMENT_OUTPUT_DIR", raising=False)


def command(script, *words):
    return [sys.executable, str(ROOT / f"{script}.py"), *map(str, words)]


def start(script, *words, env=None):
    """Start a script as the leader of its own process group and open to Ctrl-C, as a terminal does."""
    return subprocess.Popen(
        command(script, *words),
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # What runs in a shell's background ignores Ctrl-C, and so would all that it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def interrupted(script, *words, before, send=os.killpg, number=signal.SIGKILL):
    """Run a script that a signal interrupts before the file ``before`` is put in place; return how it ended.

    ``send`` is `os.killpg`, which reaches its workers too, or `os.kill`.
    """
    told = {"BEFORE": before, "BY": str(int(number)), "HOW": send.__name__}
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parent / "interrupting")}
    process = start(script, *words, env=env | {f"INTERRUPT_{name}": text for name, text in told.items()})
    output, errors = process.communicate(timeout=600)
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def complain(script, *words):
    """Run a script that must fail; return its exit code and what it says on stderr."""
    done = subprocess.run(command(script, *words), capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode != 0, done.stdout
    assert "Traceback" not in done.stderr + done.stdout, done.stderr
    return done.returncode, done.stderr.splitlines()


def refuse(script, *words):
    """Run a script that must refuse its input: exit code 2 and one line on stderr, which is returned."""
    code, lines = complain(script, *words)
    assert (code, len(lines)) == (2, 1), lines
    assert lines[0].startswith(f"{script}.py: ")
    return lines[0]


def succeed(script, *words):
    """Run a script to its end, without a word on stderr but of its progress; return what it prints."""
    done = subprocess.run(command(script, *words), capture_output=True, text=True, timeout=600, check=False)
    assert (done.returncode, re.sub(r"^.* so far\b.*\n", "", done.stderr, flags=re.M)) == (0, "")
    return done.stdout


def stay_in_this_process(patch):
    """Give this process the work of local workers, which take seconds to start."""

    def run(function, items, workers, tick=nothing, gpus=()):
        return inline.run(function, items, tick)

    patch.setattr(engine, "run", run)
    patch.setattr(engine.local, "run", run)


@pytest.fixture
def in_this_process(monkeypatch):
    """See `stay_in_this_process`."""
    stay_in_this_process(monkeypatch)


@pytest.fixture
def make_run(tmp_path):
    """Return a function that writes a finished run with random weights, as train_multiple.py would leave it."""

    def make(name="run", members=3):
        folder = tmp_path / name
        config = RunConfig(
            metadata={"experiment_name": name},
            task={"name": "variable_binding", "seq_length": 3, "input_dim": 4},
            model={"type": "rnn", "hidden_dim": 13},
            training=TrainingConfig(num_models=members),
        )
        files.write_json(folder / "config.json", config.model_dump())
        stack = load(MODELS, "rnn", "model_type")(config.training.seeds(), 4, 4, hidden_dim=13)
        for position in range(members):
            runs.write_weights(
                runs.model_folder(folder, position + 1), stack.export(position), {"status": "finished"}
            )
        return folder

    return make
