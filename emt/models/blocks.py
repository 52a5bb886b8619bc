"""Residual blocks around a mixer of steps: what attention and linear memories share, so that they can be compared.

    h_t = x_t E;   in each layer: h ← h + mixer(norm(h)),  h ← h + mlp(norm(h));   y_t = norm(h_t) U

with norm(h) = g h / √(mean h² + 10⁻⁵), g from 1, and the MLP (silu(h W_1) ∘ h W_2) W_3 (Shazeer 2020,
arXiv:2002.05202). Linear maps have no biases and start from N(0, initializer_range²). Only a mixer sees several
steps.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor, nn

from emt.errors import UserError
from emt.models.base import Context, LazyState, Log, Model, State, constant
from emt.models.layers import at_ends, embed, lengthen, linear
from emt.models.memory_edits import EDITS, edit_of
from emt.ops.memory_edit import MemoryEdit

EPSILON = 1e-5
"""Added to mean squares in norms."""

Makers = dict[str, Callable[[], Tensor]]
"""Functions that return the tensors of a state after the last step, by name."""


class Sequences(NamedTuple):
    """What a mixer may need to know of its inputs.

    ``present`` (member, batch, time), bool, which steps exist, None for all: the others stand after a row's
    last one, and leave contents of memories as they are. ``seeds`` and ``noise_step`` as of the model. ``edit`` is
    what is changed of the mixer's memory, None for nothing. ``first_values`` are the values of the first
    layer's mixer, None where it reports none.
    """

    present: Tensor | None
    seeds: tuple[int, ...]
    noise_step: int | None
    edit: MemoryEdit | None = None
    first_values: Tensor | None = None


class Mixed(NamedTuple):
    """What a mixer did: its output (member, batch, time, unit), how to make its state, and its log.

    ``last`` has what makes the contents of its memory after the last step; ``states`` the other parts of its
    state after each step, (member, batch, time, …); ``log`` the variables of its memory, each with an axis
    head after (member, batch, time); ``values`` what mixers of later layers may need of the first one's.
    """

    outputs: Tensor
    last: Makers
    states: Log
    log: Log
    values: Tensor | None = None


class Mixer(nn.Module):
    """One layer's mixer.

    Attributes
    ----------
    state_dims
        Names of its state's tensors and of their axes after (member, batch).
    held_state
        Those that Jacobians hold at their value, the contents of its memory first.
    smooth
        Whether the next of these have derivatives by all of the state.
    rule
        The rule of its memory, as a trace has it.
    torch_names
        For each parameter its name in a weight file.
    """

    state_dims: dict[str, tuple[str, ...]]
    held_state: tuple[str, ...]
    smooth: bool
    rule: dict[str, Any]
    torch_names: dict[str, str]

    @abstractmethod
    def zero_state(self, like: Tensor) -> dict[str, Tensor]:
        """Return the state before the first step, (member, batch, …)."""
        raise NotImplementedError

    @abstractmethod
    def forward(self, x: Tensor, state: Mapping[str, Tensor] | None, sequences: Sequences) -> Mixed:
        """Mix normalised inputs (member, batch, time, unit) from a state on, None for the zero state."""
        raise NotImplementedError


class BlockModel(Model):
    """Embedding, layers of a mixer and an MLP, norm and readout.

    A subclass hands ``**others`` to this constructor, and then calls `add_layers` with what builds a layer's mixer.

    Parameters
    ----------
    hidden_dim
        width: units of the residual stream, and channels of all heads together.
    layers
        layers, each a memory and an MLP.
    heads
        memories of each layer, each with its share of the channels.
    mlp
        gated MLP after each memory, or none.
    initializer_range
        standard deviation of initial weights.
    """

    edits = EDITS
    readout_name = None
    positions: nn.Parameter | None

    def __init__(
        self,
        seeds: Sequence[int],
        input_channels: int,
        output_channels: int,
        *,
        hidden_dim: Annotated[int, Field(ge=1)] = 64,
        layers: Annotated[int, Field(ge=1)] = 1,
        heads: Annotated[int, Field(ge=1)] = 2,
        mlp: Literal["swiglu", "none"] = "swiglu",
        initializer_range: Annotated[float, Field(gt=0)] = 0.02,
    ) -> None:
        super().__init__(seeds)
        self.hidden_dim, self.layers, self.heads, self.mlp = hidden_dim, layers, heads, mlp
        self.scale, draw = initializer_range, scaled_normal(initializer_range)
        self.names = tuple(f"layer{number}" for number in range(1, layers + 1))
        self.embedding = self.parameter_of("embedding", (input_channels, hidden_dim), draw)
        self.readout = self.parameter_of("readout", (hidden_dim, output_channels), draw)
        self.gain = self.parameter_of("norm", (hidden_dim,), constant(1.0))
        self.torch_names = {
            "embedding": "embedding.weight",
            "readout": "readout.weight",
            "gain": "norm.weight",
        }
        self.mixers, self.mlps, self.gains = nn.ModuleList(), nn.ModuleList(), nn.ParameterList()
        self.register_parameter("positions", None)

    def add_layers(self, build: Callable[[str], Mixer]) -> None:
        """Add the layers, in which ``build`` makes the mixer of a name."""
        self.state_dims = {"hidden": ("unit",)}
        for place, name in enumerate(self.names):
            mixer = build(name)
            self.mixers.append(mixer)
            self.gains.append(self.parameter_of(f"{name}.norm", (self.hidden_dim,), constant(1.0)))
            self.torch_names[f"gains.{place}"] = f"{name}.norm.weight"
            self.torch_names |= {
                f"mixers.{place}.{n}": f"{name}.mixer.{t}" for n, t in mixer.torch_names.items()
            }
            if self.mlp == "swiglu":
                self.mlps.append(GatedMLP(self, name, self.hidden_dim, scaled_normal(self.scale)))
                self.torch_names |= {
                    f"mlps.{place}.{n}": f"{name}.mlp.{t}" for n, t in GatedMLP.torch_names.items()
                }
        mixers = self._mixers()
        self.state_dims |= {f"hidden_{name}": (f"unit_{name}",) for name in self.names[:-1]}
        for name, mixer in mixers.items():
            self.state_dims |= {f"{part}_{name}": dims for part, dims in mixer.state_dims.items()}
        held = {name: mixer.held_state for name, mixer in mixers.items()}
        # In the order of the memories: the first of each layer is what its memory holds.
        self.held_state = (
            *(f"{parts[0]}_{name}" for name, parts in held.items()),
            *(f"{part}_{name}" for name, parts in held.items() for part in parts[1:]),
        )
        self.smooth_state = self.held_state if all(mixer.smooth for mixer in mixers.values()) else ()
        self.memories = {
            "fast" if self.layers == 1 else name: dict(mixer.rule) for name, mixer in mixers.items()
        }

    def spared(self) -> list[nn.Parameter]:
        """Return norms' gains, biases and rates of decay: a penalty would slow forgetting and silence layers."""
        return [parameter for parameter in self.parameters() if parameter.ndim == 2]

    def _mixers(self) -> dict[str, Mixer]:
        return dict(zip(self.names, cast("list[Mixer]", list(self.mixers)), strict=True))

    def zero_state(self, like: Tensor) -> State:
        """Return zeros, (member, batch, …) each."""
        hidden = like.new_zeros(*like.shape[:2], self.gain.shape[1])
        state = {name: hidden for name in self.state_dims if name.startswith("hidden")}
        for name, mixer in self._mixers().items():
            state |= {f"{part}_{name}": zero for part, zero in mixer.zero_state(like).items()}
        state["position"] = torch.zeros(like.shape[:2], dtype=torch.int64, device=like.device)
        return {name: state[name] for name in self.state_dims}

    def forward(
        self, x: Tensor, state: State | None = None, steps: int | None = None, context: Context | None = None
    ) -> tuple[Tensor, State, Log]:
        """Run the members over a sequence; see `Model.forward`."""
        x = lengthen(x, steps)
        present = None if x.is_floating_point() or bool((x >= 0).all()) else x >= 0
        sequences, before = Sequences(present, self.seeds, self.noise_step), partial(self._before, x, state)
        hidden, last = self._embedded(x, state)
        log = Log()
        for place, (name, mixer) in enumerate(self._mixers().items()):
            own = None if state is None else {part: state[f"{part}_{name}"] for part in mixer.state_dims}
            memory = name if len(self.names) > 1 else "fast"
            sequences = sequences._replace(edit=edit_of(context, memory))
            mixed = mixer(rms_norm(hidden, self.gains[place]), own, sequences)
            if place == 0:
                sequences = sequences._replace(first_values=mixed.values)
            hidden = hidden + mixed.outputs
            if self.mlps:
                hidden = hidden + self.mlps[place](hidden)
            log |= {f"memory/{memory}/{n}": logged(t, present) for n, t in mixed.log.items()}
            log |= {f"{part}_{name}": values for part, values in mixed.states.items()}
            last |= {f"{part}_{name}": maker for part, maker in mixed.last.items()}
            log["hidden" if place == len(self.names) - 1 else f"hidden_{name}"] = hidden
        last |= {part: partial(before, log[part], part) for part in self.state_dims if part in log}
        outputs = linear(rms_norm(hidden, self.gain), self.readout)
        return outputs, LazyState({name: last[name] for name in self.state_dims}), log

    def add_positions(self, count: int, initializer_range: float) -> None:
        """Add learned positions to the embedding; steps after the last of them have the last one."""
        width = self.gain.shape[1]
        self.positions = self.parameter_of("positions", (count, width), scaled_normal(initializer_range))
        self.torch_names["positions"] = "positions.weight"
        self.state_dims = {**self.state_dims, "position": ()}
        self.held_state = (*self.held_state, "position")

    def _embedded(self, x: Tensor, state: State | None) -> tuple[Tensor, Makers]:
        """Return embedded inputs, with positions if there are any, and what makes the number of steps so far."""
        hidden = embed(x, self.embedding)
        if self.positions is None:
            return hidden, {}
        first = x.new_zeros(x.shape[:2]) if state is None else state["position"]
        place = first.long().unsqueeze(2) + torch.arange(x.shape[2], device=x.device)
        hidden = hidden + embed(place.clamp(max=self.positions.shape[1] - 1), self.positions)
        return hidden, {"position": partial(self._before, x, state, place + 1, "position")}

    def _before(self, x: Tensor, state: State | None, values: Tensor, name: str) -> Tensor:
        """Return what a row's last step left, and for rows without any what was there before."""
        first = torch.zeros_like(values[:, :, 0]) if state is None else state[name].to(values)
        rows = first.reshape(*first.shape[:2], -1)
        return at_ends(x, values.reshape(*values.shape[:3], -1), rows).view_as(first)


class GatedMLP(nn.Module):
    """(silu(h W_1) ∘ h W_2) W_3 of normalised h; 8/3 of the width within, rounded up to a multiple of 8."""

    torch_names: ClassVar[dict[str, str]] = {
        "gain": "norm.weight",
        "w_in": "in.weight",
        "w_out": "out.weight",
    }

    def __init__(self, model: Model, name: str, width: int, draw: Callable[..., NDArray[np.float64]]) -> None:
        super().__init__()
        inner = -(-8 * width // 24) * 8
        self.gain = model.parameter_of(f"{name}.mlp.norm", (width,), constant(1.0))
        self.w_in = model.parameter_of(f"{name}.mlp.in", (width, 2 * inner), draw)
        self.w_out = model.parameter_of(f"{name}.mlp.out", (inner, width), draw)

    def forward(self, hidden: Tensor) -> Tensor:
        """Return what is added to hidden states (member, batch, time, unit)."""
        gate, up = linear(rms_norm(hidden, self.gain), self.w_in).chunk(2, dim=-1)
        return linear(nn.functional.silu(gate) * up, self.w_out)


def rms_norm(x: Tensor, gain: Tensor) -> Tensor:
    """Return g x / √(mean x² + ε), (member, …, unit), for gains (member, unit)."""
    scale = torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + EPSILON)
    return x * scale * gain.view(len(gain), *[1] * (x.ndim - 2), -1)


def prefixed(part: str, torch_names: Mapping[str, str]) -> dict[str, str]:
    """Return the names in a weight file of the parameters of a module's part."""
    return {f"{part}.{ours}": theirs for ours, theirs in torch_names.items()}


def scaled_normal(scale: float) -> Callable[..., NDArray[np.float64]]:
    """Return a draw from N(0, scale²)."""
    return lambda generator, shape: scale * generator.standard_normal(shape)


def head_size(channels: int, heads: int, what: str = "--hidden_dim") -> int:
    """Return the channels of each head.

    Raises
    ------
    UserError
        If the heads do not share all of them; ``what`` says which these are.
    """
    if channels % heads:
        raise UserError(f"must be a divisor of {what}, {channels}; got {heads}", parameter="heads")
    return channels // heads


def logged(variable: Tensor, present: Tensor | None) -> Tensor:
    """Return a memory's variable (member, batch, time, head, …) without a single head's axis, NaN at absent steps."""
    variable = variable.squeeze(3) if variable.shape[3] == 1 else variable
    if present is None:
        return variable
    absent = ~present.reshape(*present.shape, *[1] * (variable.ndim - 3))
    return variable.masked_fill(absent, torch.nan)
