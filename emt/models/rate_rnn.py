"""Rate network with leak and noise; as options, excitatory and inhibitory units (Dale's law) and sparse connections.

    h_t = (1 - α) h_{t-1} + α (x_t W_in + r_{t-1} W_rec + b) + √(2α) σ ξ_t,   r_t = f(h_t),   y_t = r_t W_out + c

with α = dt / τ and ξ standard normal noise, as Song, Yang & Wang (2016, PLoS Comput. Biol. 12: e1004792) train it. The
state is the potential h; what others read of it, ``hidden``, is the rate r.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch.nn.functional import pad

from emt.errors import UserError
from emt.models.base import Context, UnitWeights
from emt.models.layers import lengthen
from emt.models.recurrent import ReadoutNetwork
from emt.ops.rate import rate
from emt.streams import stream

SPECTRAL_RADIUS = 0.9
"""Of initial weights under Dale's law, where excitation and inhibition of a unit cancel on average."""


class RateNetwork(ReadoutNetwork):
    """Rate network with a linear readout; noise acts in training only.

    Under Dale's law W_rec is s_i |V_ij| for the parameter V, which the weight file has: max(V, 0) in its place would
    lose connections for good wherever V falls below 0. No unit connects to itself, and only excitatory units are read
    out.

    Parameters
    ----------
    hidden_dim
        units of the recurrent layer.
    bias
        biases in the recurrent layer and the readout.
    init
        initial weights: torch's default, U(-1/sqrt(units), 1/sqrt(units)), or orthogonal recurrence.
    leak
        step of time over the time constant of a unit, alpha = dt / tau.
    noise
        standard deviation of the noise of each unit, sigma, in training.
    input_noise
        standard deviation of the noise of each input channel over the square root of time, in training.
    activation
        f: the rectifier or tanh.
    dale
        share of excitatory units where each unit only excites or only inhibits; 0 without this law.
    density
        share of connections between units that exist.
    """

    gates = 1
    state_dims = {"potential": ("unit",)}
    reported = ("hidden",)
    torch_names = ReadoutNetwork.torch_names | {"mask": "rnn.mask_hh_l0"}
    mask: Tensor | None

    def __init__(
        self,
        seeds: Sequence[int],
        input_channels: int,
        output_channels: int,
        *,
        hidden_dim: Annotated[int, Field(ge=1)] = 128,
        bias: bool = True,
        init: Literal["default", "orthogonal"] = "default",
        leak: Annotated[float, Field(gt=0, le=1)] = 0.2,
        noise: Annotated[float, Field(ge=0)] = 0.05,
        input_noise: Annotated[float, Field(ge=0)] = 0.0,
        activation: Literal["relu", "tanh"] = "relu",
        dale: Annotated[float, Field(ge=0, le=1)] = 0.0,
        density: Annotated[float, Field(gt=0, le=1)] = 1.0,
    ) -> None:
        excitatory = round(dale * hidden_dim)
        if dale and not excitatory:
            raise UserError(
                f"must leave at least one excitatory unit of {hidden_dim}; got {dale}", parameter="dale"
            )
        if dale and init == "orthogonal":
            raise UserError("cannot be orthogonal under Dale's law, dale > 0", parameter="init")
        super().__init__(seeds, input_channels, output_channels, hidden_dim=hidden_dim, bias=bias, init=init)
        self.leak, self.noise, self.input_noise, self.activation = leak, noise, input_noise, activation
        self.excitatory = excitatory if dale else None
        mask = self._mask(hidden_dim, density) if dale or density < 1 else None
        self.register_buffer("mask", mask, persistent=False)
        if dale and mask is not None:
            draws = [
                _balanced(stream("weights.w_rec", seed, "train", 0), own, excitatory)
                for seed, own in zip(seeds, mask.numpy(), strict=True)
            ]
            self.w_rec.data = torch.tensor(np.stack(draws).astype(np.float32))
            self.w_out.data[:, excitatory:] = 0

    def run(
        self, x: Tensor, first: Mapping[str, Tensor | None], steps: int | None, context: Context | None
    ) -> tuple[Tensor, ...]:
        """Run the layer and the readout; see `RecurrentModel.run`."""
        x, w_in = self._with_noise(self.channels(x), steps)
        w_out: Tensor = self.w_out
        if self.excitatory is not None:
            w_out = pad(w_out[:, : self.excitatory], (0, 0, 0, w_out.shape[1] - self.excitatory))
        outputs, hidden, potential = rate(
            *(x, w_in, self.recurrence, w_out, self.bias, self.b_out, first["potential"], steps),
            leak=self.leak,
            activation=self.activation,
        )
        return outputs, potential, hidden

    @property
    def recurrence(self) -> Tensor:
        """W_rec as it acts, (member, unit, unit), from a unit (row) to others."""
        if self.mask is None:
            return self.w_rec
        return (self.w_rec if self.excitatory is None else self.w_rec.abs()) * self.mask.to(self.w_rec)

    def unit_weights(self) -> UnitWeights:
        """Return the weights of the members' units as they act; see `Model.unit_weights`."""
        # Excitatory and inhibitory units differ whatever their weights.
        blocks = () if self.excitatory is None else (self.excitatory, self.w_rec.shape[1] - self.excitatory)
        acts: Literal["sign", "scale", "permutation"] = "permutation"
        if self.activation == "relu":
            acts = "scale"
        elif not blocks:
            acts = "sign"
        return (
            super().unit_weights()._replace(acts=acts, signed=(0,) if acts == "sign" else (), blocks=blocks)
        )

    def _mask(self, units: int, density: float) -> Tensor:
        """Return which connections exist, (member, unit, unit), -1 for those of inhibitory units."""
        draws = [stream("connections", seed, "train", 0).random((units, units)) for seed in self.seeds]
        mask = (np.stack(draws) < density).astype(np.float32)
        if self.excitatory is not None:
            mask[:, self.excitatory :] *= -1
            mask *= 1 - np.eye(units, dtype=np.float32)
        return torch.tensor(mask)

    def _with_noise(self, x: Tensor, steps: int | None) -> tuple[Tensor, Tensor]:
        """Return inputs with noise of the training step, that of units as channels more, and weights for them.

        The leak multiplies them by α, so that √(2α) σ ξ is √(2 / α) σ ξ here.
        """
        w_in: Tensor = self.w_in
        scale = (2 / self.leak) ** 0.5
        if self.noise_step is None or not (self.noise or self.input_noise):
            return x, w_in
        x = lengthen(x, steps)
        if self.input_noise:
            x = x + scale * self.input_noise * self._drawn("input_noise", x.shape[1:]).to(x)
        if self.noise:
            units = w_in.shape[2]
            x = torch.cat([x, self._drawn("unit_noise", (*x.shape[1:3], units)).to(x)], dim=-1)
            each = scale * self.noise * torch.eye(units).to(w_in)
            w_in = torch.cat([w_in, each.expand(len(w_in), -1, -1)], dim=1)
        return x, w_in

    def _drawn(self, kind: str, shape: Sequence[int]) -> Tensor:
        """Return standard normal numbers of the training step, (member, *shape)."""
        step = self.noise_step or 0
        draws = [stream(kind, seed, "train", step).standard_normal(shape, np.float32) for seed in self.seeds]
        return torch.tensor(np.stack(draws))


def _balanced(
    generator: np.random.Generator, mask: NDArray[np.float32], excitatory: int
) -> NDArray[np.float64]:
    """Return sizes of weights (unit, unit) whose sums over excitatory and inhibitory units agree on average."""
    size = np.abs(generator.standard_normal(mask.shape)) * np.abs(mask)
    size[:excitatory] /= excitatory
    size[excitatory:] /= max(len(mask) - excitatory, 1)
    radius = np.abs(np.linalg.eigvals(size * mask)).max()
    return np.asarray(size * (SPECTRAL_RADIUS / radius if radius > 0 else 1.0))
