"""Stacked residual LSTM over tokens: the baseline of Schlag et al. 2021 (arXiv:2011.07831, appendix F.4).

    x_0 = drop(E token),  h_l = LSTM_l(x_{l-1}),  x_1 = drop(h_1),  x_l = x_{l-1} + drop(h_l) for l > 1,
    y = x_L W_out + b_out

The first layer has no residual connection: the embedding may have another size. Masks of units are the same
at all steps of a segment (Gal & Ghahramani 2016), those of recurrent weights too (DropConnect, Merity et al.
2018); what is left is scaled up by 1 / (1 − rate).
"""

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn

from emt.models.base import Context, Log, Model, State, normal, uniform
from emt.models.layers import at_ends, dropped, embed, lengthen, linear
from emt.ops.lstm import lstm

MOST_LAYERS = 8


def layer_names(*, two_biases: bool) -> dict[str, str]:
    """Return what torch calls the parameters of all layers of a `nn.ModuleList` ``stack`` of `LSTMLayer`."""
    ours_and_torchs = {"w_in": "weight_ih", "w_rec": "weight_hh", "bias": "bias_ih"}
    ours_and_torchs |= {"b_rec": "bias_hh"} if two_biases else {}
    return {
        f"stack.{i}.{ours}": f"rnn.{theirs}_l{i}"
        for i in range(MOST_LAYERS)
        for ours, theirs in ours_and_torchs.items()
    }


class StackedLSTM(Model):
    """LSTM layers with residual connections, an embedding and dropout.

    Parameters
    ----------
    hidden_dim
        units of each layer.
    layers
        LSTM layers; the state has 2 · layers · hidden_dim numbers.
    embedding_dim
        size of the embedding.
    token_dropout
        share of the vocabulary that has no embedding in a training step.
    embedding_dropout
        share of the embedding's units that a sequence lacks in a training step.
    recurrent_dropout
        share of the recurrent weights that are zero in a training step.
    layer_dropout
        share of the units that each layer keeps to itself in a training step.
    """

    state_dims = {"hidden": ("unit",), "cell": ("unit",)}
    readout_name = None
    torch_names = {
        "embedding": "embedding.weight",
        "w_out": "readout.weight",
        "b_out": "readout.bias",
        **layer_names(two_biases=False),
    }

    def __init__(
        self,
        seeds: Sequence[int],
        input_channels: int,
        output_channels: int,
        *,
        hidden_dim: Annotated[int, Field(ge=1)] = 512,
        layers: Annotated[int, Field(ge=1, le=8)] = 4,
        embedding_dim: Annotated[int, Field(ge=1)] = 256,
        token_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        embedding_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        recurrent_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        layer_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    ) -> None:
        super().__init__(seeds)
        self.token_dropout, self.embedding_dropout = token_dropout, embedding_dropout
        self.recurrent_dropout, self.layer_dropout = recurrent_dropout, layer_dropout
        self.embedding = self.parameter_of("embedding", (input_channels, embedding_dim), normal)
        sizes = [embedding_dim] + [hidden_dim] * (layers - 1)
        self.stack = nn.ModuleList(LSTMLayer(self, i, size, hidden_dim) for i, size in enumerate(sizes))
        draw = uniform(hidden_dim**-0.5)
        self.w_out = self.parameter_of("w_out", (hidden_dim, output_channels), draw)
        self.b_out = self.parameter_of("b_out", (output_channels,), draw)

    def zero_state(self, like: Tensor) -> State:
        """Return zeros, (member, batch, unit) each: the units of all layers, one layer after the other."""
        shape = (*like.shape[:2], len(self.stack) * self.w_out.shape[1])
        return {"hidden": like.new_zeros(shape), "cell": like.new_zeros(shape)}

    def forward(
        self, x: Tensor, state: State | None = None, steps: int | None = None, context: Context | None = None
    ) -> tuple[Tensor, State, Log]:
        """Run the members over a sequence; see `Model.forward`."""
        x = lengthen(x, steps)
        state = self.zero_state(self.w_out.new_empty(x.shape[:2])) if state is None else state
        table = dropped(self, self.embedding, "token", self.token_dropout, (self.embedding.shape[1], 1))
        rows = (x.shape[1], 1)
        passed = embed(x, table)
        passed = dropped(self, passed, "embedding", self.embedding_dropout, (*rows, passed.shape[-1]))
        before = zip(*(state[name].chunk(len(self.stack), dim=-1) for name in self.state_dims), strict=True)
        states = []
        for i, (layer, (h0, c0)) in enumerate(zip(self.stack, before, strict=True)):
            assert isinstance(layer, LSTMLayer)
            w_rec = dropped(
                self, layer.w_rec, f"recurrent.{i}", self.recurrent_dropout, layer.w_rec.shape[1:]
            )
            _, hidden, cell = lstm(passed, layer.w_in, w_rec, w_rec[:, :, :0], layer.bias, None, h0, c0)
            out = dropped(self, hidden, f"layer.{i}", self.layer_dropout, (*rows, hidden.shape[-1]))
            passed = out if i == 0 else passed + out
            states.append((hidden, cell))
        log = dict(
            zip(self.state_dims, (torch.cat(s, dim=-1) for s in zip(*states, strict=True)), strict=True)
        )
        last = {name: at_ends(x, log[name], state[name]) for name in self.state_dims}
        return linear(passed, self.w_out, self.b_out), last, log


class LSTMLayer(nn.Module):
    """Stacked weights of one layer, torch's names without their number.

    With ``two_biases`` torch's two, which learn at twice the speed of one; else these act as their sum.
    """

    b_rec: nn.Parameter | None

    def __init__(self, model: Model, index: int, size: int, units: int, *, two_biases: bool = False) -> None:
        super().__init__()
        draw, gates = uniform(units**-0.5), 4 * units
        self.w_in = model.parameter_of(f"stack.{index}.w_in", (size, gates), draw)
        self.w_rec = model.parameter_of(f"stack.{index}.w_rec", (units, gates), draw)
        self.bias = model.parameter_of(f"stack.{index}.bias", (gates,), draw)
        self.b_rec = model.parameter_of(f"stack.{index}.b_rec", (gates,), draw) if two_biases else None
