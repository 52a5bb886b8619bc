"""Fast Weight Memory against the equations, its variants, and what it does about padding and steps nobody asks for."""

import numpy as np
import pytest
import torch

from emt.models import fwm_memory as model_file
from emt.models.fwm import FastWeightMemory
from emt.models.fwm_memory import VARIANTS
from emt.models.memory_edits import context_with
from emt.ops import fwm, fwm_steps
from emt.ops.memory_edit import MemoryEdit

BATCH, TIME, IN, UNITS, EMBEDDING, SIZE, READS, OUT = 4, 11, 6, 8, 9, 5, 3, 7
SEEDS = (11, 1011)

every_variant = pytest.mark.parametrize("variant", VARIANTS)
both_keys = pytest.mark.parametrize("keys", ["product", "concatenated"])


def build(variant="catbabi", keys="product", scale=40.0, **options):
    """A model in float64 whose memory is rescaled at many steps."""
    sizes = {"hidden_dim": UNITS, "embedding_dim": EMBEDDING, "memory_dim": SIZE, "reads": READS}
    model = FastWeightMemory(SEEDS, IN, OUT, **{**sizes, **options}, variant=variant, keys=keys).double()
    with torch.no_grad():
        model.w_write *= scale
        model.w_read *= scale
    return model


def draw_tokens(padded=True, seed=0):
    tokens = torch.from_numpy(np.random.default_rng(seed).integers(0, IN, (len(SEEDS), BATCH, TIME)))
    if padded:
        tokens[0, 1, 4:] = -1
        tokens[1, 2] = -1
    return tokens


def draw_wanted(tokens):
    wanted = torch.from_numpy(np.random.default_rng(5).random(tokens.shape) < 0.3) & (tokens >= 0)
    wanted[1, 3] = False
    return wanted


def run(model, tokens, state, context):
    """Outputs where they are looked at, the next state, and the gradients of both."""
    outputs, after, _ = model(tokens, state, None, context)
    looked_at = outputs[context["needed_steps"] if context else tokens >= 0]
    generator = torch.Generator().manual_seed(4)
    parts = [looked_at, *after.values()]
    loss = sum((p * torch.randn(p.shape, generator=generator, dtype=p.dtype)).sum() for p in parts)
    leaves = [*model.parameters(), *state.values()]
    return parts, torch.autograd.grad(loss, leaves)


@pytest.mark.parametrize("asked", [False, True])
@both_keys
@every_variant
def test_it_is_the_model_that_keeps_its_memory(monkeypatch, variant, keys, asked):
    model, tokens = build(variant, keys), draw_tokens()
    context = {"needed_steps": draw_wanted(tokens)} if asked else None
    _, state, log = model(draw_tokens(padded=False, seed=1))
    assert (log["memory/fwm/write_keep"] < 1).double().mean() > 0.2
    # A row that writes nothing has a gradient of its own at a norm of one, the kink of the rescale.
    state = {name: (0.9 * value.detach()).requires_grad_() for name, value in state.items()}
    fast = run(model, tokens, state, context)
    monkeypatch.setattr(model_file, "fwm", fwm_steps)
    twin = run(model, tokens, state, context)
    for got, expected in zip(fast[0], twin[0], strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-10)
    for got, expected in zip(fast[1], twin[1], strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-9 * expected.abs().max().item())


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def by_equations(w, tokens, variant, product):
    """Outputs (time, output) of one sequence: the equations as they stand, with a member's weight file."""
    rule, h, c, f, outputs = VARIANTS[variant], np.zeros(UNITS), np.zeros(UNITS), 0.0, []
    for token in tokens:
        # Without an embedding a token is its one-hot vector.
        x = w["embedding.weight"][:, token] if "embedding.weight" in w else np.eye(IN)[token]
        a = w["lstm.weight_ih_l0"] @ x + w["lstm.weight_hh_l0"] @ h + w["lstm.bias_ih_l0"]
        i, forget, g, o = np.split(a + w.get("lstm.bias_hh_l0", 0), 4)
        c = sigmoid(forget) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        write, read = (w[f"{name}.weight"] @ h + w[f"{name}.bias"] for name in ("write", "read"))
        k1, k2, v = np.split(np.tanh(write[:-1]), 3)
        gamma = sigmoid(write[-1] + rule.strength_offset) / (SIZE if rule.divides else 1)
        key = np.outer(k1, k2).ravel() if product else np.concatenate([k1, k2])
        f = f + gamma * np.outer(v - np.sum(f * key, axis=-1), key)
        f = f / max(1, np.linalg.norm(f))
        n, *partners = np.split(read, READS + 1)
        n = np.tanh(n) if rule.squashes_first else n
        for e in np.tanh(partners) if rule.squashes_partners else partners:
            n = f @ (np.outer(n, e).ravel() if product else np.concatenate([n, e]))
            n = (n - n.mean()) / np.sqrt(n.var() + 1e-5)
        found = w["output.weight"] @ n + w["output.bias"]
        outputs.append(w["head.weight"] @ (found + h if rule.residual else found) + w.get("head.bias", 0))
    return np.array(outputs)


@both_keys
@every_variant
def test_it_follows_the_equations(variant, keys):
    model, tokens = build(variant, keys), draw_tokens(padded=False)
    outputs = model(tokens)[0].detach().numpy()
    for member in range(len(SEEDS)):
        weights = {n: w.astype(float) for n, w in model.export(member).items()}
        for item in range(BATCH):
            expected = by_equations(weights, tokens[member, item].numpy(), variant, keys == "product")
            np.testing.assert_allclose(outputs[member, item], expected, atol=1e-9)
    other = by_equations(
        weights, tokens[1, -1].numpy(), next(v for v in VARIANTS if v != variant), keys == "product"
    )
    assert np.abs(other - expected).max() > 1e-3


def test_outputs_that_are_not_wanted_are_zero_and_the_others_as_ever():
    model, tokens = build(), draw_tokens()
    wanted = draw_wanted(tokens)
    every, state, _ = model(tokens)
    some, same_state, _ = model(tokens, None, None, {"needed_steps": wanted})
    torch.testing.assert_close(some[wanted], every[wanted], rtol=0, atol=1e-11)
    for name, value in state.items():
        torch.testing.assert_close(same_state[name], value, rtol=0, atol=1e-11)
    none = model(tokens, None, None, {"needed_steps": torch.zeros_like(wanted)})[0]
    assert none.shape == every.shape
    assert not none.any()


def test_padding_changes_nothing():
    model, tokens = build(), draw_tokens()
    _, before, _ = model(draw_tokens(padded=False, seed=1))
    outputs, state, log = model(tokens, before)
    short = model(tokens[:, 1:2, :4], {name: value[:, 1:2] for name, value in before.items()})
    torch.testing.assert_close(outputs[0, 1, :4], short[0][0, 0], rtol=0, atol=1e-11)
    for name, value in state.items():
        torch.testing.assert_close(value[0, 1], short[1][name][0, 0], rtol=0, atol=1e-11)
        torch.testing.assert_close(value[1, 2], before[name][1, 2], rtol=0, atol=1e-11)
        assert (value[1, 1] - short[1][name][1, 0]).abs().max() > 1e-3
    for name in ("write_key", "write_value", "write_keep", "read_query", "read_value"):
        absent = log[f"memory/fwm/{name}"].reshape(*tokens.shape, -1).isnan()
        assert torch.equal(absent.all(-1), tokens < 0)
        assert torch.equal(absent.any(-1), tokens < 0)


@both_keys
def test_the_log_tells_what_a_rescaled_memory_held_and_returned(keys):
    model, tokens = build(keys=keys), draw_tokens(padded=False)
    _, state, log = model(tokens)
    log = {name.rpartition("/")[2]: value.detach() for name, value in log.items()}
    key, query = (
        torch.einsum("...i,...j->...ij", *x.unbind(-2)).flatten(-2) if keys == "product" else x
        for x in (log["write_key"], log["read_query"])
    )
    assert (log["write_keep"] < 1).double().mean() > 0.2
    content = torch.zeros_like(state["fast_weights"])
    for t in range(TIME):
        k, v = key[:, :, t, None], log["write_value"][:, :, t, :, None]
        keep, erase, strength = (
            log[f"write_{name}"][:, :, t, None, None] for name in ("keep", "erase", "strength")
        )
        content = keep * (content - erase * (content @ k.mT) * k) + strength * v * k
        returned = query[:, :, t] @ content.mT
        torch.testing.assert_close(returned, log["read_value"][:, :, t], rtol=0, atol=1e-10)
    torch.testing.assert_close(content, state["fast_weights"], rtol=0, atol=1e-10)


def test_tokens_are_one_hot_channels():
    model, tokens = build(), draw_tokens(padded=False)
    channels = torch.nn.functional.one_hot(tokens, IN).double()
    torch.testing.assert_close(model(channels)[0], model(tokens)[0], rtol=0, atol=1e-11)
    silent = torch.cat([channels, torch.zeros(len(SEEDS), BATCH, 2, IN)], dim=2)
    torch.testing.assert_close(model(channels, None, TIME + 2)[0], model(silent)[0], rtol=0, atol=1e-11)


@pytest.mark.parametrize(("vocabulary", "weights"), [(180, 683_745), (200, 693_985)])
def test_it_has_the_papers_number_of_weights(vocabulary, weights):
    model = FastWeightMemory((1,), vocabulary, vocabulary)
    assert sum(p.numel() for p in model.parameters()) == weights


@pytest.mark.parametrize("variant", [name for name, rule in VARIANTS.items() if rule.embeds])
def test_initial_weights(variant):
    model = FastWeightMemory((1,), 180, 180, hidden_dim=100, memory_dim=20, variant=variant)
    rule, weights = VARIANTS[variant], model.export(0)
    gates = np.split(weights["lstm.bias_ih_l0"], 4)
    assert [set(gate) for gate in gates] == [{0.0}, {rule.forget_offset}, {0.0}, {0.0}]
    for name, bound in {"write": (6 / 120) ** 0.5, "read": (6 / 120) ** 0.5, "output": 20**-0.5}.items():
        np.testing.assert_allclose(np.abs(weights[f"{name}.weight"]).max(), bound, rtol=0.01)
    np.testing.assert_allclose(weights["head.weight"].std(), (2 / 280) ** 0.5, rtol=0.05)
    np.testing.assert_allclose(weights["embedding.weight"].std(), 1, rtol=0.05)


@pytest.mark.slow
@pytest.mark.parametrize(("scale", "factor"), [(1, 5), (2, 5), (4, 5), (8, 10)])
def test_float32_is_as_close_to_float64_as_the_loop_is(monkeypatch, scale, factor):
    """On the paper's sizes, after 200 carried steps; weights into the memory times ``scale``."""
    sizes = {"hidden_dim": 256, "embedding_dim": 256, "memory_dim": 32}
    tokens = torch.from_numpy(np.random.default_rng(0).integers(0, IN, (2, len(SEEDS), 2, 200)))

    def results(form, dtype):
        monkeypatch.setattr(model_file, "fwm", form)
        model = build(scale=scale, **sizes).to(dtype)
        state = {name: value.to(dtype) for name, value in carried.items()}
        outputs = model(tokens[1], state)[0]
        weights = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
        gradients = torch.autograd.grad((outputs * weights.to(dtype)).sum(), list(model.parameters()))
        return outputs.double(), [g.double() for g in gradients]

    with torch.no_grad():
        carried = build(scale=scale, **sizes)(tokens[0])[1]
    exact, loop = results(fwm_steps, torch.float64), results(fwm_steps, torch.float32)
    fast = results(fwm, torch.float32)
    errors = [
        [
            (outputs - exact[0]).abs().max(),
            max((g - e).norm() / e.norm() for g, e in zip(d, exact[1], strict=True)),
        ]
        for outputs, d in (loop, fast)
    ]
    for by_loop, by_fast in zip(*errors, strict=True):
        assert by_fast < factor * by_loop, errors


def test_the_agents_of_the_paper_have_as_many_weights_as_counted():
    options = {"hidden_dim": 32, "memory_dim": 16, "reads": 3, "variant": "meta_rl"}
    model = FastWeightMemory([3], 17, 4, **options)
    assert sum(weights.size for weights in model.export(0).values()) == 10_933
    torchs = dict.fromkeys(["w_in", "w_rec", "bias", "b_rec", "head", "b_read"], 32**-0.5)
    for name, bound in {**torchs, "w_read": 8**-0.5, "w_out": 0.25}.items():
        values = np.abs(getattr(model, name).detach().numpy())
        assert 0.9 * bound < values.max() <= bound
        assert values.mean() == pytest.approx(bound / 2, rel=0.3)


@both_keys
@every_variant
def test_steps_are_the_sequence(variant, keys):
    model, x = build(variant, keys), torch.from_numpy(np.random.default_rng(8).standard_normal((2, 3, 9, IN)))
    outputs, _, log = model(x)
    assert (log["memory/fwm/write_keep"] < 1).double().mean() > 0.2
    step = model.stepper(9)
    found = torch.cat([step(x[:, :, t : t + 1], {}) for t in range(9)], dim=2)
    torch.testing.assert_close(found, outputs, rtol=0, atol=1e-12 * outputs.abs().max().item())
    assert not found.requires_grad


def test_all_forms_of_a_read_have_the_same_epsilon():
    model, x = build("language_model", norm_epsilon=0.5), draw_tokens(padded=False)
    outputs = model(x)[0]
    assert not torch.allclose(outputs, build("language_model")(x)[0], rtol=0.1)
    step = model.stepper(TIME)
    one_hot = torch.nn.functional.one_hot(x, IN).double()
    found = torch.cat([step(one_hot[:, :, t : t + 1], {}) for t in range(TIME)], dim=2)
    whole = MemoryEdit(hold=1 / model(x)[2]["memory/fwm/write_keep"])
    edited = model(x, None, TIME, context_with({}, {"fwm": whole}))[0]
    for other in (found, edited):
        torch.testing.assert_close(other, outputs, rtol=0, atol=1e-12 * outputs.abs().max().item())
