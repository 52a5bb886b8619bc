"""`emt import`: an experiment of the earlier code, and networks of others, become runs with their numbers."""

import json
import shutil

import numpy as np
import pytest
import torch

import emt
from emt import config as configuration
from emt import files, record, runs
from emt.commands.import_run import main
from emt.errors import UserError

UNITS, DIM, LENGTH = 14, 4, 3


class Earlier(torch.nn.Module):
    """The earlier code's network, under its names."""

    def __init__(self, inputs=DIM, bias=False):
        super().__init__()
        self.model = torch.nn.ModuleDict(
            {
                "rnn": torch.nn.RNN(inputs, UNITS, bias=bias),
                "readout": torch.nn.Linear(UNITS, DIM, bias=bias),
            }
        )


def earlier_config(**task):
    base = {"task_id": [15, 0, 0], "input_dim": DIM, "seq_length": LENGTH, "use_eos": False}
    base |= {"infinite_horizon": False, "output_horizon": None, "total_length": None}
    return {
        "metadata": {"experiment_name": "old", "script": "train.py"},
        "task": base | task,
        "model": {"type": "rnn", "hidden_dim": UNITS, "bias": False},
        "training": {
            "seed": 5,
            "learning_rate": 0.001,
            "epochs": 4,
            "curriculum_horizons": [10, 20],
            "num_models": 2,
        },
        "execution": {"accelerator": "cpu", "num_workers": 2},
    }


def reference(recurrent, companion):
    """Return what the earlier evaluation computed, in single precision and step by step."""
    left, singular, _ = torch.linalg.svd(recurrent)
    left = left[:, : len(companion)]
    compressed = (left.T @ recurrent @ left).numpy()
    values = np.linalg.eigvals(compressed)
    return {
        "eigenvalues_rnn_seq3": [[float(v.real), float(v.imag)] for v in values],
        "variance_ratio_seq3": float((singular[: len(companion)] ** 2).sum() / (singular**2).sum()),
        "frob_error_seq3": float(np.linalg.norm(compressed - companion)),
    }


def make_earlier(folder, networks, **task):
    """Write an experiment as the earlier code leaves it, with its summary."""
    files.write_text(folder / "config.json", json.dumps(earlier_config(**task)))
    # Φ of repeat copy: a shift of the window by one vector, and the oldest one is next.
    companion = np.roll(np.eye(LENGTH * DIM), -DIM, axis=0)
    metrics = []
    for number, network in enumerate(networks, 1):
        path = folder / f"model-{number}/lightning_logs/version_0/checkpoints/epoch=3-step=240.ckpt"
        path.parent.mkdir(parents=True)
        given = {"seed": number, "task_id": (15, 0, 0)}
        torch.save({"state_dict": network.state_dict(), "hyper_parameters": given, "kind": Earlier}, path)
        recurrent = network.model["rnn"].weight_hh_l0.detach()
        entry = {
            "model_name": f"model-{number}",
            "accuracy": 0.5,
            "seq_lengths": [LENGTH],
            "hidden_dim": UNITS,
        }
        metrics.append(entry | {"input_dim": DIM, "batch_size": 64} | reference(recurrent, companion))
    summary = {"timestamp": "t", "n_models": len(metrics), "metrics": metrics}
    files.write_text(folder / "evaluation_summary.json", json.dumps(summary))
    return folder


@pytest.fixture
def networks():
    torch.manual_seed(0)
    return [Earlier() for _ in range(2)]


def contents(folder):
    return {
        path: (path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()
    }


def test_an_earlier_experiment_becomes_a_run_with_its_weights(networks, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    source = make_earlier(tmp_path / "old", networks)
    before = contents(source)
    assert main(["old"]) == 0
    assert contents(source) == before
    config = configuration.read(tmp_path / "old-imported/config.json")
    assert config.task == {
        "name": "variable_binding",
        "task_id": (15, 0, 0),
        "input_dim": DIM,
        "seq_length": LENGTH,
        "use_eos": False,
        "infinite_horizon": False,
        "output_horizon": 15,
        "total_length": 300,
    }
    assert config.model == {"type": "rnn", "hidden_dim": UNITS, "bias": False, "init": "default"}
    assert (config.training.seeds(), config.training.curriculum_horizons) == ((5, 1005), (10, 20))
    for number, network in enumerate(networks, 1):
        weights, marker = runs.read_weights(tmp_path / f"old-imported/model-{number}")
        assert (marker["step"], marker["seed"]) == (240, 5 + 1000 * (number - 1))
        expected = {
            name.removeprefix("model."): value.numpy() for name, value in network.state_dict().items()
        }
        assert set(weights) == set(expected)
        assert all(np.array_equal(weights[name], value) for name, value in expected.items())
    said = capsys.readouterr().out
    assert "Next: emt evaluate --models_dir old-imported" in said


def test_its_own_numbers_come_out(networks, tmp_path, capsys):
    """The control: with the weights of the other member they are others, and that is said."""
    source = make_earlier(tmp_path / "old", networks)
    assert main([str(source), "--output_dir", str(tmp_path), "--experiment_name", "a"]) == 0
    said = capsys.readouterr()
    assert "Compared with its own summary, 2 models: " in said.out
    assert said.err == ""
    summary = files.read_json(source / "evaluation_summary.json")
    for entry in summary["metrics"]:
        entry["variance_ratio_seq3"] += 1e-4
    files.write_json(source / "evaluation_summary.json", summary)
    assert main([str(source), "--output_dir", str(tmp_path), "--experiment_name", "b"]) == 0
    assert "variance_ratio differs by 1.0e-04 from its own summary" in capsys.readouterr().err


def test_seeds_of_single_models_are_kept(networks, tmp_path):
    source = make_earlier(tmp_path / "old", networks)
    for number, seed in ((1, 7), (2, 3)):
        config = earlier_config()
        config["training"]["seed"] = seed
        files.write_text(source / f"model-{number}/config.json", json.dumps(config))
    assert main([str(source), "--output_dir", str(tmp_path)]) == 0
    config = configuration.read(tmp_path / "old-imported/config.json")
    assert (config.training.seeds(), config.training.member_seeds) == ((7, 3), (7, 3))


def test_a_stream_and_a_network_with_biases(tmp_path, capsys):
    """A stream of the earlier code has an end marker within its channels, whatever use_eos says."""
    task = {
        "infinite_horizon": True,
        "use_eos": True,
        "seq_length": [2, 4],
        "output_horizon": 5,
        "total_length": 60,
    }
    source = make_earlier(tmp_path / "old", [Earlier(bias=True)], **task)
    assert main([str(source), "--output_dir", str(tmp_path)]) == 0
    config = configuration.read(tmp_path / "old-imported/config.json")
    assert (config.task["use_eos"], config.task["seq_length"], config.task["total_length"]) == (
        False,
        (2, 4),
        60,
    )
    assert config.model["bias"]
    said = capsys.readouterr().out
    assert "use_eos: off, since a stream has an end marker of its own\n" in said
    assert "bias: True, as the weights say; config.json has False\n" in said


def test_the_newest_version_and_the_last_step_are_taken(networks, tmp_path):
    source = make_earlier(tmp_path / "old", networks[:1])
    logs = source / "model-1/lightning_logs"
    for version, step, network in ((10, 9, networks[0]), (10, 80, networks[1]), (9, 900, networks[0])):
        path = logs / f"version_{version}/checkpoints/epoch=0-step={step}.ckpt"
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"state_dict": network.state_dict()}, path)
    assert main([str(source), "--output_dir", str(tmp_path)]) == 0
    weights, marker = runs.read_weights(tmp_path / "old-imported/model-1")
    assert marker["step"] == 80
    assert np.array_equal(weights["readout.weight"], networks[1].model["readout"].weight.detach())


def test_a_folder_of_one_model_is_an_experiment(networks, tmp_path):
    source = make_earlier(tmp_path / "old", networks[:1])
    shutil.move(source / "model-1/lightning_logs", source / "lightning_logs")
    assert main([str(source), "--output_dir", str(tmp_path)]) == 0
    assert runs.is_done(tmp_path / "old-imported", 1)


def test_a_model_that_cannot_be_read_is_named_and_the_others_are_imported(networks, tmp_path, capsys):
    source = make_earlier(tmp_path / "old", networks)
    [path] = source.glob("model-1/**/*.ckpt")
    path.write_bytes(path.read_bytes()[:900])
    (source / "model-3").mkdir()
    assert main([str(source), "--output_dir", str(tmp_path)]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[1] for line in lines] == ["model-3", "model-1"]
    assert runs.is_done(tmp_path / "old-imported", 2)


def test_the_same_import_is_repeated_and_another_one_refused(networks, tmp_path):
    words = [str(make_earlier(tmp_path / "old", networks)), "--output_dir", str(tmp_path)]
    assert main(words) == 0
    assert main(words) == 0
    other = [
        str(make_earlier(tmp_path / "other", networks, task_id=[30, 0, 0])),
        "--output_dir",
        str(tmp_path),
    ]
    with pytest.raises(UserError, match="expected a new folder"):
        main([*other, "--experiment_name", "old-imported"])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda folder: (folder / "config.json").unlink(), "no such file: .*config.json"),
        (lambda folder: (folder / "config.json").write_text("{}"), "config.json: task: expected a value"),
        (
            lambda folder: shutil.rmtree(folder / "model-1/lightning_logs"),
            "expected an experiment of the earlier code",
        ),
        (
            lambda folder: files.write_text(folder / "config.json", json.dumps(earlier_config(input_dim=5))),
            "task_id: must have 5 one-bits",
        ),
        (
            lambda folder: files.write_text(folder / "config.json", json.dumps(earlier_config(use_eos=True))),
            "architecture: rnn.weight_ih_l0: expected shape .5, 14. .in, out.; got .4, 14.",
        ),
        (
            lambda folder: files.write_text(
                folder / "config.json", json.dumps(earlier_config(task_id=[7, 0, 0]))
            ),
            "task_id: must have 4 one-bits",
        ),
    ],
)
def test_what_is_no_earlier_experiment_is_refused(change, told, networks, tmp_path):
    source = make_earlier(tmp_path / "old", networks[:1])
    change(source)
    with pytest.raises(UserError, match=told) as refusal:
        main([str(source), "--output_dir", str(tmp_path)])
    assert refusal.value.in_flags().isprintable()
    assert not (tmp_path / "old-imported").exists()


def test_nothing_is_written_into_the_source(networks, tmp_path):
    source = make_earlier(tmp_path / "old", networks)
    with pytest.raises(UserError, match="output_dir: expected a folder outside the source"):
        main([str(source), "--output_dir", str(source)])


def test_weights_that_are_not_finite_are_named(networks, tmp_path):
    source = make_earlier(tmp_path / "old", networks[:1])
    [path] = source.glob("model-1/**/*.ckpt")
    weights = networks[0].state_dict()
    weights["model.rnn.weight_hh_l0"][0, 0] = torch.nan
    torch.save({"state_dict": weights}, path)
    with pytest.raises(UserError, match=r"expected finite weights; rnn\.weight_hh_l0 holds NaN"):
        main([str(source), "--output_dir", str(tmp_path)])


def test_a_run_of_this_project_is_told_apart(tmp_path):
    runs.write_weights(tmp_path / "run/model-1", {"w": np.ones(2)}, {})
    with pytest.raises(UserError, match="it is a run of this project already"):
        main([str(tmp_path / "run")])


def test_an_unknown_network_is_refused_with_the_way_that_others_take(tmp_path):
    torch.save(torch.nn.GRU(3, 5).state_dict(), tmp_path / "a.pt")
    with pytest.raises(
        UserError, match=r"fastweights_ar, .*got weight_ih_l0.*emt.load_weights\(path\).network"
    ):
        main([str(tmp_path / "a.pt")])
    assert emt.load_weights(tmp_path / "a.pt").network()


def save_fast_weights(path, channels, units=9):
    """Write what fastweights_ar saves of its network with fast weights."""
    head = torch.nn.Sequential(torch.nn.Linear(units, 100), torch.nn.ReLU(), torch.nn.Linear(100, 10))
    parts = {"emb": torch.nn.Embedding(37, channels), "U": torch.nn.Linear(channels, units, bias=False)}
    parts |= {"W": torch.nn.Linear(units, units, bias=False), "ln": torch.nn.LayerNorm(units), "head": head}
    torch.save(torch.nn.ModuleDict(parts).state_dict(), path)
    return parts["emb"].weight.detach().numpy()


@pytest.mark.parametrize("channels", [12, 37])
def test_weight_files_become_members_of_a_run(channels, tmp_path, capsys):
    """An embedding (token, channel) is turned, also a square one: 37 tokens of 37 channels."""
    tables = [save_fast_weights(tmp_path / f"{n}.pt", channels) for n in range(2)]
    words = [
        *(str(tmp_path / f"{n}.pt") for n in range(2)),
        "--output_dir",
        str(tmp_path),
        "--experiment_name",
        "run",
    ]
    assert main([*words, "--seeds", "4", "8", "--pairs", "5", "--lam", "0.8"]) == 0
    config = configuration.read(tmp_path / "run/config.json")
    assert config.task == {"name": "associative_retrieval", "pairs": 5, "data_npz": None}
    sizes = {name: config.model[name] for name in ("type", "hidden_dim", "embedding_dim", "lam", "eta")}
    assert sizes == {"type": "fw", "hidden_dim": 9, "embedding_dim": channels, "lam": 0.8, "eta": 0.5}
    loaded = record.load_members(tmp_path / "run", config, [1, 2])
    assert loaded.model.seeds == (4, 8)
    assert np.array_equal(loaded.model.embedding.numpy(), np.stack(tables))
    assert (
        "Not in the file, as given or by default: eta 0.5, lam 0.8, inner_steps 1\n"
        in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--hidden_dim", "8"], "hidden_dim: must be 9, as the weights say; got 8"),
        (["--seeds", "1", "2"], "seeds: must be one for each of the 1 files; got 2"),
        (["--seeds", "-1"], "^seeds: must be ≥ 0; got -1"),
        (["--task", "variable_binding"], "seq_length: must be an integer"),
        (["--no_such_flag"], "unrecognized arguments: --no_such_flag"),
    ],
)
def test_flags_that_do_not_fit_the_weights_are_refused(words, told, tmp_path):
    save_fast_weights(tmp_path / "a.pt", 12)
    with pytest.raises(UserError, match=told):
        main([str(tmp_path / "a.pt"), "--output_dir", str(tmp_path), *words])
    assert not (tmp_path / "a-imported").exists()


def test_other_shapes_than_the_programs_are_refused_in_one_line(tmp_path):
    tensors = {
        f"{n}.{kind}": torch.ones(2)
        for n in ("i2h", "h2h", "a2c.actor", "a2c.critic")
        for kind in ("weight", "bias")
    }
    torch.save(tensors, tmp_path / "a.pt")
    with pytest.raises(UserError, match="expected tensors of the shapes that dnd-lstm gives them") as refusal:
        main([str(tmp_path / "a.pt"), "--output_dir", str(tmp_path)])
    assert str(refusal.value).isprintable()


def test_a_folder_says_its_task_itself(networks, tmp_path):
    source = make_earlier(tmp_path / "old", networks)
    with pytest.raises(UserError, match=r"--task: .* is a folder, which says it itself"):
        main([str(source), "--task", "flip_flop"])
    with pytest.raises(UserError, match="expected one folder, or weight files; got 2"):
        main([str(source), str(source)])
    with pytest.raises(UserError, match=r"^no such file: nosuch"):
        main(["nosuch"])
