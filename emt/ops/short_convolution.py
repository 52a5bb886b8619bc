"""A short causal convolution with a filter for each channel.

With x_s for s = 2 − J … T (the J − 1 steps before the first one included),

    z_t = Σ_j f_j ∘ x_{t−J+j}                                     for j = 1 … J                    (1)
    ∂L/∂x_s = Σ_j f_j ∘ ∂L/∂z_{s+J−j},   ∂L/∂f_j = Σ_t ∂L/∂z_t ∘ x_{t−J+j}                         (2)

Each is J passes over memory. On a processor members take turns, since what one of them needs fits into its cache.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def short_convolution(x: Tensor, filters: Tensor) -> Tensor:
    """Return z (1), (member, batch, time, channel), once differentiable.

    Parameters
    ----------
    x
        With J − 1 earlier steps, (member, batch, J − 1 + time, channel).
    filters
        f, (member, J, channel).

    Examples
    --------
    >>> x, filters = torch.tensor([0.0, 1.0, 2.0, 3.0]), torch.tensor([[[10.0], [1.0]]])
    >>> short_convolution(x.view(1, 1, 4, 1), filters).flatten().tolist()
    [1.0, 12.0, 23.0]
    """
    z: Tensor = _ShortConvolution.apply(x, filters)
    return z


def short_convolution_taps(x: Tensor, filters: Tensor) -> Tensor:
    """Equation (1) with torch's own gradient; arguments and result as in :func:`short_convolution`."""
    taps, steps = filters.shape[1], x.shape[2] - filters.shape[1] + 1
    return torch.stack([filters[:, None, None, j] * x[:, :, j : j + steps] for j in range(taps)]).sum(0)


class _ShortConvolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, filters: Tensor) -> Tensor:
        taps, steps = filters.shape[1], x.shape[2] - filters.shape[1] + 1
        z = x.new_empty(*x.shape[:2], steps, x.shape[3])
        for part in _turns(x):
            f, inputs, outputs = filters[part, :, None, None], x[part], z[part]
            torch.mul(inputs[:, :, :steps], f[:, 0], out=outputs)
            for j in range(1, taps):
                outputs.addcmul_(inputs[:, :, j : j + steps], f[:, j])
        ctx.save_for_backward(x, filters)
        return z

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_z: Tensor) -> tuple[Tensor, Tensor]:
        x, filters = ctx.saved_tensors
        steps = d_z.shape[2]
        d_x, d_filters = torch.zeros_like(x), torch.empty_like(filters)
        for part in _turns(x):
            f, inputs, d_inputs, d_outputs = filters[part, :, None, None], x[part], d_x[part], d_z[part]
            for j in range(filters.shape[1]):
                d_inputs[:, :, j : j + steps].addcmul_(d_outputs, f[:, j])
                d_filters[part, j] = (d_outputs * inputs[:, :, j : j + steps]).sum((1, 2))
        return d_x, d_filters


def _turns(x: Tensor) -> Iterator[slice]:
    """Yield which members a pass is about."""
    size = 1 if x.device.type == "cpu" else len(x)
    return (slice(begin, begin + size) for begin in range(0, len(x), size))
