"""Networks of other programs, under the names in their weight files, compute here what their equations say.

Sizes all differ, so that no axis can take another's place; square ones are tried apart.
"""

import numpy as np
import pytest
import torch
from torch import nn

from emt.errors import UserError
from emt.models import MODELS
from emt.options import load
from emt.weights.load import Weights
from emt.weights.programs import recognise

TOKENS, CHANNELS, UNITS, ROWS, STEPS = 11, 6, 7, 3, 5


def converted(tensors, inputs, outputs, **options):
    """Return this project's model with the weights of a file, and what else the file says."""
    program, weights = recognise(Weights(tensors), "a.pt")
    network = program.convert(weights, options)
    build = load(MODELS, program.model_type, "model_type")
    model = build([0], inputs, outputs, **{**options, **network.model})
    model.load(0, network.weights)
    return model, network


def ids(tokens=TOKENS):
    return torch.randint(tokens, (ROWS, STEPS), generator=torch.Generator().manual_seed(1))


def same(found, expected):
    found, expected = found.detach(), expected.detach()
    return bool((found - expected).abs().max() < 1e-5 * expected.abs().max().clamp(min=1))


def head(units=UNITS):
    return nn.Sequential(nn.Linear(units, 100), nn.ReLU(), nn.Linear(100, 10))


@pytest.mark.parametrize("channels", [CHANNELS, TOKENS])
def test_rectified_network_of_fastweights_ar(channels):
    """h' = relu(W h + b + U x), where x is a row of the embedding, square or not."""
    torch.manual_seed(0)
    parts = nn.ModuleDict(
        {
            "emb": nn.Embedding(TOKENS, channels),
            "U": nn.Linear(channels, UNITS, bias=False),
            "W": nn.Linear(UNITS, UNITS),
            "head": head(),
        }
    )
    model, network = converted(parts.state_dict(), TOKENS, 10)
    x, h = ids(), torch.zeros(ROWS, UNITS)
    for t in range(STEPS):
        h = (parts["W"](h) + parts["U"](parts["emb"](x[:, t]))).relu()
    assert same(model(x[None])[0][0, :, -1], parts["head"](h))
    assert network.model == {"hidden_dim": UNITS, "embedding_dim": channels}


def test_fast_weights_of_fastweights_ar():
    """u = W h + U x; s = relu(u), then relu(LN(u + A s)); A ← λ A + η h hᵀ."""
    torch.manual_seed(0)
    parts = nn.ModuleDict(
        {
            "emb": nn.Embedding(TOKENS, CHANNELS),
            "U": nn.Linear(CHANNELS, UNITS, bias=False),
            "W": nn.Linear(UNITS, UNITS, bias=False),
            "ln": nn.LayerNorm(UNITS),
            "head": head(),
        }
    )
    nn.init.normal_(parts["ln"].weight)
    model, _ = converted(parts.state_dict(), TOKENS, 10, eta=0.4, lam=0.8)
    x, h, matrix = ids(), torch.zeros(ROWS, UNITS), torch.zeros(ROWS, UNITS, UNITS)
    for t in range(STEPS):
        u = parts["W"](h) + parts["U"](parts["emb"](x[:, t]))
        h = parts["ln"](u + (matrix @ u.relu()[..., None])[..., 0]).relu()
        matrix = 0.8 * matrix + 0.4 * h[:, :, None] * h[:, None]
    assert same(model(x[None])[0][0, :, -1], parts["head"](h))


def test_lstm_of_fastweights_ar():
    torch.manual_seed(0)
    parts = nn.ModuleDict(
        {
            "emb": nn.Embedding(TOKENS, CHANNELS),
            "lstm": nn.LSTM(CHANNELS, UNITS, batch_first=True),
            "head": head(),
        }
    )
    model, _ = converted(parts.state_dict(), TOKENS, 10)
    x = ids()
    assert same(model(x[None])[0][0], parts["head"](parts["lstm"](parts["emb"](x))[0]))


def test_agent_of_dnd_lstm():
    """f, i, o, r, z in this order; nothing is recalled of an empty dictionary. Actions before the value."""
    torch.manual_seed(0)
    tensors = {
        "i2h": nn.Linear(8, 5 * UNITS),
        "h2h": nn.Linear(UNITS, 5 * UNITS),
        "a2c": nn.ModuleDict({"actor": nn.Linear(UNITS, 2), "critic": nn.Linear(UNITS, 1)}),
    }
    parts = nn.ModuleDict(tensors)
    model, network = converted(parts.state_dict(), 8, 3)
    x = torch.randn(ROWS, STEPS, 8)
    h, c = torch.zeros(2, ROWS, UNITS)
    for t in range(STEPS):
        f, i, o, _, z = (parts["i2h"](x[:, t]) + parts["h2h"](h)).chunk(5, dim=-1)
        c = f.sigmoid() * c + i.sigmoid() * z.tanh()
        h = o.sigmoid() * c.tanh()
    expected = torch.cat([parts["a2c"]["actor"](h), parts["a2c"]["critic"](h)], dim=-1)
    assert same(model(x[None])[0][0, :, -1], expected)
    assert (network.model, network.task) == ({"hidden_dim": UNITS}, {"evidence": 4})


def fwm_tensors(tokens, channels, size=4, reads=3):
    linear = {
        "W_write": (UNITS, 3 * size + 1),
        "W_read": (UNITS, (reads + 1) * size),
        "linear": (size, UNITS),
    }
    cell = {
        "lstm.W_ih": torch.randn(4 * UNITS, channels) / 3,
        "lstm.W_hh": torch.randn(4 * UNITS, UNITS) / 3,
        "lstm.bias": torch.randn(4 * UNITS) / 3,
    }
    for name, sizes in linear.items():
        cell |= {f"{name}.{kind}": w for kind, w in nn.Linear(*sizes).state_dict().items()}
    whole = {"embedding.weight": torch.randn(tokens, channels), "linear.weight": torch.randn(tokens, UNITS)}
    return whole | {f"rnn.cells.0.{name}": w.detach() for name, w in cell.items()}


@pytest.mark.parametrize("channels", [CHANNELS, TOKENS])
def test_fast_weight_memory(channels):
    """The equations of the catbAbI program, with F as (value, k1, k2) and its forget gate at σ(f + 1)."""
    torch.manual_seed(0)
    tensors, size = fwm_tensors(TOKENS, channels), 4
    model, network = converted(tensors, TOKENS, TOKENS)
    w = {name.removeprefix("rnn.cells.0."): value for name, value in tensors.items()}
    x, outputs = ids(), []
    h, c = torch.zeros(2, ROWS, UNITS)
    memory = torch.zeros(ROWS, size, size, size)
    for t in range(STEPS):
        gates = (
            tensors["embedding.weight"][x[:, t]] @ w["lstm.W_ih"].T + h @ w["lstm.W_hh"].T + w["lstm.bias"]
        )
        i, f, z, o = gates.chunk(4, dim=-1)
        c = (f + 1).sigmoid() * c + i.sigmoid() * z.tanh()
        h = o.sigmoid() * c.tanh()
        written = h @ w["W_write.weight"].T + w["W_write.bias"]
        k1, k2, v, b = written.split([size, size, size, 1], dim=-1)
        k1, k2, v, b = k1.tanh(), k2.tanh(), v.tanh(), (b + 1).sigmoid()
        old = torch.einsum("bvij,bi,bj->bv", memory, k1, k2)
        memory = memory + torch.einsum("bv,bi,bj->bvij", b * (v - old) / size, k1, k2)
        memory = memory / memory.flatten(1).norm(dim=1).clamp(min=1)[:, None, None, None]
        n, *partners = (h @ w["W_read.weight"].T + w["W_read.bias"]).split(size, dim=-1)
        for e in partners:
            n = nn.functional.layer_norm(torch.einsum("bvij,bi,bj->bv", memory, n, e.tanh()), (size,))
        outputs.append((n @ w["linear.weight"].T + w["linear.bias"]) @ tensors["linear.weight"].T)
    assert same(model(x[None])[0][0], torch.stack(outputs, dim=1))
    assert network.model == {"hidden_dim": UNITS, "embedding_dim": channels, "memory_dim": size, "reads": 3}


def ethereal_tensors(inputs, outputs, layers=2, items=3):
    width = inputs + UNITS
    shapes = {f"linear_layers.{i}": (width, width) for i in range(layers)}
    shapes |= {"i2h": (UNITS, width), "i2o": (outputs, width), "self_grad": (outputs, width)}
    tensors = {}
    for place, (out, into) in shapes.items():
        mask = torch.rand(out, into) < 0.3
        last = place in ("i2o", "self_grad")
        tensors |= {
            f"{place}.candidate_weights": torch.randn(items, out, into) / 3,
            f"{place}.weight": torch.randn(out, into),
            f"{place}.bias": torch.randn(out),
            f"{place}.mask": mask,
            f"{place}.plasticity": torch.ones(out, into)
            if last
            else torch.ones(out, into).masked_fill(mask, 30.1),
            f"{place}.forgetting_factor": torch.zeros(out, into).masked_fill(mask, 0.02),
            f"{place}.feedback_weights": torch.randn(outputs, out),
            f"{place}.in_traces": torch.randn(items, into),
        }
    return tensors


def test_network_of_memory_encoding():
    """Weights are the mean over a batch's copies, with masked entries wiped; masks and feedback are the file's."""
    torch.manual_seed(0)
    inputs = outputs = 5
    tensors = ethereal_tensors(inputs, outputs)
    model, network = converted(tensors, inputs, outputs, residual_connection=True)
    w = {
        place: tensors[f"{place}.candidate_weights"].mean(0).masked_fill(tensors[f"{place}.mask"], 0)
        for place in ("linear_layers.0", "linear_layers.1", "i2h", "i2o")
    }
    x, h = ids(inputs), torch.zeros(ROWS, UNITS)
    for t in range(STEPS):
        first = c = torch.cat([nn.functional.one_hot(x[:, t], inputs).float(), h], dim=-1)
        for place in ("linear_layers.0", "linear_layers.1"):
            c = nn.functional.gelu(c @ w[place].T + tensors[f"{place}.bias"])
        c = c + first
        h = (c @ w["i2h"].T + tensors["i2h.bias"]).tanh()
    expected = c @ w["i2o"].T + tensors["i2o.bias"]
    with torch.no_grad():
        assert same(model(x[None])[0][0, :, -1], expected)
    assert torch.equal(model.layer_1_mask[0, :-1] > 0, tensors["linear_layers.0.mask"].T)
    assert torch.equal(model.layer_2_feedback[0], tensors["linear_layers.1.feedback_weights"])
    share = round(float(tensors["linear_layers.0.mask"].float().mean()), 4)
    sizes = {"hidden_dim": UNITS, "layers": 2}
    assert network.model == {**sizes, "plast_clip": 30.1, "forget_rate": 0.02, "plast_proportion": share}


def test_masks_of_the_last_layers_come_along_where_they_act():
    tensors = ethereal_tensors(5, 5)
    model, _ = converted(tensors, 5, 5, compatibility=True)
    assert torch.equal(model.output_mask[0, :-1] > 0, tensors["i2o.mask"].T)


def test_plain_network_of_memory_encoding():
    torch.manual_seed(0)
    shapes = {"linear_layers.0": (5 + UNITS, UNITS), "linear_layers.1": (UNITS, UNITS)}
    shapes |= {"i2h": (UNITS, UNITS), "i2o": (UNITS, 5)}
    parts = {name: nn.Linear(*sizes) for name, sizes in shapes.items()}
    tensors = {f"{name}.{k}": v for name, part in parts.items() for k, v in part.state_dict().items()}
    model, network = converted(tensors, 5, 5)
    x, h = ids(5), torch.zeros(ROWS, UNITS)
    for t in range(STEPS):
        c = torch.cat([nn.functional.one_hot(x[:, t], 5).float(), h], dim=-1)
        for name in ("linear_layers.0", "linear_layers.1"):
            c = parts[name](c).relu()
        h = parts["i2h"](c).tanh()
    with torch.no_grad():
        assert same(model(x[None])[0][0, :, -1], parts["i2o"](c))
    assert network.model == {"hidden_dim": UNITS, "layers": 2}


def test_names_may_stand_below_others():
    tensors = {f"module.{name}": value for name, value in fwm_tensors(TOKENS, CHANNELS).items()}
    assert recognise(Weights(tensors), "a.pt")[0].name == "Fast-Weight-Memory"


def test_a_transposed_embedding_is_refused():
    tensors = fwm_tensors(TOKENS, CHANNELS)
    tensors["embedding.weight"] = tensors["embedding.weight"].T
    with pytest.raises(UserError, match=r"embedding.weight: expected \(token, 6\), .* got \(6, 11\)"):
        converted(tensors, TOKENS, TOKENS)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"linear_layers.0.plasticity": torch.rand(12, 12)}, "plasticity: expected one value at all masked"),
        (
            {"linear_layers.0.forgetting_factor": torch.full((12, 12), 0.02)},
            "forgetting_factor: expected one value",
        ),
        ({"linear_layers.0.mask": torch.ones(12, 12)}, "mask: expected true or false"),
    ],
)
def test_what_no_network_here_computes_is_refused(change, told):
    with pytest.raises(UserError, match=told):
        converted(ethereal_tensors(5, 5) | change, 5, 5)


def test_a_later_version_of_fast_weights_is_not_taken_for_the_one_here():
    """It has a bias, and normalises the first of its states."""
    parts = nn.ModuleDict(
        {"emb": nn.Embedding(TOKENS, CHANNELS), "C": nn.Linear(CHANNELS, UNITS, bias=False)}
    )
    tensors = parts.state_dict() | {
        "W": torch.eye(UNITS),
        "b": torch.zeros(UNITS),
        "ln.weight": torch.ones(UNITS),
    }
    with pytest.raises(UserError, match="expected weights of a network of fastweights_ar, dnd-lstm"):
        recognise(Weights(tensors), "a.pt")


def test_older_files_without_masks_have_those_of_the_seed():
    build = load(MODELS, "ethereal", "model_type")
    one, other = build([3], 5, 5, hidden_dim=4), build([3], 5, 5, hidden_dim=4)
    weights = one.export(0)
    kept = {name: value for name, value in weights.items() if name.endswith((".weight", ".bias"))}
    assert len(kept) < len(weights)
    other.load(0, kept)
    assert torch.equal(one.layer_1_mask, other.layer_1_mask)
    drawn = build([4], 5, 5, hidden_dim=4)
    assert not torch.equal(one.layer_1_mask, drawn.layer_1_mask)
    drawn.load(0, weights)
    assert torch.equal(one.layer_1_mask, drawn.layer_1_mask)
    assert np.array_equal(drawn.export(0)["linear_layers.0.feedback_weights"], one.layer_1_feedback[0].T)
