"""Language models: the shipped runs, temperatures, losses by word, and a sweep from training to the comparison."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from emt import runs
from emt.config import RunConfig
from emt.errors import UserError
from emt.files import CurvePoint, write_curve, write_json
from emt.models.awd_lstm import AWDLSTM
from emt.options import check, options_of
from emt.progress import Progress
from emt.record import Loaded
from emt.tasks.words import Words
from emt.training.sweep import with_options
from experiments.language_model import compare, configs, evaluate, results, sensitivity, sizes, summary, sweep
from experiments.language_model.results import Readouts, best_temperature, losses_of, read_losses, read_out

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

WORDS, UNITS = 9, 4
TINY = {"hidden_dim": 6, "embedding_dim": 5}


@pytest.mark.parametrize("name", configs.SWEEPS)
def test_shipped_runs_are_runs_of_registered_models(name):
    for config in configs.SWEEPS[name]:
        whole = with_options(config, partial=True)
        assert whole.task_name == "words"
        assert whole.training.gradient_clip == 0.25
        assert (whole.training.average_rate is None) == (name in ("first_epochs", "reduced", "small"))


def test_the_published_runs_have_the_logged_settings():
    (memory, lstm, own), (ptb, *_) = configs.FULL_WIKITEXT2, configs.FULL_PTB
    training = memory.training
    assert (training.seeds(), training.epochs, training.average_after) == ((1881, 1882, 1883), 1600, 1372)
    assert (training.batch_size, training.learning_rate, training.average_rate) == (80, 1e-3, 0.5)
    assert memory.training == lstm.training
    assert {k: v for k, v in memory.model.items() if k != "type"} == {
        k: v for k, v in lstm.model.items() if k != "type"
    }
    assert (ptb.training.epochs, ptb.training.average_after, ptb.training.average_rate) == (900, 766, 2.0)
    assert ptb.model["recurrent_dropout"] == 0.66
    assert (own.training.optimizer, own.training.average_after, own.training.average_patience) == (
        "sgd",
        None,
        5,
    )


def readouts(rows=2, words=7):
    draw = np.random.default_rng(0)
    hidden, table = (torch.tensor(draw.standard_normal(s)) for s in ((rows, words, UNITS), (WORDS, UNITS)))
    bias, targets = (
        torch.tensor(draw.standard_normal(WORDS)),
        torch.tensor(draw.integers(WORDS, size=(rows, words))),
    )
    return Readouts(hidden, table, bias, targets)


@pytest.mark.parametrize("temperature", [1.0, 0.8, 1.3])
def test_y_is_divided_by_the_temperature_and_the_bias_is_not(temperature):
    text = readouts()
    logits = text.hidden @ text.table.mT / temperature + text.bias
    expected = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), text.targets.flatten(), reduction="none"
    )
    np.testing.assert_allclose(losses_of(text, temperature).ravel(), expected, atol=1e-12)
    assert (np.array_equal(losses_of(text), losses_of(text, temperature))) == (temperature == 1.0)


def test_the_temperature_is_the_one_before_the_first_rise():
    losses = {0.8: 3.0, 0.81: 2.0, 0.82: 2.5, 0.83: 2.6}
    assert best_temperature(losses.__getitem__, tuple(losses)) == (0.81, 2.0)
    text = readouts(9, 70)
    # Words as they come at the temperature 1.1.
    chances = (text.hidden @ text.table.mT / 1.1 + text.bias).softmax(dim=-1)
    drawn = np.random.default_rng(2).random((9, 70, 1))
    text = text._replace(
        targets=(chances.cumsum(dim=-1) < torch.tensor(drawn)).sum(dim=-1).clamp(max=WORDS - 1)
    )
    grid = tuple(round(0.8 + 0.02 * i, 2) for i in range(40))
    all_losses = [float(losses_of(text, t).mean()) for t in grid]
    first = next(i for i in range(39) if all_losses[i + 1] > all_losses[i])
    assert 3 < first < 36
    found = best_temperature(lambda t: float(losses_of(text, t).mean()), grid)
    assert found == (grid[first], all_losses[first])
    assert best_temperature(lambda _: 1.0, (0.8, 0.9)) == (0.9, 1.0), "no rise, no stop"


def test_a_text_is_read_as_one_run_with_one_target_less_than_words_in_each_row(mini_texts, monkeypatch):
    task = Words(data=str(mini_texts), segment=5)
    model = AWDLSTM((3, 1003), task.input_channels, task.output_channels, **TINY).requires_grad_(False)
    loaded = Loaded(model, task, (1, 2), {"model": {"type": "awd_lstm"}})
    seen = []
    monkeypatch.setattr(Progress, "update", lambda self, done, note="": seen.append((done, self.total)))
    found = read_out(loaded, "test", 2)
    assert seen == [(done, seen[-1][0]) for done in range(1, len(seen) + 1)], "as many segments as it says"
    width = len(task.splits["test"]) // 2
    ids = torch.tensor(task.splits["test"][: 2 * width].reshape(2, width)).long()
    outputs, _, _ = model(ids[:, :-1].expand(2, -1, -1))
    for m, text in enumerate(found):
        assert text.targets.tolist() == ids[:, 1:].tolist()
        expected = torch.nn.functional.cross_entropy(
            outputs[m].flatten(0, 1), ids[:, 1:].flatten(), reduction="none"
        )
        np.testing.assert_allclose(losses_of(text).ravel(), expected, atol=1e-5)


def test_full_size_models_are_counted_with_the_vocabulary(mini_texts, capsys, monkeypatch):
    monkeypatch.setattr(sizes, "LABELS", {"awd_fwm": "FWM"})
    monkeypatch.setattr(sizes, "sizes", lambda words: {"FWM": words})
    assert sizes.main(["--data", str(mini_texts)]) == 0
    printed = capsys.readouterr().out
    vocabulary = len(Words(data=str(mini_texts)).tokens)
    assert f"vocabulary: {vocabulary} words\nFWM: {vocabulary} weights" in printed
    assert "test: 297 words, 9 articles" in printed


@pytest.fixture
def trained(mini_texts, tmp_path, monkeypatch):
    """Return the folder of both models of a tiny comparison, trained on two seeds."""
    tiny = tuple(
        config.model_copy(
            update={
                "model": check(options_of_model(config), {**config.model_options(), **TINY}, "model")
                | {"type": config.model_type},
                "task": {"name": "words", "segment": 12, "validation_rows": 2},
            }
        )
        for config in configs.comparison("tiny", 100, TINY, 3, **configs.seeds(1881, 1882), epochs=1)
    )
    monkeypatch.setattr(sweep, "SWEEPS", {"small": tiny})
    flags = ["small", "--data", str(mini_texts), "--output_dir", str(tmp_path), "--engine", "inline"]
    assert sweep.main([*flags, "--accelerator", "cpu"]) == 0
    return tmp_path / "language_model_small"


def options_of_model(config: RunConfig):
    from emt.models import MODELS

    return options_of(MODELS[config.model_type])


@pytest.mark.slow
def test_a_sweep_is_trained_tested_and_compared(trained, tmp_path, capsys, monkeypatch):
    memory, lstm = trained / "tiny_awd_fwm", trained / "tiny_awd_lstm"
    with pytest.raises(UserError, match=r"not tested yet: run python -m experiments.language_model.evaluate"):
        compare.main([str(memory), str(lstm)])
    with monkeypatch.context() as stopped:
        stopped.setattr(results, "TOGETHER", 1)
        read = results.read_out
        stopped.setattr(
            results, "read_out", lambda one, *rest: read(one, *rest) if one.numbers == (1,) else 1 / 0
        )
        with pytest.raises(ZeroDivisionError):
            evaluate.main([str(trained), "--rows", "2"])
    first = (memory / "model-1" / "test.json").read_bytes()
    assert not (memory / "model-2" / "test.json").exists()
    assert evaluate.main([str(trained), "--rows", "2"]) == 0
    assert (memory / "model-1" / "test.json").read_bytes() == first, "a stop loses no member that was tested"
    figures = json.loads((memory / "model-1" / "test.json").read_text())
    losses = read_losses(memory / "model-1")
    assert losses["loss"].shape == (2, 147), "297 words in two rows"
    assert figures["words"] == 2 * 147
    np.testing.assert_allclose(losses["loss"].mean(), figures["test_loss"], rtol=1e-6)
    np.testing.assert_allclose(losses["tempered"].mean(), figures["test_tempered_loss"], rtol=1e-6)
    # What was validated in training is what evaluation finds: the same rows, and the weights that were kept.
    assert figures["validation_loss"] == pytest.approx(validation_of(memory), abs=1e-5)
    monkeypatch.setattr(results, "read_out", None)
    assert evaluate.main([str(trained), "--rows", "2"]) == 0, "nothing is tested twice"
    capsys.readouterr()
    assert compare.main([str(memory), str(lstm), "--output_dir", str(tmp_path / "out")]) == 0
    assert "LSTM minus FWM by seed" in capsys.readouterr().out
    assert (tmp_path / "out" / "token_losses.png").exists()
    table = pd.read_csv(tmp_path / "out" / "recency_by_seed.csv")
    whole = table[table["stratum"] == "all"]
    assert whole["seed"].tolist() == [1881, 1882]
    found = [read_losses(run / "model-1")["loss"].mean(dtype=float) for run in (memory, lstm)]
    np.testing.assert_allclose([whole["loss_a"].iloc[0], whole["loss_b"].iloc[0]], found, rtol=1e-6)
    with pytest.raises(UserError, match=r"--first: must be from 0 to 293; got 294"):
        compare.main([str(memory), str(lstm), "--first", "294"])


def validation_of(run):
    marker = runs.read_weights(run / "model-1")[1]
    rows = np.genfromtxt(run / "model-1" / "training_curve.csv", delimiter=",", names=True)
    return rows["val_loss"][(rows["step"] == marker["best_step"]) & np.isfinite(rows["val_loss"])][0]


def tiny_run(kind, mini_texts, **options):
    config = configs.run(
        "tiny", {"type": kind, **TINY, **options}, {"segment": 12}, batch_size=4, num_models=2
    )
    return sweep.with_text(config, {"data": str(mini_texts)})


def test_trainings_part_by_what_their_first_weights_differ_in(mini_texts, monkeypatch):
    memory = {"memory_dim": 3}
    found = sensitivity.sensitivity(tiny_run("awd_fwm", mini_texts, **memory), (1, 2), 4)
    plain = sensitivity.sensitivity(tiny_run("awd_lstm", mini_texts), (1, 2), 4)
    # A read of an almost empty memory varies far less than the root of epsilon, by which it is then divided.
    assert ((found.gain > 100) & (found.gain < 1e-5**-0.5)).all()
    assert (plain.gain == 1).all()
    assert (found.gradient > 5 * plain.gradient).all()
    assert ((plain.apart > 0.5e-7) & (plain.apart < 1e-5)).all()
    wide = sensitivity.sensitivity(tiny_run("awd_fwm", mini_texts, norm_epsilon=1.0, **memory), (1, 2), 1)
    assert ((wide.gain > 0.9) & (wide.gain < 1)).all()
    monkeypatch.setattr(sensitivity, "CHANGE", 0.0)
    same = sensitivity.sensitivity(tiny_run("awd_fwm", mini_texts, **memory), (1, 2), 4)
    assert not same.apart.any()
    assert not same.loss.any()


def test_sensitivities_are_printed_by_network(mini_texts, monkeypatch, capsys):
    runs = tuple(
        tiny_run(kind, mini_texts, **options)
        for kind, options in {"awd_fwm": {"memory_dim": 3, "norm_epsilon": 0.1}, "awd_lstm": {}}.items()
    )
    monkeypatch.setattr(sensitivity, "SMALL", runs)
    assert sensitivity.main(["--data", str(mini_texts), "--training_steps", "1"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[2:]]
    assert [row[:-4] for row in rows] == [
        ["FWM", "0.1", "0"],
        ["FWM", "0.1", "1000"],
        ["LSTM", "0"],
        ["LSTM", "1000"],
    ]
    assert [row[-4] for row in rows[2:]] == ["1", "1"]


def planted_run(folder, kind, losses):
    """Write a run whose models have these validation losses: one before, one after that is 1 higher, None: not done."""
    config = configs.run(folder.name, {"type": kind}, num_models=len(losses))
    write_json(folder / "config.json", config.model_dump(mode="json"))
    for number, loss in enumerate(losses, start=1):
        model = runs.model_folder(folder, number)
        if loss is None:
            continue
        nan = float("nan")
        curve = [CurvePoint(step, 1, nan, nan, loss + more, 0.1) for step, more in ((50, 0.0), (100, 1.0))]
        write_curve(model / "training_curve.csv", curve)
        marker = {
            "step": 100,
            "status": "finished",
            "seed": 1000 * (number - 1),
            "horizon": 1,
            "passed_step": None,
        }
        runs.write_weights(model, {"a": np.zeros(1, np.float32)}, marker | {"train_acc": 0.1})


def test_runs_are_compared_with_the_lstm_of_the_same_seed(tmp_path, capsys):
    planted_run(tmp_path / "memory", "awd_fwm", (5.0, 5.3, None, 5.2))
    planted_run(tmp_path / "plain", "awd_lstm", (4.9, 5.0, 4.5, None))
    assert summary.main([str(tmp_path)]) == 0
    memory, plain = (line.split() for line in capsys.readouterr().out.splitlines()[2:])
    # Losses 5, 5.3 and 5.2; seeds 0 and 1000 are in both, .1 and .3 apart: .2 and 12.706 times their standard error .1.
    assert memory[:2] == ["memory", "3"]
    assert memory[-8:] == ["5.167", "(4.787", "to", "5.546)", "0.200", "(-1.071", "to", "1.471)"]
    assert memory[6:8] == ["148.4,", "200.3"]
    assert plain[-4:] == ["4.800", "(4.143", "to", "5.457)"], "not compared with itself"
    planted_run(tmp_path / "other" / "none", "awd_fwm", (None,))
    with pytest.raises(UserError, match="expected finished models; found none"):
        summary.main([str(tmp_path / "other")])
