"""Queries, keys and values of several heads, made from a layer's input with or without a short convolution."""

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn.functional import silu

from emt.models.base import Log, Model, constant
from emt.models.blocks import scaled_normal
from emt.models.layers import linear
from emt.models.short_convolution import ShortConvolution


class Projections(nn.Module):
    """[q, k, v] = x W + b, each head a share of the channels; with a convolution silu(conv(x W + b)).

    Parameters
    ----------
    model, name
        The model whose parameters these are, and the layer's name.
    width, heads
        Channels of all heads together, and heads.
    conv_size
        Taps of the convolution; 0 for none.
    scale
        Standard deviation of initial weights.
    bias
        Whether there is b.
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
        heads: int,
        conv_size: int,
        scale: float,
        *,
        bias: bool = False,
        squash: bool = False,
    ) -> None:
        super().__init__()
        self.heads, self.squash = heads, squash or conv_size > 0
        self.weight = model.parameter_of(f"{name}.in", (width, 3 * width), scaled_normal(scale))
        self.torch_names = {"weight": "in.weight"}
        self.bias = model.parameter_of(f"{name}.in_bias", (3 * width,), constant(0.0)) if bias else None
        if bias:
            self.torch_names["bias"] = "in.bias"
        self.convolution = None
        if conv_size:
            self.convolution = ShortConvolution(model, f"{name}.conv", conv_size, 3 * width)
            self.torch_names["convolution.filters"] = "conv.weight"
        self.state_dims = {"conv": ("tap", "conv_channel")} if conv_size > 1 else {}
        self.mixes = {"mixes": conv_size} if conv_size > 1 else {}

    def zero_state(self, like: Tensor) -> dict[str, Tensor]:
        """Return an empty window, if there is one."""
        if not self.state_dims or self.convolution is None:
            return {}
        return {"conv": self.convolution.zero_state(like)}

    def forward(self, x: Tensor, state: Mapping[str, Tensor] | None) -> tuple[Tensor, Tensor, Tensor, Log]:
        """Return q, k, v (member, batch, time, head, channel) of (member, batch, time, unit), and the states."""
        projected, states = linear(x, self.weight, self.bias), Log()
        if self.convolution is not None:
            window = state["conv"] if state is not None and self.state_dims else None
            projected, windows = self.convolution(projected, window)
            states = {"conv": windows} if self.state_dims else {}
        projected = silu(projected) if self.squash else projected
        q, k, v = (part.unflatten(-1, (self.heads, -1)) for part in projected.chunk(3, dim=-1))
        return q, k, v, states
