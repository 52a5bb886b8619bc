"""Associative LSTM (Danihelka et al. 2016, arXiv:1602.03032, section 5): a memory of complex numbers in several copies.

With ⊙ the product of complex numbers unit by unit, and P_s one permutation of the units for each of N copies:

    [f, i, o; r_in, r_out, u]_t = [σ, σ, σ; bound, bound, bound](x_t E W_in + h_{t-1} W_rec + b)      (1)
    c_{s,t} = f ⊙ c_{s,t-1} + P_s r_in ⊙ (i ⊙ u)                                                     (2)
    h_t = o ⊙ bound(1/N Σ_s P_s r_out ⊙ c_{s,t}),   bound(z) = z / max(1, |z|)                       (3)

Keys r_in and r_out turn the phases of what is written and read; what other keys wrote is noise, and averaging
over copies makes it smaller. A state of n numbers is n/2 real parts and then n/2 imaginary parts.
"""

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from emt.models.base import Context, Log, Model, State, as_channels, normal, uniform
from emt.models.layers import Head
from emt.ops.associative_lstm import associative_lstm
from emt.streams import stream


class AssociativeLSTM(Model):
    """Associative long short-term memory with an embedding and a two-layer head.

    Parameters
    ----------
    hidden_dim
        numbers in the hidden state, two for each complex unit.
    embedding_dim
        size of the embedding.
    freeze_embedding
        keep the embedding at its initial values.
    copies
        copies of the memory.
    """

    state_dims = {"hidden": ("unit",), "cell": ("copy", "unit")}
    context = ("needed_steps",)
    readout_name = None
    torch_names = {
        "embedding": "embedding.weight",
        "w_in": "rnn.weight_ih_l0",
        "w_rec": "rnn.weight_hh_l0",
        "bias": "rnn.bias_hh_l0",
        **Head.torch_names,
    }
    permutations: Tensor

    def __init__(
        self,
        seeds: Sequence[int],
        input_channels: int,
        output_channels: int,
        *,
        hidden_dim: Annotated[int, Field(ge=2, multiple_of=2)] = 50,
        embedding_dim: Annotated[int, Field(ge=1)] = 100,
        freeze_embedding: bool = False,
        copies: Annotated[int, Field(ge=1)] = 4,
    ) -> None:
        super().__init__(seeds)
        draw, units = uniform(hidden_dim**-0.5), hidden_dim // 2
        self.embedding = self.parameter_of("embedding", (input_channels, embedding_dim), normal)
        self.embedding.requires_grad_(not freeze_embedding)
        self.w_in = self.parameter_of("w_in", (embedding_dim, 9 * units), draw)
        self.w_rec = self.parameter_of("w_rec", (hidden_dim, 9 * units), draw)
        self.bias = self.parameter_of("bias", (9 * units,), draw)
        self.head = Head(self, hidden_dim, output_channels)
        # Part of the architecture: all members share them, and no weight file holds them.
        orders = [
            stream("weights.permutation", 0, "train", copy).permutation(units) for copy in range(copies)
        ]
        # No buffer: those have a member axis, and leave the stack with their members.
        self.permutations = torch.tensor(np.stack(orders))

    def zero_state(self, like: Tensor) -> State:
        """Return zeros, (member, batch, unit) and (member, batch, copy, unit)."""
        batch, copies, units = like.shape[:2], len(self.permutations), self.w_rec.shape[1]
        return {"hidden": like.new_zeros(*batch, units), "cell": like.new_zeros(*batch, copies, units)}

    def forward(
        self, x: Tensor, state: State | None = None, steps: int | None = None, context: Context | None = None
    ) -> tuple[Tensor, State, Log]:
        """Run the members over a sequence; see `Model.forward`."""
        h0, c0 = (None, None) if state is None else (state["hidden"], state["cell"])
        w_in = self.embedding @ self.w_in
        x = as_channels(x, w_in)
        run = associative_lstm(x, w_in, self.w_rec, self.bias, self.permutations.to(x.device), h0, c0, steps)
        states = run._asdict()
        return self.head(run.hidden, context), {name: s[:, :, -1] for name, s in states.items()}, states
