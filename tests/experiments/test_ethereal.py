"""The commands of the EtherealRNN experiment, on tiny runs."""

import csv
import json
from shlex import split

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from emt import config as configuration
from emt.errors import UserError
from emt.files import CurvePoint
from emt.models import MODELS
from emt.options import load, options_of
from emt.tasks import TASKS
from emt.training import sweep as sweeps
from experiments.ethereal import configs as shipped
from experiments.ethereal import summary, sweep, train
from experiments.ethereal.figures import draw_curves, draw_map
from experiments.ethereal.results import level_figures, log_text
from experiments.ethereal.settings import SETTINGS, task_of

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

SMALL = split(
    "--hidden_size 7 --num_layers 1 --batch_size 16 --n_iters 200 --checkpoint_save_freq 100 --num_models 2"
)
INLINE = ["--engine", "inline", "--accelerator", "cpu"]


def start(folder, *flags):
    assert train.main([*SMALL, *INLINE, "--out", str(folder), *flags]) == 0
    return folder


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def config_of(*flags):
    return train.parse(list(flags))[0]


def weights_of(folder, number):
    return load_file(folder / f"model-{number}" / "checkpoint" / "weights.safetensors")


def test_a_run_says_what_is_best_and_tests_its_models(tmp_path, capsys):
    folder = start(tmp_path / "run", "--print_freq", "100")
    printed = capsys.readouterr().out
    assert "Best with memory: loss 0.2599, token accuracy 0.8750, recall 1.0000" in printed
    assert (
        "Best from the last character: loss 1.0059, token accuracy 0.5000, recall 0.3333 (at most 0.5000)"
        in printed
    )
    assert "n = 2 models" in printed
    for number in (1, 2):
        test = json.loads((folder / f"model-{number}" / "test.json").read_text())
        assert (
            f"model-{number}: recall {test['test_recall']:.4f}, token accuracy {test['test_accuracy']:.4f}"
            in printed
        )
        assert (test["optimal_loss"], test["no_memory_recall"]) == pytest.approx((0.2599, 1 / 3), abs=1e-4)
        assert (test["status"], test["exploded_step"], test["seed"]) == (
            "finished",
            None,
            1000 * (number - 1),
        )
        log = rows_of(folder / f"model-{number}" / "log.csv")
        assert [row["step"] for row in log] == ["100", "200"]
        assert all(row["val_loss"] and row["optimal_loss"] == "0.259930" for row in log)
        # A hundred times as fast, at a fifth of the entries, even though these forget.
        assert all(float(row["plastic_write_norm"]) > 20 * float(row["other_write_norm"]) > 0 for row in log)
        assert all(float(row["grad_norm"]) > 0 < float(row["weight_norm"]) for row in log)
    assert (folder / "model-1" / "lightning_logs").exists()


def test_the_same_command_is_done_at_once_and_another_is_refused(tmp_path, refused):
    folder = start(tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in folder.glob("model-*/test.json")}
    start(folder)
    assert train.main(["--resume_checkpoint", str(folder)]) == 0
    assert before == {path: path.stat().st_mtime_ns for path in folder.glob("model-*/test.json")}
    with refused(r"--out: .* contains a run with another configuration .*plast_clip: 1000.0 → 2.0"):
        train.main([*SMALL, *INLINE, "--out", str(folder), "--plast_clip", "2"])
    with refused(r"--no_resume: .* already contains a run"):
        train.main([*SMALL, *INLINE, "--out", str(folder), "--no_resume", "True"])


def test_a_diverging_member_is_named_and_disturbs_no_other(tmp_path, capsys):
    wild = ["--plast_clip", "1e30", "--seed", "3"]
    folder = start(tmp_path / "wild", *wild)
    printed = capsys.readouterr().out
    assert printed.count("; diverged after step") == 2
    assert "2 of 2 models diverged: model-1, model-2" in printed
    test = json.loads((folder / "model-1" / "test.json").read_text())
    assert test["status"] == "diverged"
    assert test["exploded_step"] is not None
    assert np.isfinite(test["test_recall"])


def test_a_member_of_a_population_ends_as_it_would_alone(tmp_path):
    both, one = start(tmp_path / "both"), start(tmp_path / "one", "--num_models", "1", "--seed", "1000")
    together, alone = weights_of(both, 2), weights_of(one, 1)
    for name, value in together.items():
        np.testing.assert_allclose(value, alone[name], atol=1e-5)
    other = weights_of(both, 1)
    assert any(np.abs(value - other[name]).max() > 1e-2 for name, value in together.items())


@pytest.mark.parametrize(("model_type", "updater"), SETTINGS)
def test_every_model_and_updater_has_settings_of_its_own(model_type, updater):
    setting, config = (
        SETTINGS[model_type, updater],
        config_of("--model_type", model_type, "--updater", updater),
    )
    assert config.model["updater"] == updater
    assert (
        config.training.learning_rate
        == setting.learning_rate
        == config.model.get("eta", setting.learning_rate)
    )
    assert config.training.optimizer == "sgd"
    assert config.training.epochs * config.training.epoch_batches == setting.n_iters
    assert setting.model.items() <= config.model.items()


def test_the_published_rules_have_settings_of_their_own():
    corrected, published = (
        config_of("--updater", "backprop", "--compatibility", word) for word in ("False", "True")
    )
    assert (corrected.model["compatibility"], published.model["compatibility"]) == (False, True)
    # The published gradient is a mean over the batch, and its plasticity is squared.
    strength = (
        published.training.learning_rate / published.training.batch_size * published.model["plast_clip"] ** 2
    )
    assert strength == pytest.approx(corrected.training.learning_rate * corrected.model["plast_clip"])


def test_flags_are_spelled_as_published():
    flags = (
        "--hidden_size 9 --num_layers 2 --residual_connection True --enable_recurrence False --normalize True"
    )
    config = config_of(
        *flags.split(), "--input_mode", "last_two", "--positional_encoding_dim", "3", "--self_grad", "0.5"
    )
    expected = {
        "hidden_dim": 9,
        "layers": 2,
        "residual_connection": True,
        "enable_recurrence": False,
        "normalize": True,
        "input_mode": "last_two",
        "positional_encoding_dim": 3,
        "self_grad": 0.5,
    }
    assert expected.items() <= config.model.items()
    assert config_of("--checkpoint_dir", "somewhere").metadata["experiment_name"] == "somewhere"
    words = train.parser("ethereal", SETTINGS["ethereal", "dfa"]).format_help()
    for flag in (
        "plast_learning_rate",
        "plast_clip",
        "forget_rate",
        "grad_clip",
        "clip_weights",
        "track",
        "tags",
    ):
        assert f"--{flag} " in words
    assert "imprint_rate" not in words


@pytest.mark.parametrize(
    ("name", "task"),
    [
        ("long_range_memory_dataset", {"dataset": "key_recall"}),
        ("3_resequence", {"dataset": "resequence", "n": 3}),
        ("palindrome_dataset", {"dataset": "palindrome"}),
        ("palindrome_dataset_vary_length", {"dataset": "palindromes", "n": 2}),
        ("4_palindrome_dataset_vary_length", {"dataset": "palindromes", "n": 4}),
        ("2_small_palindrome_dataset_vary_length", {"dataset": "small_palindromes", "n": 2}),
        (__file__, {"dataset": "text", "file": __file__}),
    ],
)
def test_data_sets_have_their_published_names(name, task):
    assert task_of(name) == task
    assert config_of("--dataset", name).task.items() >= task.items()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--dataset 5_resequence", r"--dataset: expected .*N from 1 to 4\).*; got 5_resequence"),
        ("--dataset roneneldan/tinystories", "--dataset: .* is not fetched; expected the path of a file"),
        (
            "--n_iters 300 --checkpoint_save_freq 200",
            "--n_iters: must be a multiple of --checkpoint_save_freq 200",
        ),
        ("--print_freq 70", "--print_freq: must be a multiple of 50; got 70"),
        ("--batch_size 0", "--batch_size: must be an integer ≥ 1; got 0"),
        ("--plast_proportion 1.5", "--plast_proportion: must be a number ≤ 1.0"),
        ("--hidden_size none", "--hidden_size: must be an integer"),
        ("--normalize maybe", "--normalize: invalid choice: 'maybe'"),
        ("--imprint_rate 0", "unrecognized arguments: --imprint_rate"),
        ("--model_type rnn --plast_clip 3", "unrecognized arguments: --plast_clip"),
        ("--resume_checkpoint nowhere", "--resume_checkpoint: .*nowhere"),
    ],
)
def test_what_does_not_fit_is_refused_by_flag(flags, message, refused):
    with refused(message):
        config_of(*flags.split())


@pytest.mark.usefixtures("without_wandb")
def test_tracking_needs_its_package(tmp_path, refused):
    with refused(r'track: expected the package wandb; .* pip install "emt-workbench\[track\]"'):
        train.main(["--track", "True", "--out", str(tmp_path / "run")])
    assert not (tmp_path / "run").exists()


def test_tracking_sends_each_member_once(tmp_path, wandb_runs):
    flags = split("--track True --log_freq 100 --group fast --tags a b --notes why")
    folder = start(tmp_path / "run", *flags)
    assert [run.about["name"] for run in wandb_runs] == ["run-model-1", "run-model-2"]
    first = wandb_runs[0]
    assert first.about["tags"] == ["a", "b", "finished"]
    assert (first.about["group"], first.about["notes"]) == ("fast", "why")
    assert set(first.points) == {100, 200}
    assert {"train_loss", "train_acc", "val_loss"} < set(first.points[200])
    assert first.summary["optimal_accuracy"] == 0.875
    assert all(run.finished for run in wandb_runs)
    start(folder, *flags)
    assert len(wandb_runs) == 2, "what was sent is not sent again"


def test_a_log_averages_over_its_steps():
    nan = float("nan")
    curve = [
        CurvePoint(step, 1, loss, recall, value, value)
        for step, loss, recall, value in (
            (50, 2, 0.25, nan),
            (100, 1, 0.75, nan),
            (100, nan, nan, 0.5),
            (150, 9, 0, nan),
        )
    ]
    levels = {"optimal_loss": 0.25, "optimal_accuracy": 0.75, "optimal_recall": float("nan")}
    assert log_text(curve, {}, levels, 100).splitlines() == [
        "step,train_loss,train_recall,val_loss,val_recall,optimal_loss,optimal_recall",
        "100,1.500000,0.500000,0.5,0.5,0.250000,",
    ]
    norms = {50: {"grad_norm": 1.0, "weight_norm": 8.0}, 100: {"grad_norm": 3.0, "weight_norm": 9.0}}
    assert log_text(curve, norms, levels, 100).splitlines() == [
        "step,train_loss,train_recall,val_loss,val_recall,optimal_loss,optimal_recall,grad_norm,weight_norm",
        "100,1.500000,0.500000,0.5,0.5,0.250000,,2,8.5",
    ]


def test_the_level_without_memory_is_that_of_what_a_step_sees():
    one, two = (level_figures(config_of("--input_mode", mode)) for mode in ("last_one", "last_two"))
    assert one["no_memory_loss"] == pytest.approx(1.0059, abs=1e-4)
    assert two["no_memory_loss"] == pytest.approx(0.5199, abs=1e-4)
    assert one["optimal_loss"] == two["optimal_loss"]


@pytest.mark.parametrize("question", shipped.SWEEPS)
def test_every_configuration_of_a_sweep_is_valid(question):
    configs = shipped.SWEEPS[question]
    names = [config.metadata["experiment_name"] for config in configs]
    assert len(set(names)) == len(names) > 1
    for config in configs:
        whole = sweeps.complete(config)
        task = load(TASKS, whole.task_name, "task")(**whole.task_options())
        load(MODELS, whole.model_type, "model_type")([0], 4, 4, **whole.model_options())
        assert task.levels()["prefix"] is not None


def test_sweeps_hold_the_cells_of_the_paper():
    assert len(shipped.TABLE) == len(shipped.PAPER_WORDS) == 12
    assert {(c.training.learning_rate, c.model["plast_clip"]) for c in shipped.SWEEPS["map"]} == {
        (rate, clip) for rate in shipped.MAP_RATES for clip in shipped.MAP_CLIPS
    }
    assert all(c.model["compatibility"] for c in shipped.COMPATIBILITY)
    assert all(c.training.num_models >= 5 for c in shipped.RESULTS)


@pytest.mark.slow
@pytest.mark.usefixtures("coarse_figures")
def test_a_map_of_two_by_two_cells_is_trained_and_drawn(tmp_path, capsys, refused):
    sizes = "--hidden_dim 5 --layers 1 --batch_size 4 --n_iters 500 --num_models 2"
    words = f"map --rates 0.001 0.01 --clips 1 1e30 {sizes}"
    flags = ["--epoch_batches", "100", "--epochs", "1", "--output_dir", str(tmp_path), *INLINE]
    assert sweep.main([*words.split(), *flags]) == 0
    output = tmp_path / "ethereal_map" / "summary"
    assert (output / "explosion_map.png").exists()
    rows = rows_of(output / "results.csv")
    assert {(float(row["plast_clip"]), row["exploded"]) for row in rows} == {(1.0, "0"), (1e30, "2")}
    assert "3_palindromes: no memory" in capsys.readouterr().out
    with refused("--rates: applies to the map only"):
        sweep.main(["results", "--rates", "1"])


@pytest.mark.usefixtures("coarse_figures")
def test_a_summary_stands_beside_the_levels(tmp_path, capsys):
    start(tmp_path / "runs" / "a")
    start(tmp_path / "runs" / "b", "--plast_clip", "1")
    assert summary.main([str(tmp_path / "runs")]) == 0
    printed = capsys.readouterr().out
    assert "2_small_palindromes: optimal" in printed
    assert "0.3333" in printed
    output = tmp_path / "runs" / "summary"
    assert (output / "learning_curves_2_small_palindromes.png").exists()
    for row, members in zip(
        rows_of(output / "results.csv"),
        (rows_of(output / "results_by_model.csv")[:2], rows_of(output / "results_by_model.csv")[2:]),
        strict=True,
    ):
        recalls = [float(member["test_recall"]) for member in members]
        assert float(row["recall_mean"]) == pytest.approx(np.mean(recalls))
        assert float(row["recall_sd"]) == pytest.approx(np.std(recalls, ddof=1))
        assert float(row["recall_low"]) <= np.mean(recalls) <= float(row["recall_high"])
        assert float(row["no_memory_loss"]) == pytest.approx(1.0059, abs=1e-4)
    with pytest.raises(UserError, match="expected runs of the task characters; found none"):
        summary.main([str(tmp_path / "runs" / "a" / "model-1")])


def levels(**more):
    figures = ("loss", "accuracy", "recall", "most_recall")
    return {f"{name}_{figure}": 0.5 for name in ("optimal", "no_memory") for figure in figures} | more


def test_curves_keep_the_last_figures_of_a_member_that_ended():
    index = [("a", 1, 250), ("a", 1, 500), ("a", 2, 250)]
    curves = pd.DataFrame(
        {"loss": [1.0, 0.5, 2.0], "recall": [0.5, 1.0, 0.2]},
        index=pd.MultiIndex.from_tuples(index, names=["run", "model", "step"]),
    )
    rows = pd.DataFrame([levels(dataset="d", n=2)], index=["a"])
    line = draw_curves(curves, rows).axes[0].lines[0]
    np.testing.assert_allclose(line.get_xydata(), [[250, 0.35], [500, 0.6]])


def test_a_map_shows_shares_and_recalls_in_place():
    cells = [(0.1, 10.0, 3.0, 0.2), (0.1, 10.0, np.nan, 0.4), (0.2, 10.0, np.nan, 1.0)]
    members = pd.DataFrame(cells, columns=["learning_rate", "plast_clip", "exploded_step", "test_recall"])
    figure = draw_map(members, pd.DataFrame([levels(dataset="d", n=2)]))
    exploded, recall = (ax.images[0].get_array().tolist() for ax in figure.axes[:2])
    assert exploded == [[0.5, 0.0]]
    assert recall == [[pytest.approx(0.3), 1.0]]


def test_the_settings_name_options_of_the_models():
    for (model_type, _), setting in SETTINGS.items():
        known = {o.name for o in options_of(MODELS[train.MODEL_TYPES[model_type]])}
        assert set(setting.model) <= known
    config = shipped.run("x", "ethereal", "dfa", plast_clip=3.0)
    assert config.model["plast_clip"] == 3.0
    assert configuration.fields(config)["training.optimizer"] == "sgd"
