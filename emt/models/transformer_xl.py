"""Transformer-XL (Dai et al. 2019, arXiv:1901.02860): attention to this segment and to what earlier ones left.

    x^0 = √H E token (times a matrix where the embedding has another size);   in each layer l:
    y = LN(x + W_o o),   x ← LN(y + W_2 relu(W_1 y + b_1) + b_2),   o as in `emt.ops.relative_attention`

with keys and values of c = (m, x), where m are the last inputs of the layer from earlier segments: keys and values
are made from them anew, and training, which cuts the state from the graph, passes no gradient through them. The
output is x W_s + b. Before the first segment there is nothing to see, not zeros. Initial weights are those of the
authors' program.
"""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, ClassVar, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from emt.errors import UserError
from emt.models.base import Context, LazyState, Log, Model, State, constant
from emt.models.blocks import Makers, head_size, logged, scaled_normal
from emt.models.head_memory import head_log, writing
from emt.models.layers import at_ends, dropped, embed, lengthen, linear
from emt.models.memory_edits import EDITS, edit_of
from emt.models.softmax_memory import SoftmaxMemory, newest
from emt.ops.memory_edit import MemoryEdit
from emt.ops.relative_attention import Positions, as_products, relative_attention

INNER = 4
"""Units of the feed-forward network for each unit of the residual stream."""


class TransformerXL(Model):
    """Transformer-XL: attention with relative positions, and a memory of earlier segments.

    Parameters
    ----------
    hidden_dim
        width: units of the residual stream, and channels of all heads together.
    layers
        layers, each attention and a network of 4 times as many units.
    heads
        heads of each layer, each with its share of the channels.
    embedding_dim
        size of the embedding.
    memory_length
        inputs of each layer that are kept for the next segment.
    same_length
        every word sees as many as memory_length, itself included; if not, the later words of a segment see more.
    dropout
        share of units that are zero in a training step: of the embedding, of each layer's two outputs, within the
        network, of distances, and before the readout.
    attention_dropout
        share of weights of attention that are zero in a training step.
    """

    memories = {"layer1": {"kind": "dictionary", "reads": "after"}}
    edits = EDITS
    context = ("needed_steps",)
    readout_name = None

    def __init__(
        self,
        seeds: Sequence[int],
        input_channels: int,
        output_channels: int,
        *,
        hidden_dim: Annotated[int, Field(ge=2)] = 128,
        layers: Annotated[int, Field(ge=1)] = 2,
        heads: Annotated[int, Field(ge=1)] = 2,
        embedding_dim: Annotated[int, Field(ge=1)] = 128,
        memory_length: Annotated[int, Field(ge=1)] = 200,
        same_length: bool = False,
        dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
        attention_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0,
    ) -> None:
        super().__init__(seeds)
        size, draw = head_size(hidden_dim, heads), scaled_normal(0.02)
        if hidden_dim % 2:
            raise UserError(f"must be even; got {hidden_dim}", parameter="hidden_dim")
        self.memory_length, self.same_length = memory_length, same_length
        self.dropout, self.attention_dropout = dropout, attention_dropout
        self.embedding = self.parameter_of("embedding", (input_channels, embedding_dim), draw)
        self.w_in = None
        if embedding_dim != hidden_dim:
            self.w_in = self.parameter_of("w_in", (embedding_dim, hidden_dim), scaled_normal(0.01))
        self.content = self.parameter_of("content", (heads, size), draw)
        self.place = self.parameter_of("place", (heads, size), draw)
        self.names = tuple(f"layer{number}" for number in range(1, layers + 1))
        self.layers = nn.ModuleList(Layer(self, name, hidden_dim, heads) for name in self.names)
        self.w_out = self.parameter_of("w_out", (hidden_dim, output_channels), draw)
        self.b_out = self.parameter_of("b_out", (output_channels,), constant(0.0))
        self.torch_names = {
            "embedding": "embedding.weight",
            "w_in": "projection.weight",
            "content": "content_bias",
            "place": "place_bias",
            "w_out": "readout.weight",
            "b_out": "readout.bias",
        }
        self.torch_names |= {
            f"layers.{i}.{ours}": f"{name}.{theirs}"
            for i, name in enumerate(self.names)
            for ours, theirs in Layer.torch_names.items()
        }
        self._name_states(size)

    def _name_states(self, size: int) -> None:
        """Name states and memories; every layer has a memory of its own."""
        early = {f"hidden_{name}": (f"unit_{name}",) for name in self.names[:-1]}
        self.held_state = tuple(f"{part}_{name}" for name in self.names for part in ("inputs", "held"))
        dims = {"inputs": ("slot", "unit"), "held": ("slot",)}
        held = {name: dims[name.split("_")[0]] for name in self.held_state}
        self.state_dims = {"hidden": ("unit",), **early, **held}
        rule = {"kind": "dictionary", "reads": "after", "similarity": "dot", "recall": "softmax"}
        rule |= {"scale": size**-0.5} | ({"capacity": self.memory_length} if self.same_length else {})
        self.memories = {name: dict(rule) for name in self.names}

    def zero_state(self, like: Tensor) -> State:
        """Return zeros and empty memories, (member, batch, …) each."""
        rows, width = like.shape[:2], self.w_out.shape[1]
        slots = like.new_zeros(*rows, self.memory_length, width)
        kinds = {
            "hidden": like.new_zeros(*rows, width),
            "inputs": slots,
            "held": torch.zeros(slots.shape[:3], dtype=torch.bool, device=like.device),
        }
        return {name: kinds[name.split("_")[0]] for name in self.state_dims}

    def activations(self, segment: int) -> int:
        """Return the numbers in keys and values of all earlier words that a segment's last word sees."""
        words = (self.memory_length if self.same_length else self.memory_length + segment) - 1
        return len(self.names) * 2 * self.w_out.shape[1] * words

    def forward(
        self, x: Tensor, state: State | None = None, steps: int | None = None, context: Context | None = None
    ) -> tuple[Tensor, State, Log]:
        """Run the members over a segment; see `Model.forward`. Memories are logged if all outputs are needed."""
        x = lengthen(x, steps)
        absent = None if x.is_floating_point() or bool((x >= 0).all()) else x < 0
        hidden = self._dropped(self._embedded(x), "embedding")
        log, last = Log(), Makers()
        for place, (name, layer) in enumerate(zip(self.names, self.layers, strict=True)):
            before = None if state is None else (state[f"inputs_{name}"], state[f"held_{name}"].bool())
            segment = Segment(self, name, before, None if absent is None else ~absent, edit_of(context, name))
            logs = "needed_steps" not in (context or {}) or segment.edit is not None
            hidden, memory, read = cast("Layer", layer)(hidden, segment, logs=logs)
            last |= {f"{part}_{name}": maker for part, maker in memory.items()}
            log |= {f"memory/{name}/{n}": logged(t, segment.present) for n, t in read.items()}
            log["hidden" if place == len(self.names) - 1 else f"hidden_{name}"] = hidden
        for name in [name for name in self.state_dims if name in log]:
            first = torch.zeros_like(hidden[:, :, 0]) if state is None else state[name]
            last[name] = partial(at_ends, x, log[name], first)
        outputs = linear(self._dropped(hidden, "readout"), self.w_out, self.b_out)
        return outputs, LazyState({name: last[name] for name in self.state_dims}), log

    def _embedded(self, x: Tensor) -> Tensor:
        table = self.embedding if self.w_in is None else self.embedding @ self.w_in
        return embed(x, table * self.w_out.shape[1] ** 0.5)

    def _dropped(self, values: Tensor, kind: str) -> Tensor:
        return dropped(self, values, kind, self.dropout, values.shape[1:])


class Segment(NamedTuple):
    """What a layer needs besides its inputs.

    ``before`` what it keeps of earlier segments, inputs (member, batch, slot, unit) and which slots hold one, None for
    nothing; ``present`` which steps exist, (member, batch, time), None for all; ``edit`` what is changed of its memory.
    """

    model: TransformerXL
    name: str
    before: tuple[Tensor, Tensor] | None
    present: Tensor | None
    edit: MemoryEdit | None

    def dropped(self, values: Tensor, kind: str) -> Tensor:
        """Return values (member, …) without the units that a training step drops."""
        return dropped(self.model, values, f"{self.name}.{kind}", self.model.dropout, values.shape[1:])

    def held(self, x: Tensor) -> Tensor:
        """Return which places hold an input, (member, batch, slot and time)."""
        held = x.new_ones(x.shape[:3], dtype=torch.bool) if self.present is None else self.present
        writes = writing(held, self.edit) if self.edit is not None else held
        assert writes is not None
        return writes if self.before is None else torch.cat([self.before[1], writes], dim=2)

    def visible(self, held: Tensor, steps: int) -> Tensor:
        """Return which places a step sees, (member, batch, time, slot and time)."""
        places = held.shape[2]
        seen = torch.ones(steps, places, dtype=torch.bool, device=held.device).tril(places - steps)
        if self.model.same_length:
            seen = seen.triu(places - steps - self.model.memory_length + 1)
        return held.unsqueeze(2) & seen


class Layer(nn.Module):
    """One layer: attention to a memory and the segment, and a network, each with a norm after it."""

    w_query: nn.Parameter
    w_content: nn.Parameter
    w_place: nn.Parameter
    w_read: nn.Parameter
    w_up: nn.Parameter
    w_down: nn.Parameter
    gain_read: nn.Parameter
    bias_read: nn.Parameter
    gain_network: nn.Parameter
    bias_network: nn.Parameter

    torch_names: ClassVar[dict[str, str]] = {
        "w_query": "attention.query.weight",
        "w_content": "attention.key_value.weight",
        "w_place": "attention.place.weight",
        "w_read": "attention.out.weight",
        "w_up": "network.0.weight",
        "b_up": "network.0.bias",
        "w_down": "network.2.weight",
        "b_down": "network.2.bias",
        **{
            f"{ours}_{part}": f"{part}_norm.{theirs}"
            for part in ("read", "network")
            for ours, theirs in (("gain", "weight"), ("bias", "bias"))
        },
    }

    def __init__(self, model: Model, name: str, width: int, heads: int) -> None:
        super().__init__()
        self.heads, draw, zero = heads, scaled_normal(0.02), constant(0.0)
        shapes = {
            "w_query": (width, width),
            "w_content": (width, 2 * width),
            "w_place": (width, width),
            "w_read": (width, width),
            "w_up": (width, INNER * width),
            "w_down": (INNER * width, width),
        }
        for ours, shape in shapes.items():
            self.register_parameter(ours, model.parameter_of(f"{name}.{ours}", shape, draw))
        self.b_up = model.parameter_of(f"{name}.b_up", (INNER * width,), zero)
        self.b_down = model.parameter_of(f"{name}.b_down", (width,), zero)
        for part in ("read", "network"):
            gain = model.parameter_of(f"{name}.gain_{part}", (width,), _around_one)
            self.register_parameter(f"gain_{part}", gain)
            self.register_parameter(f"bias_{part}", model.parameter_of(f"{name}.bias_{part}", (width,), zero))

    def forward(self, x: Tensor, segment: Segment, *, logs: bool) -> tuple[Tensor, Makers, Log]:
        """Return the layer's output (member, batch, time, unit), what makes its memory, and the log of it."""
        held, inputs = segment.held(x), x
        if segment.before is not None:
            inputs = torch.cat([segment.before[0].to(x), x], dim=2)
        reads, log = self._read(x, inputs, held, segment, logs)
        added = segment.dropped(linear(reads.flatten(3), self.w_read), "read")
        y = _norm(x + added, self.gain_read, self.bias_read)
        inner = segment.dropped(linear(y, self.w_up, self.b_up).relu(), "inner")
        added = segment.dropped(linear(inner, self.w_down, self.b_down), "network")
        last = newest(held, segment.model.memory_length, inputs=inputs)
        return _norm(y + added, self.gain_network, self.bias_network), last, log

    def _read(
        self, x: Tensor, inputs: Tensor, held: Tensor, segment: Segment, logs: bool
    ) -> tuple[Tensor, Log]:
        """Return what heads read, (member, batch, time, head, channel), and the log."""
        model, steps = segment.model, x.shape[2]
        query = linear(x, self.w_query).unflatten(-1, (self.heads, -1))
        key, value = linear(inputs, self.w_content).unflatten(-1, (2 * self.heads, -1)).chunk(2, dim=3)
        weight = self.w_place.unflatten(-1, (self.heads, -1))
        drop = None
        if model.dropout and model.noise_step is not None:
            drop = segment.dropped(torch.ones_like(inputs[:, 0]), "place")
        positions = Positions(weight, model.content, model.place, drop)
        if segment.edit is not None:
            return self._edited(query, key, value, positions, segment)
        masks = None
        if model.attention_dropout and model.noise_step is not None:
            shape = (x.shape[1], self.heads, steps, inputs.shape[2])
            kind = f"{segment.name}.attention"
            masks = dropped(model, x.new_ones(len(x), *shape), kind, model.attention_dropout, shape)
        reads = relative_attention(query, key, value, positions, segment.visible(held, steps), masks)
        if not logs:
            return reads, {}
        query, key = as_products(query, key, positions)
        return reads, head_log(query, key[:, :, -steps:], value[:, :, -steps:], reads, segment.present)

    def _edited(
        self, query: Tensor, key: Tensor, value: Tensor, positions: Positions, segment: Segment
    ) -> tuple[Tensor, Log]:
        """Return what heads read of a dictionary of edited keys and values, and the log."""
        slots = key.shape[2] - query.shape[2]
        query, key = as_products(query, key, positions)
        capacity = segment.model.memory_length if segment.model.same_length else key.shape[2]
        size = value.shape[-1]
        memory = SoftmaxMemory(self.heads, size, key.shape[-1], capacity, size**-0.5)
        before = None
        if segment.before is not None:
            before = {"keys": key[:, :, :slots], "values": value[:, :, :slots], "held": segment.before[1]}
        steps = key[:, :, slots:], value[:, :, slots:]
        reads, _, log = memory.run(query, *steps, before, segment.present, segment.edit)
        return reads, log


def _norm(x: Tensor, gain: Tensor, bias: Tensor) -> Tensor:
    """Return LN(x), (member, batch, time, unit), for gains and biases (member, unit)."""
    return layer_norm(x, x.shape[-1:]) * gain[:, None, None] + bias[:, None, None]


def _around_one(generator: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    return 1 + 0.02 * generator.standard_normal(shape)
