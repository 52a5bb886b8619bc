"""A sweep is several populations in one piece of work, continued by the same command, with one table of all members."""

import csv
from pathlib import Path

import pytest

from emt import files
from emt.config import ExecutionConfig
from emt.errors import UserError
from emt.training import sweep
from emt.training.population import train_all

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

INLINE = ExecutionConfig(engine="inline", accelerator="cpu")


@pytest.fixture
def configs(make_config):
    """Return two runs that differ in a tuple, a number and a switch."""
    runs_ = {
        "short": make_config(num_models=2, epochs=1, epoch_batches=12),
        "penalised": make_config(
            num_models=3, epochs=1, epoch_batches=12, l2_penalty=0.1, task={"seq_length": (2, 3)}
        ),
    }
    return [c.model_copy(update={"metadata": {"experiment_name": name}}) for name, c in runs_.items()]


def rows(path):
    return list(csv.DictReader(path.read_text().splitlines()))


def test_a_table_of_all_members_with_the_fields_that_differ(configs, tmp_path):
    populations = sweep.prepare("question", configs, tmp_path)
    assert train_all(populations, INLINE) == []
    sweep.write_members(sweep.members(populations), tmp_path / "members.csv")
    table = rows(tmp_path / "members.csv")
    assert [(r["experiment"], r["model"], r["seed"]) for r in table] == [
        ("short", "model-1", "0"),
        ("short", "model-2", "1000"),
        ("penalised", "model-1", "0"),
        ("penalised", "model-2", "1000"),
        ("penalised", "model-3", "2000"),
    ]
    assert list(table[0])[2:6] == ["seq_length", "num_models", "l2_penalty", "seed"]
    assert (table[0]["seq_length"], table[-1]["seq_length"]) == ("3", "2 3")
    assert {r["status"] for r in table} == {"finished"}
    assert {r["step"] for r in table} == {"12"}
    curve = rows(tmp_path / "penalised" / "model-3" / "training_curve.csv")
    assert float(table[-1]["val_acc"]) == float(curve[-1]["val_acc"])


def test_learning_rates_of_one_experiment_are_a_column(make_config, tmp_path):
    config = make_config(num_models=4, epochs=1, epoch_batches=4, learning_rates=(1e-2, 1e-3))
    configs = [config.model_copy(update={"metadata": {"experiment_name": "rates"}})]
    populations = sweep.prepare("question", configs, tmp_path)
    assert train_all(populations, INLINE) == []
    found = [(row["seed"], row["learning_rate"]) for row in sweep.members(populations)]
    assert found == [(0, 1e-2), (1000, 1e-2), (0, 1e-3), (1000, 1e-3)]


def test_members_that_are_not_done_stand_in_the_table_too(configs, tmp_path):
    populations = sweep.prepare("question", configs, tmp_path)
    train_all(populations, INLINE.model_copy(update={"shard": "1/2"}))
    table = sweep.members(populations)
    assert len(table) == 5
    unfinished = [r for r in table if r["status"] == "unfinished"]
    assert 0 < len(unfinished) < 5
    assert all(r["step"] is None and r["val_acc"] is None for r in unfinished)
    train_all(populations, INLINE.model_copy(update={"shard": "2/2"}))
    assert {r["status"] for r in sweep.members(populations)} == {"finished"}


def test_what_is_done_is_left_alone(configs, tmp_path):
    train_all(sweep.prepare("question", configs, tmp_path), INLINE)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.glob("*/model-*/checkpoint/*")}
    assert train_all(sweep.prepare("question", configs, tmp_path), INLINE) == []
    assert {p: p.stat().st_mtime_ns for p in before} == before
    assert len(before) == 10


def test_configurations_are_completed(configs, tmp_path):
    populations = sweep.prepare("question", configs, tmp_path)
    whole = populations[tmp_path / "short"]
    assert whole.task["use_eos"] is False
    assert whole.model["init"] == "default"
    assert files.read_json(tmp_path / "sweep.json") == {
        "format_version": 1,
        "question": "question",
        "experiments": ["short", "penalised"],
    }


def changed(config, **sections):
    return config.model_copy(update={k: {**getattr(config, k), **v} for k, v in sections.items()})


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"task": {"nonsense": 1}}, "nonsense: task variable_binding has no such option"),
        ({"model": {"hidden_dim": "many"}}, r"hidden_dim: must be an integer; got many \(model rnn\)"),
        ({"model": {"type": "nonsense"}}, "model_type: must be one of"),
        ({"task": {"task_id": (1, 0, 0)}}, "task_id: must have 4 one-bits"),
        (
            {"metadata": {"experiment_name": "../x"}},
            "expected folder names that differ in experiment_name; got '../x'",
        ),
        ({"metadata": {"experiment_name": ""}}, "expected folder names that differ"),
        ({"metadata": {"experiment_name": "penalised"}}, "got 'penalised'"),
    ],
)
def test_wrong_configurations_are_refused_before_any_work(configs, sections, message, tmp_path):
    with pytest.raises(UserError, match=message):
        sweep.prepare("question", [changed(configs[0], **sections), configs[1]], tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_sweep_may_be_run_in_parts_and_the_table_has_all_that_were_begun(configs, tmp_path):
    first = sweep.prepare("question", configs[1:], tmp_path)
    for run, config in first.items():
        files.write_json(run / "config.json", config.model_dump())
    second = sweep.prepare("question", configs[:1], tmp_path)
    names = [config.metadata["experiment_name"] for config in (*configs[1:], configs[0])]
    assert [run.name for run in second] == names[-1:]
    assert [run.name for run in sweep.with_earlier(second, tmp_path)] == names
    assert {row["experiment"] for row in sweep.members(sweep.with_earlier(second, tmp_path))} == set(names)
    # What was named and never begun has no row.
    assert [run.name for run in sweep.with_earlier(first, tmp_path)] == names[:-1]


def test_a_folder_with_the_sweep_of_another_question_is_refused(configs, tmp_path):
    sweep.prepare("question", configs, tmp_path)
    with pytest.raises(UserError, match="contains the sweep question"):
        sweep.prepare("another", configs, tmp_path)


def test_table_is_none_before_the_first_validation(tmp_path):
    assert sweep.validation_accuracy(Path(tmp_path)) is None
