"""The capacity of fast weights: closed forms, published values and their average, and a run from end to end."""

import itertools

import numpy as np
import pandas as pd
import pytest

from emt.errors import UserError
from experiments.fwp_capacity import summary, sweep, theory
from experiments.fwp_capacity.configs import SWEEPS
from experiments.fwp_capacity.measure import published_mean
from experiments.fwp_capacity.published import PUBLISHED

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def test_the_published_average_weighs_the_last_four_of_a_hundred_keys_by_a_quarter():
    losses = np.zeros(100)
    losses[96:] = 1
    assert published_mean(losses) == 0.25
    assert losses.mean() == 0.04
    assert published_mean(np.ones(64)) == 1
    late = np.zeros(260)
    late[200:] = 1
    assert published_mean(late) == 0


def test_no_memory_of_few_features_is_below_the_floor_and_a_projection_meets_it():
    generator = np.random.default_rng(0)
    for features, keys in ((3, 7), (6, 7), (9, 7)):
        for _ in range(20):
            answers = generator.standard_normal((keys, features)) @ generator.standard_normal(
                (features, keys)
            )
            answers *= generator.uniform(0, 0.5)
            loss = 0.5 * np.square(answers - np.eye(keys)).sum(axis=1).mean()
            assert loss >= theory.floor(features, keys)
        basis = np.linalg.qr(generator.standard_normal((keys, keys)))[0][:, :features]
        loss = 0.5 * np.square(basis @ basis.T - np.eye(keys)).sum(axis=1).mean()
        np.testing.assert_allclose(loss, theory.floor(features, keys), atol=1e-12)


def test_the_mean_of_a_keys_values_costs_what_the_formula_says():
    keys = pairs = 3
    costs = []
    for row in itertools.product(range(keys * keys), repeat=pairs):
        shown = [divmod(pair, keys) for pair in row]
        for key in {k for k, _ in shown}:
            values = [v for k, v in shown if k == key]
            answer = np.bincount(values, minlength=keys) / len(values)
            costs.append(0.5 * np.square(answer - np.eye(keys)[values[-1]]).sum())
    # Over all sequences, each of their keys alike.
    np.testing.assert_allclose(np.mean(costs), theory.mean_of_values(keys, pairs), rtol=1e-12)
    np.testing.assert_allclose(theory.mean_of_values(3000, 3000), 0.1165, atol=1e-4)


def test_the_published_values_are_those_of_the_figure():
    assert PUBLISHED["unique_keys"]["elu", 60] == (0.0246, 4200)
    assert PUBLISHED["unique_keys"]["dpfp3", 600] == (0.2012, 6500)
    assert PUBLISHED["repeated_keys"]["delta_dpfp1", 100] == (0.0001, 2000)
    assert np.isnan(PUBLISHED["repeated_keys"]["delta_favor64", 40].loss)
    excess = [
        cell.loss - theory.floor(features, keys)
        for name, features in (("elu", 64), ("dpfp1", 128))
        for (found, keys), cell in PUBLISHED["unique_keys"].items()
        if found == name and 1.25 * features <= keys <= 200
    ]
    # Values just below the floor are those of the unweighted splits.
    assert len(excess) == 7 + 3
    assert -0.01 < min(excess) < max(excess) < 0.025


def test_every_shipped_cell_has_a_published_run():
    for config in (c for configs in SWEEPS.values() for c in configs):
        cell, _, keys = config.metadata["experiment_name"].rpartition("_")
        assert (cell, int(keys)) in PUBLISHED[config.task_name]


def test_a_sweep_ends_in_tables_beside_theory_and_the_published_runs(tmp_path, monkeypatch, layout_faults):
    chosen = [c for c in SWEEPS["repeated_keys"] if c.metadata["experiment_name"].endswith("_20")]
    small = [c.model_copy(update={"task": {**c.task, "num_keys": 5}}) for c in chosen[:4]]
    monkeypatch.setitem(SWEEPS, "repeated_keys", (*small, *chosen))
    monkeypatch.setattr(summary, "SEQUENCES", 2)
    figures = []
    draw = summary.draw_capacity
    monkeypatch.setattr(summary, "draw_capacity", lambda cells: figures.append(draw(cells)) or figures[-1])
    flags = "--num_keys 5 --num_models 2 --epochs 1 --epoch_batches 2 --engine inline --accelerator cpu"
    with pytest.raises(UserError, match="num_keys: must be some of 5 20; got 7"):
        sweep.main(["repeated_keys", "--num_keys", "5", "7"])
    with pytest.raises(UserError, match=r"cells: must be some of sum_dpfp1 .*; got elu"):
        sweep.main(["repeated_keys", "--num_keys", "5", "--cells", "elu"])
    flags += " --cells sum_dpfp1 delta_dpfp1 fwm_dpfp1"
    assert sweep.main(["repeated_keys", "--output_dir", str(tmp_path), *flags.split()]) == 0
    folder = tmp_path / "fwp_capacity_repeated_keys" / "summary"
    cells = pd.read_csv(folder / "fwp_capacity_cells.csv").set_index("cell")
    assert list(cells.index) == ["sum_dpfp1", "delta_dpfp1", "fwm_dpfp1"]
    assert (cells["n"] == 2).all()
    assert cells["theory"].notna().tolist() == [True, True, False]
    np.testing.assert_allclose(cells.loc["sum_dpfp1", "theory"], theory.mean_of_values(5, 10))
    members = pd.read_csv(folder / "fwp_capacity_members.csv")
    assert members["loss"].between(0, 4).all()
    assert (folder / "capacity.png").exists()
    assert layout_faults(figures[0]) == []
