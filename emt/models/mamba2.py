"""Mamba-2: a memory that forgets and adds, as fast as its input says (Dao & Gu 2024, arXiv:2405.21060).

    [x, B, C] = silu(conv(u W + b)), z = u W_z;  Δ_t = softplus(u_t W_Δ + δ)
    M_t = exp(−e^A Δ_t) M_{t-1} + Δ_t x_t B_tᵀ;   y_t = norm((M_t C_t + D x_t) ∘ silu(z_t)) W_o

for each head of x, with A, D, Δ of its own and B, C for all heads, with the surroundings of `emt.models.blocks`.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field
from torch import Tensor
from torch.nn.functional import silu

from emt.models.base import Model, constant
from emt.models.blocks import BlockModel, Mixed, Sequences, head_size, prefixed, rms_norm, scaled_normal
from emt.models.decay import Decay
from emt.models.head_memory import HeadMemory, Rates
from emt.models.layers import linear
from emt.models.memory_mixer import MemoryMixer
from emt.models.projections import Projections


class Mamba2(BlockModel):
    """Mamba-2: a linear memory with a decay in each layer, whose keys all heads share.

    Parameters
    ----------
    hidden_dim
        width: units of the residual stream.
    heads
        memories of each layer, each with its share of the values' channels.
    expand
        channels of the values of all heads together, for each unit of the residual stream.
    state_size
        channels of a key; 0: as many as hidden_dim.
    conv_size
        tokens that keys, values and queries are mixed from; 0: no convolution.
    """

    memories = {"fast": {"kind": "linear", "reads": "after"}}

    def __init__(
        self,
        seeds: Sequence[int],
        input_channels: int,
        output_channels: int,
        *,
        heads: Annotated[int, Field(ge=1)] = 4,
        expand: Annotated[int, Field(ge=1)] = 2,
        state_size: Annotated[int, Field(ge=0)] = 0,
        conv_size: Annotated[int, Field(ge=0)] = 4,
        **others: Any,
    ) -> None:
        super().__init__(seeds, input_channels, output_channels, heads=heads, **others)
        value = head_size(expand * self.hidden_dim, heads, "--expand times --hidden_dim")
        shape = heads, value, state_size or self.hidden_dim
        self.add_layers(lambda name: Mamba2Mixer(self, name, self.hidden_dim, shape, conv_size, self.scale))


class Mamba2Mixer(MemoryMixer):
    """The state space of Mamba-2.

    Parameters
    ----------
    model, name, width
        The model, the layer's name, and units of the residual stream.
    shape
        Heads, and sizes of values and keys.
    conv_size, scale
        Taps of the convolution, and standard deviation of initial weights.
    """

    memory: HeadMemory

    def __init__(
        self, model: Model, name: str, width: int, shape: tuple[int, int, int], conv_size: int, scale: float
    ) -> None:
        heads, value, key = shape
        parts, inner, draw = ((heads, value), (1, key), (1, key)), heads * value, scaled_normal(scale)
        projections = Projections(model, name, width, parts, conv_size, scale, conv_bias=True, squash=True)
        super().__init__(projections, HeadMemory(*shape), {"kind": "linear", "reads": "after"})
        self.decay = Decay(model, name, width, heads, scale)
        self.w_gate = model.parameter_of(f"{name}.gate", (width, inner), draw)
        self.w_out = model.parameter_of(f"{name}.out", (inner, width), draw)
        self.passing = model.parameter_of(f"{name}.passing", (heads,), constant(1.0))
        self.gain = model.parameter_of(f"{name}.read_norm", (inner,), constant(1.0))
        self.torch_names |= {"w_gate": "gate.weight", "w_out": "out.weight"}
        self.torch_names |= {"passing": "passing", "gain": "read_norm.weight"}
        self.torch_names |= prefixed("decay", self.decay.torch_names)

    def forward(self, x: Tensor, state: Mapping[str, Tensor] | None, sequences: Sequences) -> Mixed:
        """Mix inputs; see `Mixer.forward`."""
        (value, *shared), states = self.projections(x, state)
        key, query = (part.expand(-1, -1, -1, value.shape[3], -1) for part in shared)
        step, log_keep = (part.squeeze(-1) for part in self.decay(x))
        rates = Rates(log_keep, strength=step)
        reads, last, log = self.memory.run(
            query, key, value, rates, state, sequences.present, edit=sequences.edit
        )
        passed = reads + self.passing[:, None, None, :, None] * value
        gated = passed.flatten(3) * silu(linear(x, self.w_gate))
        return Mixed(linear(rms_norm(gated, self.gain), self.w_out), last, states, log)
