"""LSTM with the embedding and head of `emt.models.layers`, so that only its memory differs from its rivals'."""

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field
from torch import Tensor

from emt.models.base import Context, as_channels, normal, uniform
from emt.models.layers import Head
from emt.models.recurrent import RecurrentModel
from emt.ops.lstm import lstm


class RetrievalLSTM(RecurrentModel):
    """Long short-term memory with an embedding and a two-layer head.

    Parameters
    ----------
    hidden_dim
        units of the recurrent layer; the state has twice as many numbers.
    embedding_dim
        size of the embedding.
    freeze_embedding
        keep the embedding at its initial values.
    """

    state_dims = {"hidden": ("unit",), "cell": ("unit",)}
    context = ("needed_steps",)
    readout_name = None
    torch_names = {
        "embedding": "embedding.weight",
        "w_in": "rnn.weight_ih_l0",
        "w_rec": "rnn.weight_hh_l0",
        "b_in": "rnn.bias_ih_l0",
        "b_rec": "rnn.bias_hh_l0",
        **Head.torch_names,
    }

    def __init__(
        self,
        seeds: Sequence[int],
        input_channels: int,
        output_channels: int,
        *,
        hidden_dim: Annotated[int, Field(ge=1)] = 50,
        embedding_dim: Annotated[int, Field(ge=1)] = 100,
        freeze_embedding: bool = False,
    ) -> None:
        super().__init__(seeds)
        draw, gates = uniform(hidden_dim**-0.5), 4 * hidden_dim
        self.embedding = self.parameter_of("embedding", (input_channels, embedding_dim), normal)
        self.embedding.requires_grad_(not freeze_embedding)
        self.w_in = self.parameter_of("w_in", (embedding_dim, gates), draw)
        self.w_rec = self.parameter_of("w_rec", (hidden_dim, gates), draw)
        self.b_in = self.parameter_of("b_in", (gates,), draw)
        self.b_rec = self.parameter_of("b_rec", (gates,), draw)
        self.head = Head(self, hidden_dim, output_channels)

    def run(
        self, x: Tensor, first: Mapping[str, Tensor | None], steps: int | None, context: Context | None
    ) -> tuple[Tensor, ...]:
        """Run the layer on embedded inputs, then the head; see `RecurrentModel.run`."""
        w_in, no_readout, bias = self.embedding @ self.w_in, self.w_rec[:, :, :0], self.b_in + self.b_rec
        x = as_channels(x, w_in)
        _, hidden, cell = lstm(
            x, w_in, self.w_rec, no_readout, bias, None, first["hidden"], first["cell"], steps
        )
        return self.head(hidden, context), hidden, cell
