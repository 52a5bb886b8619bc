"""Gated recurrent unit with a linear readout (Cho et al. 2014, arXiv:1406.1078), as `torch.nn.GRU` computes it.

    [r, z]_t = σ(x_t W_in^rz + h_{t-1} W_rec^rz + b^rz)
    n_t = tanh(x_t W_in^n + b_in^n + r_t (h_{t-1} W_rec^n + b_rec^n))
    h_t = (1 - z_t) n_t + z_t h_{t-1},   y_t = h_t W_out + c

In the paper r_t multiplies h_{t-1} before the product with W_rec^n.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from emt.models.base import Context
from emt.models.recurrent import ReadoutNetwork
from emt.ops.gru import gru


class GRU(ReadoutNetwork):
    """Gated recurrent unit with a linear readout.

    Parameters
    ----------
    init
        initial weights: torch's default, U(-1/sqrt(units), 1/sqrt(units)), or orthogonal recurrence for each
        gate.
    """

    gates = 3
    acts, signed = "sign", (2,)
    state_dims = {"hidden": ("unit",)}

    @property
    def acting_biases(self) -> list[Tensor]:
        """Biases that act by themselves: those of the candidate do, of other gates their sum is one."""
        if self.b_in is None or self.b_rec is None:
            return []
        split = 2 * self.w_rec.shape[1]
        gates = self.b_in[:, :split] + self.b_rec[:, :split]
        return [
            torch.cat([gates, self.b_in[:, split:]], dim=1),
            torch.cat([torch.zeros_like(gates), self.b_rec[:, split:]], dim=1),
        ]

    def run(
        self, x: Tensor, first: Mapping[str, Tensor | None], steps: int | None, context: Context | None
    ) -> tuple[Tensor, ...]:
        """Run the layer and the readout; see `RecurrentModel.run`."""
        x = self.channels(x)
        return gru(
            x, self.w_in, self.w_rec, self.w_out, self.b_in, self.b_rec, self.b_out, first["hidden"], steps
        )
