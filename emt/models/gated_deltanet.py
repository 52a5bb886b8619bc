"""Gated DeltaNet: the delta rule in a memory that forgets (Yang, Kautz & Hatamizadeh 2025, arXiv:2412.06464).

    q, k, v, k̂, q̂, β as in `emt.models.deltanet`;  α_t = exp(−e^A softplus(x_t W_α + δ))
    M_t = α_t M_{t-1} + β_t (v_t − α_t M_{t-1} k̂_t) k̂_tᵀ;   o_t = (norm(M_t q̂_t / √d) ∘ silu(x_t W_g)) W_o

for each head of d channels, with values of more channels than keys and the surroundings of `emt.models.blocks`.
"""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field
from torch import Tensor
from torch.nn.functional import silu

from emt.models.base import Model
from emt.models.blocks import BlockModel, head_size, prefixed, scaled_normal
from emt.models.decay import Decay
from emt.models.deltanet import DeltaMixer
from emt.models.layers import linear

SMALLEST_RATE = 0.01
"""From which e^A starts, so that A is a number."""


class GatedDeltaNet(BlockModel):
    """Gated DeltaNet: a linear memory with the delta rule and a decay in each layer.

    Parameters
    ----------
    hidden_dim
        width: units of the residual stream, and channels of the keys of all heads together.
    expand_v
        channels of a value for each channel of a key.
    conv_size
        tokens that keys, values and queries are mixed from; 0: no convolution.
    max_beta
        largest write strength; 2: steps may have negative eigenvalues.
    """

    memories = {"fast": {"kind": "linear", "reads": "after"}}

    def __init__(
        self,
        seeds: Sequence[int],
        input_channels: int,
        output_channels: int,
        *,
        expand_v: Annotated[int, Field(ge=1)] = 2,
        conv_size: Annotated[int, Field(ge=0)] = 4,
        max_beta: Annotated[float, Field(gt=0, le=2)] = 1.0,
        **others: Any,
    ) -> None:
        super().__init__(seeds, input_channels, output_channels, **others)
        key = head_size(self.hidden_dim, self.heads)
        shape = self.heads, expand_v * key, key
        self.add_layers(
            lambda name: GatedDeltaMixer(self, name, self.hidden_dim, shape, conv_size, max_beta, self.scale)
        )


class GatedDeltaMixer(DeltaMixer):
    """The delta rule with a decay for each head, and a gate of what is read."""

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
        heads, value, _ = shape
        self.decay = Decay(model, name, width, heads, scale, smallest_rate=SMALLEST_RATE)
        self.w_gate = model.parameter_of(f"{name}.gate", (width, heads * value), scaled_normal(scale))
        self.torch_names |= prefixed("decay", self.decay.torch_names)
        self.torch_names["w_gate"] = "gate.weight"

    def log_keep(self, x: Tensor) -> Tensor:
        """Return log α."""
        return self.decay(x)[1].squeeze(-1)

    def gated(self, reads: Tensor, x: Tensor) -> Tensor:
        """Return reads times silu(x W_g)."""
        return reads * silu(linear(x, self.w_gate)).view_as(reads)
