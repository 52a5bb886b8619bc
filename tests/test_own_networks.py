"""OWN_NETWORKS.md runs as it stands; a copy of a network of the toolkit has the numbers of its run."""

import contextlib
import io
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

import emt
import emt.errors
from emt import dynamics_file, trace
from emt.commands import evaluate as evaluate_multiple
from emt.commands import train as train_multiple
from emt.commands.main import main as run_emt
from emt.dynamics import describe
from emt.tasks.variable_binding import VariableBinding

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.usefixtures("in_this_process"),
]

GUIDE = (Path(__file__).parents[1] / "OWN_NETWORKS.md").read_text(encoding="utf-8")
PYTHON = re.findall(r"^```python\n(.*?)^```", GUIDE, re.S | re.M)
SHELL = re.findall(r"^```bash\n(.*?)^```", GUIDE, re.S | re.M)


@pytest.fixture
def quick(monkeypatch):
    """How many points are found and how exact exponents are is not what is asked here."""
    monkeypatch.setattr(describe, "STARTS", 32)
    monkeypatch.setattr(describe, "SILENT_STEPS", 50)


@pytest.mark.parametrize("code", PYTHON[1:], ids=range(2, len(PYTHON) + 1))
def test_examples_show_something(code, quick, tmp_path, monkeypatch, capsys):
    if "transformers" in code:
        pytest.importorskip("transformers", reason="the extra 'hf' is not installed")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "OWN_NETWORKS.md", "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out.strip()


@pytest.mark.slow
def test_a_gru_reaches_everything_in_a_dozen_lines(quick, tmp_path, monkeypatch, capsys):
    lines = [line for line in (PYTHON[0] + SHELL[0]).splitlines() if line.strip()]
    assert len(lines) <= 12
    monkeypatch.chdir(tmp_path)
    exec(compile(PYTHON[0], "OWN_NETWORKS.md", "exec"), {"__name__": "__main__"})
    loop = re.fullmatch(r"for command in (.*); do emt (.*); done", lines[-1])
    for name in loop[1].split():
        assert run_emt(shlex.split(loop[2].replace("$command", name))) == 0
    found = {path.name for path in tmp_path.rglob("*")}
    assert {"report.html", "topology_tests.png", "dynamics_points.csv", "eigenvalue_summary.csv"} <= found
    assert "similarity_distances.png" in found
    assert "emt.from_torch (proofs passed" in (tmp_path / "gru" / "report.html").read_text()


class Copy(nn.Module):
    """What a weight file of the toolkit holds, as modules of torch."""

    def __init__(self, kind, weights):
        super().__init__()
        units = weights["readout.weight"].shape[1]
        self.rnn = kind(weights["rnn.weight_ih_l0"].shape[1], units, bias=False, batch_first=True)
        self.readout = nn.Linear(units, len(weights["readout.weight"]), bias=False)
        self.load_state_dict(weights)

    def forward(self, x):
        return self.readout(self.rnn(x)[0])


RUN = (
    "--task variable_binding --seq_length 3 --input_dim 2 --curriculum_horizons 4 6 --hidden_dim 8 --seed 7 "
    "--num_models 2 --epochs 1 --epoch_batches 3 --validation_batches 1 --batch_size 4 --learning_rate 0.05 "
    "--engine inline --accelerator cpu --experiment_name run"
)
HORIZON = 8


@pytest.mark.parametrize(("model", "kind"), [("rnn", nn.RNN), ("lstm", nn.LSTM)])
def test_an_adopted_copy_has_the_numbers_of_the_run_itself(model, kind, quick, tmp_path):
    run = tmp_path / "run"
    with contextlib.redirect_stdout(io.StringIO()):
        assert (
            train_multiple.main([*shlex.split(RUN), "--model_type", model, "--output_dir", str(tmp_path)])
            == 0
        )
        words = (
            f"--models_dir {run} --test_horizon {HORIZON} --no_figures --num_workers 1 --dynamics --starts 32"
        )
        assert evaluate_multiple.main(shlex.split(words)) == 0
    own = trace.load(run / "traces" / "seq3.nc")
    seeds = trace.about(own).seeds
    files = [run / f"model-{number}" / "checkpoint" / "weights.safetensors" for number in (1, 2)]
    networks = [Copy(kind, load_file(file)) for file in files]
    task = VariableBinding(seq_length=3, input_dim=2)

    evaluated = emt.from_torch(
        networks, emt.task_trials(task, 3, horizon=HORIZON, size=256, seed=7), seeds=seeds
    )
    expected = json.loads((run / "evaluation_summary.json").read_text())["metrics"]
    for entry, adopted in zip(expected, evaluated.summary()["metrics"], strict=True):
        assert set(entry) - {"model_path", "output_dir"} == set(adopted)
        for name, value in adopted.items():
            if isinstance(value, int | float | list) and not isinstance(value, bool):
                np.testing.assert_allclose(value, entry[name], atol=1e-5, err_msg=name)

    recorded = emt.from_torch(networks, emt.task_trials(task, 3, horizon=HORIZON, seed=7), seeds=seeds)
    for name in (
        "hidden",
        "outputs",
        "step_matrix",
        "readout",
        "operator",
        "written",
        "targets",
        "scored",
        "inputs",
    ):
        np.testing.assert_allclose(recorded.recording[name], own[name], atol=1e-5, err_msg=name)
    assert trace.about(recorded.recording).states == trace.about(own).states
    portrait, adopted = dynamics_file.load(run / "dynamics" / "seq3.nc"), recorded.dynamics()
    for name in ("found", "owner", "hits", "position", "spread", "jacobian", "input_jacobian"):
        np.testing.assert_allclose(adopted[name], portrait[name], atol=1e-5, err_msg=name)
    # An LSTM nearly erases some directions: the last digit of its weights moves their exponents by as much.
    apart = np.abs(adopted["exponent"] - portrait["exponent"])
    assert (apart <= 1e-5 + portrait["exponent_change"]).all()
    assert (portrait["exponent_change"] < 1e-5).mean() > 0.3


# A run and its folder


@pytest.fixture
def run():
    torch.manual_seed(0)
    return emt.from_torch([nn.GRU(3, 5) for _ in range(3)], emt.trials(torch.randn(6, 9, 3)), label="mine")


def test_a_run_says_in_short_what_it_is(run):
    assert repr(run).startswith(
        "<emt run 'mine': members 3, trials 6, steps 9, units 5, states hidden, proofs passed"
    )
    assert "<caption>mine</caption>" in run._repr_html_()
    assert "&lt;b&gt;" in emt.from_arrays(np.ones((1, 2, 3, 4)), label="<b>")._repr_html_()


def test_a_folder_holds_what_was_recorded_and_no_weights(run, tmp_path):
    assert run.save(tmp_path / "mine") == tmp_path / "mine"
    files = sorted(p.relative_to(tmp_path / "mine").as_posix() for p in tmp_path.rglob("*") if p.is_file())
    assert files == ["adopted.json", "evaluation_summary.json", "traces/seq9.nc"]
    about = json.loads((tmp_path / "mine" / "adopted.json").read_text())
    assert about["recorded_with"] == "from_torch"
    assert [member["class"] for member in about["members"]] == ["torch.nn.modules.rnn.GRU"] * 3
    assert len({member["sha256"] for member in about["members"]}) == 3
    assert about["proof"]["repeat"] == 0
    np.testing.assert_array_equal(
        trace.load(tmp_path / "mine" / "traces" / "seq9.nc")["hidden"], run.recording["hidden"]
    )


def test_a_folder_of_another_run_is_refused(run, tmp_path):
    run.save(tmp_path / "mine")
    run.save(tmp_path / "mine")
    other = emt.from_arrays(np.ones((1, 2, 3, 4)), label="other")
    with pytest.raises(emt.errors.UserError, match=r"folder: .* holds the run 'mine', this one is 'other'"):
        other.save(tmp_path / "mine")
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(emt.errors.UserError, match=r"folder: .* holds a run trained here"):
        other.save(tmp_path)


def refuse(capsys, *words):
    assert run_emt([str(word) for word in words]) == 2
    [line] = capsys.readouterr().err.splitlines()
    return line


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "evaluate --dynamics --models_dir",
            "--dynamics: .* holds no networks; search where you have them: run.save",
        ),
        (
            "evaluate --seq_length 3 --models_dir",
            "--seq_length: .* holds a recorded run, whose trials are fixed",
        ),
        ("evaluate --test_horizon 3 --models_dir", "--test_horizon: .* holds a recorded run"),
        (
            "analyze match --summary_file",
            "match: model 'mine' has no associative memory; no log of one came with",
        ),
        ("analyze variables --summary_file", "the trials have no linear operator.*emt.task_trials brings"),
        ("analyze dynamics --summary_file", r"write them with: run.save\('.*', dynamics=True\)"),
        ("analyze emergence --summary_file", r"write them with: run.save\('.*', step=N\)"),
    ],
)
def test_commands_say_what_this_kind_of_run_lacks(words, message, run, tmp_path, capsys):
    run.save(tmp_path / "mine")
    assert re.search(message, refuse(capsys, *words.split(), tmp_path / "mine"))


def test_a_recording_alone_is_enough(run, tmp_path, capsys):
    run.save(tmp_path / "mine")
    (tmp_path / "mine" / "adopted.json").unlink()
    (tmp_path / "mine" / "evaluation_summary.json").unlink()
    file = tmp_path / "alone.nc"
    file.write_bytes((tmp_path / "mine" / "traces" / "seq9.nc").read_bytes())
    assert run_emt(["analyze", "dimensionality", "--summary_file", str(file)]) == 0
    assert run_emt(["analyze", "eigenvalue", "--summary_file", str(file)]) == 0
    assert "alone: 3 models" in capsys.readouterr().out
    assert (tmp_path / "eigenvalue_analysis" / "eigenvalue_summary.csv").exists()
    assert run_emt(["analyze", "report", "--summary_file", str(tmp_path / "mine")]) == 0
    page = (tmp_path / "mine" / "report.html").read_text()
    assert "model-3" in page
    assert "mine/evaluation_summary.json" not in page
    assert "match: model 'mine' has no associative memory" in refuse(
        capsys, "analyze", "match", "--summary_file", file
    )


def test_lengths_of_trials_are_told(tmp_path, capsys):
    states = np.random.default_rng(0).normal(size=(2, 4, 6, 3))
    emt.from_arrays(states, lengths=[6, 4, 5, 6], label="x").save(tmp_path / "x")
    assert run_emt(["analyze", "dimensionality", "--summary_file", str(tmp_path / "x")]) == 0
    assert "x: 2 models on 4 sequences of 4 to 6 steps" in capsys.readouterr().out


def test_memories_of_a_recording_alone_are_matched(make_recording, tmp_path, capsys):
    trace.save(make_recording(), tmp_path / "alone.nc")
    words = ["analyze", "match", "--summary_file", str(tmp_path / "alone.nc"), "--trials", "1"]
    assert run_emt(words) == 0
    assert (tmp_path / "match_analysis" / "match_scores.csv").exists(), capsys.readouterr().out


def test_fixed_points_need_a_step_in_double_precision():
    weight, trials = torch.eye(3) / 2, emt.trials(np.ones((2, 4, 3)))
    step = lambda x, state: (state, torch.tanh(state @ weight + x))  # noqa: E731
    with pytest.raises(emt.errors.UserError, match="dynamics: expected a step that computes in float64"):
        emt.from_cells(step, lambda batch: torch.zeros(batch, 3), trials).dynamics()
    with pytest.raises(emt.errors.UserError, match="dynamics: expected a run of networks"):
        emt.from_arrays(np.ones((1, 2, 3, 4))).dynamics()
