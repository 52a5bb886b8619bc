"""What models of tokens share: an embedding before and, for associative retrieval, a two-layer head after.

The embedding E comes before the input weights W_in without anything between them: models multiply the two,
which are small, and the inputs only once. In a weight file it is a linear layer without bias.
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, pad

from emt.models.base import Context, Model, uniform
from emt.streams import stream


class Head(nn.Module):
    """y_t = relu(h_t V + c) U + d for each member, with 100 units between (Ba et al. 2016).

    In a weight file it is ``torch.nn.Sequential(Linear, ReLU, Linear)``.
    """

    width: ClassVar[int] = 100
    torch_names: ClassVar[dict[str, str]] = {
        "head.w_hidden": "head.0.weight",
        "head.b_hidden": "head.0.bias",
        "head.w_out": "head.2.weight",
        "head.b_out": "head.2.bias",
    }

    def __init__(self, model: Model, units: int, outputs: int) -> None:
        super().__init__()
        first, second = uniform(units**-0.5), uniform(self.width**-0.5)
        self.w_hidden = model.parameter_of("head.w_hidden", (units, self.width), first)
        self.b_hidden = model.parameter_of("head.b_hidden", (self.width,), first)
        self.w_out = model.parameter_of("head.w_out", (self.width, outputs), second)
        self.b_out = model.parameter_of("head.b_out", (outputs,), second)

    def forward(self, hidden: Tensor, context: Context | None = None) -> Tensor:
        """Return outputs (member, batch, time, output) of hidden states (member, batch, time, unit).

        If ``context`` has "needed_steps", steps at which no row needs an output are left at zero.
        """
        needed = (context or {}).get("needed_steps")
        if needed is None:
            return linear(linear(hidden, self.w_hidden, self.b_hidden).relu(), self.w_out, self.b_out)
        steps = needed.flatten(0, 1).any(dim=0).nonzero().flatten()
        outputs = self(hidden.index_select(2, steps))
        return outputs.new_zeros(*hidden.shape[:3], outputs.shape[-1]).index_copy(2, steps, outputs)


class LinearHead(nn.Module):
    """y_t = h_t U for each member; in a weight file ``torch.nn.Linear`` without a bias, called ``head``."""

    torch_names: ClassVar[dict[str, str]] = {"head.w_out": "head.weight"}

    def __init__(self, model: Model, units: int, outputs: int) -> None:
        super().__init__()
        self.w_out = model.parameter_of("head.w_out", (units, outputs), uniform(units**-0.5))

    def forward(self, hidden: Tensor, context: Context | None = None) -> Tensor:
        """Return outputs (member, batch, time, output) of hidden states (member, batch, time, unit)."""
        return linear(hidden, self.w_out)


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return x W + b: inputs (member, batch, time, in), weights (member, in, out), bias (member, out)."""
    rows = x.flatten(1, 2)
    y = torch.bmm(rows, weight) if bias is None else torch.baddbmm(bias.unsqueeze(1), rows, weight)
    return y.unflatten(1, x.shape[1:3])


def linear_by_time(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return x W + b as `linear`, of inputs and to outputs that lie in memory with time before batch."""
    return linear(x.transpose(1, 2), weight, bias).transpose(1, 2)


def embed(x: Tensor, table: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return x E + b, (member, batch, time, out): a table (member, channel, out) applied to channels or to ids.

    Parameters
    ----------
    x
        Inputs (member, batch, time, channel), or ids (member, batch, time); -1 stands for a row of zeros.
    table
        E, (member, channel, out).
    bias
        b, (member, out).
    """
    if x.is_floating_point():
        return linear(x, table, bias)
    if bias is not None:
        table = table + bias.unsqueeze(1)
    absent = x < 0
    if absent.any():
        # A row of the table costs less than a choice at every step.
        empty = table.new_zeros(len(table), table.shape[2]) if bias is None else bias
        x = x.masked_fill(absent, table.shape[1])
        table = torch.cat([table, empty.unsqueeze(1)], dim=1)
    members, channels, _ = table.shape
    offset = channels * torch.arange(members, device=x.device)[:, None, None]
    return embedding(x + offset, table.flatten(0, 1))


def lengthen(x: Tensor, steps: int | None) -> Tensor:
    """Return inputs followed by silence up to ``steps`` steps: by zeros, or by the id -1."""
    if steps is None or steps == x.shape[2]:
        return x
    return (
        pad(x, (0, 0, 0, steps - x.shape[2]))
        if x.is_floating_point()
        else pad(x, (0, steps - x.shape[2]), value=-1)
    )


def at_ends(x: Tensor, states: Tensor, before: Tensor) -> Tensor:
    """Return each row's state after its last token, (member, batch, unit).

    Parameters
    ----------
    x
        Inputs; ids of -1 stand after a row's last token.
    states
        (member, batch, time, unit).
    before
        The state of rows without any token, (member, batch, unit).
    """
    if x.is_floating_point():
        return states[:, :, -1]
    length = (x >= 0).sum(dim=2)[..., None]
    last = (length - 1).clamp(min=0)[..., None].expand(-1, -1, 1, states.shape[-1])
    return torch.where(length > 0, states.gather(2, last).squeeze(2), before)


def dropped(model: Model, values: Tensor, kind: str, rate: float, shape: Sequence[int]) -> Tensor:
    """Return values (member, …) times each member's mask of this shape, or as they are outside training.

    What is left is scaled up by 1 / (1 − rate).
    """
    if model.noise_step is None or rate == 0:
        return values
    draws = [stream(f"dropout.{kind}", seed, "train", model.noise_step).random(shape) for seed in model.seeds]
    return values * torch.tensor((np.stack(draws) >= rate) / (1 - rate)).to(values)
