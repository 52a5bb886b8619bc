"""The models of associative retrieval against torch's modules, and what sets each of them apart."""

import numpy as np
import pytest
import torch
from torch import nn

from emt.errors import UserError
from emt.models import fast_weights
from emt.models.alstm import AssociativeLSTM
from emt.models.ar_lstm import RetrievalLSTM
from emt.models.fast_weights import FastWeights
from emt.models.irnn import IRNN
from emt.options import check, options_of

BATCH, TIME, IN, EMBEDDING, UNITS, OUT = 3, 5, 4, 9, 8, 6
SEEDS = (11, 1011)
MODELS = (IRNN, RetrievalLSTM, AssociativeLSTM, FastWeights)


def build(model, **options):
    return model(SEEDS, IN, OUT, hidden_dim=UNITS, embedding_dim=EMBEDDING, **options)


def draw(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


@pytest.fixture
def x():
    return draw(len(SEEDS), BATCH, TIME, IN)


@pytest.mark.parametrize("scale", [0.05, 1.0])
def test_an_irnn_is_torchs_rnn_of_rectified_units(x, scale):
    model = build(IRNN, identity_scale=scale)
    with torch.no_grad():
        model.bias += 0.1 * draw(len(SEEDS), UNITS, seed=1)
    outputs, _, log = model(x)
    for member in range(len(SEEDS)):
        weights = {k: torch.from_numpy(v) for k, v in model.export(member).items()}
        np.testing.assert_array_equal(weights["rnn.weight_hh_l0"], scale * np.eye(UNITS, dtype=np.float32))
        reference = nn.ModuleDict({"embedding": nn.Linear(IN, EMBEDDING, bias=False), "head": head()})
        reference["rnn"] = nn.RNN(EMBEDDING, UNITS, nonlinearity="relu", batch_first=True)
        reference.load_state_dict(weights | {"rnn.bias_ih_l0": torch.zeros(UNITS)}, strict=True)
        hidden, _ = reference["rnn"](reference["embedding"](x[member]))
        torch.testing.assert_close(log["hidden"][member], hidden, atol=1e-6, rtol=0)
        torch.testing.assert_close(outputs[member], reference["head"](hidden), atol=1e-6, rtol=0)


def test_an_lstm_is_torchs_lstm(x):
    model = build(RetrievalLSTM)
    outputs, _, log = model(x)
    for member in range(len(SEEDS)):
        reference = nn.ModuleDict({"embedding": nn.Linear(IN, EMBEDDING, bias=False), "head": head()})
        reference["rnn"] = nn.LSTM(EMBEDDING, UNITS, batch_first=True)
        reference.load_state_dict(
            {k: torch.from_numpy(v) for k, v in model.export(member).items()}, strict=True
        )
        hidden, _ = reference["rnn"](reference["embedding"](x[member]))
        torch.testing.assert_close(log["hidden"][member], hidden, atol=1e-6, rtol=0)
        torch.testing.assert_close(outputs[member], reference["head"](hidden), atol=1e-6, rtol=0)


def head():
    return nn.Sequential(nn.Linear(UNITS, 100), nn.ReLU(), nn.Linear(100, OUT))


@pytest.mark.parametrize("model", MODELS)
def test_all_have_the_same_head_and_embedding(model):
    weights = build(model).export(0)
    assert weights["embedding.weight"].shape == (EMBEDDING, IN)
    assert {n: w.shape for n, w in weights.items() if n.startswith("head")} == {
        "head.0.weight": (100, UNITS),
        "head.0.bias": (100,),
        "head.2.weight": (OUT, 100),
        "head.2.bias": (OUT,),
    }
    drawn = (
        build(
            model,
        )
        .embedding.detach()
        .numpy()
    )
    assert abs(model((5,), 37, OUT).embedding.std().item() - 1) < 0.05
    assert np.abs(drawn[0] - drawn[1]).max() > 0.1


@pytest.mark.parametrize("model", MODELS)
def test_a_frozen_embedding_gets_no_gradient(model, x):
    trained, frozen = build(model), build(model, freeze_embedding=True)
    for built in (trained, frozen):
        built(x)[0].square().sum().backward()
    assert trained.embedding.grad.any()
    assert frozen.embedding.grad is None
    torch.testing.assert_close(frozen.w_in.grad, trained.w_in.grad)
    assert frozen.export(0).keys() == trained.export(0).keys()


@pytest.mark.parametrize("model", MODELS)
def test_the_head_may_be_asked_for_some_steps_only(model, x):
    built = build(model)
    wanted = torch.zeros(len(SEEDS), BATCH, TIME, dtype=torch.bool)
    wanted[0, 1, 2] = wanted[1, 0, 4] = True
    (full, _, _), (some, _, _) = built(x), built(x, context={"needed_steps": wanted})
    steps = wanted.flatten(0, 1).any(dim=0)
    torch.testing.assert_close(some[:, :, steps], full[:, :, steps], atol=1e-6, rtol=0)
    assert not some[:, :, ~steps].any()
    assert full[:, :, ~steps].all(), "the outputs left out were not zero"
    parameters = list(built.parameters())
    for got, expected in zip(
        *(torch.autograd.grad(y[wanted].square().sum(), parameters) for y in (some, full)), strict=True
    ):
        torch.testing.assert_close(got, expected, atol=1e-6, rtol=1e-5)


def test_the_matrix_of_fast_weights_is_made_when_asked_for_and_once(x, monkeypatch):
    calls, make = [], fast_weights.fast_matrix
    monkeypatch.setattr(fast_weights, "fast_matrix", lambda *a: calls.append(1) or make(*a))
    outputs, state, _ = build(FastWeights)(x)
    outputs.sum().backward()
    assert (list(state), len(calls)) == (["hidden", "fast_weights"], 0)
    assert state["fast_weights"] is state["fast_weights"]
    assert len(calls) == 1


@pytest.mark.parametrize("inner_steps", [1, 3])
def test_fast_weights_follow_the_paper(x, inner_steps):
    model = build(FastWeights, eta=0.4, lam=0.8, inner_steps=inner_steps)
    with torch.no_grad():
        for parameter in (model.w_rec, model.gain, model.bias):
            parameter += 0.2 * draw(*parameter.shape, seed=2)
    _, state, log = model(x)
    for member in range(len(SEEDS)):
        w = {name: value.astype(float) for name, value in model.export(member).items()}
        for item in range(BATCH):
            h, a = np.zeros(UNITS), np.zeros((UNITS, UNITS))
            for t in range(TIME):
                u = (
                    w["rnn.weight_ih_l0"] @ w["embedding.weight"] @ x[member, item, t].numpy()
                    + w["rnn.weight_hh_l0"] @ h
                )
                s = np.maximum(u, 0)
                for _ in range(inner_steps):
                    z = u + a @ s
                    z = (z - z.mean()) / np.sqrt(z.var() + 1e-5)
                    s = np.maximum(w["norm.weight"] * z + w["norm.bias"], 0)
                h, a = s, 0.8 * a + 0.4 * np.outer(s, s)
                np.testing.assert_allclose(log["hidden"][member, item, t].detach(), h, atol=1e-4)
            np.testing.assert_allclose(state["fast_weights"][member, item].detach(), a, atol=1e-3)


def test_without_eta_nothing_is_written_or_returned(x):
    _, state, log = build(FastWeights, eta=0.0)(x)
    assert not state["fast_weights"].any()
    assert not log["memory/fast/read_value"].any()
    assert build(FastWeights)(x)[2]["memory/fast/read_value"].any()


def complex_halves(values):
    return values[..., : values.shape[-1] // 2] + 1j * values[..., values.shape[-1] // 2 :]


@pytest.mark.parametrize("copies", [1, 3])
def test_an_associative_lstm_follows_the_paper(x, copies):
    model = build(AssociativeLSTM, copies=copies)
    _, _, log = model(x)
    n, permutations = UNITS // 2, model.permutations.numpy()
    assert all(sorted(p) == list(range(n)) for p in permutations)

    def bound(z):
        return z / np.maximum(1, np.abs(z))

    for member in range(len(SEEDS)):
        w = {name: value.astype(float) for name, value in model.export(member).items()}
        for item in range(BATCH):
            h, c = np.zeros(UNITS), np.zeros((copies, n), complex)
            for t in range(TIME):
                embedded = w["embedding.weight"] @ x[member, item, t].numpy()
                a = w["rnn.weight_ih_l0"] @ embedded + w["rnn.weight_hh_l0"] @ h + w["rnn.bias_hh_l0"]
                f, i, o = 1 / (1 + np.exp(-a[: 3 * n].reshape(3, n)))
                r_in, r_out, u = (bound(complex_halves(v)) for v in a[3 * n :].reshape(3, 2 * n))
                c = np.stack([f * c[s] + r_in[p] * i * u for s, p in enumerate(permutations)])
                read = o * bound(np.mean([r_out[p] * c[s] for s, p in enumerate(permutations)], axis=0))
                h = np.concatenate([read.real, read.imag])
                np.testing.assert_allclose(log["hidden"][member, item, t].detach(), h, atol=1e-5)
                np.testing.assert_allclose(
                    complex_halves(log["cell"][member, item, t].detach().numpy()), c, atol=1e-5
                )


def test_complex_units_need_two_numbers_each():
    target = "emt.models.alstm:AssociativeLSTM"
    with pytest.raises(UserError, match="hidden_dim: must be an integer, a multiple of 2; got 7"):
        check(options_of(target), {"hidden_dim": 7}, "model 'alstm'")


def test_copies_of_an_associative_lstm_are_permuted_differently():
    permutations = AssociativeLSTM((1,), IN, OUT, hidden_dim=40, copies=4).permutations
    again = AssociativeLSTM((5, 6), IN, OUT, hidden_dim=40, copies=4).permutations
    assert len({tuple(p.tolist()) for p in permutations}) == 4
    assert torch.equal(permutations, again)
