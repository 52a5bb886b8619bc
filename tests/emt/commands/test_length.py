"""The length of a training in steps."""

from pathlib import Path

import pytest

from emt.commands import sweep, train
from emt.commands.length import in_epochs
from emt.config import ExecutionConfig, RunConfig, TrainingConfig
from emt.errors import UserError

WORDS = "--experiment_name a --seq_length 3"


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("words", "epochs", "batches"),
    [
        ("--training_steps 6000", 3, 2000),
        ("--training_steps 300", 1, 300),
        ("--training_steps 300 --epoch_batches 50", 6, 50),
        ("--training_steps 1500 --infinite_horizon", 3, 500),
    ],
)
def test_it_is_epochs_of_the_task_or_of_what_is_said(words, epochs, batches):
    training = train.parse([*WORDS.split(), *words.split()])[0].training
    assert (training.epochs, training.epoch_batches) == (epochs, batches)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "--training_steps 5000",
            "must be a multiple of --epoch_batches 2000, the steps of an epoch; got 5000",
        ),
        ("--training_steps 90 --epoch_batches 60", "must be a multiple of --epoch_batches 60"),
        ("--training_steps 2000 --epochs 1", "expected no --epochs beside it; got both"),
        ("--training_steps 0", "must be an integer ≥ 1; got 0"),
    ],
)
def test_what_is_no_whole_number_of_epochs_is_refused(words, message):
    with pytest.raises(UserError, match=f"^training_steps: {message}"):
        train.parse([*WORDS.split(), *words.split()])


def test_of_a_task_whose_epochs_are_passes_the_steps_of_an_epoch_are_asked_for():
    with pytest.raises(UserError, match=r"^training_steps: expected --epoch_batches beside it"):
        in_epochs(100, {}, 0)
    assert in_epochs(100, {"epoch_batches": 50}, 0) == {"epochs": 2, "epoch_batches": 50}


def test_a_file_below_gives_the_epochs_steps():
    sections = ("task: {seq_length: 3}", "model: {}", "training: {epochs: 9, epoch_batches: 40}")
    Path("run.yaml").write_text("\n".join(sections))
    training = train.parse(["--experiment_name", "a", "--config", "run.yaml", "--training_steps", "120"])[
        0
    ].training
    assert (training.epochs, training.epoch_batches) == (3, 40)


def test_each_run_of_a_sweep_has_its_own_epochs():
    def run(task, **training):
        return RunConfig(task=task, model={}, training=TrainingConfig(**training))

    runs = (
        run({"name": "variable_binding", "seq_length": 3}, epochs=7),
        run({"name": "flip_flop", "steps": 9}),
        run({"name": "flip_flop"}, epoch_batches=100),
    )
    given = sweep.parser().parse_args(["repeat_copy", "--training_steps", "1000"])
    smaller, _ = sweep.run_settings(vars(given))
    found = [sweep.with_overrides(one, smaller, ExecutionConfig()).training for one in runs]
    assert [(t.epochs, t.epoch_batches) for t in found] == [(1, 1000), (2, 500), (10, 100)]


def test_an_option_of_a_task_called_steps_is_another_thing():
    words = "--experiment_name a --task flip_flop --steps 9 --training_steps 1500"
    config, _ = train.parse(words.split())
    assert (config.task_options()["steps"], config.training.epochs) == (9, 3)


@pytest.mark.parametrize("flag", ["--steps", "--training_steps"])
def test_scripts_of_the_papers_take_the_word_too(flag):
    from experiments.associative_retrieval import train as script

    given = vars(script.parser().parse_args(["--model", "fw", flag, "700"]))
    assert given["steps"] == "700"
