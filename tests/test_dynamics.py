"""From weights to fixed points: evaluate_multiple.py --dynamics and analyze.py dynamics."""

import pandas as pd
import pytest

from emt import dynamics_file, files, runs
from emt.commands import evaluate as evaluate_multiple
from emt.commands.main import main as emt
from emt.config import RunConfig, TrainingConfig
from emt.models import MODELS
from emt.options import load


@pytest.fixture
def experiment(tmp_path):
    """Return a finished run of two random LSTMs on short flip-flops."""
    config = RunConfig(
        metadata={"experiment_name": "flips"},
        task={"name": "flip_flop", "steps": 5, "bits": 2},
        model={"type": "lstm", "hidden_dim": 3},
        training=TrainingConfig(num_models=2),
    )
    files.write_json(tmp_path / "config.json", config.model_dump())
    stack = load(MODELS, "lstm", "model_type")(config.training.seeds(), 2, 2, hidden_dim=3)
    for position in range(2):
        runs.write_weights(
            runs.model_folder(tmp_path, position + 1), stack.export(position), {"status": "finished"}
        )
    return tmp_path


def test_a_run_without_portraits_is_refused_and_the_command_named(write_summary, tmp_path, capsys):
    path = write_summary(tmp_path / "run", 2)
    assert emt(["analyze", "dynamics", "--summary_file", str(path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"expected fixed points in {path.parent / 'dynamics'}; write them with: " in line
    assert line.endswith(f"emt evaluate --models_dir {path.parent} --dynamics")


def test_portraits_become_tables_and_figures(write_summary, make_portrait, tmp_path, capsys):
    path = write_summary(tmp_path / "run", 2)
    dynamics_file.save(make_portrait(members=2), path.parent / "dynamics" / "seq5.nc")
    assert emt(["analyze", "dynamics", "--summary_file", str(path)]) == 0
    written = {file.name for file in (path.parent / "dynamics_analysis").iterdir()}
    assert {"dynamics_members.csv", "dynamics_points.json", "jacobian_eigenvalues.npy"} <= written
    assert {"dynamics_phase_portraits.png", "dynamics_spectra.pdf", "lyapunov_spectra.png"} <= written
    assert "run: 2 models, 8 fixed and slow points" in capsys.readouterr().out
    assert emt(["analyze", "dynamics", "--summary_file", str(path), "--seq_length", "7"]) == 2
    assert "must be one of the lengths recorded (5); got 7" in capsys.readouterr().err


@pytest.mark.usefixtures("in_this_process")
def test_evaluation_writes_portraits_once(experiment, capsys):
    words = ["--models_dir", str(experiment), "--no_figures", "--num_workers", "1"]
    assert evaluate_multiple.main(words) == 0
    path = experiment / "dynamics" / "seq5.nc"
    assert not path.parent.exists()
    assert evaluate_multiple.main([*words, "--dynamics", "--starts", "16"]) == 0
    printed = capsys.readouterr().out
    assert all(f"model-{n}, length 5: 1 fixed and 0 slow points; leading exponent" in printed for n in (1, 2))
    before = path.stat().st_mtime_ns
    assert evaluate_multiple.main([*words, "--dynamics", "--starts", "16"]) == 0
    assert "length 5: " not in capsys.readouterr().out
    assert evaluate_multiple.main(words) == 0
    assert path.stat().st_mtime_ns == before
    assert dynamics_file.load(path)["member"].values.tolist() == [1, 2]

    capsys.readouterr()
    assert emt(["analyze", "dynamics", "--summary_file", str(experiment)]) == 0
    assert f"{experiment.name}: 2 models" in capsys.readouterr().out
    members = pd.read_csv(experiment / "dynamics_analysis" / "dynamics_members.csv")
    assert members["model_name"].tolist() == ["model-1", "model-2"]
    assert (members["found"] >= 1).all()

    # Of other networks, or other lengths, nothing is left to be read as if it were of these.
    assert evaluate_multiple.main([*words, "--model_pattern", "model-1"]) == 0
    assert (
        f"Deleted, left over from an earlier run with other models or lengths: {path}"
        in capsys.readouterr().out
    )
    assert not path.exists()
    assert (experiment / "traces" / "seq5.nc").exists()
