"""A short causal convolution, one filter for each channel: each step sees a few tokens (Poli et al. 2023; fla)."""

import torch
from torch import Tensor, nn

from emt.models.base import Model, uniform
from emt.ops import short_convolution


class ShortConvolution(nn.Module):
    """z_t = Σ_j f_j ∘ x_{t−J+1+j} + b, J filters of one tap each for every channel; zeros before the first step.

    Parameters
    ----------
    model, name
        The model whose parameters its filters are, and their name.
    taps
        J.
    channels
        Number of channels.
    bias
        Whether there is b.

    Attributes
    ----------
    torch_names
        Names of the parameters in a weight file.
    """

    def __init__(self, model: Model, name: str, taps: int, channels: int, *, bias: bool = False) -> None:
        super().__init__()
        # torch's default for Conv1d with one input channel: U(±1/√J).
        self.filters = model.parameter_of(name, (taps, channels), uniform(taps**-0.5))
        self.bias = None
        self.torch_names = {"filters": "conv.weight"}
        if bias:
            self.bias = model.parameter_of(f"{name}_bias", (channels,), uniform(taps**-0.5))
            self.torch_names["bias"] = "conv.bias"

    @property
    def taps(self) -> int:
        """Number of tokens that a step sees."""
        return self.filters.shape[1]

    def zero_state(self, like: Tensor) -> Tensor:
        """Return the window before the first step, (member, batch, tap, channel)."""
        return like.new_zeros(*like.shape[:2], self.taps - 1, self.filters.shape[2])

    def forward(self, x: Tensor, window: Tensor | None) -> tuple[Tensor, Tensor]:
        """Convolve (member, batch, time, channel); ``window`` holds the inputs of the J − 1 steps before.

        Returns
        -------
        outputs, windows
            (member, batch, time, channel), and the window after each step, (member, batch, time, tap,
            channel), a view.
        """
        padded = torch.cat([self.zero_state(x) if window is None else window, x], dim=2)
        outputs = short_convolution(padded, self.filters)
        if self.bias is not None:
            outputs = outputs + self.bias[:, None, None]
        if self.taps == 1:
            return outputs, padded.new_empty(*x.shape[:3], 0, x.shape[3])
        return outputs, padded[:, :, 1:].unfold(2, self.taps - 1, 1).transpose(-1, -2)
