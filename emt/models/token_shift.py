"""Each step's input mixed with that of the step before, once for every use (Peng et al. 2023, arXiv:2305.13048)."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from emt.models.base import Log, Model


class TokenShift(nn.Module):
    """x_j = u_t + μ_j ∘ (u_{t-1} − u_t), for each row j of μ; zeros before the first step.

    Parameters
    ----------
    model, name
        The model whose parameter μ is, and the layer's name.
    shape
        Rows, and channels of u.
    draw
        How μ starts; None: there is none, and all x_j are u_t.

    Attributes
    ----------
    state_dims
        The input of the step before, where it matters.
    mixes
        Tokens that a step's key and value are made of, as a memory's rule says it; empty for one.
    torch_names
        Name of the parameter in a weight file.
    """

    def __init__(
        self,
        model: Model,
        name: str,
        shape: tuple[int, int],
        draw: Callable[..., NDArray[np.float64]] | None,
    ) -> None:
        super().__init__()
        self.rows, self.channels = shape
        self.mix = None if draw is None else model.parameter_of(f"{name}.mix", shape, draw)
        self.torch_names = {} if draw is None else {"mix": "mix"}
        self.state_dims: dict[str, tuple[str, ...]] = {} if draw is None else {"shift": ("shift_channel",)}
        self.mixes: dict[str, Any] = {} if draw is None else {"mixes": 2}

    def zero_state(self, like: Tensor) -> dict[str, Tensor]:
        """Return the input before the first step, if it matters."""
        return {name: like.new_zeros(*like.shape[:2], self.channels) for name in self.state_dims}

    def forward(self, x: Tensor, state: Mapping[str, Tensor] | None) -> tuple[list[Tensor], Log]:
        """Return x_j of (member, batch, time, channel), and the state after each step."""
        if self.mix is None:
            return [x] * self.rows, {}
        first = torch.zeros_like(x[:, :, 0]) if state is None else state["shift"]
        change = torch.cat([first.unsqueeze(2), x[:, :, :-1]], dim=2) - x
        rows = self.mix[:, :, None, None].unbind(dim=1)
        return [torch.addcmul(x, row, change) for row in rows], {"shift": x}
