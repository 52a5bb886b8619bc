"""The scripts as a user starts them: what they refuse, what they survive, and the documented commands to their ends."""

import contextlib
import errno
import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from emt import files, runs
from emt.commands import train as train_multiple
from emt.commands.script import run_script
from emt.config import RunConfig, TrainingConfig
from emt.models import MODELS
from emt.options import load

ROOT = Path(__file__).parents[1]
TINY = shlex.split(
    "--seq_length 3 --input_dim 4 --hidden_dim 7 --batch_size 16 --learning_rate 5e-3 --curriculum_horizons 4 6 "
    "--num_models 2 --epochs 1 --epoch_batches 60 --validation_batches 3"
)
SHORT = shlex.split("--num_models 2 --epochs 1 --epoch_batches 60")


@pytest.fixture(autouse=True)
def _work_in_an_empty_folder(tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.delenv("EXPERIMENT_OUTPUT_DIR", raising=False)


def command(script, *words):
    return [sys.executable, str(ROOT / f"{script}.py"), *map(str, words)]


def start(script, *words):
    """Start a script as the leader of its own process group and open to Ctrl-C, as a terminal does."""
    return subprocess.Popen(
        command(script, *words),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # What runs in a shell's background ignores Ctrl-C, and so would all that it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def complain(script, *words):
    """Run a script that must fail; return its exit code and what it says on stderr."""
    done = subprocess.run(command(script, *words), capture_output=True, text=True, timeout=300, check=False)
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
    """Run a script to its end, without a word on stderr; return what it prints."""
    done = subprocess.run(command(script, *words), capture_output=True, text=True, timeout=600, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def weights_of(experiment):
    paths = sorted(experiment.glob("model-*/checkpoint/weights.safetensors"))
    return {p.parents[1].name: hashlib.sha256(p.read_bytes()).hexdigest() for p in paths}


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
            runs.write_weights(runs.model_folder(folder, position + 1), stack.export(position), {"status": "finished"})
        return folder

    return make


# Training: what is refused


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--experiment_name a --seq_length 8 --hiden_dim 9", "unrecognized arguments: --hiden_dim 9"),
        ("--experiment_name a --seq_length 8 --hidden 9", "unrecognized arguments: --hidden 9"),
        ("--experiment_name a", "--seq_length"),
        ("--seq_length 8", "--experiment_name: expected a name"),
        ("--experiment_name a/b --seq_length 8", "--experiment_name: expected a plain folder name; got 'a/b'"),
        ("--experiment_name a --seq_length 3 4 5", "--seq_length: expected an integer or 2 integers; got 3 4 5"),
        ("--experiment_name a --seq_length 7 3", "--seq_length: expected one length from 1 or an ascending range"),
        ("--experiment_name a --seq_length 8 --task_id 127 0 0", "--task_id: expected 8 one-bits in the first integer"),
        ("--experiment_name a --seq_length 4 --task_id T2", "--task_id: expected bits below"),
        ("--experiment_name a --seq_length 8 --task_id 255 0", "--task_id: expected one of repeat_copy, T1"),
        ("--experiment_name a --seq_length 8 --hidden_dim 0", "--hidden_dim: expected an integer from 1; got 0"),
        ("--experiment_name a --seq_length 8 --epochs 0", "--epochs: expected greater than or equal to 1; got 0"),
        ("--experiment_name a --seq_length 8 --learning_rate nan", "--learning_rate: expected a finite number"),
        ("--experiment_name a --seq_length 8 --curriculum_horizons 10 5", "--curriculum_horizons: expected ascending"),
        ("--experiment_name a --seq_length 8 --task copy", "--task: expected one of variable_binding"),
        ("--experiment_name a --seq_length 8 --model_type no_such_model", "--model_type: expected one of rnn, lstm"),
        ("--experiment_name a --seq_length 8 --init zeros", "--init: invalid choice: 'zeros'"),
        ("--experiment_name a --seq_length 8 --infinite_horizon --use_eos", "--use_eos"),
        ("--experiment_name a --config missing.json", "missing.json: expected a configuration file; it does not exist"),
        ("--config", "--config: expected one argument"),
    ],
)
def test_training_refuses(words, message):
    assert message in refuse("train_multiple", *words.split())
    assert os.listdir() == [], "a refused command leaves nothing behind"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"task": {"seq_length": 8}, "model": {}, "training": {"epoch": 3}}', "--epoch: no such field"),
        ('{"task": {"seq_length": 8, "bits": 3}, "model": {}}', "--bits: task variable_binding has no such option"),
        ('{"task": {"seq_length": 8}, "model": {"bais": true}}', "--bais: model rnn has no such option"),
        ('{"task": {"seq_length": 8}, "model": {}, "mdoel": {}}', "--mdoel: no such field"),
        ('{"task": {"seq_length": "8"}, "model": {}}', "--seq_length: expected an integer or 2 integers; got 8"),
        ('{"task": {"seq_length": 8, "task_id": [127, 0, 0]}, "model": {}}', "--task_id: expected 8 one-bits"),
        ('{"task": {}, "model": {}}', "--seq_length: expected an integer or 2 integers; got none"),
        ('{"task": {"seq_length": 8}, "model"', "file.json: expected a whole JSON document"),
    ],
)
def test_training_refuses_a_configuration_file(text, message):
    Path("file.json").write_text(text)
    assert message in refuse("train_multiple", "--experiment_name", "a", "--config", "file.json")
    assert os.listdir() == ["file.json"]


@pytest.mark.parametrize("script", ["train_multiple", "evaluate_multiple"])
def test_a_gpu_where_there_is_none_is_refused(script, make_run):
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    words = ["--experiment_name", "a", *TINY] if script == "train_multiple" else ["--models_dir", make_run()]
    assert "--accelerator: expected a GPU; torch finds none here" in refuse(script, *words, "--accelerator", "gpu")
    assert os.listdir() == []


def test_a_folder_with_another_run_is_refused(make_run):
    folder = make_run()
    before = (folder / "config.json").read_bytes()
    line = refuse("train_multiple", "--experiment_name", folder.name, "--output_dir", folder.parent, *TINY)
    assert f"--experiment_name: {folder} holds a run with another configuration" in line
    assert "model.hidden_dim: 13 → 7" in line
    assert "training.epochs: 20 → 1" in line
    assert (folder / "config.json").read_bytes() == before


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "config.json").write_text('{"task": {'), "config.json: expected a whole JSON document"),
        (lambda f: (f / "config.json").unlink(), "holds models but no config.json"),
    ],
)
def test_a_folder_with_a_broken_configuration_is_refused(make_run, damage, message):
    folder = make_run()
    damage(folder)
    assert message in refuse("train_multiple", "--experiment_name", "run", "--output_dir", folder.parent, *TINY)


def test_an_output_folder_that_cannot_be_made_is_refused():
    Path("file").touch()
    assert "file" in refuse("train_multiple", "--experiment_name", "a", "--output_dir", "file", *TINY)


def test_a_full_disk_gets_one_line(monkeypatch, capsys):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("emt.runs.os.fsync", full)
    code = run_script("train_multiple.py", lambda: train_multiple.main(["--experiment_name", "a", *TINY]))
    assert code == 2
    said = capsys.readouterr().err
    assert re.fullmatch(r"train_multiple\.py: a/\.?config\.json\S*: no space left on the disk\n", said)


@pytest.mark.parametrize(
    ("words", "unbuffered", "code"),
    [("eigenvalue --summary_file SUMMARY", "", 0), ("eigenvalue --summary_file SUMMARY", "1", 141), ("--help", "", 0)],
)
def test_whoever_reads_the_lines_may_stop(write_summary, tmp_path, monkeypatch, words, unbuffered, code):
    monkeypatch.setenv("PYTHONUNBUFFERED", unbuffered)
    words = words.replace("SUMMARY", str(write_summary(tmp_path, 2))).split()
    with start("analyze", *words) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(60) == code


def test_a_script_does_without_standard_output(write_summary, tmp_path):
    words = shlex.join(command("analyze", "eigenvalue", "--summary_file", write_summary(tmp_path, 2)))
    done = subprocess.run(f"{words} >&-", shell=True, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "eigenvalue_analysis" / "eigenvalue_statistics.csv").exists()


def test_a_broken_pipe_elsewhere_gets_its_line(capsys):
    def lose_a_worker():
        raise BrokenPipeError(errno.EPIPE, "worker gone")

    assert run_script("train_multiple.py", lose_a_worker) == 2
    assert "worker gone" in capsys.readouterr().err


@pytest.fixture
def small_disk(tmp_path):
    """Return a folder on a file system of 100 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", "size=100k", "tmpfs", folder]
    mount = shutil.which("mount")
    if mount is None or subprocess.run([mount, *options], capture_output=True, check=False).returncode != 0:
        pytest.skip("file systems cannot be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.mark.slow
def test_a_disk_that_fills_up_while_training_gets_one_line(small_disk):
    words = ["--experiment_name", "a", "--output_dir", small_disk, *TINY, "--num_models", "1", "--hidden_dim", "128"]
    code, lines = complain("train_multiple", *words)
    assert code in (1, 2)
    assert len(lines) == 1, lines
    assert "no space left" in lines[0].lower()


# Evaluation: what is refused


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--models_dir missing", "--models_dir: expected an existing path; there is no missing"),
        ("--models_dir RUN --horizon 5", "unrecognized arguments: --horizon 5"),
        ("--models_dir RUN --test_horizon 0", "--test_horizon: expected at least 1; got 0"),
        ("--models_dir RUN --test_horizon many", "--test_horizon: invalid int value: 'many'"),
        ("--models_dir RUN --num_workers 0", "--num_workers: expected at least 1; got 0"),
        ("--models_dir RUN --seq_length 3 4 5", "--seq_length: expected one length from 1 or an ascending range"),
        ("--models_dir RUN --seq_length 7 3", "--seq_length: expected one length from 1 or an ascending range"),
        ("--models_dir RUN --seq_length 0", "--seq_length: expected one length from 1 or an ascending range"),
        ("--models_dir RUN --model_pattern other-*", "--model_pattern: expected folders named 'other-*'"),
        ("--models_dir RUN --model_pattern ../*", "--model_pattern: expected a pattern for names inside"),
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
        (lambda f: (f / "config.json").unlink(), "config.json: expected a configuration file; it does not exist"),
        (lambda f: (f / "config.json").write_text('{"task": {'), "config.json: expected a whole JSON document"),
        (lambda f: (f / "config.json").write_bytes(b"\xff\xfe"), "config.json: expected a whole JSON document"),
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


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("NaN", "model-2: expected finite weights; readout.weight holds NaN or infinity"),
        ("truncated", "weights.safetensors is truncated or was changed"),
        ("corrupt", "weights.safetensors is truncated or was changed"),
        ("unfinished", "model-2: expected a finished model"),
    ],
)
def test_a_bad_model_is_named_and_the_others_are_evaluated(make_run, kind, message):
    folder = make_run()
    spoil(folder / "model-2", kind)
    code, lines = complain("evaluate_multiple", "--models_dir", folder, "--no_figures", "--test_horizon", "5")
    assert (code, len(lines)) == (1, 1), lines
    assert "model-2: " in lines[0]
    assert message in lines[0]
    summary = runs.read_summary(folder)
    assert [m["model_name"] for m in summary["metrics"]] == ["model-1", "model-3"]
    assert summary["n_models"] == 2
    assert [f["model_name"] for f in summary["failed"]] == ["model-2"]


@pytest.mark.slow
def test_a_run_without_one_finished_model_is_refused_in_one_line(make_run):
    folder = make_run()
    for model in folder.glob("model-*"):
        spoil(model, "unfinished")
    line = refuse("evaluate_multiple", "--models_dir", folder)
    assert "none of the 3 models could be evaluated; model-1: expected a finished model" in line
    assert not (folder / "evaluation_summary.json").exists()


# Analysis: what is refused


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "--summary_file: expected an existing path"),
        ('{"metrics": []}', "the population is empty"),
        ('{"metrics": [{"model_na', "expected a whole JSON document"),
        ("[]", "expected an evaluation summary with a list 'metrics'; found none"),
    ],
)
def test_analysis_refuses_a_broken_summary(text, message):
    path = Path("evaluation_summary.json")
    if text is not None:
        path.write_text(text)
    assert message in refuse("analyze", "eigenvalue", "--summary_file", path)


# Interruptions

LONG = shlex.split(
    "--seq_length 5 --input_dim 4 --hidden_dim 64 --batch_size 32 --learning_rate 1e-3 --curriculum_horizons 5 20 "
    "--curriculum_threshold 0.6 --num_models 3 --num_workers 1 --epochs 5 --epoch_batches 150 --validation_batches 3"
)


def wait_until(condition, process, timeout=120):
    end = time.monotonic() + timeout
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
def test_an_interrupted_training_keeps_what_is_done_and_continues():
    words = ["train_multiple", "--experiment_name", "a", *LONG]
    process = start(*words)
    wait_until(lambda: step_reached(Path("a"), 20), process)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    lines = errors.splitlines()
    assert len(lines) == 1, errors
    assert "interrupted; what is done is kept in a, the same command continues" in lines[0]
    assert list(Path("a/population").glob("*.safetensors")), "no resume state was saved"
    succeed(*words)
    assert "continued after an interruption" in Path("a/model-1/training.log").read_text()
    assert [m.name for m in runs.model_folders(Path("a")) if not runs.is_done(Path("a"), runs.model_number(m))] == []


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [0.2, 1.0, 3.0])
@pytest.mark.parametrize("script", ["train_multiple", "evaluate_multiple"])
def test_an_interruption_while_workers_start_gets_one_line(script, seconds, make_run):
    words = ["--experiment_name", "a", *LONG] if script == "train_multiple" else ["--models_dir", make_run()]
    process = start(script, *words)
    assert process.stdout.readline()
    time.sleep(seconds)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert len(errors.splitlines()) == 1, errors


@pytest.mark.slow
def test_a_training_killed_three_times_ends_with_the_same_bytes():
    words = ["train_multiple", *LONG, "--stop_accuracy", "0.9"]
    succeed(*words, "--experiment_name", "whole")
    expected = weights_of(Path("whole"))
    assert len(expected) == 3
    steps = {runs.read_weights(m)[1]["step"] for m in runs.model_folders(Path("whole"))}
    assert len(steps) == 3, "members must end at different steps for this test to say something"

    experiment = Path("killed")
    moments = [
        lambda: step_reached(experiment, 20),
        lambda: any(experiment.glob("population/*.safetensors")) and step_reached(experiment, 170),
        lambda: 0 < len(list(experiment.glob("model-*/checkpoint/done.json"))) < 3,
    ]
    finished = {}
    for moment in moments:
        process = start(*words, "--experiment_name", experiment)
        wait_until(moment, process)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert all(expected[name] == digest for name, digest in weights_of(experiment).items())
        for path in experiment.glob("model-*/checkpoint/done.json"):
            finished |= {p: p.stat().st_mtime_ns for p in path.parent.iterdir()}
    assert finished
    succeed(*words, "--experiment_name", experiment)
    assert weights_of(experiment) == expected
    assert {p: p.stat().st_mtime_ns for p in finished} == finished
    for name in expected:
        curves = [(folder / name / "training_curve.csv").read_text() for folder in (Path("whole"), experiment)]
        assert curves[0] == curves[1]


@pytest.mark.slow
def test_a_killed_evaluation_continues_to_the_same_numbers(make_run):
    def numbers(folder):
        places = ("model_path", "output_dir")
        return [{k: v for k, v in m.items() if k not in places} for m in runs.read_summary(folder)["metrics"]]

    whole, killed = make_run("whole"), make_run("killed")
    words = ["--test_horizon", "9", "--num_workers", "1"]
    succeed("evaluate_multiple", "--models_dir", whole, *words)
    process = start("evaluate_multiple", "--models_dir", killed, *words)
    wait_until(lambda: 0 < len(list(killed.glob("model-*/results/metrics.json"))) < 3, process)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (killed / "evaluation_summary.json").exists()
    done = {p: p.stat().st_mtime_ns for p in killed.glob("model-*/results/metrics.json")}
    succeed("evaluate_multiple", "--models_dir", killed, *words)
    assert numbers(killed) == numbers(whole)
    assert {p: p.stat().st_mtime_ns for p in done} == done


@pytest.mark.slow
def test_a_second_process_on_one_run_is_refused_by_name():
    words = ["train_multiple", "--experiment_name", "a", *LONG]
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
    assert "for the epochs to come" in printed.splitlines()[1]
    return folder / "a"


@pytest.fixture(scope="module")
def ranged(tmp_path_factory):
    """Return a run over a range of lengths, evaluated, with enough members to embed."""
    folder = tmp_path_factory.mktemp("ranged")
    words = ["--experiment_name", "b", "--seq_length", "3", "7", *SHORT, "--num_models", "3", "--output_dir", folder]
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
        assert {"checkpoint", "training.log", "training_curve.csv", "lightning_logs"} <= set(os.listdir(folder))
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
    assert f"Next: python analyze.py eigenvalue --summary_file {experiment}" in printed
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
        ("stream", "--seq_length 3 --infinite_horizon --total_length 90 --output_horizon 9 --hidden_dim 32", True),
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
    subprocess.run(command("analyze", *words, "--output_dir", tmp_path / "out"), check=True, capture_output=True)
    names = os.listdir(tmp_path / "out")
    assert {Path(n).suffix for n in names} >= {".png", ".pdf", ".csv", ".json"}
    assert table is None or table in {Path(n).stem for n in names}
