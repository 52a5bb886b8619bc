"""What an evaluation keeps, trusts and deletes."""

import json
from dataclasses import replace

import numpy as np
import pytest

from emt import evaluation, files, runs
from emt.config import RunConfig
from emt.evaluation import (
    TRACE_SEQUENCES,
    Settings,
    Work,
    entry_path,
    forget,
    is_current,
    trace_batch,
    write_entry,
)
from emt.tasks.variable_binding import VariableBinding

CONFIG = RunConfig(task={"name": "variable_binding"}, model={"type": "rnn"})
ENTRY = {
    "model_name": "model-1",
    "accuracy": np.float64(0.5),
    "eigenvalues_rnn_seq3": [[0.5, -0.0]],
    "n": 2**60,
}


@pytest.fixture
def work(tmp_path):
    runs.write_weights(tmp_path / "model-1", {"a": np.zeros(3, np.float32)}, {})
    return Work(tmp_path, CONFIG, Settings((3,), 9, "cpu", False), (1,))


def test_an_entry_is_current_until_it_or_what_it_came_from_changes(work):
    assert not is_current(work, 1)
    write_entry(work, 1, ENTRY)
    assert is_current(work, 1)
    content = files.read_json(entry_path(work, 1))
    assert content["entry"] == {**ENTRY, "accuracy": 0.5}
    runs.write_weights(work.experiment / "model-1", {"a": np.ones(3, np.float32)}, {})
    assert not is_current(work, 1)


@pytest.mark.parametrize(
    "change", [{"entry": {**ENTRY, "accuracy": 0.75}}, {"entry": []}, {"sha256": "0"}, {"sha256": None}]
)
def test_an_entry_that_has_changed_is_not_current(work, change):
    write_entry(work, 1, ENTRY)
    path = entry_path(work, 1)
    files.write_json(path, files.read_json(path) | change)
    assert not is_current(work, 1)
    path.write_text(json.dumps([]))
    assert not is_current(work, 1)


def test_recorded_runs_have_as_many_trials_as_are_asked_for(work):
    task = VariableBinding(seq_length=3, input_dim=2)
    assert trace_batch(work, task, 3).inputs.shape[1] == TRACE_SEQUENCES
    more = replace(work, settings=replace(work.settings, trace_sequences=45))
    assert trace_batch(more, task, 3).inputs.shape[1] == 45
    assert evaluation.portrait_mark(more) != evaluation.portrait_mark(work)


def test_only_what_an_evaluation_writes_is_deleted(work, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluation, "portrait_mark", lambda work: "of other models")
    kept = ["seq3.nc", "seq9-backup.nc", "seqX.nc", "seq9.nc.txt", "notes.txt"]
    for folder in ("traces", "dynamics"):
        (tmp_path / folder).mkdir()
        for name in (*kept, "seq9.nc"):
            (tmp_path / folder / name).write_text("x")
        (tmp_path / folder / "seq7.nc").symlink_to(tmp_path / folder / "notes.txt")
    found = forget(work)
    # Portraits are told by their marks, and text has none.
    old = [
        tmp_path / "traces" / "seq9.nc",
        *(tmp_path / "dynamics" / name for name in ("seq3.nc", "seq9.nc")),
    ]
    assert found == old
    assert {path.name for path in (tmp_path / "traces").iterdir()} == {*kept, "seq7.nc"}
