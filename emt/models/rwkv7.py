"""RWKV-7: a memory that erases at one address what it looks up at another (Peng et al. 2025, arXiv:2503.14456).

    x_j = u_t + μ_j ∘ (u_{t-1} − u_t) for j = r, w, k, v, a, g;   r, k, v = x_r W_r, x_k W_k, x_v W_v
    log w = −e^{−1/2} σ(w₀ + tanh(x_w W₁) W₂),   a = σ(a₀ + x_a A₁ A₂),   g = σ(x_g G₁) G₂
    from the second layer on v ← v + (v of the first − v) σ(v₀ + x_v V₁ V₂)
    κ̂ = k ∘ κ / ‖k ∘ κ‖,   k̃ = k ∘ (1 + (a − 1) ∘ α)
    M_t = M_{t-1} (diag(w) − κ̂ (κ̂ ∘ a)ᵀ) + v k̃ᵀ;   o_t = ((GN(M_t r) + (r·(ρ ∘ k̃)) v) ∘ g) W_o

for each head, with the surroundings of `emt.models.blocks`, and so another MLP than in the paper. In the beginning
W_o = 0: the first gradients reach W_o alone.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import layer_norm, normalize

from emt.models.base import Model, constant, uniform
from emt.models.blocks import BlockModel, Mixed, Sequences, head_size
from emt.models.head_memory import HeadMemory, Rates
from emt.models.layers import linear
from emt.models.memory_mixer import MemoryMixer
from emt.models.rwkv7_start import MIX_POWERS, Draw, Start, low_rank
from emt.models.token_shift import TokenShift

FASTEST = -math.exp(-0.5)
"""log w of the fastest decay."""

NORM_EPSILON = 64e-5
"""Added to variances of what is read, which is not divided by √d."""

RANKS = {"decay": 2.5, "rate": 2.5, "value_mix": 1.7, "gate": 5.0}
"""Ranks of the maps to gates, relative to the root of the width."""

SMALLEST_RANK = 32


class RWKV7(BlockModel):
    """RWKV-7: a linear memory with a decay for each channel and erase vectors of its own in each layer.

    Parameters
    ----------
    gate_rank
        rank of the maps to gates and decays; 0: as published, at least 32.
    token_shift
        each step's input is mixed with that of the step before.
    initializer_range
        standard deviation of initial weights outside the memories' layers.
    """

    memories = {"fast": {"kind": "linear", "reads": "after"}}

    def __init__(
        self,
        seeds: Sequence[int],
        input_channels: int,
        output_channels: int,
        *,
        gate_rank: Annotated[int, Field(ge=0)] = 0,
        token_shift: bool = True,
        **others: Any,
    ) -> None:
        super().__init__(seeds, input_channels, output_channels, **others)
        size = head_size(self.hidden_dim, self.heads)
        shape = self.heads, size, size

        def build(name: str) -> RWKV7Mixer:
            place = self.names.index(name)
            start = Start(self.hidden_dim, self.heads, place, self.layers)
            rank = partial(_rank, self.hidden_dim, gate_rank)
            return RWKV7Mixer(self, name, shape, start, rank, shifts=token_shift, first=place == 0)

        self.add_layers(build)


class LowRank(nn.Module):
    """f(x U) V + b with U zero at the start.

    Parameters
    ----------
    model, name, width
        The model, the map's name, and channels of x and of what it makes.
    rank
        Columns of U.
    bias
        How b starts; None: there is none.
    """

    def __init__(self, model: Model, name: str, width: int, rank: int, bias: Draw | None = None) -> None:
        super().__init__()
        self.inner = model.parameter_of(f"{name}_in", (width, rank), constant(0.0))
        self.weight = model.parameter_of(name, (rank, width), low_rank)
        self.bias = None if bias is None else model.parameter_of(f"{name}_bias", (width,), bias)

    def forward(self, x: Tensor, f: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Return what the map makes of (member, batch, time, channel)."""
        inner = linear(x, self.inner)
        return linear(inner if f is None else f(inner), self.weight, self.bias)


class RWKV7Mixer(MemoryMixer):
    """RWKV-7's mix of steps.

    Parameters
    ----------
    model, name
        The model, and the layer's name.
    shape
        Heads, and sizes of values and keys.
    start
        What parameters start from.
    rank
        Ranks of the maps to gates, by their names.
    shifts
        Whether inputs are mixed with those of the step before.
    first
        Whether it is the first layer's, whose values others mix theirs with.
    """

    memory: HeadMemory

    def __init__(
        self,
        model: Model,
        name: str,
        shape: tuple[int, int, int],
        start: Start,
        rank: Callable[[str], int],
        *,
        shifts: bool,
        first: bool,
    ) -> None:
        heads, size, _ = shape
        width = heads * size
        shift = TokenShift(model, name, (len(MIX_POWERS), width), start.mix if shifts else None)
        super().__init__(shift, HeadMemory(*shape), {"kind": "linear", "reads": "after"})
        self.heads = heads
        self.maps, self.vectors, self.gates = nn.ParameterDict(), nn.ParameterDict(), nn.ModuleDict()
        for part, bound in {"receptance": 0.5, "key": 0.05, "value": 0.5, "out": 0.0}.items():
            draw = uniform(bound * width**-0.5)
            self.maps[part] = model.parameter_of(f"{name}.{part}", (width, width), draw)
            self.torch_names[f"maps.{part}"] = f"{part}.weight"
        vectors = {"erase_scale": start.erase, "rate_share": constant(1.02), "passing": constant(-0.04)}
        for part, draw in (vectors | {"norm_gain": constant(1.0), "norm_bias": constant(0.0)}).items():
            self.vectors[part] = model.parameter_of(f"{name}.{part}", (width,), draw)
            self.torch_names[f"vectors.{part}"] = part
        biases = {"decay": start.decay, "rate": start.rate, "gate": None}
        for part, bias in (biases if first else {**biases, "value_mix": start.value}).items():
            self.gates[part] = LowRank(model, f"{name}.{part}", width, rank(part), bias)
            self.torch_names |= {
                f"gates.{part}.inner": f"{part}.in.weight",
                f"gates.{part}.weight": f"{part}.out.weight",
            }
            self.torch_names |= {} if bias is None else {f"gates.{part}.bias": f"{part}.out.bias"}

    def forward(self, x: Tensor, state: Mapping[str, Tensor] | None, sequences: Sequences) -> Mixed:
        """Mix inputs; see `Mixer.forward`."""
        (x_r, x_w, x_k, x_v, x_a, x_g), states = self.projections(x, state)
        r, k, v = (
            linear(part, self.maps[name])
            for part, name in ((x_r, "receptance"), (x_k, "key"), (x_v, "value"))
        )
        if "value_mix" in self.gates and sequences.first_values is not None:
            v = v + (sequences.first_values - v) * torch.sigmoid(self.gates["value_mix"](x_v))
        log_keep = FASTEST * torch.sigmoid(self.gates["decay"](x_w, torch.tanh))
        a, gate = torch.sigmoid(self.gates["rate"](x_a)), self.gates["gate"](x_g, torch.sigmoid)
        looked_up = normalize(self._by_head(k * self._vector("erase_scale")), dim=-1)
        k = k * (1 + (a - 1) * self._vector("rate_share"))
        query, key, value = self._by_head(r), self._by_head(k), self._by_head(v)
        rates = Rates(self._by_head(log_keep), erase_query=looked_up, erase_key=looked_up * self._by_head(a))
        reads, last, log = self.memory.run(
            query, key, value, rates, state, sequences.present, edit=sequences.edit
        )
        normed = layer_norm(reads, reads.shape[-1:], eps=NORM_EPSILON).flatten(3)
        normed = normed * self._vector("norm_gain") + self._vector("norm_bias")
        passed = self._by_head(r * self._vector("passing") * k).sum(dim=-1, keepdim=True) * value
        outputs = linear((normed + passed.flatten(3)) * gate, self.maps["out"])
        return Mixed(outputs, last, states, log, values=v)

    def _vector(self, name: str) -> Tensor:
        """Return a vector (member, 1, 1, channel)."""
        return self.vectors[name][:, None, None]

    def _by_head(self, x: Tensor) -> Tensor:
        """Return (member, batch, time, head, channel)."""
        return x.unflatten(-1, (self.heads, -1))


def _rank(width: int, given: int, gate: str) -> int:
    """Return the rank of the map to a gate: the published one, in steps of 32, where none is given."""
    return given or max(SMALLEST_RANK, round(RANKS[gate] * width**0.5 / SMALLEST_RANK) * SMALLEST_RANK)
