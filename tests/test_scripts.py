"""The scripts as a user starts them: what they survive, and the documented commands to their ends."""

import contextlib
import hashlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import ROOT, TINY, command, interrupted, refuse, start, succeed

from emt import runs

SHORT = shlex.split("--num_models 2 --epochs 1 --epoch_batches 60")

pytestmark = pytest.mark.usefixtures("empty_folder")


def weights_of(experiment):
    paths = sorted(experiment.glob("model-*/checkpoint/weights.safetensors"))
    return {p.parents[1].name: hashlib.sha256(p.read_bytes()).hexdigest() for p in paths}


# Interruptions

LONG = shlex.split(
    "--seq_length 5 --input_dim 4 --hidden_dim 64 --batch_size 32 --learning_rate 1e-3 --curriculum_horizons 5 20 "
    "--curriculum_threshold 0.6 --num_models 3 --num_workers 1 --epochs 5 --epoch_batches 150 --validation_batches 3"
)


def wait_until(condition, process):
    end = time.monotonic() + 600
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)


def step_reached(experiment, step):
    """Return whether a chunk of the run says that it has done ``step`` training steps."""
    for path in experiment.glob("population/*.status.json"):
        with contextlib.suppress(FileNotFoundError):
            if json.loads(path.read_text())["step"] >= step:
                return True
    return False


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["local", "inline"])
@pytest.mark.parametrize(("send", "number"), [(os.killpg, signal.SIGINT), (os.kill, signal.SIGTERM)])
def test_an_interrupted_training_leaves_a_resume_state(engine, send, number):
    words = ["--experiment_name", "a", "--engine", engine, "--keep_checkpoints", "20", *LONG]
    done = interrupted("train_multiple", *words, before="*/model-1/*/step-20.*", send=send, number=number)
    assert done.stderr == "train_multiple.py: interrupted; rerun the same command to resume\n"
    assert done.returncode == 128 + number
    assert list(Path("a/population").glob("*.safetensors")), "no resume state was saved"


@pytest.mark.slow
def test_an_interrupted_training_continues():
    words = ["train_multiple", "--experiment_name", "a", "--keep_checkpoints", "20", *LONG]
    # A scheduler may send SIGTERM to all processes, and the parent sends its workers another.
    done = interrupted(*words, before="*/model-1/*/step-20.*", number=signal.SIGTERM)
    assert done.returncode == 143
    succeed(*words)
    assert "resumed after an interruption" in Path("a/model-1/training.log").read_text()
    assert [
        m.name for m in runs.model_folders(Path("a")) if not runs.is_done(Path("a"), runs.model_number(m))
    ] == []


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.2, 1.0, 3.0])
@pytest.mark.parametrize("script", ["train_multiple", "evaluate_multiple"])
def test_an_interruption_while_workers_start_gets_one_line(script, seconds, make_run):
    # So much work that no machine has done it by then.
    words = {
        "train_multiple": ["--experiment_name", "a", *LONG, "--epochs", "100"],
        "evaluate_multiple": ["--models_dir", make_run(members=40), "--num_workers", "1"],
    }
    process = start(script, *words[script])
    assert process.stdout.readline()
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 130
    assert len(errors.splitlines()) == 1, errors


@pytest.mark.slow
def test_a_training_killed_three_times_ends_with_the_same_bytes():
    words = ["train_multiple", *LONG, "--stop_accuracy", "0.9", "--keep_checkpoints", "20"]
    succeed(*words, "--experiment_name", "whole")
    expected = weights_of(Path("whole"))
    assert len(expected) == 3
    steps = {runs.read_weights(m)[1]["step"]: m.name for m in runs.model_folders(Path("whole"))}
    assert len(steps) == 3, "members must end at different steps for this test to say something"

    experiment = Path("killed")
    first, second, third = (steps[step] for step in sorted(steps))
    finished = {}
    for before in ("model-1/*/step-20.*", f"{second}/*/done.json", f"{third}/*/done.json"):
        done = interrupted(*words, "--experiment_name", experiment, before=f"*/killed/{before}")
        assert done.returncode == -signal.SIGKILL
        assert all(expected[name] == digest for name, digest in weights_of(experiment).items())
        for path in experiment.glob("model-*/checkpoint/done.json"):
            finished |= {p: p.stat().st_mtime_ns for p in path.parent.iterdir()}
    assert {path.parts[1] for path in finished} == {first, second}
    succeed(*words, "--experiment_name", experiment)
    assert weights_of(experiment) == expected
    assert {p: p.stat().st_mtime_ns for p in finished} == finished
    for name in expected:
        curves = [
            (folder / name / "training_curve.csv").read_text() for folder in (Path("whole"), experiment)
        ]
        assert curves[0] == curves[1]


@pytest.mark.slow
def test_a_killed_evaluation_continues_to_the_same_numbers(make_run):
    def numbers(folder):
        places = ("model_path", "output_dir")
        return [{k: v for k, v in m.items() if k not in places} for m in runs.read_summary(folder)["metrics"]]

    whole, killed = make_run("whole"), make_run("killed")
    words = ["--test_horizon", "9", "--num_workers", "1"]
    succeed("evaluate_multiple", "--models_dir", whole, *words)
    before = "*/model-2/results/metrics.json"
    process = interrupted("evaluate_multiple", "--models_dir", killed, *words, before=before)
    assert process.returncode == -signal.SIGKILL
    assert not (killed / "evaluation_summary.json").exists()
    done = {p: p.stat().st_mtime_ns for p in killed.glob("model-*/results/metrics.json")}
    assert len(done) == 1
    succeed("evaluate_multiple", "--models_dir", killed, *words)
    assert numbers(killed) == numbers(whole)
    assert {p: p.stat().st_mtime_ns for p in done} == done


@pytest.mark.slow
@pytest.mark.parametrize(("send", "number"), [(os.killpg, signal.SIGINT), (os.kill, signal.SIGTERM)])
def test_a_stopped_evaluation_keeps_what_is_done(make_run, send, number):
    folder, before = make_run(), "*/model-2/results/metrics.json"
    words = ["--models_dir", folder, "--test_horizon", "9", "--num_workers", "1"]
    done = interrupted("evaluate_multiple", *words, before=before, send=send, number=number)
    assert done.returncode == 128 + number
    assert done.stderr == "evaluate_multiple.py: interrupted; rerun the same command to resume\n"
    assert (folder / "model-1/results/metrics.json").exists()
    assert not (folder / "evaluation_summary.json").exists()
    assert not list(folder.rglob(".*")), "a file is half written"


@pytest.mark.slow
def test_a_second_process_on_one_run_is_refused_by_name():
    words = ["train_multiple", "--experiment_name", "a", *LONG, "--epochs", "100"]
    process = start(*words)
    wait_until(lambda: step_reached(Path("a"), 1), process)
    line = refuse(*words)
    assert "in use by process" in line
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


# The documented commands, to the end


def done_markers(experiment):
    return [runs.read_weights(folder)[1] for folder in runs.model_folders(experiment)]


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    """Return a run of the first documented command, at its full size."""
    folder = tmp_path_factory.mktemp("single")
    words = ["--experiment_name", "a", "--seq_length", "8", "--num_models", "2", "--epochs", "1"]
    printed = succeed("train_multiple", *words, "--output_dir", folder)
    assert "--stop_accuracy" in printed.splitlines()[1]
    assert "Estimated time remaining: " in printed.splitlines()[1]
    return folder / "a"


@pytest.fixture(scope="module")
def ranged(tmp_path_factory):
    """Return a run over a range of lengths, evaluated, with enough members to embed."""
    folder = tmp_path_factory.mktemp("ranged")
    words = [
        "--experiment_name",
        "b",
        "--seq_length",
        "3",
        "7",
        *SHORT,
        "--num_models",
        "3",
        "--output_dir",
        folder,
    ]
    succeed("train_multiple", *words)
    succeed("evaluate_multiple", "--models_dir", folder / "b")
    return folder / "b"


@pytest.fixture
def copy(tmp_path):
    """Return a function that copies a run, so that a test may write into it."""
    return lambda experiment: Path(shutil.copytree(experiment, tmp_path / experiment.name))


@pytest.mark.slow
def test_training_as_documented_at_full_size(single):
    assert [m["step"] for m in done_markers(single)] == [2000, 2000]
    for number in (1, 2):
        folder = single / f"model-{number}"
        assert {"checkpoint", "training.log", "training_curve.csv", "lightning_logs"} <= set(
            os.listdir(folder)
        )
    assert not list((single / "population").glob("*.safetensors"))


@pytest.mark.slow
def test_evaluation_as_documented_at_full_size(single, copy):
    experiment = copy(single)
    succeed("evaluate_multiple", "--models_dir", experiment)
    metrics = runs.read_summary(experiment)["metrics"]
    assert [m["model_name"] for m in metrics] == ["model-1", "model-2"]
    for entry in metrics:
        assert 0.4 < entry["accuracy"] <= 1
        assert len(entry["eigenvalues_rnn_seq8"]) == len(entry["eigenvalues_theory_seq8"]) == 64
        assert sum(entry["angle_histogram_rnn_seq8"]) == sum(entry["magnitude_histogram_rnn_seq8"]) == 64
    for folder in (experiment / "global_analysis", experiment / "model-2" / "results"):
        assert list(folder.glob("*.png"))
    assert [p.name for p in (experiment / "traces").iterdir()] == ["seq8.nc"]

    entries = [experiment / f"model-{n}" / "results" / "metrics.json" for n in (1, 2)]
    before = [p.stat().st_mtime_ns for p in entries]
    succeed("evaluate_multiple", "--models_dir", experiment)
    assert [p.stat().st_mtime_ns for p in entries] == before, "what was evaluated is not evaluated again"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "lengths"),
    [
        (["--test_horizon", "20"], [3, 4, 5, 6, 7]),
        (["--seq_length", "5", "--magnitude_threshold", "0.1"], [5]),
        (["--seq_length", "8", "9", "--test_horizon", "12", "--no_figures"], [8, 9]),
        (["--model_pattern", "model-[12]", "--num_workers", "1", "--seq_length", "3"], [3]),
    ],
)
def test_evaluation_with_overrides(ranged, copy, overrides, lengths):
    experiment = copy(ranged)
    printed = succeed("evaluate_multiple", "--models_dir", experiment, *overrides)
    assert ("\nFigures: " in printed) == ("--no_figures" not in overrides)
    following = shlex.join(command("analyze", "eigenvalue", "--summary_file", experiment)[1:])
    assert f"Next: python {following}" in printed
    summary = runs.read_summary(experiment)
    assert summary["n_models"] == (2 if "--model_pattern" in overrides else 3)
    for entry in summary["metrics"]:
        assert entry["seq_lengths"] == lengths
        held = sorted(int(k.rpartition("seq")[2]) for k in entry if k.startswith("eigenvalues_rnn_seq"))
        assert held == lengths


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "words", "evaluate"),
    [
        (
            "customised",
            "--seq_length 8 --hidden_dim 64 --num_models 2 --epochs 1 --epoch_batches 60 --learning_rate 5e-4 "
            "--batch_size 32 --gradient_clip 0.5 --l2_penalty 1e-4 --task_id 255 0 0 --input_dim 8 --use_eos --bias "
            "--seed 7 --model_type rnn --curriculum_threshold 0.9 --curriculum_horizons 5 10",
            True,
        ),
        ("steady", "--seq_length 8 --no_curriculum", False),
        (
            "stream",
            "--seq_length 3 --infinite_horizon --total_length 90 --output_horizon 9 --hidden_dim 32",
            True,
        ),
        ("lstm", "--seq_length 3 --model_type lstm --hidden_dim 16 --init orthogonal", True),
        ("narrow", "--seq_length 8 --hidden_dim 24 --task_id T4 --num_workers 1 --accelerator cpu", True),
    ],
)
def test_other_documented_trainings(name, words, evaluate, tmp_path, monkeypatch):
    monkeypatch.setenv("EXPERIMENT_OUTPUT_DIR", str(tmp_path / "experiments"))
    succeed("train_multiple", "--experiment_name", name, *words.split(), *SHORT)
    experiment = tmp_path / "experiments" / name
    assert [m["step"] for m in done_markers(experiment)] == [60, 60]
    if evaluate:
        succeed("evaluate_multiple", "--models_dir", name, "--test_horizon", "20")
        assert runs.read_summary(experiment)["n_models"] == 2
        assert list((experiment / "model-1" / "results").glob("*.png"))


@pytest.mark.slow
def test_a_configuration_file_repeats_a_run_and_flags_beside_it_win():
    succeed("train_multiple", "--experiment_name", "a", *TINY, "--task_id", "repeat_copy", "--seed", "7")
    succeed("train_multiple", "--experiment_name", "b", "--config", "a/config.json")
    assert weights_of(Path("b")) == weights_of(Path("a"))
    succeed("train_multiple", "--experiment_name", "c", "--config", "a/config.json", "--seed", "8")
    assert weights_of(Path("c")).keys() == weights_of(Path("a")).keys()
    assert not set(weights_of(Path("c")).values()) & set(weights_of(Path("a")).values())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "table"),
    [
        ("eigenvalue --summary_file RUN --seq_length 5", "eigenvalue_statistics"),
        ("embedding --summary_file RUN --seq_length 5 --method pca", "pca_embedding"),
        ("persistence --summary_file RUN --seq_length 5", None),
        ("compare --summary_files RUN RUN --labels one two --seq_length 5", "comparison_statistics"),
    ],
)
def test_the_analyses_as_documented(ranged, tmp_path, words, table):
    words = words.replace("RUN", str(ranged / "evaluation_summary.json")).split()
    subprocess.run(
        command("analyze", *words, "--output_dir", tmp_path / "out"), check=True, capture_output=True
    )
    names = os.listdir(tmp_path / "out")
    assert {Path(n).suffix for n in names} >= {".png", ".pdf", ".csv", ".json"}
    assert table is None or table in {Path(n).stem for n in names}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["test_data_ar", "test_unified_updates"])
def test_tests_of_earlier_programs_run_as_scripts(name, monkeypatch):
    monkeypatch.delenv("PYTHONPATH", raising=False)
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / f"{name}.py"],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
