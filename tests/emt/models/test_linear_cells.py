"""Cells of the general rule: their published equations step by step, in double precision, gradients included."""

from functools import partial

import cell_equations
import numpy as np
import pytest
import torch
from cell_equations import through_layers, weights_of

from emt.errors import UserError
from emt.models import MODELS
from emt.options import load

SEEDS, BATCH, TIME, IN, OUT, UNITS = (11, 1011), 3, 37, 5, 4, 12
LARGE = {"hidden_dim": UNITS, "initializer_range": 0.4}
"""Large weights, so that no part of an equation is lost in the residual stream."""

CELLS = {
    "gated_deltanet": [
        {"heads": 3, "expand_v": 2, "max_beta": 2.0, "layers": 2},
        {"heads": 2, "expand_v": 1, "conv_size": 0, "mlp": "none"},
    ],
    "mamba2": [{"heads": 3, "state_size": 7, "layers": 2}, {"heads": 4, "conv_size": 0, "mlp": "none"}],
    "kda": [
        {"heads": 3, "max_beta": 2.0, "layers": 2},
        {"heads": 2, "conv_size": 0, "mlp": "none"},
    ],
    "rwkv7": [{"heads": 3, "gate_rank": 5, "layers": 2}, {"heads": 2, "token_shift": False, "mlp": "none"}],
    "mlstm": [{"heads": 3, "layers": 2}, {"heads": 2, "conv_size": 0, "mlp": "none"}],
}
"""Options that differ in all sizes, with two layers and with one without convolution."""


def build(name, **options):
    """Return a model in double precision of whose parameters none is zero or equal in all its places."""
    model = load(MODELS, name, "model_type")(SEEDS, IN, OUT, **{**LARGE, **options})
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    return model.double()


def ids_of(steps=TIME, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).integers(0, IN, (len(SEEDS), BATCH, steps)))


def equations(name, options):
    if name == "rwkv7":
        return cell_equations.RWKV7(options["heads"])
    known = {n: options[n] for n in ("heads", "max_beta") if n in options}
    mix = partial(getattr(cell_equations, name), **known)
    return lambda w, x, layer: mix(w, x)


@pytest.mark.parametrize(("name", "options"), [(n, o) for n, several in CELLS.items() for o in several])
def test_a_cell_is_its_equations_and_so_are_its_gradients(name, options):
    model, ids = build(name, **options), ids_of()
    outputs = model(ids)[0]
    direction = torch.randn(BATCH, TIME, OUT, generator=torch.Generator().manual_seed(1)).double()
    (outputs * direction).sum().backward()
    gradients = {n: p.grad for n, p in model.named_parameters()}
    for member in range(len(SEEDS)):
        weights = weights_of(model, member)
        expected = through_layers(weights, ids[member], equations(name, options))
        torch.testing.assert_close(outputs[member], expected, rtol=0, atol=1e-12)
        (expected * direction).sum().backward()
        for parameter, file_name in model.torch_names.items():
            found, wanted = gradients[parameter][member], weights[file_name].grad
            scale = max(1.0, float(wanted.abs().max()))
            torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12 * scale)
            assert wanted.abs().max() > 1e-6, f"{parameter} changes nothing"


def test_heads_share_the_channels_of_values():
    with pytest.raises(UserError, match="must be a divisor of --expand times --hidden_dim, 24; got 5"):
        build("mamba2", heads=5)


def mlstm_with(input_bias):
    """An mLSTM whose input gates are about e^input_bias."""
    model = build("mlstm", heads=3)
    with torch.no_grad():
        model.mixers[0].gates["input_bias"].fill_(input_bias)
    return model


def test_the_stabiliser_is_a_choice_of_units():
    """Contents are in units of e^m: with another m, and contents to match, nothing changes beside the 1e-6."""
    model, ids = mlstm_with(2.0), ids_of()
    state = dict(model(ids[..., :9])[1])
    rest = model(ids[..., 9:], state)[0]
    other = {**state, "stabiliser_layer1": state["stabiliser_layer1"] + 3}
    assert (model(ids[..., 9:], other)[0] - rest).abs().max() > 1e-3
    other["memory_layer1"] = state["memory_layer1"] * np.exp(-3)
    torch.testing.assert_close(model(ids[..., 9:], other)[0], rest, rtol=0, atol=1e-4)


@pytest.mark.parametrize("input_bias", [60.0, -200.0])
def test_exponential_gates_do_not_overflow(input_bias):
    model = mlstm_with(input_bias)
    exact, rounded = model(ids_of())[0], model.float()(ids_of())[0]
    torch.testing.assert_close(rounded, exact.float(), rtol=0, atol=1e-3)
    rounded.square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


@pytest.mark.parametrize("name", ["attention", "deltanet", *CELLS])
def test_a_penalty_acts_on_matrices_and_not_on_norms_biases_or_rates(name):
    model = load(MODELS, name, "model_type")(SEEDS, IN, OUT, hidden_dim=UNITS)
    spared = {id(parameter) for parameter in model.spared()}
    files = {model.torch_names[n]: id(p) in spared for n, p in model.named_parameters()}
    assert files["embedding.weight"] is files["readout.weight"] is False
    assert files["norm.weight"] is True
    for file, is_spared in files.items():
        vector = file.endswith(("norm.weight", "bias", "log_rate", "step", "passing", "skip"))
        assert is_spared or not vector, file
    assert load(MODELS, "gru", "model_type")(SEEDS, IN, OUT).spared() == []
