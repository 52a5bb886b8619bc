"""Recall: what is measured of planted members, with the convolution and without, and a run from end to end."""

import numpy as np
import pandas as pd
import pytest

from emt import config as configuration
from emt import runs
from emt.errors import UserError
from emt.models.attention import Attention
from emt.progress import Progress
from experiments.recall import mechanism, summary, sweep
from experiments.recall.configs import CONDITIONS, MODELS, RATES, SEEDS, SWEEPS
from experiments.recall.measure import measure

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

SYMBOLS, STEPS, WIDTH = 4, 12, 10
TASK = {"name": "induction", "steps": STEPS, "symbols": SYMBOLS}
MODEL = {"type": "attention", "hidden_dim": WIDTH, "heads": 1, "mlp": "none", "context_length": 513}


def planted(folder, config, behind):
    """Write a member that looks for its own token among those ``behind`` steps before, and returns what it finds.

    Its first five units are the tokens, its last five what attention returns.
    """
    options = {name: value for name, value in config.model.items() if name != "type"}
    weights = {
        name: np.zeros_like(w)
        for name, w in Attention([0], SYMBOLS + 1, SYMBOLS, **options).export(0).items()
    }
    tokens, units = np.eye(WIDTH)[:, : SYMBOLS + 1], np.eye(WIDTH)
    weights["embedding.weight"] = tokens
    weights["layer1.norm.weight"] = weights["norm.weight"] = np.ones(WIDTH)
    weights["layer1.mixer.in.weight"] = np.concatenate([4 * units, 4 * units, units])
    weights["layer1.mixer.conv.weight"][:WIDTH, -1] = 1
    weights["layer1.mixer.conv.weight"][WIDTH : 2 * WIDTH, -1 - behind] = 1
    weights["layer1.mixer.conv.weight"][2 * WIDTH :, -1] = 1
    weights["layer1.mixer.out.weight"] = np.roll(units, SYMBOLS + 1, axis=0)
    weights["readout.weight"] = np.roll(units, -SYMBOLS - 1, axis=0)[:SYMBOLS]
    numbers = {name: np.asarray(w, np.float32) for name, w in weights.items()}
    runs.write_weights(runs.model_folder(folder, 1), numbers, {})


@pytest.fixture
def config():
    """Return the configuration of planted members."""
    whole = next(c for c in SWEEPS["induction"] if c.metadata["experiment_name"] == "attention_conv")
    return whole.model_copy(update={"task": TASK, "model": {**MODEL, "layers": 1, "conv_size": 4}})


def test_a_planted_induction_head_recalls_at_every_length_until_its_convolution_is_cut(tmp_path, config):
    planted(tmp_path, config, behind=1)
    measured = measure(tmp_path, config, [1], 64)
    assert {name: values.tolist() for name, values in measured.items() if name != "accuracy_cut"} == {
        name: [1.0] for name in ("accuracy", "accuracy_x2", "accuracy_x4", "accuracy_x8")
    }
    # Without the token before, all keys are alike or empty: a guess from how often tokens came.
    assert measured["accuracy_cut"] < 0.6


@pytest.mark.parametrize("behind", [0, 1, 2])
def test_reads_find_the_token_after_the_trigger_only_with_the_token_before_in_its_key(
    tmp_path, config, monkeypatch, behind
):
    planted(tmp_path, config, behind)
    monkeypatch.setattr(mechanism, "rows_of_members", lambda *run: {1: {"run": "r", "learning_rate": 1.0}})
    (row,) = mechanism.members_of(tmp_path, config)
    # Items are places after the trigger: who looks further behind lands one step later, on a write that has seen it.
    assert row[f"lag_{behind - 1}"] > 0.4
    if behind:
        assert row["delay"] == behind - 1
        assert row["score"] == 1
        assert row["p"] < 0.05
        assert row["shuffled"] < 0.3
    else:
        assert row["score"] < 0.2
    assert (row["accuracy"] == 1) == (behind == 1)


def test_every_seed_trains_at_every_rate_and_every_condition_has_all_models():
    for name, configs in SWEEPS.items():
        longer = name == "mqar_4_longer"
        for config in configs:
            seeds, rates = config.training.seeds(), config.training.rates()
            assert len(set(zip(seeds, rates, strict=True))) == SEEDS * (2 if longer else len(RATES))
        if not longer:
            assert len(configs) == len(MODELS) * len(CONDITIONS) + 1
            assert {summary.describe(c)["condition"] for c in configs} == set(CONDITIONS)


def test_the_longer_runs_differ_in_steps_and_rates_alone():
    shorter = {config.metadata["experiment_name"]: config for config in SWEEPS["mqar_4"]}
    for config in SWEEPS["mqar_4_longer"]:
        other = shorter[config.metadata["experiment_name"]]
        assert (config.task, config.model) == (other.task, other.model)
        changes = configuration.differences(other, config)
        assert {line.split(":")[0].split(".")[-1] for line in changes} == {
            "epochs",
            "learning_rates",
            "num_models",
        }


def test_a_part_of_a_sweep_ends_in_tables_over_rates(tmp_path, monkeypatch, layout_faults):
    small = [
        c.model_copy(update={"task": TASK, "model": {**c.model, "hidden_dim": 4}})
        for c in SWEEPS["induction"]
    ]
    monkeypatch.setitem(SWEEPS, "induction", tuple(small))
    monkeypatch.setattr(summary, "ROWS", 16)
    monkeypatch.setattr(mechanism, "ROWS", 8)
    figures = []
    for module in (summary, mechanism):
        draw = module.draw_rates
        monkeypatch.setattr(
            module, "draw_rates", lambda *a, draw=draw, **k: figures.append(draw(*a, **k)) or figures[-1]
        )
    flags = f"--output_dir {tmp_path} --epochs 1 --epoch_batches 2 --engine inline --accelerator cpu --num_models 4"
    with pytest.raises(UserError, match=r"runs: must be some of linear_attention_conv .* gru; got lstm"):
        sweep.main(["induction", *flags.split(), "--runs", "lstm"])
    assert sweep.main(["induction", *flags.split(), "--runs", "attention_conv", "gru"]) == 0
    folder = tmp_path / "recall_induction"
    rates = pd.read_csv(folder / "summary" / "recall_rates.csv")
    assert rates.groupby("run", sort=False)["learning_rate"].apply(list).tolist() == [list(RATES)] * 2
    assert (rates["n"] == 1).all()
    assert rates["accuracy_cut"].notna().equals(rates["run"] == "attention_conv")
    seen = []
    monkeypatch.setattr(
        Progress, "update", lambda self, done, note="": seen.append((self.what, done, self.total, note))
    )
    assert mechanism.main([str(folder)]) == 0
    whole = [call for call in seen if call[0] == "runs"]
    assert whole == [("runs", 0, 2, "attention_conv"), ("runs", 1, 2, "gru"), ("runs", 2, 2, "")]
    matches = pd.read_csv(folder / "summary" / "recall_match_members.csv")
    assert set(matches["run"]) == {"attention_conv"}
    assert (matches["chance"] < 0.1).all()
    assert len(figures) == 3
    assert [layout_faults(figure) for figure in figures] == [[]] * 3
