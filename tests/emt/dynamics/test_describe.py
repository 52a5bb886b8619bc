"""Portraits of loaded members, and of a trained flip-flop."""

import copy
import itertools

import numpy as np
import pytest
import torch

from emt import dynamics_file, record, runs
from emt.config import RunConfig, TrainingConfig
from emt.dynamics import describe as portraying
from emt.dynamics.describe import describe, held_contents
from emt.errors import UserError
from emt.jacobians import advance, part
from emt.models import MODELS
from emt.models.lstm import LSTM
from emt.options import load, options_of
from emt.tasks.flip_flop import FlipFlop

NUMBERS, LENGTH, UNITS = (3, 1), 5, 6


@pytest.fixture
def load_run(tmp_path, monkeypatch):
    """Return a function that loads untrained members on short flip-flops; the searches are few."""
    for name, value in {"STARTS": 8, "SILENT_STEPS": 9, "EXPONENTS": 4}.items():
        monkeypatch.setattr(portraying, name, value)

    def make(name, **options):
        known = {o.name for o in options_of(MODELS[name])}
        wanted = {"hidden_dim": UNITS, "embedding_dim": 7, "memory_dim": 3, **options}
        config = RunConfig(
            metadata={"experiment_name": "planted"},
            task={"name": "flip_flop", "steps": LENGTH, "bits": 2},
            model={"type": name, **{k: v for k, v in wanted.items() if k in known}},
            training=TrainingConfig(num_models=3, seed=5),
        )
        stack = load(MODELS, name, "model_type")(config.training.seeds(), 2, 2, **config.model_options())
        for position in range(3):
            runs.write_weights(runs.model_folder(tmp_path, position + 1), stack.export(position), {})
        return record.load_members(tmp_path, config, NUMBERS)

    return make


def batch_of(loaded):
    return loaded.task.test_batch(5, LENGTH, 1, 4)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_has_a_portrait(name, load_run, tmp_path):
    loaded = load_run(name)
    found = describe(loaded, batch_of(loaded), {"length": LENGTH, "fingerprint": "x"})
    assert found["member"].values.tolist() == list(NUMBERS)
    about = dynamics_file.about(found)
    assert about["held"] == list(loaded.model.held_state)
    assert sum(about["states"].values()) == found.sizes["state"]
    assert set(found["owner"].values) <= set(NUMBERS)
    assert (found["hits"].values >= 1).all()
    assert (found["exponent"].values[:, :, :, :-1] >= found["exponent"].values[:, :, :, 1:]).all()
    assert next(loaded.model.parameters()).dtype == torch.float32
    path = tmp_path / "seq5.nc"
    dynamics_file.save(found, path)
    assert dynamics_file.load(path).identical(found)


@pytest.mark.parametrize("name", ["fw", "fwm"])
def test_fast_weights_can_belong_to_the_state(name, load_run):
    loaded = load_run(name)
    held = held_contents(loaded.model, "whole")
    found = describe(loaded, batch_of(loaded), {}, held)
    about = dynamics_file.about(found)
    assert (about["held"], held_contents(loaded.model, "moving")) == ([], ["fast_weights"])
    assert list(about["states"])[-1] == "fast_weights"
    assert sum(about["states"].values()) == found.sizes["state"] == found.sizes["from_state"]
    assert loaded.model.held_state == ("fast_weights",)
    model = copy.deepcopy(loaded.model).double()
    model.held_state = ()
    zero = model.zero_state(torch.zeros(2, 1, 1, dtype=torch.float64))
    fixed = found["speed"].values < 1e-14
    assert fixed.any()
    for owner, position in zip(found["owner"].values[fixed], found["position"].values[fixed], strict=True):
        at = torch.from_numpy(position).expand(2, 1, -1)
        apart = advance(model, part(model, at, zero), torch.zeros(2, 1, 2, dtype=torch.float64)) - at
        assert apart.norm(dim=-1)[NUMBERS.index(owner)] < 1e-6


@pytest.mark.parametrize(("name", "rough"), [("dnd_lstm", "keys, values"), ("ethereal", "fast_layer_1")])
def test_memories_without_derivatives_stand_still(name, rough, load_run):
    with pytest.raises(UserError, match=f"moving: expected a model whose whole state .* {rough}"):
        held_contents(load_run(name).model, "whole")
    assert held_contents(load_run("ethereal_rnn").model, "whole") == ["position"]
    assert held_contents(load_run("lstm").model, "whole") == []


def test_points_belong_to_the_member_they_are_said_to_belong_to(load_run):
    loaded = load_run("lstm", bias=True)
    found = describe(loaded, batch_of(loaded), {})
    assert {3, 1} == set(found["owner"].values)
    model = loaded.model.double()
    for owner, position in zip(found["owner"].values, found["position"].values, strict=True):
        h, c = (torch.from_numpy(p)[None, None].expand(2, 1, -1) for p in np.split(position, 2))
        _, after, _ = model(torch.zeros(2, 1, 1, 2, dtype=torch.float64), {"hidden": h, "cell": c})
        moved = [float((after["hidden"] - h)[m].norm() + (after["cell"] - c)[m].norm()) for m in range(2)]
        own = NUMBERS.index(owner)
        assert moved[own] < 1e-6 < moved[1 - own]


def test_a_portrait_is_a_function_of_the_run(load_run):
    loaded = load_run("rnn")
    first, second = (describe(loaded, batch_of(loaded), {}) for _ in range(2))
    assert first.identical(second)


def test_a_state_that_is_too_large_is_refused(load_run, monkeypatch):
    monkeypatch.setattr(portraying, "LARGEST_STATE", 11)
    loaded = load_run("lstm")
    with pytest.raises(UserError, match="loaded: expected a model of which at most 11 numbers move; got 12"):
        describe(loaded, batch_of(loaded), {})


# A flip-flop that was trained


def trained(seed, steps):
    """Return a loaded LSTM of 16 units after some steps of Adam on 3-bit flip-flops."""
    task = FlipFlop(bits=3)
    model = LSTM((seed,), 3, 3, hidden_dim=16, bias=True)
    adam = torch.optim.Adam(model.parameters(), lr=1e-2)
    for step in range(steps):
        batch = task.batch([seed], "train", step, task.steps, 32)
        outputs, _, _ = model(torch.from_numpy(batch.inputs))
        loss = (outputs - torch.from_numpy(batch.targets)).square().mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    config = RunConfig(
        task={"name": "flip_flop"}, model={"type": "lstm"}, training=TrainingConfig(num_models=1)
    )
    return record.Loaded(model.requires_grad_(False), task, (1,), record.labels_of(config, model.seeds))


def validate(model, joined, steps=300):
    """Return the moving states after silent steps, (point, state)."""
    h, c = (torch.from_numpy(part)[None] for part in np.split(joined, 2, axis=-1))
    silence = torch.zeros(1, len(joined), steps, 3, dtype=torch.float64)
    outputs, state, _ = model(silence, {"hidden": h, "cell": c})
    return torch.cat([state["hidden"], state["cell"]], dim=-1)[0].numpy(), outputs[0, :, -1].numpy()


def test_a_trained_flip_flop_rests_in_eight_states_with_saddles_between():
    loaded = trained(seed=4, steps=500)
    found = describe(loaded, loaded.task.test_batch(4, 48, 1, 32), {})
    model = loaded.model.double()
    position, matrices = found["position"].values, found["jacobian"].values.astype(float)
    assert (found["speed"].values < 1e-14).all()
    values, vectors = np.linalg.eig(matrices)
    unstable = (np.abs(values) > 1).sum(axis=1)

    stable = position[unstable == 0]
    stayed, outputs = validate(model, stable)
    np.testing.assert_allclose(stayed, stable, atol=1e-5)
    assert len(stable) == 8
    assert {tuple(row) for row in np.sign(outputs)} == set(itertools.product((-1, 1), repeat=3))
    np.testing.assert_allclose(np.abs(outputs), 1, atol=0.3)

    # A step off a saddle to either side ends in two stable points that differ.
    between = np.flatnonzero(unstable == 1)
    way = vectors[between, :, np.abs(values[between]).argmax(axis=1)].real
    ends = [validate(model, position[between] + side * way)[0] for side in (1e-2, -1e-2)]
    places = np.array([np.linalg.norm(stable - e[:, None], axis=-1).argmin(axis=1) for e in ends])
    for end, place in zip(ends, places, strict=True):
        np.testing.assert_allclose(end, stable[place], atol=1e-3)
    assert (places[0] != places[1]).all()
    assert len(between) >= 10
    assert set(places.ravel()) == set(range(8))


def test_an_untrained_network_has_no_such_states():
    loaded = trained(seed=4, steps=0)
    found = describe(loaded, loaded.task.test_batch(4, 48, 1, 32), {})
    values = np.linalg.eigvals(found["jacobian"].values.astype(float))
    assert len(values) == 1
    assert (np.abs(values) < 1).all()
