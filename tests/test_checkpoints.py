"""Weights along training: kept at the steps asked for, evaluated like the last ones, and nothing else changes."""

import json
import shlex

import pytest

from emt import runs
from emt.commands import evaluate as evaluate_multiple
from emt.commands import train as train_multiple
from emt.commands.main import main as emt
from emt.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

TINY = (
    "--seq_length 3 --input_dim 2 --hidden_dim 7 --num_models 2 --epochs 1 --epoch_batches 6 --validation_batches 1 "
    "--curriculum_horizons 4 --learning_rate 0.05 --engine inline --accelerator cpu"
)


@pytest.fixture
def train(tmp_path):
    """Return a function that trains two small networks with the flags given and returns their folder."""

    def make(name, flags=""):
        words = f"--experiment_name {name} --output_dir {tmp_path} {TINY} {flags}"
        assert train_multiple.main(shlex.split(words)) == 0
        return tmp_path / name

    return make


@pytest.fixture
def evaluate(in_this_process):
    """Return a function that evaluates a run in this process and returns the summary."""

    def run(experiment, *steps):
        words = f"--models_dir {experiment} --test_horizon 5 --no_figures"
        words = [*shlex.split(words), *(["--step", *map(str, steps)] if steps else [])]
        assert evaluate_multiple.main(words) == 0
        return {step: runs.read_summary(experiment / "checkpoints" / f"step-{step}") for step in steps}

    return run


def kept(experiment, number=1):
    return sorted(path.name for path in (experiment / f"model-{number}" / "checkpoint").glob("step-*"))


def test_weights_are_kept_at_these_steps_and_training_is_the_same(train):
    experiment, plain = train("kept", "--keep_checkpoints 0 4 6 99"), train("plain")
    for number in (1, 2):
        assert kept(experiment, number) == ["step-0.safetensors", "step-4.safetensors", "step-6.safetensors"]
        folder = experiment / f"model-{number}" / "checkpoint"
        last = (folder / "weights.safetensors").read_bytes()
        assert last == (plain / f"model-{number}" / "checkpoint" / "weights.safetensors").read_bytes()
        assert last == (folder / "step-6.safetensors").read_bytes()
        assert (
            last
            != (folder / "step-4.safetensors").read_bytes()
            != (folder / "step-0.safetensors").read_bytes()
        )
    assert kept(plain) == []


def test_a_member_that_ended_earlier_has_its_last_weights(train):
    folder = train("kept", "--keep_checkpoints 4") / "model-1"
    last = runs.read_weights(folder)[0]
    beyond = runs.read_checkpoint(folder, 1000)
    assert all((beyond[name] == last[name]).all() for name in last)
    assert runs.checkpoint_hash(folder, 1000) == runs.checkpoint_hash(folder, None)
    assert runs.checkpoint_hash(folder, 4) != runs.checkpoint_hash(folder, None)
    with pytest.raises(
        UserError, match=r"^step: expected steps that training kept .*step-5.safetensors does not exist"
    ):
        runs.read_checkpoint(folder, 5)
    path = runs.checkpoint_path(folder, 4)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(UserError, match="model-1: expected a whole weight file"):
        runs.read_checkpoint(folder, 4)


def test_a_checkpoint_is_evaluated_as_the_end_is_and_beside_it(train, evaluate, monkeypatch):
    experiment = train("kept", "--keep_checkpoints 0 4 6")
    evaluate(experiment)
    end = (experiment / "evaluation_summary.json").read_bytes()
    found = evaluate(experiment, 0, 6)
    assert (experiment / "evaluation_summary.json").read_bytes() == end
    spectra = {step: [m["eigenvalues_rnn_seq3"] for m in s["metrics"]] for step, s in found.items()}
    last = json.loads(end)
    assert spectra[6] == [m["eigenvalues_rnn_seq3"] for m in last["metrics"]]
    assert spectra[0] != spectra[6]
    assert found[0]["evaluation_config"]["evaluation"]["step"] == 0
    assert (experiment / "checkpoints" / "step-0" / "traces" / "seq3.nc").exists()
    monkeypatch.setattr("emt.commands.evaluate_members.evaluate_model", None)
    evaluate(experiment, 0, 6)


def test_the_spectrum_is_followed_along_the_checkpoints(train, evaluate, capsys):
    experiment = train("kept", "--keep_checkpoints 0 6")
    words = ["emergence", "--summary_file", str(experiment)]
    assert emt(["analyze", *words]) == 2
    assert "expected evaluated checkpoints in" in capsys.readouterr().err
    evaluate(experiment, 0, 6)
    assert emt(["analyze", *words]) == 0
    assert "2 checkpoints from step 0 to 6; of n = 2 members" in capsys.readouterr().out
    assert (experiment / "emergence_analysis" / "emergence.png").exists()


def test_a_step_that_was_not_kept_is_refused(train, evaluate):
    experiment = train("plain")
    with pytest.raises(UserError, match=r"--step: expected steps that training kept"):
        evaluate(experiment, 3)
