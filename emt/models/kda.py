"""Kimi Delta Attention: the delta rule with a decay for each channel of a key (Kimi Team 2025, arXiv:2510.26692).

    q, k, v, k̂, q̂, β as in `emt.models.deltanet`;  w_t = exp(−e^A softplus(x_t W₁ W₂ + δ)), for each channel of a key
    M_t = M_{t-1} diag(w_t) (I − β_t k̂_t k̂_tᵀ) + β_t v_t k̂_tᵀ;   o_t = (norm(M_t q̂_t / √d) ∘ σ(x_t G₁ G₂)) W_o

for each head of d channels, with W₁ and G₁ of rank d and the surroundings of `emt.models.blocks`.
"""

import torch
from torch import Tensor

from emt.models.base import Model
from emt.models.blocks import prefixed, scaled_normal
from emt.models.decay import Decay
from emt.models.deltanet import DeltaMixer, DeltaNet
from emt.models.layers import linear


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


class KDA(DeltaNet):
    """Kimi Delta Attention: a linear memory with the delta rule and a decay for each channel in each layer."""

    mixer = KDAMixer
