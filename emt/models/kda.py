"""Kimi Delta Attention: the delta rule with a decay for each channel of a key (Kimi Team 2025, arXiv:2510.26692).

    q, k, v, k̂, q̂, β as in `emt.models.deltanet`;  w_t = exp(−e^A softplus(x_t W₁ W₂ + δ)), for each channel of a key
    M_t = M_{t-1} diag(w_t) (I − β_t k̂_t k̂_tᵀ) + β_t v_t k̂_tᵀ;   o_t = (norm(M_t q̂_t / √d) ∘ σ(x_t G₁ G₂)) W_o

for each head of d channels, with W₁ and G₁ of rank d and the surroundings of `emt.models.blocks`.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from emt.models.base import Model
from emt.models.blocks import BlockModel, head_size, prefixed, scaled_normal
from emt.models.decay import Decay
from emt.models.deltanet import DeltaMixer
from emt.models.layers import linear


class KDA(BlockModel):
    """Kimi Delta Attention: a linear memory with the delta rule and a decay for each channel in each layer.

    Parameters
    ----------
    hidden_dim
        width: units of the residual stream, and channels of all heads together.
    layers
        layers, each a memory and an MLP.
    heads
        memories of each layer, each with its share of the channels.
    conv_size
        tokens that keys, values and queries are mixed from; 0: no convolution.
    mlp
        gated MLP after each memory, or none.
    max_beta
        largest write strength; 2: steps may have negative eigenvalues.
    initializer_range
        standard deviation of initial weights.
    """

    memories = {"fast": {"kind": "linear", "reads": "after"}}

    def __init__(
        self,
        seeds: Sequence[int],
        input_channels: int,
        output_channels: int,
        *,
        hidden_dim: Annotated[int, Field(ge=1)] = 64,
        layers: Annotated[int, Field(ge=1)] = 1,
        heads: Annotated[int, Field(ge=1)] = 2,
        conv_size: Annotated[int, Field(ge=0)] = 4,
        mlp: Literal["swiglu", "none"] = "swiglu",
        max_beta: Annotated[float, Field(gt=0, le=2)] = 1.0,
        initializer_range: Annotated[float, Field(gt=0)] = 0.02,
    ) -> None:
        super().__init__(seeds)
        size = head_size(hidden_dim, heads)
        shape = heads, size, size
        self._make(
            input_channels,
            output_channels,
            hidden_dim,
            layers,
            mlp,
            initializer_range,
            lambda name: KDAMixer(self, name, hidden_dim, shape, conv_size, max_beta, initializer_range),
        )


class KDAMixer(DeltaMixer):
    """The delta rule with a decay for each channel of a key, and a gate of what is read."""

    def __init__(
        self,
        model: Model,
        name: str,
        width: int,
        shape: tuple[int, int, int],
        conv_size: int,
        max_beta: float,
        scale: float,
    ) -> None:
        super().__init__(model, name, width, shape, conv_size, max_beta, scale)
        (heads, size, _), draw = shape, scaled_normal(scale)
        self.decay = Decay(model, name, width, heads, scale, channels=size, rank=size)
        self.w_gate_in = model.parameter_of(f"{name}.gate_in", (width, size), draw)
        self.w_gate = model.parameter_of(f"{name}.gate", (size, heads * size), draw)
        self.torch_names |= prefixed("decay", self.decay.torch_names)
        self.torch_names |= {"w_gate_in": "gate_in.weight", "w_gate": "gate.weight"}

    def log_keep(self, x: Tensor) -> Tensor:
        """Return log w."""
        return self.decay(x)[1]

    def gated(self, reads: Tensor, x: Tensor) -> Tensor:
        """Return reads times σ(x G₁ G₂)."""
        return reads * torch.sigmoid(linear(linear(x, self.w_gate_in), self.w_gate)).view_as(reads)
