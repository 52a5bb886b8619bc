"""Trials other than those that were trained on: what may differ, what is recorded, what is refused."""

import numpy as np
import pytest

from emt import trace
from emt.commands.evaluate_outside import find_outside
from emt.commands.main import main as emt
from emt.config import RunConfig
from emt.errors import UserError
from emt.tasks.flip_flop import held_signs

FLIP_FLOP = RunConfig(task={"name": "flip_flop", "bits": 2, "steps": 7}, model={"type": "rnn"})
BINDING = RunConfig(task={"name": "variable_binding", "seq_length": 3}, model={"type": "rnn"})
WORDS = RunConfig(task={"name": "parity"}, model={"type": "rnn"})


def test_options_of_the_task_have_other_values_and_noise_changes_inputs_only():
    outside = find_outside(FLIP_FLOP, ["steps=31", "pulse_rate=0.05", "input_noise=0.5"])
    batch, clean = outside.batch(3, 40), find_outside(FLIP_FLOP, ["steps=31", "pulse_rate=0.05"]).batch(3, 40)
    assert batch.inputs.shape == (1, 40, 31, 2)
    assert np.std(batch.inputs - clean.inputs) == pytest.approx(0.5, rel=0.05)
    assert np.array_equal(batch.targets, clean.targets)
    assert np.array_equal(batch.targets, held_signs(clean.inputs))
    assert np.mean(clean.inputs[:, :, 1:] != 0) == pytest.approx(0.05, abs=0.02)
    assert np.array_equal(batch.inputs, outside.batch(3, 40).inputs)


def test_targets_that_copy_inputs_are_those_without_noise():
    outside = find_outside(BINDING, ["horizon=5", "input_noise=2"])
    batch, clean = outside.batch(1, 6), find_outside(BINDING, ["horizon=5"]).batch(1, 6)
    assert np.array_equal(batch.targets, clean.targets)
    assert not np.array_equal(batch.inputs, clean.inputs)
    assert batch.steps == 3 + 5


@pytest.mark.parametrize(
    ("config", "words", "message"),
    [
        (FLIP_FLOP, ["steps"], "--outside: expected NAME=VALUE, as in steps=150; got 'steps'"),
        (FLIP_FLOP, ["length=9"], "must be options of the task or input_noise, horizon; got 'length'"),
        (FLIP_FLOP, ["steps=0"], "--outside steps: must be an integer"),
        (FLIP_FLOP, ["input_noise=-1"], "--outside input_noise: must be a number"),
        (FLIP_FLOP, ["bits=3"], "must leave the networks' 2 inputs and 2 outputs; got 3 and 3"),
        (WORDS, ["input_noise=1"], "input_noise: expected a task whose inputs are numbers"),
    ],
)
def test_what_networks_cannot_be_run_on_is_refused(config, words, message):
    with pytest.raises(UserError) as error:
        find_outside(config, words)
    assert message in error.value.in_flags()


@pytest.mark.usefixtures("in_this_process", "empty_folder")
def test_outputs_are_recorded_without_states_and_deleted_when_they_are_not_asked_for(make_run, capsys):
    folder = make_run()
    words = [
        "evaluate",
        "--models_dir",
        str(folder),
        "--no_figures",
        "--test_horizon",
        "5",
        "--trace_sequences",
        "6",
    ]
    assert emt([*words, "--outside", "horizon=9", "input_noise=0.1"]) == 0
    [file] = (folder / "outside").iterdir()
    recorded = trace.load(file)
    assert recorded.sizes["unit"] == 0
    assert recorded["outputs"].shape[:2] == (3, 6)
    assert trace.about(recorded).outside == {"horizon": "9", "input_noise": "0.1"}
    assert "Recording outputs on other trials: horizon = 9, input_noise = 0.1" in capsys.readouterr().out
    assert emt(["analyze", "degeneracy", "--summary_files", str(folder)]) == 0
    printed = capsys.readouterr().out
    assert "on trials with horizon = 9, input_noise = 0.1" in printed
    names = {path.name for path in (folder / "degeneracy_analysis").iterdir()}
    assert {
        "degeneracy_settings.csv",
        "degeneracy_pairs.json",
        "degeneracy.png",
        "degeneracy_levels.pdf",
    } <= names
    assert emt(words) == 0
    assert (
        f"Deleted, left over from an earlier run with other models or lengths: {file}"
        in capsys.readouterr().out.replace("\n", "")
    )
    assert not file.exists()
