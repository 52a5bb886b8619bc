"""LSTM with a linear readout (Hochreiter & Schmidhuber 1997; gates i, f, g, o as in torch)."""

from collections.abc import Mapping

from torch import Tensor

from emt.models.base import Context
from emt.models.recurrent import ReadoutNetwork
from emt.ops.lstm import lstm


class LSTM(ReadoutNetwork):
    """Long short-term memory with a linear readout.

    Parameters
    ----------
    hidden_dim
        units of the recurrent layer; the state has twice as many numbers.
    init
        initial weights: torch's default, U(-1/sqrt(units), 1/sqrt(units)), or orthogonal recurrence for each
        gate.
    """

    gates = 4
    acts, signed = "sign", (2,)
    state_dims = {"hidden": ("unit",), "cell": ("unit",)}

    def run(
        self, x: Tensor, first: Mapping[str, Tensor | None], steps: int | None, context: Context | None
    ) -> tuple[Tensor, ...]:
        """Run the layer and the readout; see `RecurrentModel.run`."""
        x = self.channels(x)
        return lstm(
            x, self.w_in, self.w_rec, self.w_out, self.bias, self.b_out, first["hidden"], first["cell"], steps
        )
