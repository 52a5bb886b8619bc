"""How fast heads forget, a function of the input: the gate of Mamba-2 and the gated delta rules (Gu & Dao 2023).

    Δ_t = softplus(x_t W + δ),   log w_t = −e^A Δ_t

with A for each head. At the start e^A is uniform and softplus(δ) log-uniform in [10⁻³, 10⁻¹].
"""

import math

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import softplus

from emt.models.base import Model
from emt.models.blocks import scaled_normal
from emt.models.layers import linear

LARGEST_RATE = 16.0
"""Up to which e^A starts."""

LOG_STEPS = math.log(1e-3), math.log(1e-1)
"""Between which the logarithm of softplus(δ) starts."""


class Decay(nn.Module):
    """The gate of a layer's heads.

    Parameters
    ----------
    model, name, width
        The model, the layer's name, and channels of x.
    heads, scale
        Heads, and standard deviation of W at the start.
    smallest_rate
        From which e^A starts.
    channels
        Numbers Δ for each head.
    rank
        Rank of W; 0: any.

    Attributes
    ----------
    torch_names
        Names of the parameters in a weight file.
    """

    def __init__(
        self,
        model: Model,
        name: str,
        width: int,
        heads: int,
        scale: float,
        *,
        smallest_rate: float = 1.0,
        channels: int = 1,
        rank: int = 0,
    ) -> None:
        super().__init__()
        self.heads, self.channels, draw = heads, channels, scaled_normal(scale)

        def log_rates(generator: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
            return np.log(generator.uniform(smallest_rate, LARGEST_RATE, shape))

        self.log_rate = model.parameter_of(f"{name}.log_rate", (heads,), log_rates)
        self.bias = model.parameter_of(f"{name}.step_bias", (heads * channels,), step_biases)
        self.inner = model.parameter_of(f"{name}.step_in", (width, rank), draw) if rank else None
        self.weight = model.parameter_of(f"{name}.step", (rank or width, heads * channels), draw)
        self.torch_names = {"log_rate": "log_rate", "bias": "step.bias", "weight": "step.weight"}
        self.torch_names |= {"inner": "step_in.weight"} if rank else {}

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return Δ and log w of (member, batch, time, unit), (member, batch, time, head, channel) each."""
        x = x if self.inner is None else linear(x, self.inner)
        step = softplus(linear(x, self.weight, self.bias)).unflatten(-1, (self.heads, self.channels))
        return step, -self.log_rate.exp()[:, None, None, :, None] * step


def step_biases(generator: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return δ with log-uniform softplus(δ): u + ln(1 − e^{−u}) undoes the softplus."""
    steps = np.exp(generator.uniform(*LOG_STEPS, shape))
    return steps + np.log(-np.expm1(-steps))
