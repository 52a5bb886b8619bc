"""Laws of cut runs and of edits of the state, for every registered model."""

import numpy as np
import pytest
import torch
from planted.cells import woken

from emt.errors import UserError
from emt.interventions import states as edits
from emt.interventions.driver import run_edited
from emt.interventions.states import parts_of
from emt.models import MODELS
from emt.options import load, options_of

BATCH, TIME, IN, OUT = 4, 6, 3, 5
SEEDS = (11, 1011)
ORDER = torch.tensor([2, 0, 3, 1])

every_model = pytest.mark.parametrize("name", MODELS)


def build(name):
    known = {o.name for o in options_of(MODELS[name])}
    wanted = {"hidden_dim": 8, "embedding_dim": 5, "memory_dim": 4}
    model = load(MODELS, name, "model_type")(
        SEEDS, IN, OUT, **{k: v for k, v in wanted.items() if k in known}
    )
    if name == "rwkv7":
        model = woken(model)
    return model.double().requires_grad_(False)


def trials(name, seed=0):
    """Return inputs, equal for all sequences from step 3 on, and the context of a model that learns from targets."""
    rng = np.random.default_rng(seed)
    x = torch.tensor(rng.standard_normal((len(SEEDS), BATCH, TIME, IN)))
    x[:, :, 3:] = x[:, :1, 3:]
    targets = torch.tensor(rng.integers(0, OUT, (len(SEEDS), BATCH, TIME)))
    targets[:, :, 3:] = targets[:, :1, 3:]
    return x, {"targets": targets} if "targets" in build(name).context else {}


@every_model
def test_a_run_that_is_cut_everywhere_is_the_whole_run(name):
    model, (x, context) = build(name), trials(name)
    whole, state = run_edited(model, x, TIME, context, {})
    cut, last = run_edited(model, x, TIME, context, dict.fromkeys((1, 3, 4), edits.unchanged()))
    torch.testing.assert_close(cut, whole, atol=1e-11, rtol=0)
    for key, value in state.items():
        torch.testing.assert_close(last[key], value, atol=1e-11, rtol=0)
    assert torch.equal(whole, model(x, None, TIME, context)[0])


@every_model
def test_steps_after_the_inputs_are_silent_on_both_sides_of_a_cut(name):
    model, (x, context) = build(name), trials(name)
    x[:, :, 3:] = 0
    cuts = {4: edits.unchanged()}
    given, _ = run_edited(model, x[:, :, :3], TIME, context, cuts)
    torch.testing.assert_close(given, run_edited(model, x, TIME, context, cuts)[0], atol=1e-12, rtol=0)


@every_model
def test_a_sequence_with_the_whole_state_of_another_goes_its_way(name):
    """Later inputs are equal, so with the state of sequence ORDER[i] sequence i has its outputs."""
    model, (x, context) = build(name), trials(name)
    whole, _ = run_edited(model, x, TIME, context, {})
    moved, _ = run_edited(model, x, TIME, context, {3: edits.shuffle(parts_of(model)["all"], ORDER)})
    torch.testing.assert_close(moved[:, :, 3:], whole[:, ORDER, 3:], atol=1e-11, rtol=0)
    assert torch.equal(
        moved[:, :, :3], run_edited(model, x, TIME, context, {3: edits.unchanged()})[0][:, :, :3]
    )
    assert not torch.allclose(whole[:, ORDER, 3:], whole[:, :, 3:], atol=1e-6)


@every_model
def test_an_exchange_and_its_inverse_change_nothing(name):
    model, (x, context) = build(name), trials(name)
    names = parts_of(model)["all"]
    there, back = edits.shuffle(names, ORDER), edits.shuffle(names, ORDER.argsort())

    def both(state):
        return back({**state, **there(state)})

    cut, _ = run_edited(model, x, TIME, context, {2: edits.unchanged()})
    assert torch.equal(run_edited(model, x, TIME, context, {2: both})[0], cut)


def test_edits_change_what_they_name_and_nothing_else():
    state = {"hidden": torch.arange(6.0).view(1, 3, 2), "held": torch.tensor([[[True], [False], [True]]])}
    assert edits.unchanged()(state) == {}
    assert edits.zero(["hidden"])(state)["hidden"].abs().sum() == 0
    assert edits.mean(["hidden"])(state)["hidden"].tolist() == [[[2.0, 3.0]] * 3]
    assert edits.set_to({"hidden": torch.ones(1, 3, 2)})(state)["hidden"].tolist() == [[[1.0, 1.0]] * 3]
    moved = edits.transplant(["held"], state, torch.tensor([1, 1, 0]))(state)
    assert moved.keys() == {"held"}
    assert moved["held"].flatten().tolist() == [False, False, True]
    with pytest.raises(UserError, match="expected states of real numbers for a mean; 'held' has none"):
        edits.mean(["held"])(state)


def test_only_a_subspace_changes():
    """Ψ of two orthonormal columns and D = Ψᵀ: what D reads is doubled, all that is orthogonal to Ψ stays."""
    q = torch.linalg.qr(torch.tensor(np.random.default_rng(0).standard_normal((1, 5, 5))))[0]
    basis, rest = q[..., :2], q[..., 2:]
    h = torch.tensor(np.random.default_rng(1).standard_normal((1, 3, 5)))
    changed = edits.subspace("hidden", basis, basis.mT, lambda read: read)({"hidden": h})["hidden"]
    torch.testing.assert_close(changed @ basis, 2 * (h @ basis))
    torch.testing.assert_close(changed @ rest, h @ rest)


@every_model
def test_parts_of_a_state_are_all_of_it(name):
    model = build(name)
    parts = parts_of(model)
    assert set(parts["all"]) == set(model.state_dims) - {"position"}
    assert parts.keys() == ({"moving", "memory", "all"} if set(model.held_state) - {"position"} else {"all"})
