"""LSTM with a linear readout (Hochreiter & Schmidhuber 1997; gates i, f, g, o as in torch)."""

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor

from emt.models.base import Cues, Log, Model, State, as_channels, orthogonal, uniform
from emt.ops.lstm import lstm


class LSTM(Model):
    """Long short-term memory with a linear readout.

    Parameters
    ----------
    hidden_dim
        units of the recurrent layer; the state has twice as many numbers.
    bias
        biases in the recurrent layer and the readout.
    init
        initial weights: torch's default, U(-1/sqrt(units), 1/sqrt(units)), or orthogonal recurrence for each gate.
    """

    state_dims = {"hidden": ("unit",), "cell": ("unit",)}
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
        draw, gates = uniform(hidden_dim**-0.5), 4 * hidden_dim
        self.w_in = self.parameter_of("w_in", (input_channels, gates), draw)
        self.w_rec = self.parameter_of("w_rec", (hidden_dim, gates), orthogonal if init == "orthogonal" else draw)
        self.w_out = self.parameter_of("w_out", (hidden_dim, output_channels), draw)
        self.b_in = self.parameter_of("b_in", (gates,), draw) if bias else None
        self.b_rec = self.parameter_of("b_rec", (gates,), draw) if bias else None
        self.b_out = self.parameter_of("b_out", (output_channels,), draw) if bias else None

    def zero_state(self, like: Tensor) -> State:
        """Return zeros, (member, batch, unit) each."""
        shape = (*like.shape[:2], self.w_rec.shape[1])
        return {"hidden": like.new_zeros(shape), "cell": like.new_zeros(shape)}

    def forward(
        self, x: Tensor, state: State | None = None, steps: int | None = None, cues: Cues | None = None
    ) -> tuple[Tensor, State, Log]:
        """Run the members over a sequence; see `Model.forward`."""
        bias = None if self.b_in is None or self.b_rec is None else self.b_in + self.b_rec
        h0, c0 = (None, None) if state is None else (state["hidden"], state["cell"])
        x = as_channels(x, self.w_in)
        outputs, hidden, cell = lstm(x, self.w_in, self.w_rec, self.w_out, bias, self.b_out, h0, c0, steps)
        return outputs, {"hidden": hidden[:, :, -1], "cell": cell[:, :, -1]}, {"hidden": hidden, "cell": cell}
