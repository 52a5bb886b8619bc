"""What networks share that learn at every step, by feedback alignment, step-wise backprop or BPTT.

They give their parameters gradients themselves; the equations are those of `emt.ops.ethereal.forms`.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emt.models.base import Context, LazyState, Log, Model, State, as_channels, uniform
from emt.models.layers import lengthen
from emt.models.memory_edits import edit_of, without
from emt.ops.ethereal.forms import EtherealRun, Layer, Network, Rule, Start, ethereal
from emt.streams import stream

LAST = ("output", "critic")
"""Layers that see the error itself."""

FILE_NAMES = {"output": "i2o", "recurrence": "i2h", "critic": "self_grad"}

LAST_ENCODED = 1999
"""Last step with a positional encoding of its own."""


class StepwiseLearner(Model):
    """A network of linear layers, an optional recurrence and a readout, that learns at every step.

    Attributes
    ----------
    rule
        How it runs and learns.
    places
        Names of the layers in the order of `emt.ops.ethereal.forms.Network.layers`.
    """

    context = ("targets",)
    own_gradients = True
    readout_name = None
    rule: Rule

    def _make(
        self,
        input_channels: int,
        input_mode: Literal["last_one", "last_two"],
        encoding: int,
        sizes: Callable[[int], Mapping[str, tuple[int, int]]],
        draw: Callable[[int], Callable[..., NDArray[np.float64]]],
    ) -> None:
        """Make the parameters of all layers, and the projections that feed errors back to them.

        Parameters
        ----------
        input_channels, input_mode, encoding
            What a step sees: channels, whether those of the step before too, and channels of the positional
            encoding.
        sizes
            From the channels of all that to the layers' (in, out).
        draw
            From a layer's number of inputs to the draw of its weights; biases are torch's default for linear
            layers.
        """
        self.input_channels, self.looks_back, self.encoding = (
            input_channels,
            input_mode == "last_two",
            encoding,
        )
        shapes = sizes(input_channels * (1 + self.looks_back) + encoding)
        self.places, self.width, outputs = tuple(shapes), *shapes["output"]
        earlier = {"previous": ("channel",)} if self.looks_back else {}
        self.state_dims = {"hidden": ("unit",), **earlier, "position": ()}
        self.held_state = ("position",)
        self.torch_names = {}
        for place, (inputs, units) in shapes.items():
            file = FILE_NAMES.get(place) or f"linear_layers.{int(place.removeprefix('layer_')) - 1}"
            parts = {"weight": ((inputs, units), draw(inputs)), "bias": ((units,), uniform(inputs**-0.5))}
            for name, (shape, start) in parts.items():
                setattr(self, f"{place}_{name}", self.parameter_of(f"{place}.{name}", shape, start))
                self.torch_names[f"{place}_{name}"] = f"{file}.{name}"
            if place not in LAST:
                self.register_buffer(
                    f"{place}_feedback", self._feedback(place, outputs, units), persistent=False
                )
                self.torch_names[f"{place}_feedback"] = f"{file}.feedback_weights"

    def _feedback(self, place: str, outputs: int, units: int) -> Tensor:
        """Return projections of the error, (member, output, unit), Xavier normal."""
        scale = (2 / (outputs + units)) ** 0.5
        return self._drawn(
            f"feedback.{place}", lambda generator: generator.normal(0, scale, (outputs, units))
        )

    def _drawn(self, kind: str, draw: Callable[[np.random.Generator], NDArray[Any]]) -> Tensor:
        """Return constants of the members, each from its own stream."""
        values = np.stack([draw(stream(kind, seed, "train", 0)) for seed in self.seeds])
        return torch.tensor(values.astype(np.float32))

    def zero_state(self, like: Tensor) -> State:
        """Return zeros: c (member, batch, unit), the input before where it is seen, and the steps so far."""
        sizes = {"hidden": self.width, "previous": self.input_channels}
        floats = {
            name: like.new_zeros(*like.shape[:2], sizes[name]) for name in self.state_dims if name in sizes
        }
        return {**floats, "position": torch.zeros(like.shape[:2], dtype=torch.int64, device=like.device)}

    def forward(
        self, x: Tensor, state: State | None = None, steps: int | None = None, context: Context | None = None
    ) -> tuple[Tensor, State, Log]:
        """Run the members over a sequence; see `Model.forward`.

        They learn at steps where ``context["targets"]`` names one. What they learn is not differentiable;
        without it outputs are, and a state's contents of memories stay as they are.
        """
        x = lengthen(
            as_channels(x, getattr(self, f"{self.places[0]}_weight")[:, : self.input_channels]), steps
        )
        targets, start = (context or {}).get("targets"), None
        position = torch.arange(x.shape[2], device=x.device).expand(x.shape[:3])
        if state is not None:
            position = position + state["position"].unsqueeze(2)
            start = Start(state["hidden"], position[:, :, 0] != 0, self._contents(state))
        network = self.network()
        edits = [edit_of(context, place) for place in self.places]
        run = ethereal(network, self.rule, self._inputs(x, state, position), targets, start, edits)
        trains = targets is not None and torch.is_grad_enabled()
        log = {"hidden": run.hidden, "previous": x}
        log |= self._gradients(run) if trains else self._memory_log(network, run, targets, position)
        for place, edit in zip(self.places, edits, strict=True):
            if edit is not None and edit.freeze is not None:
                name = f"memory/{place}/write_keep"
                log[name] = without(log[name], edit.freeze)
        last = {"hidden": lambda: run.hidden[:, :, -1], "previous": lambda: x[:, :, -1], **self._written(run)}
        last |= {"position": lambda: position[:, :, -1] + 1}
        return run.outputs, LazyState({name: last[name] for name in self.state_dims}), log

    def network(self) -> Network:
        """Return the layers as the operation has them."""
        layers = {place: self._layer(place) for place in self.places}
        inner = tuple(layer for place, layer in layers.items() if place.startswith("layer"))
        return Network(inner, layers["output"], layers.get("recurrence"), layers.get("critic"))

    def _layer(self, place: str) -> Layer:
        weight, bias = getattr(self, f"{place}_weight"), getattr(self, f"{place}_bias")
        rows = torch.cat([weight, bias.unsqueeze(1)], dim=1)
        return Layer(rows, feedback=getattr(self, f"{place}_feedback", None))

    def _inputs(self, x: Tensor, state: State | None, position: Tensor) -> Tensor:
        """Return what a step sees beside its recurrent input, (member, batch, time, channel)."""
        parts = [x]
        if self.looks_back:
            first = torch.zeros_like(x[:, :, 0]) if state is None else state["previous"]
            parts.append(torch.cat([first.unsqueeze(2), x[:, :, :-1]], dim=2))
        if self.encoding:
            parts.append(positional_encoding(position, self.encoding).to(x))
        return torch.cat(parts, dim=-1)

    def _gradients(self, run: EtherealRun) -> Log:
        """Return gradients with which a step of gradient descent at rate η merges what was written."""
        gradients: Log = {}
        for place, merged in zip(self.places, run.merged(), strict=True):
            gradient = merged / -self.rule.eta
            gradients |= {
                f"gradient/{place}_weight": gradient[:, :-1],
                f"gradient/{place}_bias": gradient[:, -1],
            }
        return gradients

    def _contents(self, state: State) -> tuple[Tensor, ...] | None:
        """Return what a state's memories hold, as the operation has it; None for a network without."""
        return None

    def _written(self, run: EtherealRun) -> dict[str, Callable[[], Tensor]]:
        """Return what makes the contents of memories after a run, by name in the state."""
        return {}

    def _memory_log(
        self, network: Network, run: EtherealRun, targets: Tensor | None, position: Tensor
    ) -> Log:
        """Return what each memory wrote and read, as a trace has it."""
        return {}


def positional_encoding(position: Tensor, channels: int) -> Tensor:
    """Return sines and cosines of the step in turn, (…, channel), at frequencies exp(−2k ln(10⁴)/P) for P channels."""
    frequency = torch.exp(
        -2 * torch.arange((channels + 1) // 2, dtype=torch.float64) * np.log(1e4) / channels
    )
    angle = position.clamp(0, LAST_ENCODED).double().unsqueeze(-1) * frequency.to(position.device)
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(-2)[..., :channels]
