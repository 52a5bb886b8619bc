"""Queries, keys and values of several heads, made from a layer's input with or without a short convolution."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn
from torch.nn.functional import silu

from emt.models.base import Log, Model, constant
from emt.models.blocks import prefixed, scaled_normal
from emt.models.layers import linear
from emt.models.short_convolution import ShortConvolution


class Projections(nn.Module):
    """x W + b in parts, such as [q, k, v]; with a convolution silu(conv(x W + b)).

    Parameters
    ----------
    model, name, width
        The model whose parameters these are, the layer's name, and channels of x.
    parts
        Heads of each part, and channels of each of its heads.
    conv_size
        Taps of the convolution; 0 for none.
    scale
        Standard deviation of initial weights.
    bias, conv_bias
        Whether there is b, and whether the convolution has biases.
    squash
        Whether silu acts without a convolution, too.

    Attributes
    ----------
    state_dims
        The window of the convolution, where it holds earlier steps.
    mixes
        Tokens that a step's key and value are made of, as a memory's rule says it; empty for one.
    """

    def __init__(
        self,
        model: Model,
        name: str,
        width: int,
        parts: Sequence[tuple[int, int]],
        conv_size: int,
        scale: float,
        *,
        bias: bool = False,
        conv_bias: bool = False,
        squash: bool = False,
    ) -> None:
        super().__init__()
        self.parts, self.squash = tuple(parts), squash or conv_size > 0
        self.sizes = [heads * channels for heads, channels in parts]
        self.weight = model.parameter_of(f"{name}.in", (width, sum(self.sizes)), scaled_normal(scale))
        self.torch_names = {"weight": "in.weight"}
        self.bias = None
        if bias:
            self.bias = model.parameter_of(f"{name}.in_bias", (sum(self.sizes),), constant(0.0))
            self.torch_names["bias"] = "in.bias"
        self.convolution = None
        if conv_size:
            self.convolution = ShortConvolution(
                model, f"{name}.conv", conv_size, sum(self.sizes), bias=conv_bias
            )
            self.torch_names |= prefixed("convolution", self.convolution.torch_names)
        self.state_dims = {"conv": ("tap", "conv_channel")} if conv_size > 1 else {}
        self.mixes = {"mixes": conv_size} if conv_size > 1 else {}

    def zero_state(self, like: Tensor) -> dict[str, Tensor]:
        """Return an empty window, if there is one."""
        if not self.state_dims or self.convolution is None:
            return {}
        return {"conv": self.convolution.zero_state(like)}

    def forward(self, x: Tensor, state: Mapping[str, Tensor] | None) -> tuple[list[Tensor], Log]:
        """Return the parts (member, batch, time, head, channel) of (member, batch, time, unit), and the states."""
        _, mixed, states = self.raw_and_mixed(x, state)
        split = zip(mixed.split(self.sizes, dim=-1), self.parts, strict=True)
        return [part.unflatten(-1, shape) for part, shape in split], states

    def raw_and_mixed(self, x: Tensor, state: Mapping[str, Tensor] | None) -> tuple[Tensor, Tensor, Log]:
        """Return x W + b, what the convolution and silu make of it, and the states."""
        raw, states = linear(x, self.weight, self.bias), Log()
        mixed = raw
        if self.convolution is not None:
            window = state["conv"] if state is not None and self.state_dims else None
            mixed, windows = self.convolution(raw, window)
            states = {"conv": windows} if self.state_dims else {}
        return raw, silu(mixed) if self.squash else mixed, states
