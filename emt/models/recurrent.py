"""What recurrent layers with states of one size share: states that start at zero, biases that act together, a readout.

A model names its states in ``state_dims`` and says in `run` how its layer runs.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from emt.models.base import Context, Log, Model, State, UnitWeights, as_channels, orthogonal, uniform


class RecurrentModel(Model):
    """A recurrent layer with the weights W_rec (member, unit, gate · unit) and states (member, batch, unit).

    Attributes
    ----------
    reported
        What a run reports beside its states, with their axes.
    """

    w_rec: nn.Parameter
    reported: ClassVar[tuple[str, ...]] = ()

    def zero_state(self, like: Tensor) -> State:
        """Return zeros, (member, batch, unit) each."""
        return {name: like.new_zeros(*like.shape[:2], self.w_rec.shape[1]) for name in self.state_dims}

    def forward(
        self, x: Tensor, state: State | None = None, steps: int | None = None, context: Context | None = None
    ) -> tuple[Tensor, State, Log]:
        """Run the members over a sequence; see `Model.forward`."""
        first = {name: None if state is None else state[name] for name in self.state_dims}
        outputs, *run = self.run(x, first, steps, context)
        log = dict(zip((*self.state_dims, *self.reported), run, strict=True))
        return outputs, {name: log[name][:, :, -1] for name in self.state_dims}, log

    @abstractmethod
    def run(
        self, x: Tensor, first: Mapping[str, Tensor | None], steps: int | None, context: Context | None
    ) -> tuple[Tensor, ...]:
        """Return outputs (member, batch, time, output), then states and what else is reported (…, unit) at all steps.

        ``first`` holds the states before the first step, None for zero.
        """


class ReadoutNetwork(RecurrentModel):
    """A recurrent layer with a linear readout, in a weight file ``torch.nn`` modules called ``rnn`` and ``readout``.

    Parameters
    ----------
    hidden_dim
        units of the recurrent layer.
    bias
        biases in the recurrent layer and the readout.
    init
        initial weights: torch's default, U(-1/sqrt(units), 1/sqrt(units)), or orthogonal recurrence.

    Attributes
    ----------
    gates
        Blocks of units in the input and the recurrent weights.
    acts, signed
        What a unit may be multiplied by without a change of outputs, and which gates' weights then change their
        sign (`emt.trace.Symmetry`).
    """

    gates: ClassVar[int]
    acts: Literal["sign", "scale", "permutation"] = "permutation"
    signed: ClassVar[tuple[int, ...]] = ()
    torch_names = {
        "w_in": "rnn.weight_ih_l0",
        "w_rec": "rnn.weight_hh_l0",
        "b_in": "rnn.bias_ih_l0",
        "b_rec": "rnn.bias_hh_l0",
        "w_out": "readout.weight",
        "b_out": "readout.bias",
    }

    def __init__(
        self,
        seeds: Sequence[int],
        input_channels: int,
        output_channels: int,
        *,
        hidden_dim: Annotated[int, Field(ge=1)] = 128,
        bias: bool = False,
        init: Literal["default", "orthogonal"] = "default",
    ) -> None:
        super().__init__(seeds)
        draw, rows = uniform(hidden_dim**-0.5), self.gates * hidden_dim
        self.w_in = self.parameter_of("w_in", (input_channels, rows), draw)
        self.w_rec = self.parameter_of(
            "w_rec", (hidden_dim, rows), orthogonal if init == "orthogonal" else draw
        )
        self.w_out = self.parameter_of("w_out", (hidden_dim, output_channels), draw)
        self.b_in = self.parameter_of("b_in", (rows,), draw) if bias else None
        self.b_rec = self.parameter_of("b_rec", (rows,), draw) if bias else None
        self.b_out = self.parameter_of("b_out", (output_channels,), draw) if bias else None

    @property
    def bias(self) -> Tensor | None:
        """The two biases of the recurrent layer as they act where only their sum does, (member, gate · unit)."""
        return None if self.b_in is None or self.b_rec is None else self.b_in + self.b_rec

    @property
    def acting_biases(self) -> list[Tensor]:
        """Biases that act by themselves, (member, gate · unit) each."""
        return [] if self.bias is None else [self.bias]

    @property
    def recurrence(self) -> Tensor:
        """W_rec as it acts, (member, unit, gate · unit), from a unit (row) to others."""
        return self.w_rec

    def unit_weights(self) -> UnitWeights:
        """Return the weights of the members' units as they act; see `Model.unit_weights`."""
        biases = [bias.unsqueeze(1) for bias in self.acting_biases]
        recurrence, incoming = (
            # (member, from, gate · unit) → (member, gate, unit, from)
            weights.unflatten(2, (self.gates, -1)).permute(0, 2, 3, 1)
            for weights in (self.recurrence, torch.cat([self.w_in, *biases], dim=1))
        )
        return UnitWeights(recurrence, incoming, self.acts, self.signed)

    def channels(self, x: Tensor) -> Tensor:
        """Return inputs (member, batch, time, channel) as the layer takes them; ids become one-hot."""
        return as_channels(x, self.w_in)
