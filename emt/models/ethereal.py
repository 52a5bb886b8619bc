"""EtherealRNN: a network whose high-plasticity weights are a memory, written by learning within a sequence.

    h_t = tanh(c_{t-1} W_h + b_h),   c⁰_t = [x_t, h_t],   cˡ_t = gelu(cˡ⁻¹_t W_l + b_l)
    c_t = c^L_t (+ c⁰_t),   y_t = c_t W_o + b_o

At every step the network learns to predict its target, also when it is evaluated: an item's weights are those
of the member plus what the item's own sequence has written. A share of the entries, the mask, moves
``plast_clip`` times as fast, forgets, and is wiped at the end of a sequence; what was written elsewhere is
merged into the weights, as the mean over the batch. Equations and exact forms: `emt.ops.ethereal.forms`; what
is scaled when: UNIFIED_UPDATES.md.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import pad

from emt.models.base import Log, State, constant
from emt.models.memory_edits import EDITS
from emt.models.stepwise import LAST, StepwiseLearner
from emt.ops.ethereal.forms import EtherealRun, Layer, Network, Rule, has_target

LINEAR = {"kind": "linear", "reads": "before"}


class EtherealRNN(StepwiseLearner):
    """Recurrent network with high-plasticity weights under feedback alignment, step-wise backprop or BPTT.

    Parameters
    ----------
    hidden_dim
        units of the recurrent input; layers are as wide as it and the inputs together.
    layers
        linear layers, each followed by a GELU.
    updater
        where errors come from: fixed random feedback, the gradient of each step's loss, or that through the
        sequence.
    eta
        rate of learning within a sequence; training's learning_rate should be the same.
    plast_proportion
        share of entries with high plasticity.
    plast_clip
        how many times as fast they move.
    plast_learning_rate
        learning rate of each such entry's own plasticity; 0 leaves all at plast_clip.
    forget_rate
        share of what was written into them that is lost at a step.
    grad_clip
        largest step of a plastic entry over eta; 0 for no bound.
    clip_weights
        largest weight; 0 for no bound.
    normalize
        divide each weight matrix by its norm after every step.
    derivative
        multiply errors of feedback alignment by the activation's derivative.
    self_grad
        largest error that a layer beside the output adds under feedback alignment; 0 for no such layer.
    residual_connection
        add the input of the first layer to the output of the last one, before the readout.
    enable_recurrence
        whether the network sees what it computed a step ago.
    positional_encoding_dim
        channels that tell the step by sines and cosines.
    input_mode
        whether a step sees its own input or also the one before.
    compatibility
        keep the six defects of the published program that UNIFIED_UPDATES.md lists.
    """

    memories = {"layer_1": LINEAR, "output": LINEAR}
    edits = tuple(name for name in EDITS if name != "key")

    def __init__(
        self,
        seeds: Sequence[int],
        input_channels: int,
        output_channels: int,
        *,
        hidden_dim: Annotated[int, Field(ge=1)] = 128,
        layers: Annotated[int, Field(ge=1)] = 3,
        updater: Literal["dfa", "backprop", "bptt"] = "dfa",
        eta: Annotated[float, Field(gt=0)] = 0.01,
        plast_proportion: Annotated[float, Field(ge=0, le=1)] = 0.2,
        plast_clip: Annotated[float, Field(ge=0)] = 100.0,
        plast_learning_rate: Annotated[float, Field(ge=0)] = 0.0,
        forget_rate: Annotated[float, Field(ge=0, le=1)] = 0.01,
        grad_clip: Annotated[float, Field(ge=0)] = 0.0,
        clip_weights: Annotated[float, Field(ge=0)] = 0.0,
        normalize: bool = False,
        derivative: bool = False,
        self_grad: Annotated[float, Field(ge=0)] = 0.0,
        residual_connection: bool = False,
        enable_recurrence: bool = True,
        positional_encoding_dim: Annotated[int, Field(ge=0)] = 0,
        input_mode: Literal["last_one", "last_two"] = "last_one",
        compatibility: bool = False,
    ) -> None:
        super().__init__(seeds)
        at_end = compatibility and updater == "bptt"
        self.rule = Rule(
            updater=updater,
            eta=eta,
            forget_rate=forget_rate,
            derivative=derivative,
            residual=residual_connection,
            writes=not at_end,
            grad_clip=0.0 if at_end else grad_clip,
            clip_weights=0.0 if at_end else clip_weights,
            normalize=normalize and not at_end,
            self_grad=self_grad,
            plasticity_gradient=plast_learning_rate > 0,
            compatibility=compatibility,
        )
        self.plast_clip, self.plast_learning_rate = plast_clip, plast_learning_rate

        def sizes(channels: int) -> Mapping[str, tuple[int, int]]:
            width = channels + hidden_dim
            critic = self_grad and updater == "dfa"
            inner = {f"layer_{i + 1}": (width, width) for i in range(layers)} | {
                "output": (width, output_channels)
            }
            recurrence = {"recurrence": (width, hidden_dim)} if enable_recurrence else {}
            return inner | recurrence | ({"critic": (width, output_channels)} if critic else {})

        self._make(input_channels, input_mode, positional_encoding_dim, sizes, lambda _: constant(0.0))
        for place in self.places:
            if place not in LAST or compatibility:
                self._make_plastic(place, plast_proportion)
        # A log of one write a step tells all only where a write is one product, and stays as it was.
        told = not (updater == "bptt" or compatibility or grad_clip or clip_weights or normalize)
        self.memories = dict.fromkeys(self.places if told else (), LINEAR)
        if self.plastic:
            learnt = ("plasticity",) if plast_learning_rate else ()
            self.norm_names = ("plastic_write_norm", "other_write_norm", *learnt)
        contents = {f"fast_{place}": ("value", "key") for place in self.places}
        self.state_dims = {**self.state_dims, **contents}
        self.held_state = (*contents, "position")

    def _make_plastic(self, place: str, proportion: float) -> None:
        """Draw the mask of a layer, (member, key, value), in which the row of the bias never is."""
        shape = tuple(getattr(self, f"{place}_weight").shape[1:])
        mask = self._drawn(f"mask.{place}", lambda generator: generator.random(shape) < proportion)
        self.register_buffer(f"{place}_mask", pad(mask, (0, 0, 0, 1)), persistent=False)
        self.torch_names[f"{place}_mask"] = self.torch_names[f"{place}_weight"].replace("weight", "mask")
        if self.plast_learning_rate and place not in LAST:
            name, start = f"{place}_plasticity", constant(self.plast_clip)
            setattr(self, name, self.parameter_of(f"{place}.plasticity", shape, start))
            self.torch_names[name] = self.torch_names[f"{place}_weight"].replace("weight", "plasticity")

    @property
    def plastic(self) -> tuple[str, ...]:
        """Layers that have entries of high plasticity."""
        return tuple(place for place in self.places if hasattr(self, f"{place}_mask"))

    def norms(self, state: State, members: Sequence[int]) -> dict[str, Tensor]:
        """Return Frobenius norms of what sequences wrote into entries of high plasticity and into others.

        They are means over items and over the layers that have both; with plasticities that are learnt, the mean of
        these as well.
        """
        index = torch.tensor(members)
        written = []
        for place in self.plastic:
            mask = getattr(self, f"{place}_mask")[index.to(self.like.device)].mT.unsqueeze(1)
            squares = state[f"fast_{place}"].double().square()
            parts = torch.stack([squares * mask, squares * (1 - mask)])
            written.append(parts.sum((-2, -1)).sqrt().mean(-1))
        plastic, other = torch.stack(written).mean(0)
        found = {"plastic_write_norm": plastic, "other_write_norm": other}
        if self.plast_learning_rate:
            rates = []
            for place in self.plastic:
                if place not in LAST:
                    mask = getattr(self, f"{place}_mask")[:, :-1]
                    rates.append((getattr(self, f"{place}_plasticity") * mask).sum((1, 2)) / mask.sum((1, 2)))
            found["plasticity"] = torch.stack(rates).mean(0)[index]
        return found

    def _layer(self, place: str) -> Layer:
        own = getattr(self, f"{place}_plasticity", None)
        plasticity = self.plast_clip if own is None else pad(own, (0, 0, 0, 1))
        mask = getattr(self, f"{place}_mask", None)
        return super()._layer(place)._replace(mask=mask, plasticity=1.0 if place in LAST else plasticity)

    def zero_state(self, like: Tensor) -> State:
        """Return zeros: of `StepwiseLearner.zero_state`, and what was written, (member, batch, value, key)."""
        state = super().zero_state(like)
        shapes = {f"fast_{place}": getattr(self, f"{place}_weight").shape[1:] for place in self.places}
        contents = {
            name: like.new_zeros(*like.shape[:2], value, key + 1) for name, (key, value) in shapes.items()
        }
        both = {**state, **contents}
        return {name: both[name] for name in self.state_dims}

    def _contents(self, state: State) -> tuple[Tensor, ...]:
        return tuple(state[f"fast_{place}"].mT for place in self.places)

    def _written(self, run: EtherealRun) -> dict[str, Callable[[], Tensor]]:
        return {f"fast_{place}": partial(_content, run, i) for i, place in enumerate(self.places)}

    def _gradients(self, run: EtherealRun) -> Log:
        gradients = super()._gradients(run)
        if self.plast_learning_rate:
            # The step is taken at the rate of all other parameters.
            ratio = self.plast_learning_rate / self.rule.eta
            for place, gradient in zip(self.places, run.plasticity_gradients(), strict=True):
                if gradient is not None and place not in LAST:
                    gradients[f"gradient/{place}_plasticity"] = ratio * gradient[:, :-1]
        return gradients

    def _memory_log(
        self, network: Network, run: EtherealRun, targets: Tensor | None, position: Tensor
    ) -> Log:
        """Return what each layer wrote and read, as a trace has it."""
        log: Log = {}
        for i, (place, layer) in enumerate(zip(self.places, network.layers, strict=True)):
            if place not in self.memories:
                continue
            nothing, constants = run.outputs.new_full((), torch.nan), run.outputs.new_ones(position.shape)
            asked = (position != 0 if place == "recurrence" else position >= 0)[..., None]
            wrote = run.wrote[i][..., None]
            learns = torch.zeros_like(wrote[..., 0]) if targets is None else has_target(targets)
            variables = {
                "write_key": torch.where(wrote, run.keys[i], nothing),
                "write_value": torch.where(wrote, run.values[i], nothing),
                "write_strength": self.rule.eta * constants,
                "write_erase": 0 * constants,
                "write_keep": torch.where(learns, constants, nothing),
                "read_query": torch.where(asked, run.keys[i], nothing).unsqueeze(3),
                "read_value": torch.where(asked, run.reads[i], nothing).unsqueeze(3),
            }
            if not torch.is_grad_enabled():
                mask = torch.zeros_like(layer.weight) if layer.mask is None else layer.mask
                variables |= {
                    "gain": (1 + (layer.plasticity - 1) * mask).mT,
                    "keep": (1 - self.rule.forget_rate * mask).mT,
                    "base": layer.weight.mT,
                }
            log |= {f"memory/{place}/{name}": tensor for name, tensor in variables.items()}
        return log


def _content(run: EtherealRun, place: int) -> Tensor:
    """Return what a layer's memory holds after a run, (member, batch, value, key)."""
    return run.written()[place].mT
