"""The commands of the catbAbI experiment, on tiny runs."""

import csv
import json
import math
from pathlib import Path
from shlex import split

import numpy as np
import pytest
import torch

from emt import config as configuration
from emt import files, runs
from emt.config import RunConfig
from emt.errors import UserError
from emt.models.stacked_lstm import StackedLSTM
from emt.record import Loaded, labels_of
from emt.tasks.catbabi import CatBabi
from emt.training import sweep as sweeps
from experiments.catbabi import compare, differences, evaluate, sizes, summary, sweep, train
from experiments.catbabi.configs import LABELS, PAPER_ACCURACIES, SWEEPS, run
from experiments.catbabi.results import Answers, figures, run_through, take, whole_tasks

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.usefixtures("in_this_process"),
]

SEGMENT = 23
SIZES = {
    "fwm": "--hidden_dim 12 --embedding_dim 10 --memory_dim 5 --reads 2",
    "lstm": "--hidden_dim 12 --embedding_dim 10 --layers 2 --layer_dropout 0.1",
    "fw": "--hidden_dim 12 --embedding_dim 10 --inner_steps 2",
    "mnm": "--hidden_dim 12 --embedding_dim 10 --memory_dim 5",
    "txl": "--hidden_dim 12 --embedding_dim 10 --layers 2 --heads 2 --memory_length 30 --clip 0.25 --warmup 5",
}
ACTIVATIONS = {
    "fwm": 5**3 + 2 * 12,
    "lstm": 2 * 2 * 12,
    "fw": 12**2 + 12,
    "mnm": 3 * 5**2 + 2 * 12,
    "txl": 2 * 2 * 12 * (30 + SEGMENT - 1),
}
SMALL = split(
    f"--variant 1k --segment {SEGMENT} --batch 4 --steps 20 --eval_every 10 --num_models 2 --num_workers 1"
)


def parse(data, *flags, model="lstm"):
    return train.parse(["--model", model, "--data", str(data), "--variant", "1k", *flags])[0]


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def answers_of(target, group, right, loss):
    """One segment in which every word is judged and scored; ``right`` and ``loss`` are (member, word)."""
    steps, group = np.ones(len(target), bool), np.array(group)
    return Answers(
        np.array(loss, float), np.array(right, bool), np.array(target), 0 * group, group, steps, steps
    )


@pytest.fixture
def trained(tmp_path, mini_babi):
    def start(model="lstm", *flags, folder="run"):
        out = tmp_path / "runs" / folder
        flags = [
            "--model",
            model,
            "--data",
            str(mini_babi),
            *SMALL,
            *split(SIZES[model]),
            "--out",
            str(out),
            *flags,
        ]
        assert train.main(flags) == 0
        return out

    return start


@pytest.fixture
def loaded(mini_babi):
    """Two members, with the task's mode chosen."""

    def make(mode):
        task = CatBabi(data=str(mini_babi), folder="en-valid", segment=SEGMENT, mode=mode)
        config = RunConfig(task={"name": "catbabi"}, model={"type": "stacked_lstm"})
        channels = task.input_channels
        model = StackedLSTM((11, 1011), channels, channels, hidden_dim=7, layers=2, embedding_dim=5)
        return Loaded(model.requires_grad_(False), task, (1, 2), labels_of(config, model.seeds))

    return make


# Commands


@pytest.mark.parametrize("model", train.MODEL_TYPES)
@pytest.mark.parametrize("mode", ["qa", "lm"])
def test_a_run_is_trained_tested_and_summarised(model, mode, trained, capsys):
    folder = trained(model, "--mode", mode)
    assert "trained without: qa2_train.txt" in capsys.readouterr().out
    assert evaluate.main([str(folder)]) == 0
    result = json.loads((folder / "model-2" / "test.json").read_text())
    assert list(result["starts"]) == ["first_row", "zero"]
    curve = [row for row in rows_of(folder / "model-2" / "training_curve.csv") if row["val_acc"]]
    best = max(curve, key=lambda row: (float(row["val_acc"]), -float(row["val_loss"])))
    assert result["best_step"] == int(best["step"])
    assert result["validation"]["accuracy"] == float(best["val_acc"])
    assert result["validation"]["perplexity"] == pytest.approx(np.exp(float(best["val_loss"])))
    all_words = len(CatBabi(**configuration_of(folder)).splits["test"].words)
    for start in result["starts"].values():
        assert start["questions"] == 7 * (2 + 2 + 1)
        assert set(start["by_task"]) == {"1", "15", "19"}
        assert start["perplexity"] == pytest.approx(np.exp(start["loss"]))
        assert start["accuracy"] == start["accuracy_whole"]
        assert start["words"] == (start["questions"] if mode == "qa" else all_words)
    assert result["starts"]["zero"]["loss"] != result["starts"]["first_row"]["loss"]
    whole = json.loads((folder / "test.json").read_text())
    assert whole["activations"] == ACTIVATIONS[model]
    assert whole["starts"]["zero"]["accuracy"]["n"] == whole["validation"]["perplexity"]["n"] == 2
    assert len(rows_of(folder / "test.csv")) == 2 * 2
    assert len(rows_of(folder / "test_by_task.csv")) == 2 * 2 * 3
    assert summary.main([str(folder)]) == 0
    printed = capsys.readouterr().out
    assert "Test questions" in printed
    assert (folder / "summary" / f"{mode}_accuracy_by_task.pdf").exists()
    assert (folder / "summary" / "learning_curves.pdf").exists()
    [row, _] = rows_of(folder / "summary" / "table.csv")
    assert (row["mode"], row["start"], row["seeds"]) == (mode, "first_row", "2")
    assert row["paper_accuracy"] == str(PAPER_ACCURACIES.get((train.MODEL_TYPES[model], mode), ""))


def test_a_run_is_continued_to_the_same_bytes_and_tested_once(trained, refused):
    folder = trained()
    evaluate.main([str(folder)])
    before = {p: p.read_bytes() for p in folder.glob("model-*/checkpoint/*")}
    stamps = {p: p.read_bytes() for p in folder.glob("**/test*")}
    trained()
    assert {p: p.read_bytes() for p in before} == before
    evaluate.main([str(folder), "--start", "zero"])
    assert {p: p.read_bytes() for p in stamps} == stamps, "what is tested for another start is kept"
    with refused(r"--out: .* contains a run with another configuration .*hidden_dim: 12 → 14"):
        trained("lstm", "--hidden_dim", "14")


def test_two_models_are_compared_on_the_same_text(trained, tmp_path, capsys, refused):
    folder, out = trained("lstm", "--mode", "lm"), tmp_path / "comparison"
    assert (
        compare.main([str(folder), str(folder), "--model_b", "2", "--words", "100", "--output_dir", str(out)])
        == 0
    )
    tokens = rows_of(out / "token_losses.csv")
    # Whole segments are read.
    assert len(tokens) == -(-100 // SEGMENT) * SEGMENT
    assert {row["word"] for row in tokens} <= set(CatBabi(**configuration_of(folder)).tokens)
    printed = capsys.readouterr().out
    assert "run (b): loss" in printed
    assert "run (b) minus run (a): " in printed
    assert (out / "token_losses.png").exists()
    with refused("--first: must be less than the 115 words predicted; got 115"):
        compare.main([str(folder), str(folder), "--words", "100", "--first", "115", "--output_dir", str(out)])


@pytest.fixture
def paired_runs(tmp_path):
    """Two runs of three and four seeds as far as tests of them go: with their results, without weights."""
    rng = np.random.default_rng(0)
    for name, seeds in (("reads_3", (0, 1000, 2000)), ("reads_1", (3000, 2000, 1000, 0))):
        config = run(name, {"type": "fwm"}, num_models=len(seeds), batch_size=7)
        files.write_json(tmp_path / name / "config.json", config.model_dump())
        (tmp_path / name / "test.json").touch()
        for number, seed in enumerate(seeds, 1):
            # What a seed does to both runs is much more than what tells them apart.
            share = 0.3 + 1e-4 * seed + 0.02 * (name == "reads_1") + 0.001 * rng.normal()
            figures = dict.fromkeys(("accuracy", "accuracy_whole", "accuracy_mean"), share)
            figures |= {"loss": 1.0, "perplexity": math.e, "questions": 9, "words": 30}
            starts = {"zero": {**figures, "by_task": {"19": {"accuracy": share}}}}
            folder = runs.model_folder(tmp_path / name, number)
            about = {"seed": seed, "rows": 1, "weights_sha256": "of none", "validation": {"accuracy": share}}
            files.write_json(folder / "test.json", about | {"starts": starts})
    return tmp_path


def test_differences_are_those_of_equal_seeds(paired_runs, capsys):
    assert differences.main([str(paired_runs)]) == 0
    printed = capsys.readouterr().out
    assert "2.0 (" in printed
    assert "70.0 M" in printed
    assert "reads_1: 1 of 1 intervals by task exclude 0 (1 in 20 would by chance): task 19 2.0 (" in printed
    rows = {(row["run"], row["measure"]): row for row in rows_of(paired_runs / "summary" / "differences.csv")}
    assert {run for run, _ in rows} == {"reads_1", "reads_3"}
    assert {measure for _, measure in rows} == {*differences.PRINTED, "task 19"}
    for measure in (*differences.PRINTED, "task 19"):
        row = {k: float(v) for k, v in rows["reads_1", measure].items() if k not in ("run", "measure")}
        assert (row["n"], row["difference_n"]) == (4, 3)
        assert row["mean"] == pytest.approx(47, abs=0.2)
        assert row["difference_mean"] == pytest.approx(2, abs=0.2)
        assert 0 < row["difference_low"] < row["difference_high"] < 4
        # Means that are not paired say nothing about so small a difference.
        assert row["high"] - row["low"] > 30
        assert rows["reads_3", measure]["difference_mean"] == ""


def test_differences_need_their_reference_and_one_start(paired_runs, refused):
    with refused(r"--reference: expected a tested run in .* \(reads_1, reads_3\); got reads_9"):
        differences.main([str(paired_runs), "--reference", "reads_9"])
    path = paired_runs / "reads_1" / "model-2" / "test.json"
    result = files.read_json(path)
    files.write_json(path, {**result, "starts": {"first_row": result["starts"]["zero"]}})
    with pytest.raises(
        UserError, match="expected a start state that all of reads_1, reads_3 were tested from; got none"
    ):
        differences.main([str(paired_runs)])


def configuration_of(folder):
    return configuration.read(folder / "config.json").task_options()


def test_a_sweep_is_one_command(monkeypatch, tmp_path, mini_babi):
    tiny = {"type": "fw", "hidden_dim": 5, "embedding_dim": 6}
    sizes = tuple(run(f"size{size}", tiny, num_models=1, batch_size=size) for size in (2, 3))
    monkeypatch.setitem(SWEEPS, "search_fw", sizes)
    words = f"search_fw --data {mini_babi} --variant 1k --output_dir {tmp_path} --epochs 1 --epoch_batches 2"
    assert sweep.main([*split(words), "--engine", "inline", "--accelerator", "cpu"]) == 0
    rows = rows_of(tmp_path / "catbabi_search_fw" / "members.csv")
    assert [(row["experiment"], row["status"], row["step"]) for row in rows] == [
        ("size2", "finished", "2"),
        ("size3", "finished", "2"),
    ]


# Flags


def test_flags_become_a_configuration(mini_babi):
    words = "--mode lm --lr 0.01 --seed 5 --num_models 3 --steps 30 --eval_every 15 --batch 7 --segment 9 --tasks 19 1"
    config = parse(mini_babi, *split(words), "--layers", "3", "--token_dropout", "0.25")
    assert (config.task["mode"], config.task["segment"], config.task["tasks"]) == ("lm", 9, (19, 1))
    assert (config.task["folder"], config.model["type"]) == ("en-valid", "stacked_lstm")
    assert (config.model["layers"], config.model["token_dropout"]) == (3, 0.25)
    training = config.training
    assert (training.seeds(), training.learning_rate, training.gradient_clip) == ((5, 1005, 2005), 0.01, 0)
    assert (training.epochs, training.epoch_batches, training.batch_size, training.keep) == (2, 15, 7, "best")


@pytest.mark.parametrize("batch", [1, 3, 50])
def test_the_whole_validation_split_is_used(batch, mini_babi):
    config = parse(mini_babi, "--batch", str(batch), "--segment", "9")
    task = CatBabi(**config.task_options())
    steps = config.training.validation_batches
    words = sum((task.batch([0], "validation", s, 9, batch).inputs >= 0).sum() for s in range(steps))
    assert words == len(task.splits["validation"].words)
    assert not task.batch([0], "validation", steps, 9, batch).sequences


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--steps 30 --eval_every 20", "--steps: must be a multiple of --eval_every 20; got 30"),
        ("--batch 0", "--batch: must be an integer ≥ 1; got 0"),
        ("--reads 2", "--reads"),
        ("--layers 9", "--layers: must be an integer ≤ 8; got 9"),
        ("--tasks 21", "--tasks: must be some of the numbers 1 to 20"),
        ("--data /nowhere", "published at https://research.facebook.com/downloads/babi/"),
    ],
)
def test_what_does_not_fit_is_refused_by_flag(flags, message, mini_babi, refused):
    with refused(message):
        parse(mini_babi, *split(flags))


def test_data_are_required_and_the_message_says_where_they_are(refused):
    with refused("the following arguments are required: --data"):
        train.parse([])
    with refused(r"--data: .* published at https://research.facebook.com.*licence CC BY 3.0"):
        train.parse(["--data", "nowhere"])


def test_without_validation_stories_there_is_no_run(tmp_path, mini_babi, refused):
    folder = tmp_path / "en-valid"
    folder.mkdir()
    (folder / "qa1_train.txt").write_bytes(next(mini_babi.glob("*/en-valid/qa1_train.txt")).read_bytes())
    with refused(r"--data: expected stories in .*qa1_valid\.txt"):
        parse(tmp_path)


def test_a_folder_without_runs_says_so(tmp_path, refused):
    for command in (evaluate, summary):
        with pytest.raises(UserError, match="expected runs of the task catbabi; found none"):
            command.main([str(tmp_path)])
    with refused("--batch: must be an integer ≥ 1; got 0"):
        evaluate.main([str(tmp_path), "--batch", "0"])


README = (Path(train.__file__).parent / "README.md").read_text(encoding="utf-8")
SHOWN = [
    line
    for line in README.splitlines()
    if line.startswith("python -m experiments.catbabi.train") and "1k" in line
]


@pytest.mark.parametrize("line", SHOWN)
def test_the_small_runs_of_the_readme_are_valid(line, mini_babi):
    config, folder = train.parse(split(line.replace("DIR", str(mini_babi)))[3:])
    assert config.task["mode"] == ("lm" if folder.name.startswith("lm_") else "qa")
    assert config.training.epochs * config.training.epoch_batches == 400


# Shipped runs


@pytest.mark.parametrize("question", SWEEPS)
def test_every_shipped_run_is_valid(question, mini_babi):
    names = [config.metadata["experiment_name"] for config in SWEEPS[question]]
    assert len(set(names)) == len(names) > 0
    for config in SWEEPS[question]:
        ready = sweep.with_stories(config, {"data": str(mini_babi), "folder": "en-valid"})
        whole = sweeps.complete(ready)
        assert whole.model.items() >= config.model.items()
        assert whole.training.gradient_clip == (0.25 if config.model_type == "transformer_xl" else 0)
        task = CatBabi(**whole.task_options())
        assert whole.training.validation_batches == train.count_batches(
            task, "validation", config.training.batch_size
        )


def test_the_table_of_the_paper_is_shipped():
    cells = {(config.model_type, config.task["mode"]) for config in SWEEPS["table1"]}
    assert cells >= set(PAPER_ACCURACIES)
    assert {model for model, _ in cells} == set(LABELS) == set(train.MODEL_TYPES.values())


def test_the_papers_models_have_the_papers_sizes():
    assert sizes.sizes() == {
        "fwm": (693_985, 33_280),
        "lstm": (8_026_312, 4_096),
        "fw": (547_840, 262_656),
        "txl": (10_523_336, 4_297_728),
        "mnm": (984_905, 30_512),
    }


def test_ablations_see_at_least_ten_million_words_three_times():
    for config in SWEEPS["ablations"]:
        training = config.training
        words = training.epochs * training.epoch_batches * training.batch_size * config.task["segment"]
        assert words >= 10_000_000
        assert training.num_models == 3


# Testing


@pytest.mark.parametrize("mode", ["qa", "lm"])
def test_segments_give_what_the_whole_row_gives(mode, loaded):
    members = loaded(mode)
    task, model = members.task, members.model
    length = len(task.splits["test"].words)
    whole = task.batch([11], "test", 0, length, 1)
    wanted = whole.scored[0, 0]
    ids = torch.from_numpy(whole.inputs).expand(2, -1, -1)
    outputs = model(ids)[0][:, 0, wanted].log_softmax(dim=-1)
    target = whole.targets[0, 0, wanted]
    expected = -outputs[:, np.arange(len(target)), target]
    parts = list(run_through(members))
    assert len(parts) == -(-length // SEGMENT)
    loss = np.concatenate([part.loss[:, part.scored] for part in parts], axis=1)
    np.testing.assert_allclose(loss, expected, atol=3e-6)
    np.testing.assert_array_equal(np.concatenate([part.target[part.scored] for part in parts]), target)
    np.testing.assert_array_equal(
        np.concatenate([part.right[:, part.scored] for part in parts], axis=1),
        outputs.argmax(dim=-1) == target,
    )
    # Negative control: a state that is not carried gives other losses.
    first = -model(ids[:, :, SEGMENT : 2 * SEGMENT])[0].log_softmax(dim=-1)
    later = torch.from_numpy(whole.targets[0, 0, SEGMENT : 2 * SEGMENT])
    lost = first[0, 0, np.arange(SEGMENT), later][torch.from_numpy(wanted[SEGMENT : 2 * SEGMENT])]
    assert np.abs(parts[1].loss[0, parts[1].scored] - lost.numpy()).max() > 3e-5


@pytest.mark.parametrize("rows", [1, 3, 40])
def test_every_question_is_asked_once(rows, loaded):
    tally = take(run_through(loaded("lm"), size=rows))
    assert {i + 1: n for i, n in enumerate(tally.questions) if n} == {1: 14, 15: 14, 19: 7}
    task = loaded("lm").task
    assert tally.words.sum() == len(task.splits["test"].words)
    assert tally.right.shape == tally.loss.shape == (2, 20)


def test_a_start_state_changes_the_first_answers(loaded):
    members = loaded("lm")
    state = {name: torch.ones(2, 1, 14) for name in ("hidden", "cell")}
    first, other = (next(run_through(members, start)) for start in (None, state))
    assert np.abs(first.loss - other.loss).max() > 1e-2


def test_figures_are_those_of_planted_answers():
    segments = [
        answers_of([3, 4, 5], [1, 1, 2], [[1, 0, 1], [1, 1, 1]], [[1, 2, 3], [0, 0, 0]]),
        answers_of([6], [20], [[0], [1]], [[2], [0]]),
    ]
    tally = take(iter(segments))
    poor, perfect = (figures(tally, position, {1, 2}) for position in (0, 1))
    assert poor["accuracy"] == 2 / 4
    assert poor["accuracy_whole"] == pytest.approx(2 / 3)
    assert poor["accuracy_mean"] == pytest.approx((1 / 2 + 1 + 0) / 3)
    assert poor["loss"] == 2.0
    assert poor["by_task"]["1"] == {
        "accuracy": 0.5,
        "questions": 2,
        "loss": 1.5,
        "trained_on_whole_set": True,
    }
    assert not poor["by_task"]["20"]["trained_on_whole_set"]
    assert (perfect["accuracy"], perfect["perplexity"]) == (1.0, 1.0)


def test_tasks_without_their_published_training_file_are_not_whole(mini_babi, tmp_path):
    task = CatBabi(data=str(mini_babi), folder="en-valid")
    assert whole_tasks(task) == {1, 15, 19}
    folder = tmp_path / "en-valid"
    folder.mkdir()
    for name in ("qa1_train", "qa1_valid", "qa1_test", "qa3_train.first"):
        (folder / f"{name}.txt").write_bytes(next(mini_babi.glob("*/en-valid/qa1_train.txt")).read_bytes())
    derived = CatBabi(data=str(tmp_path), folder="en-valid", tasks=(1, 3), derived_files=True)
    assert whole_tasks(derived) & {1, 3} == {1}
