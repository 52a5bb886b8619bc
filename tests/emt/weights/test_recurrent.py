"""A recurrent network from a weight file computes what the saved network computed."""

import itertools

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import emt
from emt.errors import UserError

KINDS = {"RNN": torch.nn.RNN, "GRU": torch.nn.GRU, "LSTM": torch.nn.LSTM}
SHAPES = [
    *itertools.product(KINDS, (1, 3), (True, False), (0,)),
    *itertools.product(("LSTM",), (1, 2), (True,), (5,)),
]


class Net(torch.nn.Module):
    """A network with an embedding of channels, a recurrent layer, a readout and what else people have."""

    def __init__(self, layer, outputs=2):
        super().__init__()
        self.embedding = torch.nn.Linear(9, layer.input_size)
        self.core = layer
        self.head = torch.nn.Linear(layer.proj_size or layer.hidden_size, outputs)
        self.scale = torch.nn.Parameter(torch.ones(4))

    def forward(self, x):
        return self.head(self.core(x)[0])


def saved(network, path):
    save_file({name: value.contiguous() for name, value in network.state_dict().items()}, path)
    return emt.load_weights(path)


@pytest.mark.parametrize(("kind", "levels", "bias", "projection"), SHAPES)
def test_kind_levels_biases_and_projection_follow_from_the_shapes(kind, levels, bias, projection, tmp_path):
    options = {"nonlinearity": "relu"} if kind == "RNN" else {}
    more = {"proj_size": projection} if projection else {}
    torch.manual_seed(levels)
    network = Net(KINDS[kind](3, 7, levels, bias=bias, batch_first=True, **options, **more)).double()
    built = saved(network, tmp_path / "a.safetensors").network(**options)
    x = torch.randn(4, 6, 3, dtype=torch.float64)
    assert torch.equal(built(x), network(x))


def test_the_network_is_recorded(tmp_path):
    networks = [Net(torch.nn.GRU(3, 7, batch_first=True)) for _ in range(2)]
    built = [saved(network, tmp_path / "a.safetensors").network() for network in networks]
    trials = emt.trials(np.random.default_rng(0).normal(size=(5, 6, 3)).astype(np.float32))
    one, other = (emt.from_torch(several, trials).recording for several in (networks, built))
    assert np.array_equal(one["hidden"], other["hidden"])
    assert np.array_equal(one["outputs"], other["outputs"])
    assert np.array_equal(one["readout"], other["readout"])


def test_a_layer_alone_is_a_layer(tmp_path):
    layer = torch.nn.LSTM(3, 7)
    built = saved(layer, tmp_path / "a.safetensors").network()
    assert isinstance(built, torch.nn.LSTM)
    assert torch.equal(built.weight_hh_l0, layer.weight_hh_l0)


def test_an_embedding_is_no_readout_though_it_has_as_many_columns(tmp_path):
    """Tokens of 7 numbers into a layer of 7 units: the embedding is (9, 7), as a readout of 9 outputs would be."""
    layer = torch.nn.GRU(7, 7)
    tensors = {f"rnn.{n}": v for n, v in layer.state_dict().items()} | {"emb.weight": torch.ones(9, 7)}
    save_file(tensors, tmp_path / "a.safetensors")
    weights = emt.load_weights(tmp_path / "a.safetensors")
    assert isinstance(weights.network(), torch.nn.GRU)
    assert weights.network(readout="emb.weight").readout.weight.shape == (9, 7)


def test_half_precision_is_widened_without_loss(tmp_path):
    layer = torch.nn.GRU(3, 7, dtype=torch.bfloat16)
    built = saved(layer, tmp_path / "a.safetensors").network()
    assert built.weight_hh_l0.dtype == torch.float32
    assert torch.equal(built.weight_hh_l0.bfloat16(), layer.weight_hh_l0)


def gru(**more):
    """Return the weights of a GRU and more."""
    return emt.Weights({f"rnn.{n}": v for n, v in torch.nn.GRU(3, 7).state_dict().items()} | more)


def without(name):
    return emt.Weights({k: v for k, v in gru().items() if k != name})


@pytest.mark.parametrize(
    ("weights", "options", "told"),
    [
        (emt.Weights(torch.nn.RNN(3, 7).state_dict()), {}, 'nonlinearity: expected "tanh" or "relu"'),
        (gru(), {"nonlinearity": "tanh"}, "nonlinearity: only an nn.RNN has one; got weights of an nn.GRU"),
        (emt.Weights(torch.nn.GRU(3, 7, bidirectional=True).state_dict()), {}, "_reverse: expected a layer"),
        (emt.Weights({"w": torch.ones(2)}), {}, "recurrent: .* end in weight_hh_l0; found w"),
        (gru(**{"b.weight_hh_l0": torch.ones(2, 2)}), {}, "recurrent: .* found rnn, b: name one"),
        (gru(), {"recurrent": "b"}, "recurrent: expected one of rnn; got 'b'"),
        (
            gru(**{"a.weight": torch.ones(2, 7), "b.weight": torch.ones(3, 7)}),
            {},
            "readout: .* 7 columns beside rnn; found a.weight, b.weight: name one",
        ),
        (
            gru(**{"a.weight": torch.ones(7, 2)}),
            {"readout": "a.weight"},
            r"readout: .*got 'a.weight' \(7, 2\)",
        ),
        (gru(), {"readout": "a.weight"}, "readout: .*got 'a.weight'"),
        (gru(**{"rnn.weight_hh_l0": torch.ones(14, 7)}), {}, r"three times as many .* got \(14, 7\)"),
        (gru(**{"rnn.weight_hh_l0": torch.ones(7)}), {}, "expected a matrix"),
        (without("rnn.weight_ih_l0"), {}, "expected rnn.weight_ih_l0 beside rnn.weight_hh_l0"),
        (without("rnn.bias_hh_l0"), {}, r"rnn.bias_hh_l0: expected \(21,\); got none"),
        (gru(**{"rnn.weight_ih_l1": torch.ones(21, 7)}), {}, "rnn.weight_ih_l1: expected no such weights"),
        (
            gru(**{"rnn.weight_ih_l0": torch.ones(3, 21)}),
            {},
            r"rnn.weight_ih_l0: expected \(21, 21\); got \(3, 21\)",
        ),
        (gru(**{"rnn.weight_hh_l0": torch.ones(21, 7).long()}), {}, "expected real numbers"),
        (
            gru(**{"a.weight": torch.ones(2, 7), "a.bias": torch.ones(3)}),
            {},
            r"a.bias: expected \(2,\); got \(3,\)",
        ),
    ],
)
def test_what_is_no_recurrent_network_is_refused(weights, options, told):
    with pytest.raises(UserError, match=told):
        weights.network(**options)
