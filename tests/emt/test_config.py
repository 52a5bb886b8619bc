"""The configuration of a run: complete, strict, and the same after a trip through its file."""

import json
import re

import pytest

from emt import config as configuration
from emt import files
from emt.config import RunConfig, TrainingConfig
from emt.errors import UserError

T3 = (9241421688590303745, 262676, 189)


@pytest.fixture
def config():
    return RunConfig(
        metadata={"experiment_name": "a", "created_at": "2025-01-01"},
        task={"name": "variable_binding", "seq_length": (3, 7), "task_id": T3, "use_eos": True},
        model={"type": "lstm", "hidden_dim": 24},
        training=TrainingConfig(
            num_models=3, seed=7, curriculum_horizons=(4, 9), stop_accuracy=0.9, epoch_batches=60
        ),
    )


def parse(**content):
    return configuration.parse(json.dumps({"task": {}, "model": {}} | content), "file.json")


def test_a_configuration_survives_its_file(config, tmp_path):
    path = tmp_path / "config.json"
    files.write_json(path, config.model_dump())
    assert configuration.read(path) == config
    assert json.loads(path.read_text())["task"]["task_id"] == ["9241421688590303745", 262676, 189]
    assert configuration.differences(configuration.read(path), config) == []


def test_large_integers_are_read_as_numbers_too(config, tmp_path):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config.model_dump()))
    assert configuration.read(path).task["task_id"] == T3


def test_what_a_file_leaves_out_has_its_default():
    config = parse(training={"epochs": 3})
    assert (config.task_name, config.model_type) == ("variable_binding", "rnn")
    assert config.training == TrainingConfig(epochs=3)


def test_members_have_seeds_a_thousand_apart():
    assert TrainingConfig(seed=7, num_models=3).seeds() == (7, 1007, 2007)
    assert TrainingConfig(seed=7, num_models=5).seeds()[:3] == (7, 1007, 2007)


def test_every_seed_has_a_member_at_each_learning_rate():
    training = TrainingConfig(num_models=4, seed=7, learning_rates=(0.1, 0.01))
    assert training.seeds() == (7, 1007, 7, 1007)
    assert training.rates() == (0.1, 0.1, 0.01, 0.01)
    assert TrainingConfig(num_models=2, learning_rate=0.5).rates() == (0.5, 0.5)


def test_each_member_may_have_a_seed_of_its_own():
    assert TrainingConfig(num_models=3, seed=5, member_seeds=(5, 2, 9)).seeds() == (5, 2, 9)
    both = TrainingConfig(num_models=4, seed=5, member_seeds=(5, 2), learning_rates=(0.1, 0.01))
    assert both.seeds() == (5, 2, 5, 2)


@pytest.mark.parametrize("seeds", [(5,), (5, 2, 9, 4), (2, 5, 9), ()])
def test_seeds_that_are_not_one_for_each_member_are_refused(seeds):
    with pytest.raises(
        UserError, match="member_seeds: must be 3 numbers, one for each model, the first that of"
    ):
        parse(training={"num_models": 3, "seed": 5, "member_seeds": seeds})


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"num_models": 3, "learning_rates": (0.1, 0.2)}, "num_models: must be a multiple of 2"),
        ({"learning_rates": (0.1, 0.1)}, "learning_rates: must be learning rates that differ; got 0.1 0.1"),
        ({"learning_rates": ()}, "learning_rates: must be learning rates that differ; got none"),
        ({"learning_rates": (0.1, -1.0)}, "learning_rates: must be > 0"),
    ],
)
def test_learning_rates_that_cannot_be_compared_are_refused(training, message):
    with pytest.raises(UserError, match=re.escape(message)):
        parse(training=training)


def test_options_come_without_the_name(config):
    assert "name" not in config.task_options()
    assert config.model_options() == {"hidden_dim": 24}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"trainnig": {}}, "trainnig: no such field; did you mean training? (file.json)"),
        ({"training": {"epoch": 3}}, "epoch: no such field; did you mean epochs? (file.json)"),
        ({"training": {"epochs": 0}}, "epochs: must be ≥ 1; got 0 (file.json)"),
        ({"training": {"epochs": "3"}}, "epochs: must be a valid integer; got 3 (file.json)"),
        ({"training": {"epochs": True}}, "epochs: must be a valid integer; got True (file.json)"),
        ({"training": {"seed": 2**53 + 1}}, "seed: must be ≤ 9007199254740992; got"),
        ({"training": {"curriculum": 1}}, "curriculum: must be a valid boolean; got 1 (file.json)"),
        ({"training": {"stop_accuracy": 1.5}}, "stop_accuracy: must be ≤ 1; got 1.5"),
        (
            {"training": {"curriculum_horizons": [9, 4]}},
            "curriculum_horizons: must be ascending numbers; got 9 4",
        ),
        ({"training": {"curriculum_horizons": []}}, "curriculum_horizons: must be ascending numbers; got"),
        ({"training": {"curriculum_horizons": [0, 4]}}, "curriculum_horizons: must be ≥ 1"),
        ({"execution": {"accelerator": "tpu"}}, "accelerator: must be 'auto', 'cpu' or 'gpu'; got tpu"),
        ({"task": {"name": 5}}, "name: must be text; got 5"),
        ({"task": 5}, "task: must be an object; got 5"),
        ({"format_version": 2}, "format_version: must be 1; got 2"),
    ],
)
def test_wrong_fields_are_named(content, message):
    with pytest.raises(UserError) as caught:
        parse(**content)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_numbers_must_be_finite(number):
    with pytest.raises(UserError, match="learning_rate: must be a finite number"):
        configuration.parse(
            f'{{"task": {{}}, "model": {{}}, "training": {{"learning_rate": {number}}}}}', "file.json"
        )


@pytest.mark.parametrize(
    "text", ["", '{"task": {', '{"task": {}, "model": {}}}', "null", "[1]", "{}", "1" * 5000]
)
def test_broken_text_is_refused_with_its_source(text):
    with pytest.raises(UserError) as caught:
        configuration.parse(text, "file.json")
    assert "file.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_and_binary_files_are_refused_by_path(tmp_path):
    path = tmp_path / "config.json"
    with pytest.raises(UserError, match=r"no such file: .*config\.json"):
        configuration.read(path)
    path.write_bytes(b"\x89PNG\xff\xfe")
    with pytest.raises(UserError, match=r"config\.json: not valid JSON: not UTF-8 text"):
        configuration.read(path)


def test_only_what_changes_numbers_counts_as_a_difference(config):
    longer = config.model_copy(
        update={
            "metadata": {"experiment_name": "a", "created_at": "2026-01-01"},
            "execution": configuration.ExecutionConfig(num_workers=7),
            "training": config.training.model_copy(update={"epochs": 21}),
            "model": {"type": "lstm", "hidden_dim": 24, "bias": True},
        }
    )
    assert set(configuration.differences(config, longer)) == {
        "model.bias: absent → True",
        "training.epochs: 20 → 21",
    }
    assert configuration.differences(config, config) == []


def test_a_configuration_cannot_be_changed(config):
    with pytest.raises(ValueError, match="frozen"):
        config.training.epochs = 3
