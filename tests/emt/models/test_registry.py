"""Laws that every registered model obeys; a new model is tested by being registered."""

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

from emt import memory_nodes, record, trace
from emt.config import TrainingConfig
from emt.models import MODELS
from emt.models.base import orthogonal
from emt.options import load, options_of
from emt.tasks.variable_binding import VariableBinding
from emt.training.stack import Stack

BATCH, TIME, IN, UNITS, OUT = 3, 5, 4, 8, 6
SEEDS = (11, 1011)
GATES = {"rnn": 1, "lstm": 4, "gru": 3}
TORCH = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}

FIXED = {
    "mlstm": {"forget_bias"},
    "rwkv7": {"mix", "erase_scale", "decay.bias", "rate.bias", "value_mix.bias"},
}
"""Endings of parameters that start alike in all members: ramps over channels or heads."""

every_model = pytest.mark.parametrize("name", MODELS)


def build(name, seeds=SEEDS, **options):
    known = {o.name for o in options_of(MODELS[name])}
    wanted = {"hidden_dim": UNITS, **options}
    return load(MODELS, name, "model_type")(seeds, IN, OUT, **{k: v for k, v in wanted.items() if k in known})


def draw(*shape, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


def call(model, x, state=None, steps=None, members=slice(None), first=0):
    """Run a model; one that learns from targets is given some."""
    targets = torch.from_numpy(np.random.default_rng(3).integers(0, OUT, (len(SEEDS), BATCH, TIME)))
    context = {"targets": targets[members, :, first : first + (steps or x.shape[2])]}
    return model(x, state, steps, context if "targets" in model.context else None)


def parameters(model):
    return {name: p.detach().numpy() for name, p in model.named_parameters()}


# Laws over the registry


@every_model
def test_every_axis_is_where_it_belongs(name):
    model = build(name)
    x = draw(len(SEEDS), BATCH, TIME, IN)
    outputs, state, log = model(x)
    assert outputs.shape == (len(SEEDS), BATCH, TIME, OUT)
    zero = model.zero_state(x)
    assert list(zero) == list(state) == list(model.state_dims)
    for key, dims in model.state_dims.items():
        assert zero[key].shape == state[key].shape
        assert state[key].shape[:2] == (len(SEEDS), BATCH)
        assert state[key].ndim == 2 + len(dims)
        assert not zero[key].any()
        assert key not in log or log[key].shape == (len(SEEDS), BATCH, TIME, *state[key].shape[2:])
    assert model.members == len(SEEDS)
    assert all(p.shape[0] == len(SEEDS) for p in model.parameters())


@every_model
def test_a_models_own_norms_are_those_that_it_names(name):
    model = build(name)
    state = call(model, draw(len(SEEDS), BATCH, TIME, IN))[1]
    norms = model.norms(state, range(len(SEEDS)))
    assert tuple(norms) == model.norm_names
    assert ("fast_layer_1" in state) == bool(norms), "who has entries of high plasticity says what they hold"
    assert all(norm.shape == (len(SEEDS),) and (norm > 0).all() for norm in norms.values())
    alone = model.norms({n: s[1:] for n, s in state.items()}, [1])
    assert all(torch.equal(alone[n], norm[1:]) for n, norm in norms.items())


@every_model
def test_a_sequence_may_be_cut_anywhere(name):
    model = build(name).double()
    x = draw(len(SEEDS), BATCH, TIME, IN).double()
    uncut, last, _ = call(model, x)
    first, state, _ = call(model, x[:, :, :2])
    second, end, _ = call(model, x[:, :, 2:], state, first=2)
    torch.testing.assert_close(torch.cat([first, second], dim=2), uncut, atol=1e-11, rtol=0)
    for key, value in last.items():
        torch.testing.assert_close(end[key], value, atol=1e-11, rtol=0)


@every_model
def test_steps_after_the_last_input_are_silent(name):
    model = build(name)
    x = draw(len(SEEDS), BATCH, TIME, IN)
    x[:, :, 2:] = 0
    torch.testing.assert_close(call(model, x[:, :, :2], None, TIME)[0], call(model, x)[0], atol=1e-6, rtol=0)


@every_model
def test_members_and_batch_items_do_not_see_each_other(name):
    model, x = build(name), draw(len(SEEDS), BATCH, TIME, IN)
    changed = x.clone()
    changed[1, 2] += 1
    before, after = call(model, x)[0].detach(), call(model, changed)[0].detach()
    same = (before == after).all(dim=(2, 3))
    assert same.tolist() == [[True] * BATCH, [True, True, False]]


@every_model
def test_members_that_stay_in_a_stack_are_what_they_were(name):
    seeds = (*SEEDS, 2011)
    stack = Stack(
        TrainingConfig(), VariableBinding(seq_length=3, input_dim=IN), build(name, seeds), (1, 2, 3)
    )
    x = draw(len(seeds), BATCH, TIME, IN)
    before = stack.model(x)[0]
    stack.keep(np.array([True, True, True]))
    np.testing.assert_array_equal(stack.model(x)[0].detach(), before.detach())
    stack.keep(np.array([True, False, True]))
    # Kernels work in blocks over the whole stack, which may change the last bit.
    torch.testing.assert_close(stack.model(x[[0, 2]])[0], before[[0, 2]], rtol=1e-5, atol=1e-6)
    assert not torch.equal(stack.model(x[[0, 2]])[0], before[:2])


@every_model
def test_a_member_is_the_same_alone_and_in_a_stack(name):
    model, x = build(name), draw(len(SEEDS), BATCH, TIME, IN)
    alone = build(name, SEEDS[1:])
    both = call(model, x)[0]
    torch.testing.assert_close(call(alone, x[1:], members=slice(1, None))[0], both[1:], atol=1e-6, rtol=0)


@every_model
@pytest.mark.parametrize("bias", [False, True])
def test_weights_survive_export_and_load(name, bias):
    model, x = build(name, bias=bias), draw(len(SEEDS), BATCH, TIME, IN)
    other = build(name, (5, 6), bias=bias)
    assert not torch.equal(other(x)[0], model(x)[0])
    for position in range(len(SEEDS)):
        weights = model.export(position)
        stored = (*model.named_parameters(), *model.named_buffers())
        assert set(weights) == {model.torch_names[n] for n, _ in stored if n in model.torch_names}
        assert all(w.dtype == np.float32 and w.flags.c_contiguous for w in weights.values())
        other.load(position, weights)
    assert torch.equal(other(x)[0], model(x)[0])


@every_model
def test_weights_of_another_architecture_are_refused(name):
    model = build(name)
    weights = model.export(0)
    key = next(key for key, weight in weights.items() if weight.ndim == 2 and len(set(weight.shape)) == 2)
    with pytest.raises(ValueError, match="expected the weights"):
        model.load(0, {k: v for k, v in weights.items() if k != key})
    with pytest.raises(ValueError, match=rf"{key}: expected shape .* got"):
        model.load(0, weights | {key: weights[key].T})
    with pytest.raises(ValueError, match=f"{key}: expected real numbers; got int32"):
        model.load(0, weights | {key: weights[key].astype(np.int32)})


@every_model
def test_initial_weights_are_a_function_of_the_seed_alone(name):
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 (the global state must not matter)
    first = parameters(build(name, (11, 1011), bias=True))
    second = parameters(build(name, (3, 4, 1011), bias=True))
    drawn = []
    for key, value in first.items():
        np.testing.assert_array_equal(value[1], second[key][2])
        if key.endswith(tuple(FIXED.get(name, ()))):
            np.testing.assert_array_equal(value[0], value[1])
        elif len(np.unique(value)) > 2:  # neither constant nor a multiple of the identity
            assert np.abs(value[0] - value[1]).max() > 1e-3
            drawn.append(value[1].ravel())
    assert len(drawn) > 1
    firsts = {v[0] for v in drawn}
    assert len(firsts) == len(drawn), "two parameters share a stream"


@pytest.mark.parametrize("name", GATES)
def test_default_weights_are_uniform_as_in_torch(name):
    bound = 100**-0.5
    for value in parameters(build(name, hidden_dim=100, bias=True)).values():
        assert np.abs(value).max() <= bound
        if value[0].size > 1000:
            np.testing.assert_allclose(value.std(), bound / 3**0.5, rtol=0.05)


@pytest.mark.parametrize("name", GATES)
def test_orthogonal_weights_are_orthogonal_gate_by_gate(name):
    model = build(name, init="orthogonal")
    for member in range(len(SEEDS)):
        recurrent = model.export(member)["rnn.weight_hh_l0"].astype(float)
        for gate in recurrent.reshape(-1, UNITS, UNITS):
            np.testing.assert_allclose(gate @ gate.T, np.eye(UNITS), atol=1e-6)
    default = build(name).export(0)["rnn.weight_hh_l0"].astype(float)[:UNITS]
    assert np.abs(default @ default.T - np.eye(UNITS)).max() > 0.1


def test_orthogonal_matrices_are_spread_evenly():
    # Haar measure: E[Q_ij] = 0 and E[(tr Q)²] = 1; without the sign of R's diagonal the trace is far from that.
    generator = np.random.default_rng(0)
    draws = np.stack([orthogonal(generator, (5, 5)) for _ in range(4000)])
    assert np.abs(draws.mean(axis=0)).max() < 0.03
    np.testing.assert_allclose((draws.trace(axis1=1, axis2=2) ** 2).mean(), 1, atol=0.1)


# Laws over the models that keep an associative memory

models_with_memories = pytest.mark.parametrize(
    "name", [n for n in MODELS if load(MODELS, n, "model_type").memories]
)
models_with_matrices = pytest.mark.parametrize(
    "name",
    [
        n
        for n in MODELS
        if any(rule["kind"] == "linear" for rule in load(MODELS, n, "model_type").memories.values())
    ],
)


def whole(keys, axes):
    """Keys as vectors; where they have an axis more they are factors (…, factor, key) of a tensor product."""
    return keys if keys.ndim == axes else torch.einsum("...i,...j->...ij", *keys.unbind(-2)).flatten(-2)


def logged(log, memory):
    """Variables of a node of memories; the heads, where there are several, stand along the batch axis."""
    prefix = f"memory/{memory}/"
    found = {name.removeprefix(prefix): value for name, value in log.items() if name.startswith(prefix)}
    heads = found["write_strength"].ndim > 3
    return {name: value.movedim(3, 2).flatten(1, 2) if heads else value for name, value in found.items()}


def replayed(log, memory):
    """Contents of linear memories before and after each step of their log, (member, batch, value, key) each."""
    found = logged(log, memory)
    values, keep, erase, strength = (
        found[f"write_{name}"] for name in ("value", "keep", "erase", "strength")
    )
    keys, values = (torch.nan_to_num(x) for x in (whole(found["write_key"], 4), values))
    keep = keep if keep.ndim == 4 else keep[..., None]
    queries, erased = found.get("erase_query", keep * keys), found.get("erase_key", keys)
    gain, kept = (found[n][:, None] if n in found else 1 for n in ("gain", "keep"))
    contents = [keys.new_zeros(*keys.shape[:2], values.shape[-1], keys.shape[-1])]
    for t in range(keys.shape[2]):
        lost = (contents[-1] @ queries[:, :, t, :, None]) * erased[:, :, t, None]
        left = keep[:, :, t, None] * kept * contents[-1] - erase[:, :, t, None, None] * lost
        added = values[:, :, t, :, None] * keys[:, :, t, None]
        contents.append(left + strength[:, :, t, None, None] * gain * added)
    return contents


@models_with_matrices
def test_the_log_of_a_memory_tells_what_it_held_and_returned(name):
    model, x = build(name).double(), draw(len(SEEDS), BATCH, TIME, IN).double()
    with torch.no_grad():
        _, _, log = call(model, x)
        for memory, held in zip(model.memories, model.held_state, strict=False):
            found, contents = logged(log, memory), replayed(log, memory)
            after = {"before": 0, "after": 1}[model.memories[memory]["reads"]]
            queries, values = whole(found["read_query"], 5).nan_to_num(), found["read_value"].nan_to_num()
            for t in range(TIME):
                _, state, _ = call(model, x[:, :, : t + 1])
                stored = state[held].flatten(1, -3) if state[held].ndim > 4 else state[held]
                torch.testing.assert_close(contents[t + 1], stored, atol=1e-10, rtol=0)
                returned = queries[:, :, t] @ contents[t + after].mT
                torch.testing.assert_close(returned, values[:, :, t], atol=1e-10, rtol=0)
            other = queries[:, :, -1] @ contents[-1 - after].mT
            difference = (other - values[:, :, -1]).abs().max()
            assert difference > 1e-2 * values.abs().max(), "a read at the other side of the write would pass"


@models_with_memories
def test_a_memory_is_logged_with_the_variables_and_axes_of_a_trace(name):
    model = build(name)
    with torch.no_grad():
        _, _, log = call(model, draw(len(SEEDS), BATCH, TIME, IN))
    nodes = {
        f"memory/{memory}": xr.Dataset(record.memory_variables(log, memory)) for memory in model.memories
    }
    memory_nodes.check(xr.DataTree.from_dict(nodes), name)
    for node in nodes.values():
        assert [node.sizes[axis] for axis in trace.MEMBER_TIME] == [len(SEEDS), BATCH, TIME]


# The same as torch's modules


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("name", GATES)
def test_a_weight_file_is_the_state_dict_of_torchs_modules(name, bias):
    model, x = build(name, bias=bias), draw(len(SEEDS), BATCH, TIME, IN)
    outputs, state, log = model(x)
    for member in range(len(SEEDS)):
        layer = TORCH[name](IN, UNITS, bias=bias, batch_first=True)
        reference = nn.ModuleDict({"rnn": layer, "readout": nn.Linear(UNITS, OUT, bias=bias)})
        weights = {k: torch.from_numpy(v) for k, v in model.export(member).items()}
        reference.load_state_dict(weights, strict=True)
        hidden, last = reference["rnn"](x[member])
        torch.testing.assert_close(outputs[member], reference["readout"](hidden), atol=1e-6, rtol=0)
        torch.testing.assert_close(log["hidden"][member], hidden, atol=1e-6, rtol=0)
        for key, value in zip(state, last if name == "lstm" else (last,), strict=True):
            torch.testing.assert_close(state[key][member], value[0], atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", GATES)
def test_torchs_weights_can_be_loaded(name):
    model, x = build(name, bias=True), draw(1, BATCH, TIME, IN)
    layer = TORCH[name](IN, UNITS, batch_first=True)
    reference = nn.ModuleDict({"rnn": layer, "readout": nn.Linear(UNITS, OUT)})
    model.load(1, {k: v.detach().numpy() for k, v in reference.state_dict().items()})
    expected = reference["readout"](layer(x[0])[0])
    torch.testing.assert_close(model(x.repeat(2, 1, 1, 1))[0][1], expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", GATES)
def test_the_two_biases_start_apart(name):
    weights = build(name, bias=True).export(0)
    first, second = weights["rnn.bias_ih_l0"], weights["rnn.bias_hh_l0"]
    assert first.shape == second.shape == (GATES[name] * UNITS,)
    assert np.abs(first - second).max() > 0.1


@pytest.mark.parametrize(("name", "matrix"), [("rnn", "rnn.weight_hh_l0"), ("lstm", None), ("gru", None)])
def test_only_an_elman_network_names_its_recurrent_matrix(name, matrix):
    model = build(name)
    assert model.recurrent_name == matrix
    assert model.readout_name in model.export(0)
