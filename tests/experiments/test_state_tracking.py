"""State tracking: what is measured of planted members, and a run from end to end."""

import numpy as np
import pandas as pd
import pytest

from emt import runs
from emt.commands.sweep import with_overrides
from emt.errors import UserError
from emt.models.deltanet import DeltaNet
from experiments.state_tracking import summary, sweep
from experiments.state_tracking.configs import PARITY_RUNS, RATES, SWEEPS
from experiments.state_tracking.measure import measure

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_a_planted_reflection_tracks_parity_at_every_length(tmp_path):
    # Ones have β = 2 and the same key as zeros, which have β = 0: the memory is a number that changes its sign.
    config = PARITY_RUNS[1].model_copy(
        update={"model": {**PARITY_RUNS[1].model, "hidden_dim": 2, "heads": 1, "mlp": "none"}}
    )
    config = with_overrides(config, {"num_models": 3}, config.execution)
    model = DeltaNet([0], 2, 2, hidden_dim=2, heads=1, conv_size=0, mlp="none", max_beta=2.0)
    weights = {name: np.zeros_like(w) for name, w in model.export(0).items()}
    weights["embedding.weight"] = np.array([[1.0, -1.0], [1.0, 1.0]], np.float32)  # (out, in)
    for name in ("norm.weight", "layer1.norm.weight", "layer1.mixer.read_norm.weight"):
        weights[name] = np.ones(2, np.float32)
    weights["layer1.mixer.beta.weight"] = np.array([[-30.0, 0.0]], np.float32)
    # Queries, keys and values are the second channel, which all tokens share.
    weights["layer1.mixer.in.weight"] = np.array([[0.0, 4.0], [0.0, 0.0]] * 3, np.float32)
    weights["layer1.mixer.out.weight"] = np.array([[0.0, 0.0], [-8.0, 0.0]], np.float32)
    weights["readout.weight"] = np.array([[0.0, 1.0], [0.0, 0.0]], np.float32)
    runs.write_weights(runs.model_folder(tmp_path, 1), weights, {})
    measured = measure(tmp_path, config, [1], 32)
    assert measured.eigenvalue is not None
    np.testing.assert_allclose(measured.eigenvalue, [[1, -1]], atol=1e-4)
    assert measured.accuracy.shape == (1, 240)
    assert measured.accuracy.min() == 1


def test_every_seed_trains_at_every_rate():
    for config in (c for configs in SWEEPS.values() for c in configs):
        seeds, rates = config.training.seeds(), config.training.rates()
        assert len(set(zip(seeds, rates, strict=True))) == 20 * len(RATES)


def test_a_sweep_ends_in_tables_over_rates(tmp_path, monkeypatch, layout_faults):
    small = [
        c.model_copy(update={"task": {**c.task, "steps": 5}, "model": {**c.model, "hidden_dim": 4}})
        for c in PARITY_RUNS
    ]
    monkeypatch.setitem(SWEEPS, "parity", tuple(small))
    monkeypatch.setattr(summary, "WORDS", 16)
    figures = []
    draw = summary.draw_rates
    monkeypatch.setattr(summary, "draw_rates", lambda *drawn: figures.append(draw(*drawn)) or figures[-1])
    flags = f"--output_dir {tmp_path} --epochs 1 --epoch_batches 2 --engine inline --accelerator cpu"
    with pytest.raises(UserError, match="num_models: must be a multiple of 3"):
        sweep.main(["parity", *flags.split(), "--num_models", "4"])
    assert sweep.main(["parity", *flags.split(), "--num_models", "6"]) == 0
    folder = tmp_path / "state_tracking_parity" / "summary"
    rates = pd.read_csv(folder / "state_tracking_rates.csv")
    assert rates.groupby("run", sort=False)["learning_rate"].apply(list).tolist() == [list(RATES)] * len(
        PARITY_RUNS
    )
    assert (rates["n"] == 2).all()
    assert rates["trained"].between(0.2, 0.8).all()
    erasing = rates["run"].str.startswith("beta")
    assert rates["median_smallest_eigenvalue"].notna().equals(erasing)
    assert (folder / "accuracy_over_rates.png").exists()
    assert layout_faults(figures[0]) == []
