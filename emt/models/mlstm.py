"""mLSTM of xLSTM: a memory with an exponential input gate and a sum of its keys (Beck et al. 2024, arXiv:2405.04517).

    [u, z] = x W;  c = silu(conv(u) + b);  q, k = c W_q, c W_k, v = u W_v in blocks of 4 channels
    ι_t = [q, k, v] w_i + b_i,  log f_t = log σ([q, k, v] w_f + b_f);  m_t = max(log f_t + m_{t-1}, ι_t)
    M_t = f_t e^{m_{t-1} − m_t} M_{t-1} + e^{ι_t − m_t} [v_t; 1] k_tᵀ/√d;   [s; n] = M_t q_t
    h = s / (max(|n|, e^{−m_t}) + 10⁻⁶);   o_t = ((LN(h) + a ∘ c) ∘ silu(z)) W_o

for each head, with m₀ = 0 and the surroundings of `emt.models.blocks`. The stabiliser m scales M so that no
exponential overflows; beside rounding and the 10⁻⁶ nothing depends on it.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import layer_norm, logsigmoid, silu

from emt.errors import UserError
from emt.models.base import Model, constant
from emt.models.blocks import EPSILON, BlockModel, Mixed, Sequences, head_size, scaled_normal
from emt.models.head_memory import HeadMemory, Rates, moving
from emt.models.layers import linear
from emt.models.memory_mixer import MemoryMixer
from emt.models.projections import Projections
from emt.ops.memory_edit import MemoryEdit

BLOCK = 4
"""Channels of a block of the maps to queries, keys and values."""

FLOOR = 1e-6
"""Added to what reads are divided by."""

LARGEST_EXPONENT = 80.0
"""Where −m is larger nothing is written and reads are zero: e^{−m} stays a float."""

FIRST_INPUT_BIAS = 0.1
"""Standard deviation of b_i at the start; b_f is spread evenly over the heads from 3 to 6."""


class MLSTM(BlockModel):
    """mLSTM: a linear memory with exponential gates in each layer.

    Parameters
    ----------
    hidden_dim
        width: units of the residual stream.
    expand
        channels of the keys of all heads together, and of the values, for each unit of the residual stream.
    conv_size
        tokens that keys and queries are mixed from; 0: no convolution.
    initializer_range
        standard deviation of initial weights outside the memories' layers.
    """

    memories = {"fast": {"kind": "linear", "reads": "after", "normaliser": "last"}}

    def __init__(
        self,
        seeds: Sequence[int],
        input_channels: int,
        output_channels: int,
        *,
        heads: Annotated[int, Field(ge=1)] = 4,
        expand: Annotated[int, Field(ge=1)] = 2,
        conv_size: Annotated[int, Field(ge=0)] = 4,
        **others: Any,
    ) -> None:
        super().__init__(seeds, input_channels, output_channels, heads=heads, **others)
        inner = expand * self.hidden_dim
        head_size(inner, heads, "--expand times --hidden_dim")
        if inner % BLOCK:
            raise UserError(
                f"times --expand must be a multiple of {BLOCK}; got {inner}", parameter="hidden_dim"
            )
        down = 2 / (self.layers * self.hidden_dim**0.5)
        self.add_layers(lambda name: MLSTMMixer(self, name, self.hidden_dim, inner, heads, conv_size, down))


class MLSTMMixer(MemoryMixer):
    """The mLSTM of a layer.

    Parameters
    ----------
    model, name, width
        The model, the layer's name, and units of the residual stream.
    inner, heads
        Channels of all heads together, and heads.
    conv_size, scale
        Taps of the convolution, and standard deviation of W_o at the start.
    """

    memory: HeadMemory
    projections: Projections

    def __init__(
        self, model: Model, name: str, width: int, inner: int, heads: int, conv_size: int, scale: float
    ) -> None:
        up = (2 / (5 * width)) ** 0.5
        projections = Projections(
            model, name, width, [(1, inner)], conv_size, up, conv_bias=True, squash=True
        )
        memory, rule = HeadMemory(heads, inner // heads + 1, inner // heads), MLSTM.memories["fast"]
        super().__init__(projections, memory, rule)
        self.heads = heads
        self.w_gate = model.parameter_of(f"{name}.gate", (width, inner), scaled_normal(up))
        self.w_out = model.parameter_of(f"{name}.out", (inner, width), scaled_normal(scale))
        self.skip = model.parameter_of(f"{name}.skip", (inner,), constant(1.0))
        self.gain = model.parameter_of(f"{name}.read_norm", (inner,), constant(1.0))
        self.torch_names |= {"w_gate": "gate.weight", "w_out": "out.weight"}
        self.torch_names |= {"skip": "skip", "gain": "read_norm.weight"}
        self.maps = nn.ParameterDict()
        for part in ("query", "key", "value"):
            blocks = inner // BLOCK, BLOCK, BLOCK
            self.maps[part] = model.parameter_of(f"{name}.{part}", blocks, scaled_normal(up))
            self.torch_names[f"maps.{part}"] = f"{part}.blocks"
        self.gates = nn.ParameterDict()
        starts = {"input": scaled_normal(FIRST_INPUT_BIAS), "forget": evenly}
        for gate, start in starts.items():
            weight, bias = f"{gate}_weight", f"{gate}_bias"
            self.gates[weight] = model.parameter_of(f"{name}.{weight}", (3 * inner, heads), constant(0.0))
            self.gates[bias] = model.parameter_of(f"{name}.{bias}", (heads,), start)
            self.torch_names[f"gates.{weight}"] = f"{gate}_gate.weight"
            self.torch_names[f"gates.{bias}"] = f"{gate}_gate.bias"
        # Zero, and not minus infinity, so that a state of zeros is one without writes; any number would do.
        self.state_dims = {**self.state_dims, "stabiliser": ("head",)}
        self.held_state = (*self.held_state, "stabiliser")

    def zero_state(self, like: Tensor) -> dict[str, Tensor]:
        """Return an empty memory and window, and m₀."""
        return {**super().zero_state(like), "stabiliser": like.new_zeros(*like.shape[:2], self.heads)}

    def forward(self, x: Tensor, state: Mapping[str, Tensor] | None, sequences: Sequences) -> Mixed:
        """Mix inputs; see `Mixer.forward`."""
        raw, mixed, states = self.projections.raw_and_mixed(x, state)
        q, k = (in_blocks(mixed, self.maps[part]) for part in ("query", "key"))
        v = in_blocks(raw, self.maps["value"])
        rates, m = self._rates(torch.cat([q, k, v], dim=-1), state, sequences)
        q, k, v = (part.unflatten(-1, (self.heads, -1)) for part in (q, k, v))
        k, v = k * k.shape[-1] ** -0.5, with_one(v)
        reads, last, log = self.memory.run(q, k, v, rates, state, sequences.present, edit=sequences.edit)
        h = normalised(reads, m)
        normed = layer_norm(h, h.shape[-1:], eps=EPSILON).flatten(3) * self.gain[:, None, None]
        outputs = (normed + self.skip[:, None, None] * mixed) * silu(linear(x, self.w_gate))
        return Mixed(linear(outputs, self.w_out), last, states | {"stabiliser": m}, log)

    def _rates(
        self, x: Tensor, state: Mapping[str, Tensor] | None, sequences: Sequences
    ) -> tuple[Rates, Tensor]:
        """Return rates and stabilisers of the joined queries, keys and values (member, batch, time, channel)."""
        log_keep, log_write = (
            linear(x, self.gates[f"{gate}_weight"], self.gates[f"{gate}_bias"])
            for gate in ("forget", "input")
        )
        log_keep = logsigmoid(log_keep)
        moves = moving(sequences.present, sequences.edit or MemoryEdit())
        if moves is not None:
            # Where nothing changes, not the scale either.
            log_keep = log_keep.masked_fill(~moves.unsqueeze(-1), 0.0)
            log_write = log_write.masked_fill(~moves.unsqueeze(-1), -torch.inf)
        first = torch.zeros_like(log_keep[:, :, 0]) if state is None else state["stabiliser"]
        return stabilised(log_keep, log_write, first)


def stabilised(log_keep: Tensor, log_write: Tensor, first: Tensor) -> tuple[Rates, Tensor]:
    """Return rates and m of log f and ι, (member, batch, time, head), from m₀ (member, batch, head) on."""
    kept, before = log_keep.cumsum(dim=2), first.unsqueeze(2)
    m = kept + torch.maximum(before, (log_write - kept).cummax(dim=2).values)
    change = torch.cat([before, m[:, :, :-1]], dim=2) - m
    return Rates(log_keep=log_keep + change, strength=(log_write - m).exp()), m


def with_one(value: Tensor) -> Tensor:
    """Return values (…, value) with a last entry that sums keys."""
    return torch.cat([value, torch.ones_like(value[..., :1])], dim=-1)


def normalised(reads: Tensor, m: Tensor) -> Tensor:
    """Return h of reads (…, value + 1) and stabilisers (…)."""
    floor = (-m).clamp(max=LARGEST_EXPONENT).exp().unsqueeze(-1)
    return reads[..., :-1] / (torch.maximum(reads[..., -1:].abs(), floor) + FLOOR)


def in_blocks(x: Tensor, blocks: Tensor) -> Tensor:
    """Return x (member, batch, time, channel) times a matrix of blocks (member, block, in, out) on its diagonal."""
    return torch.einsum("mbtki,mkio->mbtko", x.unflatten(-1, blocks.shape[1:3]), blocks).flatten(3)


def evenly(generator: np.random.Generator, shape: tuple[int]) -> NDArray[np.float64]:
    """Return b_f at the start."""
    return np.linspace(3.0, 6.0, *shape)
