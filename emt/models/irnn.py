"""IRNN, rectified linear units whose recurrence starts at the identity (Le, Jaitly & Hinton 2015, arXiv:1504.00941).

    h_t = relu(x_t E W_in + h_{t-1} W_rec + b),  W_rec = scale · I and b = 0 at the start

with the embedding and head of `emt.models.layers`.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import Field
from torch import Tensor

from emt.models.base import Context, as_channels, constant, identity, normal, uniform
from emt.models.layers import Head
from emt.models.recurrent import RecurrentModel
from emt.ops.elman import elman


class IRNN(RecurrentModel):
    """Recurrent network of rectified linear units, with an embedding and a two-layer head.

    Parameters
    ----------
    hidden_dim
        units of the recurrent layer.
    embedding_dim
        size of the embedding.
    freeze_embedding
        keep the embedding at its initial values.
    identity_scale
        what the recurrent weights start at, times the identity; Le et al. start at 1, Ba et al. at 0.05.
    """

    state_dims = {"hidden": ("unit",)}
    context = ("needed_steps",)
    recurrent_name = "rnn.weight_hh_l0"
    readout_name = None
    torch_names = {
        "embedding": "embedding.weight",
        "w_in": "rnn.weight_ih_l0",
        "w_rec": "rnn.weight_hh_l0",
        "bias": "rnn.bias_hh_l0",
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
        identity_scale: float = 0.05,
    ) -> None:
        super().__init__(seeds)
        self.embedding = self.parameter_of("embedding", (input_channels, embedding_dim), normal)
        self.embedding.requires_grad_(not freeze_embedding)
        self.w_in = self.parameter_of("w_in", (embedding_dim, hidden_dim), uniform(embedding_dim**-0.5))
        self.w_rec = self.parameter_of("w_rec", (hidden_dim, hidden_dim), identity(identity_scale))
        self.bias = self.parameter_of("bias", (hidden_dim,), constant(0.0))
        self.head = Head(self, hidden_dim, output_channels)

    def run(
        self, x: Tensor, first: Mapping[str, Tensor | None], steps: int | None, context: Context | None
    ) -> tuple[Tensor, ...]:
        """Run the layer on embedded inputs, then the head; see `RecurrentModel.run`."""
        w_in, no_readout = self.embedding @ self.w_in, self.w_rec[:, :, :0]
        x = as_channels(x, w_in)
        _, hidden = elman(x, w_in, self.w_rec, no_readout, self.bias, None, first["hidden"], steps, "relu")
        return self.head(hidden, context), hidden
