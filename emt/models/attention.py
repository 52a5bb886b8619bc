"""Softmax attention (Vaswani et al. 2017, arXiv:1706.03762), the reference for linear memories.

    q, k, v = silu(conv(x W + b));  o_t = Σ_{i ≤ t} softmax_i(q_t·k_i / √d) v_i W_o

for each head of d channels, with learned positions added to the embedding and the surroundings of
`emt.models.blocks`. Without a convolution there is no silu.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field
from torch import Tensor

from emt.models.base import Model
from emt.models.blocks import BlockModel, Mixed, Mixer, Sequences, head_size, scaled_normal
from emt.models.layers import linear
from emt.models.memory_mixer import MemoryMixer
from emt.models.projections import Projections
from emt.models.softmax_memory import SoftmaxMemory


class Attention(BlockModel):
    """Softmax attention: a dictionary of all earlier keys and values in each layer.

    Parameters
    ----------
    layers
        layers, each attention and an MLP.
    heads
        heads of each layer, each with its share of the channels.
    conv_size
        tokens that keys, values and queries are mixed from; 0: no convolution.
    mlp
        gated MLP after each layer's attention, or none.
    context_length
        steps that attention looks back, and learned positions; later steps have the last position.
    """

    memories = {"fast": {"kind": "dictionary", "reads": "after"}}

    def __init__(
        self,
        seeds: Sequence[int],
        input_channels: int,
        output_channels: int,
        *,
        conv_size: Annotated[int, Field(ge=0)] = 4,
        context_length: Annotated[int, Field(ge=1)] = 256,
        **others: Any,
    ) -> None:
        super().__init__(seeds, input_channels, output_channels, **others)
        size = head_size(self.hidden_dim, self.heads)

        def build(name: str) -> Mixer:
            parts = [(self.heads, size)] * 3
            projections = Projections(self, name, self.hidden_dim, parts, conv_size, self.scale, bias=True)
            memory = SoftmaxMemory(self.heads, size, size, context_length)
            return SoftmaxMixer(self, name, projections, memory, self.scale)

        self.add_layers(build)
        self.add_positions(context_length, self.scale)


class SoftmaxMixer(MemoryMixer):
    """Attention over a dictionary of earlier steps."""

    memory: SoftmaxMemory

    def __init__(
        self, model: Model, name: str, projections: Projections, memory: SoftmaxMemory, scale: float
    ) -> None:
        super().__init__(projections, memory, memory.rule)
        width = projections.weight.shape[1]
        self.w_out = model.parameter_of(f"{name}.out", (width, width), scaled_normal(scale))
        self.torch_names["w_out"] = "out.weight"

    def forward(self, x: Tensor, state: Mapping[str, Tensor] | None, sequences: Sequences) -> Mixed:
        """Mix inputs; see `Mixer.forward`."""
        (q, k, v), states = self.projections(x, state)
        reads, last, log = self.memory.run(q, k, v, state, sequences.present, sequences.edit)
        return Mixed(linear(reads.flatten(3), self.w_out), last, states, log)
