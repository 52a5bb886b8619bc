"""Jacobians of one step, over the whole registry of models."""

import numpy as np
import pytest
import torch

from emt import jacobians
from emt.jacobians import advance, join, moving_state, part
from emt.models import MODELS
from emt.options import load, options_of

SEEDS, POINTS, UNITS, IN, OUT = (11, 1011), 3, 8, 4, 6

every_model = pytest.mark.parametrize("name", MODELS)


@pytest.fixture
def make_points():
    """Return a function that gives a model in float64, away from its initial weights, states and inputs."""

    def make(name, **wanted):
        known = {o.name for o in options_of(MODELS[name])}
        options = {
            k: v
            for k, v in {
                "hidden_dim": UNITS,
                "embedding_dim": 7,
                "memory_dim": 5,
                "bias": True,
                **wanted,
            }.items()
            if k in known
        }
        model = load(MODELS, name, "model_type")(SEEDS, IN, OUT, **options).double().requires_grad_(False)
        draw = np.random.default_rng(2).standard_normal
        for parameter in model.parameters():
            parameter += 0.3 * torch.from_numpy(draw(parameter.shape))
        zero = model.zero_state(torch.zeros(len(SEEDS), POINTS, 1, dtype=torch.float64))
        state = {n: torch.from_numpy(draw(z.shape)) if z.is_floating_point() else ~z for n, z in zero.items()}
        return model, state, torch.from_numpy(draw((len(SEEDS), POINTS, IN)))

    return make


def central_differences(model, state, x, step=1e-5):
    """Derivatives of the next moving state by the state and by the input, one number at a time."""
    at = join(model, state)
    size, channels = at.shape[-1], x.shape[-1]
    by_state, by_input = [], []
    for way in step * torch.eye(size, dtype=at.dtype):
        up, down = (advance(model, part(model, at + s * way, state), x) for s in (1, -1))
        by_state.append((up - down) / (2 * step))
    for way in step * torch.eye(channels, dtype=x.dtype):
        by_input.append((advance(model, state, x + way) - advance(model, state, x - way)) / (2 * step))
    return torch.stack(by_state, dim=-1), torch.stack(by_input, dim=-1)


def check_jacobians(model, state, x, monkeypatch, *, carries=True, linear_in_input=False):
    size = sum(moving_state(model, state).values())
    # Two points of each member in one pass, and then one.
    monkeypatch.setattr(jacobians, "COPIES", 2 * len(SEEDS) * size)
    found, expected = jacobians.jacobians(model, state, x), central_differences(model, state, x)
    assert found[0].shape == (len(SEEDS), POINTS, size, size)
    assert found[1].shape == (len(SEEDS), POINTS, size, IN)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
        if ours is found[0] and not carries:
            assert not theirs.any()
            continue
        # Controls: neither another point's nor another member's would pass.
        same = ours is found[1] and linear_in_input
        assert ((ours.flip(1) - theirs).abs().max() > 1e-3) != same
        assert (ours.flip(0) - theirs).abs().max() > 1e-3
    assert not carries or (found[0].mT - expected[0]).abs().max() > 1e-3


@every_model
def test_they_are_those_of_central_differences(name, make_points, monkeypatch):
    # In these two the memory alone goes from step to step; inputs add to a potential.
    model, state, x = make_points(name)
    special = {"carries": name not in ("fwp", "transformer_xl"), "linear_in_input": name == "rate_rnn"}
    check_jacobians(model, state, x, monkeypatch, **special)


@pytest.mark.parametrize("name", [name for name in MODELS if load(MODELS, name, "model_type").smooth_state])
def test_those_of_the_whole_state_are_too(name, make_points, monkeypatch):
    model, state, x = make_points(name, embedding_dim=4, memory_dim=3)
    model.held_state = ()
    assert "fast_weights" in moving_state(model, state)
    check_jacobians(model, state, x, monkeypatch)


@every_model
def test_memories_stand_still_and_all_else_moves(name, make_points):
    model, state, _ = make_points(name)
    assert set(moving_state(model, state)) == set(model.state_dims) - set(model.held_state)


@every_model
def test_joining_and_parting_undo_each_other(name, make_points):
    model, state, _ = make_points(name)
    again = part(model, join(model, state), state)
    assert list(again) == list(state)
    assert all(torch.equal(again[n], state[n]) for n in state)
    moved = part(model, join(model, state) + 1, state)
    assert all(torch.equal(moved[n], state[n]) == (n in model.held_state) for n in state)


def test_an_elman_network_has_a_closed_form(make_points):
    model, state, x = make_points("rnn")
    after = advance(model, state, x)
    slope = (1 - after**2)[..., None]
    by_state, by_input = jacobians.jacobians(model, state, x)
    torch.testing.assert_close(by_state, slope * model.w_rec.mT[:, None])
    torch.testing.assert_close(by_input, slope * model.w_in.mT[:, None])
