"""The commands of the associative retrieval experiment, on tiny runs."""

import csv
import json
import re
from pathlib import Path
from shlex import split

import numpy as np
import pytest
from safetensors.numpy import load_file

from emt import config as configuration
from emt import files, runs
from emt.commands import evaluate as evaluate_multiple
from emt.commands.main import main as emt
from emt.errors import UserError
from emt.files import CurvePoint
from experiments.associative_retrieval import make_dataset, results, summary, train
from experiments.associative_retrieval.configs import CONFIGS, LABELS, PAPER_ERRORS
from experiments.associative_retrieval.results import log_text

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.usefixtures("in_this_process"),
]

SMALL = split("--R 8 --emb 6 --batch 16 --steps 40 --eval_every 20 --num_models 3 --num_workers 1")


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "ar.npz"
    make_dataset.main(f"--K 2 --train_n 300 --val_n 50 --test_n 70 --out {path}".split())
    return path


@pytest.fixture
def run(tmp_path, data):
    def start(model="fw", *flags, folder="run"):
        out = tmp_path / folder
        assert train.main(["--model", model, *SMALL, "--data_npz", str(data), "--out", str(out), *flags]) == 0
        return out

    return start


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def config_of(*flags):
    return train.build_config(train.parser().parse_args(["--model", "fw", *flags]))


def test_a_data_set_is_written_and_says_how_many_test_rows_are_known(data, capsys):
    with np.load(data) as file:
        assert file["x_train"].shape == (300, 7)
        assert file["y_val"].shape == (50,)
    make_dataset.main(f"--K 1 --train_n 9000 --val_n 3 --test_n 40 --out {data.with_name('one.npz')}".split())
    assert "40 of 40 test rows (100.000%) also occur in the training rows" in capsys.readouterr().out


@pytest.mark.parametrize(("flag", "value"), [("K", 0), ("K", 27), ("val_n", 0), ("chunk", 0)])
def test_wrong_sizes_of_a_data_set_are_refused_by_flag(flag, value, tmp_path, refused):
    with refused(f"--{flag}: must be .*; got {value}"):
        make_dataset.main([f"--{flag}", str(value), "--out", str(tmp_path / "x.npz")])
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("coarse_figures")
@pytest.mark.parametrize("model", train.MODEL_TYPES)
def test_a_run_is_trained_tested_evaluated_and_analysed(model, run, capsys):
    folder = run(model)
    config = configuration.read(folder / "config.json")
    assert (config.model_type, config.task["pairs"]) == (train.MODEL_TYPES[model], 2)
    for number in (1, 2, 3):
        model_folder = folder / f"model-{number}"
        log = rows_of(model_folder / "log.csv")
        assert [row["step"] for row in log] == ["20", "40"]
        assert list(log[0]) == ["step", "train_loss", "val_loss", "val_acc"]
        test = json.loads((model_folder / "test.json").read_text())
        assert (test["test_rows"], test["seed"], test["steps"]) == (70, 1000 * (number - 1), 40)
        assert 0 <= test["test_acc"] <= 1
        accuracies = {row["step"]: float(row["val_acc"]) for row in log}
        assert accuracies[str(test["best_step"])] == max(accuracies.values())
        weights, _ = runs.read_weights(model_folder)
        stored = load_file(model_folder / "model.safetensors")
        assert {k: v.tobytes() for k, v in stored.items()} == {k: v.tobytes() for k, v in weights.items()}
    figures = [] if model == "fw" else ["--no_figures"]
    assert evaluate_multiple.main(["--models_dir", str(folder), "--num_workers", "1", *figures]) == 0
    metrics = runs.read_summary(folder)["metrics"]
    assert [len(m["eigenvalues_rnn_seq7"]) for m in metrics] == 3 * [expected_modes(model)]
    summary_file = str(folder / "evaluation_summary.json")
    for command in ("eigenvalue", "embedding", "persistence") if model == "fw" else ():
        assert emt(["analyze", command, "--summary_file", summary_file]) == 0
    (folder / "model-2" / "test.json").unlink()
    assert summary.main([str(folder.parent)]) == 0
    assert "Test error" in capsys.readouterr().out
    assert (folder / "model-2" / "test.json").exists(), "what was not tested is tested"
    assert (folder.parent / "summary" / "learning_curves.pdf").exists()


def expected_modes(model):
    """Numbers in the state, contents of associative memories aside: LSTMs have cells too, the A-LSTM four copies."""
    return {"irnn": 8, "fw": 8, "lstm": 16, "alstm": 40}[model]


def test_a_run_is_continued_to_the_same_bytes_and_nothing_is_appended(run, refused):
    folder = run("irnn")
    files = {p: p.read_bytes() for p in folder.glob("model-*/*") if p.is_file()}
    times = {p: p.stat().st_mtime_ns for p in folder.glob("model-*/test.json")}
    assert run("irnn") == folder
    assert {p: p.read_bytes() for p in files} == files
    assert {p: p.stat().st_mtime_ns for p in times} == times, "what is tested is not tested again"
    with refused(r"--out: .* contains a run with another configuration .*hidden_dim: 8 → 10"):
        run("irnn", "--R", "10")


def test_without_a_file_each_member_has_a_stream_of_its_own(tmp_path):
    out = tmp_path / "stream"
    assert train.main(["--model", "irnn", *SMALL, "--K", "1", "--eval_batches", "2", "--out", str(out)]) == 0
    test = files.read_json(out / "model-1" / "test.json")
    assert test["test_rows"] == 20_000
    # 640 training rows of the 260 that one pair has cover a share of 1 - (1 - 1/260)^640 = 0.915 of them.
    assert abs(test["test_rows_in_train"] / 20_000 - 0.915) < 0.05


def test_the_file_decides_how_many_pairs_there_are(data, refused):
    assert config_of("--data_npz", str(data)).task["pairs"] == 2
    with refused(r"--K: must be 2, the K of .*; got 8"):
        config_of("--data_npz", str(data), "--K", "8")
    assert config_of().task["pairs"] == 8
    assert config_of("--K", "5").task["pairs"] == 5


def test_flags_become_options_of_the_model():
    config = config_of(
        *split("--R 9 --emb 11 --fw_eta 0.25 --fw_lam 0.75 --fw_S 2 --lr 0.01 --seed 5 --num_models 3")
    )
    model = {k: config.model[k] for k in ("type", "hidden_dim", "embedding_dim", "eta", "lam", "inner_steps")}
    assert model == {
        "type": "fw",
        "hidden_dim": 9,
        "embedding_dim": 11,
        "eta": 0.25,
        "lam": 0.75,
        "inner_steps": 2,
    }
    training = config.training
    assert (training.seeds(), training.learning_rate, training.gradient_clip) == ((5, 1005, 2005), 0.01, 0)
    assert (training.epochs * training.epoch_batches, training.keep) == (20_000, "best")


def test_an_embedding_is_frozen_on_request():
    assert config_of("--freeze_emb").model["freeze_embedding"] is True
    assert config_of().model["freeze_embedding"] is False


def test_execution_flags_are_those_of_the_main_job():
    flags = "--engine slurm --num_workers 7 --slurm_partition short --slurm_gpus a100:1 --device cuda"
    config = config_of(*split(flags))
    execution = config.execution
    assert (execution.engine, execution.num_workers, execution.accelerator) == ("slurm", 7, "gpu")
    assert (execution.slurm_partition, execution.slurm_gpus) == ("short", "a100:1")
    assert config_of("--shard", "2/3").execution.part == (2, 3)
    assert config_of().execution.engine == "local"


def test_a_frozen_embedding_is_the_same_after_training(run):
    kept, trained = (
        run("irnn", *flags, folder=name) for flags, name in ((["--freeze_emb"], "kept"), ([], "trained"))
    )
    drawn = build_at_start(configuration.read(kept / "config.json"))
    for folder, same in ((kept, True), (trained, False)):
        weights, _ = runs.read_weights(folder / "model-2")
        assert np.array_equal(weights["embedding.weight"], drawn["embedding.weight"]) == same
        assert not np.array_equal(weights["head.0.weight"], drawn["head.0.weight"])


def build_at_start(config):
    """Weights of model 2 before training."""
    from emt.training.chunk import build

    return build(config, (1, 2)).model.export(1)


def test_the_published_loop_and_its_summary_run_as_they_stand(data, tmp_path, monkeypatch, capsys):
    page = (Path(train.__file__).parent / "README.md").read_text()
    loop = re.search(r"train --model \$\{model\} (.*?)\n  done", page, re.DOTALL)[1].replace("\\\n", " ")
    snippet = re.search(r"```python\n(import json.*?)```", page, re.DOTALL)[1]
    monkeypatch.chdir(tmp_path)
    smaller = [
        *split("--R 7 --emb 5 --batch 16 --steps 4 --eval_every 2 --num_workers 1"),
        "--data_npz",
        str(data),
    ]
    accuracies = {}
    for model in ("irnn", "lstm", "fw"):
        flags = split(loop.replace("${model}", model).replace("${seed}", "2"))
        assert train.main(["--model", model, *flags, *smaller]) == 0
        warned = "--fw_eta, --fw_lam, --fw_S ignored: model" in capsys.readouterr().err
        assert warned == (model != "fw")
        folder = tmp_path / "runs" / f"{model}_K16_R50_fixed_seed2"
        accuracies[model] = files.read_json(folder / "model-1" / "test.json")["test_acc"]
        assert files.read_json(folder / "test.json")["test_acc"] == accuracies[model]
    exec(snippet, {})
    lines = [f"{model},16,1,{accuracy:.6f},0.000000" for model, accuracy in accuracies.items()]
    assert capsys.readouterr().out.splitlines() == ["model,K,n,mean_test_acc,std_test_acc", *lines]


def test_a_run_of_several_models_has_the_means_of_their_tests(run):
    folder = run("irnn")
    tests = [files.read_json(path) for path in sorted(folder.glob("model-*/test.json"))]
    whole = files.read_json(folder / "test.json")
    assert whole["models"] == ["model-1", "model-2", "model-3"]
    for name in ("test_loss", "test_acc"):
        assert whole[name] == pytest.approx(np.mean([test[name] for test in tests]))
        assert len({test[name] for test in tests}) > 1


def test_losses_that_are_not_defined_are_left_out_of_the_mean():
    assert results._mean([None, 1.0, 4.0]) == 2.5
    assert np.isnan(results._mean([None]))


def test_shards_share_a_population(run, capsys):
    first = run("irnn", "--shard", "1/2", "--engine", "inline")
    assert "1 of 3 models belong to other shards" in capsys.readouterr().out
    assert run("irnn", "--shard", "2/2", "--engine", "inline") == first
    assert len(list(first.glob("model-*/test.json"))) == 3


def test_the_defaults_are_the_published_ones(data):
    config = config_of()
    assert config.model == {"type": "fw"} | {
        "hidden_dim": 50,
        "embedding_dim": 100,
        "eta": 0.5,
        "lam": 0.9,
        "inner_steps": 1,
        "freeze_embedding": False,
        "head": "two_layers",
    }
    assert (config.training.batch_size, config.training.learning_rate) == (128, 1e-3)
    assert (config.training.epoch_batches, config.training.validation_batches) == (500, 50)
    assert config_of("--data_npz", str(data), "--batch", "20").training.validation_batches == 3, "all 50 rows"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--steps 30 --eval_every 20", "--steps: must be a multiple of --eval_every 20; got 30"),
        ("--K 27", "--K: must be 1 to 26; got 27"),
        ("--batch 0", "--batch: must be an integer ≥ 1; got 0"),
        ("--identity_scale 1.0", "--identity_scale: model fw has no such option"),
        ("--num_workers 0", "--num_workers: must be .*1; got 0"),
        ("--engine cloud", "--engine.*invalid choice: 'cloud'"),
        ("--shard 4/3", "--shard: must be I/N with I from 1 to N, such as 3/20; got 4/3"),
        ("--seed -1", "--seed"),
        ("--data_npz none.npz", "--data_npz: no such file: none.npz"),
    ],
)
def test_what_does_not_fit_is_refused_by_flag(flags, message, refused):
    with refused(message):
        config_of(*flags.split())


def test_a_log_has_a_row_for_each_validation():
    nan = float("nan")
    points = [(50, 1, 2.5, 0.1, nan, nan), (100, 1, 2.25, 0.2, nan, nan), (100, 1, nan, nan, 2.0, 0.3)]
    curve = [CurvePoint(*point) for point in points]
    assert log_text(curve) == "step,train_loss,val_loss,val_acc\n100,2.250000,2.000000,0.300000\n"


def test_the_paper_has_twelve_cells_and_each_is_shipped():
    cells = {(c.model_type, c.model["hidden_dim"]) for c in CONFIGS}
    assert cells == set(PAPER_ERRORS)
    assert {model for model, _ in cells} == set(LABELS) == set(train.MODEL_TYPES.values())
    assert len({c.metadata["experiment_name"] for c in CONFIGS}) == len(CONFIGS) == 12


def test_a_summary_of_nothing_says_so(tmp_path):
    with pytest.raises(UserError, match="expected runs of the task associative_retrieval; found none"):
        summary.main([str(tmp_path)])
