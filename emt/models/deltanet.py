"""DeltaNet: linear attention that replaces what a key had (Schlag et al. 2021; Yang et al. 2024, arXiv:2406.06484).

    q, k, v = silu(conv(x W));  k̂ = k/‖k‖, q̂ = q/‖q‖;  β_t = s σ(x_t W_β)
    M_t = M_{t-1} + β_t (v_t − M_{t-1} k̂_t) k̂_tᵀ;   o_t = norm(M_t q̂_t / √d) W_o

for each head of d channels, with the surroundings of `emt.models.blocks`. With s = 2 the eigenvalue 1 − β of a
step may be negative, without which no parity can be learned (Grazzi et al. 2025, arXiv:2411.12537).
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from emt.models.base import Model, constant
from emt.models.blocks import (
    BlockModel,
    Mixed,
    Sequences,
    head_size,
    rms_norm,
    scaled_normal,
)
from emt.models.head_memory import HeadMemory, Rates
from emt.models.layers import linear
from emt.models.memory_mixer import MemoryMixer
from emt.models.projections import Projections

NORM_EPSILON = 1e-6
"""Added to the squared length of keys and queries."""


class DeltaMixer(MemoryMixer):
    """The delta rule for keys and queries of length one.

    Parameters
    ----------
    model, name, width
        The model, the layer's name, and units of the residual stream.
    shape
        Heads, and sizes of values and keys.
    conv_size, max_beta, scale
        Taps of the convolution, s, and standard deviation of initial weights.
    """

    memory: HeadMemory

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
        heads, value, key = shape
        parts = ((heads, key), (heads, key), (heads, value))
        projections = Projections(model, name, width, parts, conv_size, scale, squash=True)
        super().__init__(projections, HeadMemory(*shape), {"kind": "linear", "reads": "after"})
        self.max_beta, draw = max_beta, scaled_normal(scale)
        self.w_beta = model.parameter_of(f"{name}.beta", (width, heads), draw)
        self.w_out = model.parameter_of(f"{name}.out", (heads * value, width), draw)
        self.gain = model.parameter_of(f"{name}.read_norm", (value,), constant(1.0))
        self.torch_names |= {"w_beta": "beta.weight", "w_out": "out.weight", "gain": "read_norm.weight"}

    def forward(self, x: Tensor, state: Mapping[str, Tensor] | None, sequences: Sequences) -> Mixed:
        """Mix inputs; see `Mixer.forward`."""
        (q, k, v), states = self.projections(x, state)
        q, k = unit(q) * q.shape[-1] ** -0.5, unit(k)
        beta = self.max_beta * torch.sigmoid(linear(x, self.w_beta))
        rates = Rates(self.log_keep(x), beta, beta)
        reads, last, log = self.memory.run(q, k, v, rates, state, sequences.present, edit=sequences.edit)
        outputs = linear(self.gated(rms_norm(reads, self.gain), x).flatten(3), self.w_out)
        return Mixed(outputs, last, states, log)

    def log_keep(self, x: Tensor) -> Tensor | None:
        """Return the decay of each step, `Rates.log_keep`; None: all is kept."""
        return None

    def gated(self, reads: Tensor, x: Tensor) -> Tensor:
        """Return what of the reads (member, batch, time, head, value) is passed on: all of it."""
        return reads


class DeltaNet(BlockModel):
    """DeltaNet: a linear memory with the delta rule in each layer.

    Parameters
    ----------
    conv_size
        tokens that keys, values and queries are mixed from; 0: no convolution.
    max_beta
        largest write strength; 2: steps may have negative eigenvalues.
    """

    memories = {"fast": {"kind": "linear", "reads": "after"}}
    mixer = DeltaMixer

    def __init__(
        self,
        seeds: Sequence[int],
        input_channels: int,
        output_channels: int,
        *,
        conv_size: Annotated[int, Field(ge=0)] = 4,
        max_beta: Annotated[float, Field(gt=0, le=2)] = 1.0,
        **others: Any,
    ) -> None:
        super().__init__(seeds, input_channels, output_channels, **others)
        size = head_size(self.hidden_dim, self.heads)
        shape = self.heads, size, size
        self.add_layers(
            lambda name: self.mixer(self, name, self.hidden_dim, shape, conv_size, max_beta, self.scale)
        )


def unit(x: Tensor) -> Tensor:
    """Return vectors (…, channel) at length one, short ones shorter."""
    return x * torch.rsqrt(x.square().sum(dim=-1, keepdim=True) + NORM_EPSILON)
