"""IRNN, rectified linear units whose recurrence starts at the identity (Le, Jaitly & Hinton 2015, arXiv:1504.00941).

    h_t = relu(x_t E W_in + h_{t-1} W_rec + b),  W_rec = scale · I and b = 0 at the start

with the embedding and head of `emt.models.layers`.
"""

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field
from torch import Tensor

from emt.models.base import Cues, Log, Model, State, as_channels, constant, identity, normal, uniform
from emt.models.layers import Head
from emt.ops.elman import elman


class IRNN(Model):
    """Recurrent network of rectified linear units, with an embedding and a two-layer head.

    Parameters
    ----------
    hidden_dim
        units of the recurrent layer.
    embedding_dim
        size of the embedding.
    freeze_embedding
        leave the embedding as it is drawn.
    identity_scale
        what the recurrent weights start at, times the identity; Le et al. start at 1, Ba et al. at 0.05.
    """

    state_dims = {"hidden": ("unit",)}
    cues = ("wanted",)
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

    def zero_state(self, like: Tensor) -> State:
        """Return zeros, (member, batch, unit)."""
        return {"hidden": like.new_zeros(*like.shape[:2], self.w_rec.shape[-1])}

    def forward(
        self, x: Tensor, state: State | None = None, steps: int | None = None, cues: Cues | None = None
    ) -> tuple[Tensor, State, Log]:
        """Run the members over a sequence; see `Model.forward`."""
        first = None if state is None else state["hidden"]
        w_in, nothing = self.embedding @ self.w_in, self.w_rec[:, :, :0]
        _, hidden = elman(
            as_channels(x, w_in), w_in, self.w_rec, nothing, self.bias, None, first, steps, activation="relu"
        )
        return self.head(hidden, cues), {"hidden": hidden[:, :, -1]}, {"hidden": hidden}
