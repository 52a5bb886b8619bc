"""Models with linear memories and softmax attention, against their equations written out step by step."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from torch.nn import functional

from emt.errors import UserError
from emt.models import MODELS
from emt.models.attention import Attention
from emt.models.deltanet import DeltaNet
from emt.models.features import dpfp, elu_plus_one, favor, favor_projections
from emt.models.fwp import FastWeightProgrammer
from emt.models.linear_attention import LinearAttention
from emt.options import load
from emt.tasks.key_value_pairs import RepeatedKeys, UniqueKeys
from emt.training.objective import Objective

SEEDS, BATCH, TIME, IN, OUT, UNITS, HEADS = (11, 1011), 3, 19, 5, 4, 12, 2
SIZE = UNITS // HEADS


def ids_of(seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, IN, (len(SEEDS), BATCH, TIME)))


def weights_of(model, member):
    """A member's weights in double precision, matrices from the right."""
    weights = {n: torch.from_numpy(w).double() for n, w in model.export(member).items()}
    return {n: w.T if w.ndim == 2 else w for n, w in weights.items()}


def norm(x, gain):
    return gain * x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt()


def written_out(model, member, ids, step_mixer):
    """One sequence through a one-layer block model: ``step_mixer(weights, q, k, v, x)`` mixes (time, …)."""
    w = weights_of(model, member)
    h = w["embedding.weight"][ids]
    if "positions.weight" in w:
        h = h + w["positions.weight"][: len(ids)]
    x = norm(h, w["layer1.norm.weight"])
    projected = x @ w["layer1.mixer.in.weight"] + w.get("layer1.mixer.in.bias", 0)
    if "layer1.mixer.conv.weight" in w:
        filters = w["layer1.mixer.conv.weight"]
        padded = torch.cat([projected.new_zeros(len(filters) - 1, projected.shape[1]), projected])
        windows = [padded[t : t + len(filters)] for t in range(len(ids))]
        projected = functional.silu(torch.stack([(filters * window).sum(0) for window in windows]))
    elif isinstance(model, DeltaNet):
        projected = functional.silu(projected)
    heads = [part.reshape(len(ids), HEADS, SIZE) for part in projected.chunk(3, dim=-1)]
    mixed = torch.stack([step_mixer(w, *(part[:, i] for part in heads), x, i) for i in range(HEADS)], dim=1)
    h = h + mixed.flatten(1) @ w["layer1.mixer.out.weight"]
    if "layer1.mlp.in.weight" in w:
        gate, up = (norm(h, w["layer1.mlp.norm.weight"]) @ w["layer1.mlp.in.weight"]).chunk(2, dim=-1)
        h = h + (functional.silu(gate) * up) @ w["layer1.mlp.out.weight"]
    return norm(h, w["norm.weight"]) @ w["readout.weight"]


def assert_written_out(model, step_mixer):
    model = model.double()
    ids = ids_of()
    outputs = model(ids)[0].detach()
    for member in range(len(SEEDS)):
        for row in range(BATCH):
            expected = written_out(model, member, ids[member, row], step_mixer)
            # Weight files hold single precision, which initial weights have.
            torch.testing.assert_close(outputs[member, row], expected, rtol=0, atol=1e-12)
    return outputs


# Large weights, so that no part of an equation is lost in the residual stream.
LARGE = {"hidden_dim": UNITS, "heads": HEADS, "initializer_range": 0.5}


@pytest.mark.parametrize("conv_size", [0, 3])
@pytest.mark.parametrize("max_beta", [1.0, 2.0])
def test_deltanet_follows_its_equations(max_beta, conv_size):
    def mix(w, q, k, v, x, head):
        q, k = (z / (z.square().sum(-1, keepdim=True) + 1e-6).sqrt() for z in (q, k))
        beta = max_beta * torch.sigmoid(x @ w["layer1.mixer.beta.weight"])[:, head]
        memory, reads = torch.zeros(SIZE, SIZE, dtype=torch.float64), []
        for t in range(len(x)):
            memory = memory + beta[t] * torch.outer(v[t] - memory @ k[t], k[t])
            reads.append(memory @ q[t] / SIZE**0.5)
        return norm(torch.stack(reads), w["layer1.mixer.read_norm.weight"])

    model = DeltaNet(SEEDS, IN, OUT, **LARGE, max_beta=max_beta, conv_size=conv_size)
    assert_written_out(model, mix)


FEATURES = {
    "elu": lambda z: torch.where(z > 0, z + 1, z.exp()),
    "dpfp": lambda z: (
        torch.stack([r * r.roll(j, -1) for r in [torch.cat([z, -z], -1).clamp(min=0)] for j in (1, 2)])
        .movedim(0, -2)
        .flatten(-2)
    ),
}


@pytest.mark.parametrize("features", FEATURES)
@pytest.mark.parametrize("rule", ["sum", "delta", "fwm"])
def test_linear_attention_follows_its_equations(rule, features):
    phi = FEATURES[features]

    def mix(w, q, k, v, x, head):
        q, k = phi(q), phi(k)
        if rule == "sum":
            weights = (q @ k.T).tril()
            return weights @ v / (weights.sum(-1, keepdim=True) + 1e-6)
        beta = torch.sigmoid(x @ w["layer1.mixer.beta.weight"])[:, head]
        if rule == "delta":
            q, k = q / (q.sum(-1, keepdim=True) + 1e-6), k / k.sum(-1, keepdim=True).clamp(min=1e-6)
        memory, reads = torch.zeros(SIZE, k.shape[1], dtype=torch.float64), []
        for t in range(len(x)):
            memory = memory + beta[t] * torch.outer(v[t] - memory @ k[t], k[t])
            if rule == "fwm" and t > 0:
                memory = memory / max(1, memory.norm())
            reads.append(memory @ q[t])
        reads = torch.stack(reads)
        return functional.layer_norm(reads, reads.shape[-1:]) if rule == "fwm" else reads

    options = {"features": features, "nu": 2, "write_rule": rule, "conv_size": 0}
    assert_written_out(LinearAttention(SEEDS, IN, OUT, **LARGE, **options), mix)


@pytest.mark.parametrize("mlp", ["swiglu", "none"])
def test_attention_follows_its_equations(mlp):
    def mix(w, q, k, v, x, head):
        scores = (q @ k.T / SIZE**0.5).masked_fill(~torch.ones(len(x), len(x)).tril().bool(), -math.inf)
        return scores.softmax(-1) @ v

    assert_written_out(Attention(SEEDS, IN, OUT, **LARGE, mlp=mlp), mix)


KINDS = (
    *("linear_attention", "deltanet", "gated_deltanet", "mamba2"),
    *("mlstm", "rwkv7", "kda", "attention"),
)


def built(name, **options):
    """A model in double precision, with noise on its weights: some maps start at zero."""
    model = load(MODELS, name, "model_type")(SEEDS, IN, OUT, hidden_dim=UNITS, **options)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model.double()


@pytest.mark.parametrize("kind", KINDS)
def test_layers_follow_one_another(kind):
    model = built(kind, layers=2, heads=3)
    outputs, state, log = model(ids_of())
    assert [name for name in log if name.endswith("read_value")] == [
        f"memory/layer{n}/read_value" for n in (1, 2)
    ]
    assert log["memory/layer2/write_key"].shape[:4] == (len(SEEDS), BATCH, TIME, 3)
    assert log["hidden_layer1"].shape == log["hidden"].shape == (len(SEEDS), BATCH, TIME, UNITS)
    first, middle, _ = model(ids_of()[..., :7])
    rest, last, _ = model(ids_of()[..., 7:], middle)
    torch.testing.assert_close(torch.cat([first, rest], dim=2), outputs, rtol=0, atol=1e-12)
    for name, value in state.items():
        torch.testing.assert_close(last[name], value, rtol=0, atol=1e-12)
    unlike = model(ids_of()[..., 7:])[0]
    assert (unlike - rest).abs().max() > 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_what_stands_after_a_rows_last_token_changes_nothing(kind):
    model = built(kind)
    ids, padded = ids_of()[..., :8], ids_of()[..., :11].clone()
    padded[:, 1, 8:] = -1
    (outputs, state, _), (of_padded, last, log) = model(ids), model(padded)
    torch.testing.assert_close(of_padded[:, 1, :8], outputs[:, 1], rtol=0, atol=1e-12)
    for name, value in state.items():
        torch.testing.assert_close(last[name][:, 1], value[:, 1], rtol=0, atol=1e-12)
        assert not torch.equal(last[name][:, 0], value[:, 0]) or value.dtype == torch.bool
    nan = torch.isnan(log["memory/fast/write_key"]).all(-1).all(-1)
    assert nan[:, 1].tolist() == [[False] * 8 + [True] * 3] * len(SEEDS)
    assert not nan[:, 0].any()


def test_attention_looks_back_over_its_context_only():
    model = Attention(SEEDS, IN, OUT, hidden_dim=UNITS, context_length=4, conv_size=0).double()
    ids = ids_of()
    changed = ids.clone()
    changed[..., 3] = (ids[..., 3] + 1) % IN
    difference = (model(ids)[0] - model(changed)[0]).abs().amax(dim=(0, 1, 3))
    assert (difference > 1e-8).tolist() == [3 <= t < 7 for t in range(TIME)]


def test_heads_share_all_channels():
    with pytest.raises(UserError, match="must be a divisor of --hidden_dim, 12; got 5"):
        DeltaNet(SEEDS, IN, OUT, hidden_dim=UNITS, heads=5)


# Features


def test_products_of_neighbours_by_hand():
    z = torch.tensor([[2.0, -3.0]])
    # r = [2, 0, 0, 3]; rolled by one [3, 2, 0, 0], by two [0, 3, 2, 0].
    assert dpfp(z, 1).tolist() == [[6, 0, 0, 0]]
    assert dpfp(z, 2).tolist() == [[6, 0, 0, 0, 0, 0, 0, 0]]
    assert elu_plus_one(torch.tensor([1.0, 0.0, -1.0])).tolist() == pytest.approx([2, 1, math.exp(-1)])


def test_random_features_estimate_the_exponential_and_are_drawn_anew_at_each_step():
    x, y = torch.randn(2, 1, 1, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64) / 2
    drawn = [favor_projections((3,), "test", step, 5, 64).double() for step in range(60)]
    estimates = torch.stack([(favor(x, d) * favor(y, d)).sum() for d in drawn])
    truth = (x * y).sum().exp()
    assert (estimates.mean() - truth).abs() < 3 * estimates.std() / len(drawn) ** 0.5
    assert estimates.std() > 1e-3
    block = drawn[0][0, :, :5]
    gram = block.T @ block
    torch.testing.assert_close(gram, torch.diag(gram.diag()), rtol=0, atol=1e-5)
    assert torch.equal(favor_projections((3,), "test", 7, 5, 64), favor_projections((3,), "test", 7, 5, 64))


def test_random_features_are_drawn_in_training_and_fixed_in_evaluation():
    model, ids = LinearAttention(SEEDS, IN, OUT, hidden_dim=UNITS, features="favor"), ids_of()
    assert torch.equal(model(ids)[0], model(ids)[0])
    trained = []
    for model.noise_step in (0, 1):
        trained.append(model(ids)[0])
    assert not torch.equal(*trained)


def test_features_of_both_signs_are_refused_where_they_are_divided_by_their_sum():
    with pytest.raises(UserError, match="must be elu, dpfp or favor with --write_rule delta; got tanh"):
        LinearAttention(SEEDS, IN, OUT, features="tanh", write_rule="delta")


# The fast weight programmer

KEYS = 6
CELLS = [
    ("elu", "sum"),
    ("dpfp", "sum"),
    ("favor", "sum"),
    ("softmax", "sum"),
    ("elu", "delta"),
    ("dpfp", "delta"),
    ("dpfp", "fwm"),
    ("tanh", "fwm"),
]


def programmer(features, rule):
    task = RepeatedKeys(num_keys=KEYS)
    channels = task.input_channels, task.output_channels
    model = FastWeightProgrammer(SEEDS, *channels, hidden_dim=8, features=features, write_rule=rule)
    shape = task.shape(0, "train", 0, 1)
    batch = task.batch(SEEDS, "train", 0, shape, BATCH)
    return model.double(), batch


def random_features(z, projections):
    return favor(z[None, None], projections)[0, 0]


@pytest.mark.parametrize(("features", "rule"), CELLS)
def test_the_programmer_follows_its_equations(features, rule):
    model, batch = programmer(features, rule)
    outputs = model(torch.from_numpy(batch.inputs))[0][:, :, -1].detach()
    for member, row in np.ndindex(len(SEEDS), BATCH):
        w = weights_of(model, member)
        *pairs, query = batch.inputs[member, row].tolist()
        keys = [w["embedding.weight"].T[:, pair % KEYS] for pair in pairs]
        values = [torch.eye(KEYS).double()[pair // KEYS - 1] for pair in pairs]
        q = w["embedding.weight"].T[:, query] @ w["query.weight"] + w["query.bias"]
        drawn = favor_projections(SEEDS, "fwp", None, 8, 64).double()[member, None]
        phi = {
            **FEATURES,
            "dpfp": partial(dpfp, nu=1),
            "favor": partial(random_features, projections=drawn),
            "tanh": torch.tanh,
        }.get(features)
        k = [torch.cat([v, e]) @ w["key.weight"] + w["key.bias"] for v, e in zip(values, keys, strict=True)]
        memory = answer = torch.zeros((), dtype=torch.float64)
        if features == "softmax":
            scores = torch.stack([z @ q for z in k]) / 8**0.5
            answer = scores.softmax(0) @ torch.stack(values)
        elif rule == "sum":
            scores = torch.stack([phi(z) @ phi(q) for z in k])
            answer = scores @ torch.stack(values) / (scores.sum() + 1e-6)
        else:
            for t, (z, v, e) in enumerate(zip(k, values, keys, strict=True)):
                beta = torch.sigmoid(torch.cat([v, e]) @ w["beta.weight"] + w["beta.bias"])
                f = phi(z) / phi(z).sum() if rule == "delta" else phi(z)
                held = memory @ f if memory.ndim else 0
                memory = memory + torch.outer(beta * (v - held), f)
                if rule == "fwm" and t > 0:
                    memory = memory / max(1, memory.norm())
            answer = memory @ (phi(q) / (phi(q).sum() + 1e-6) if rule == "delta" else phi(q))
            answer = functional.layer_norm(answer, (KEYS,)) if rule == "fwm" else answer
        torch.testing.assert_close(outputs[member, row], answer, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("features", "rule"), CELLS)
def test_an_answer_at_the_end_needs_no_memory(features, rule):
    model, batch = programmer(features, rule)
    ids, needed = torch.from_numpy(batch.inputs), torch.from_numpy(batch.scored)
    direction = torch.randn(OUT + 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    runs = []
    for context in (None, {"needed_steps": needed}):
        answer = model(ids, None, None, context)[0][:, :, -1]
        used = [p for p in model.parameters() if p.requires_grad]
        runs.append([answer, *torch.autograd.grad((answer @ direction).sum(), used)])
    for whole, short in zip(*runs, strict=True):
        torch.testing.assert_close(short, whole, rtol=0, atol=1e-11)


@pytest.mark.parametrize("pairs", [0, 1])
@pytest.mark.parametrize(("features", "rule"), CELLS)
def test_an_answer_after_one_pair_or_none_needs_no_memory(features, rule, pairs):
    model, batch = programmer(features, rule)
    ids = torch.from_numpy(batch.inputs[..., -1 - pairs :])
    needed = torch.from_numpy(batch.scored[..., -1 - pairs :])
    short = model(ids, None, None, {"needed_steps": needed})[0][:, :, -1]
    torch.testing.assert_close(short, model(ids)[0][:, :, -1], rtol=0, atol=1e-12)
    assert short.any() == (pairs > 0)


@pytest.mark.parametrize(("features", "rule"), CELLS)
def test_answers_at_the_end_alone_have_the_same_loss(features, rule):
    model, batch = programmer(features, rule)
    objective = Objective(RepeatedKeys(num_keys=KEYS), model)
    data = objective.tensors(batch)
    needed = {"needed_steps": data["context/needed_steps"]}
    assert model(data["inputs"], None, batch.steps, needed)[0].shape[2] == 1 < batch.steps
    short = objective(data, batch.steps)[0]
    whole = objective({n: v for n, v in data.items() if not n.startswith("context/")}, batch.steps)[0]
    for found, expected in zip(short, whole, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    # The control: losses of other members.
    assert not torch.allclose(short[0], whole[0].flip(0), rtol=1e-6)


def test_ids_and_their_channels_are_the_same_pairs():
    model, batch = programmer("dpfp", "delta")
    ids = torch.from_numpy(batch.inputs)
    channels = functional.one_hot(ids, KEYS * (KEYS + 1)).double()
    torch.testing.assert_close(model(channels)[0], model(ids)[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("rule", ["sum", "delta"])
def test_no_linear_read_of_few_features_costs_less_than_the_floor(rule):
    # Eckart–Young: over S values asked for once each, at least (1 − F/S) / 2, in every row.
    task, features = UniqueKeys(num_keys=17), 4
    model = FastWeightProgrammer(
        SEEDS, task.input_channels, 17, hidden_dim=features, write_rule=rule
    ).double()
    batch = task.test_batch(5, 17, 1, 40)
    ids = torch.from_numpy(batch.inputs).expand(len(SEEDS), -1, -1)
    answers = model(ids)[0][:, :, 17:]
    targets = functional.one_hot(torch.from_numpy(batch.targets[:, :, 17:]), 17)
    losses = (answers - targets).square().sum(-1).mean(-1) / 2
    assert losses.min() >= 0.5 * (1 - features / 17) - 1e-9
