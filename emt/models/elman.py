"""Elman network with a linear readout (Elman 1990): h_t = tanh(x_t W_in + h_{t-1} W_rec + b), y_t = h_t W_out + c."""

from collections.abc import Mapping

from torch import Tensor

from emt.models.base import Context
from emt.models.recurrent import ReadoutNetwork
from emt.ops.elman import elman


class Elman(ReadoutNetwork):
    """Elman network: tanh units with full recurrence and a linear readout."""

    gates = 1
    acts, signed = "sign", (0,)
    state_dims = {"hidden": ("unit",)}
    recurrent_name = "rnn.weight_hh_l0"

    def run(
        self, x: Tensor, first: Mapping[str, Tensor | None], steps: int | None, context: Context | None
    ) -> tuple[Tensor, ...]:
        """Run the layer and the readout; see `RecurrentModel.run`."""
        x = self.channels(x)
        return elman(x, self.w_in, self.w_rec, self.w_out, self.bias, self.b_out, first["hidden"], steps)
