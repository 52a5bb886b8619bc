"""What evaluation refuses, in one line."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from command_line import refuse

from emt import files, progress, runs
from emt.commands.evaluate import collect_failures, share_out
from emt.commands.main import main as emt
from emt.engine.base import Result
from emt.evaluation import Work

pytestmark = pytest.mark.usefixtures("empty_folder")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--models_dir missing", "--models_dir: no such file: missing"),
        ("--models_dir RUN --horizon 5", "unrecognized arguments: --horizon 5"),
        ("--models_dir RUN --test_horizon 0", "--test_horizon: must be at least 1; got 0"),
        ("--models_dir RUN --test_horizon many", "--test_horizon: invalid int value: 'many'"),
        ("--models_dir RUN --trace_sequences 0", "--trace_sequences: must be at least 1; got 0"),
        ("--models_dir RUN --num_workers 0", "--num_workers: must be at least 1; got 0"),
        ("--models_dir RUN --seq_length 3 4 5", "--seq_length: must be one length ≥ 1 or an ascending range"),
        ("--models_dir RUN --seq_length 7 3", "--seq_length: must be one length ≥ 1 or an ascending range"),
        ("--models_dir RUN --seq_length 0", "--seq_length: must be one length ≥ 1 or an ascending range"),
        ("--models_dir RUN --model_pattern other-*", "--model_pattern: expected folders named 'other-*'"),
        ("--models_dir RUN --model_pattern ../*", "--model_pattern: must be a pattern for names inside"),
        ("", "--models_dir"),
    ],
)
def test_evaluation_refuses(make_run, words, message):
    folder = make_run()
    before = sorted(folder.rglob("*"))
    assert message in refuse("evaluate_multiple", *words.replace("RUN", str(folder)).split())
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "config.json").unlink(), "no such file: "),
        (lambda f: (f / "config.json").write_text('{"task": {'), "config.json: not valid JSON"),
        (lambda f: (f / "config.json").write_bytes(b"\xff\xfe"), "config.json: not valid JSON"),
        (lambda f: [shutil.rmtree(m) for m in f.glob("model-*")], "expected folders named 'model-*'"),
    ],
)
def test_evaluation_refuses_a_broken_run(make_run, damage, message):
    folder = make_run()
    damage(folder)
    assert message in refuse("evaluate_multiple", "--models_dir", folder)


def test_lengths_at_which_a_stream_has_no_outputs_are_refused(make_run):
    folder = make_run()
    config = json.loads((folder / "config.json").read_text())
    config["task"] |= {"infinite_horizon": True, "total_length": 60}
    files.write_json(folder / "config.json", config)
    line = refuse("evaluate_multiple", "--models_dir", folder, "--seq_length", "60")
    assert "--seq_length: expected a length at which the task has outputs; got 60" in line


def spoil(folder, kind):
    checkpoint = folder / "checkpoint"
    weights = checkpoint / "weights.safetensors"
    if kind == "NaN":
        values, about = runs.read_weights(folder)
        values["readout.weight"][0, 0] = np.nan
        runs.write_weights(folder, values, about)
    elif kind == "truncated":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif kind == "corrupt":
        weights.write_bytes(b"\x00" * 100)
    elif kind == "unfinished":
        (checkpoint / "done.json").unlink()


@pytest.mark.usefixtures("in_this_process")
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("NaN", "model-2: expected finite weights; readout.weight holds NaN or infinity"),
        ("truncated", "weights.safetensors is truncated or changed"),
        ("corrupt", "weights.safetensors is truncated or changed"),
        ("unfinished", "model-2: expected a finished model"),
    ],
)
def test_a_bad_model_is_named_and_the_others_are_evaluated(make_run, kind, message, capsys, monkeypatch):
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.01)
    folder = make_run()
    spoil(folder / "model-2", kind)
    code = emt(["evaluate", "--models_dir", str(folder), "--no_figures", "--test_horizon", "5"])
    shown = capsys.readouterr()
    lines = shown.err.splitlines()
    assert (code, len(lines)) == (1, 1), lines
    assert re.search(r"^models \d of 3; \d+ s so far", shown.out, re.M), "evaluation is not silent"
    assert re.search(r"^recording and drawing; \d+ s so far", shown.out, re.M)
    assert "model-2: " in lines[0]
    assert message in lines[0]
    summary = runs.read_summary(folder)
    assert [m["model_name"] for m in summary["metrics"]] == ["model-1", "model-3"]
    assert summary["n_models"] == 2
    assert [f["model_name"] for f in summary["failed"]] == ["model-2"]


@pytest.mark.usefixtures("in_this_process")
def test_what_does_not_fit_is_refused_before_anything_is_written(make_run, monkeypatch, capsys):
    monkeypatch.setattr("emt.commands.working_memory.free_memory", lambda: 0)
    folder = make_run()
    before = sorted(folder.rglob("*"))
    assert emt(["evaluate", "--models_dir", str(folder)]) == 2
    assert "3 models could be evaluated; --seq_length: the evaluation needs" in capsys.readouterr().err
    assert sorted(folder.rglob("*")) == before


@pytest.mark.slow
def test_a_run_without_one_finished_model_is_refused_in_one_line(make_run):
    folder = make_run()
    for model in folder.glob("model-*"):
        spoil(model, "unfinished")
    line = refuse("evaluate_multiple", "--models_dir", folder)
    assert "none of the 3 models could be evaluated; model-1: expected a finished model" in line
    assert not (folder / "evaluation_summary.json").exists()


# Pieces


@pytest.mark.parametrize(("workers", "shares"), [(1, [(1, 2, 5, 7, 8)]), (2, [(1, 5, 8), (2, 7)]), (9, 5)])
def test_models_are_shared_out_without_empty_shares(workers, shares):
    work = Work(Path("run"), None, None, numbers=(1, 2, 5, 7, 8))
    found = [share.numbers for share in share_out(work, workers)]
    assert found == (shares if isinstance(shares, list) else [(1,), (2,), (5,), (7,), (8,)])


def test_failures_of_models_and_of_workers_are_collected_by_number(capsys):
    shares = share_out(Work(Path("run"), None, None, numbers=(1, 2, 3, 4)), 2)
    results = [
        Result(shares[1], failure="the worker died", details="Trace"),
        Result(shares[0], {3: "model-3: bad"}),
    ]
    assert list(collect_failures(results).items()) == [
        (2, "the worker died"),
        (3, "bad"),
        (4, "the worker died"),
    ]
    assert capsys.readouterr().err == "Trace"
