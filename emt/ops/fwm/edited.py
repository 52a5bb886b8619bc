"""The Fast Weight Memory of `emt.ops.fwm.forms`, whose reads are edited (`emt.ops.memory_edit`), step by step."""

import torch
from torch import Tensor
from torch.nn.functional import layer_norm

from emt.ops.factored_keys import expand
from emt.ops.fwm.forms import FWMRun
from emt.ops.fwm.reading import EPSILON
from emt.ops.memory_edit import MemoryEdit, replaced


@torch.no_grad()
def fwm_edited(
    keys: Tensor,
    values: Tensor,
    strength: Tensor,
    first: Tensor,
    partners: Tensor,
    memory: Tensor | None,
    edit: MemoryEdit,
    epsilon: float = EPSILON,
) -> FWMRun:
    """Write to and read from a Fast Weight Memory by equations (1) to (3), without gradients.

    What blind reads miss is a second memory beside F, with the same keys, erasure and divisors. Two matrices of a step
    are held, and not those of a sequence. The arguments are those of `emt.ops.fwm.forms.fwm`, writes edited already,
    with a query at every step; and what is changed of reads, and of what the memory is divided by.
    """
    size = keys.shape[4] ** keys.shape[3]
    held = values.new_zeros(*values.shape[:2], values.shape[3], size) if memory is None else memory
    hide = edit.hidden(values)
    hidden = None if hide is None else torch.zeros_like(held)
    outputs, queries, returned, rescale = [], [], [], []
    for t in range(keys.shape[2]):
        key, gamma, own = expand(keys[:, :, t].unbind(2)), strength[:, :, t, None], edit.at(t)
        held = _written(held, key, gamma, values[:, :, t])
        norm = held.square().sum((-2, -1)).clamp(min=1).sqrt()
        rescale.append(replaced(norm, own.hold))
        held = held / rescale[-1][..., None, None]
        if hidden is not None and hide is not None:
            hidden = _written(hidden, key, gamma, hide[:, :, t]) / rescale[-1][..., None, None]
        normal, asked, found = first[:, :, t], [], []
        for place, partner in enumerate(partners[:, :, t].unbind(2)):
            factors = (torch.cat([normal, partner], dim=-1),) if keys.shape[3] == 1 else (normal, partner)
            query = expand(factors)
            missed = None if hidden is None else _times(hidden, query)
            asked.append(torch.stack(factors, dim=2))
            found.append(own.read(_times(held, query), missed, place))
            normal = layer_norm(found[-1], normal.shape[-1:], eps=epsilon)
        outputs.append(normal)
        queries.append(torch.stack(asked, dim=2))
        returned.append(torch.stack(found, dim=2))
    over_time = (torch.stack(steps, dim=2) for steps in (queries, returned, rescale))
    return FWMRun(torch.stack(outputs, dim=2), held, *over_time)


def _written(memory: Tensor, key: Tensor, gamma: Tensor, value: Tensor) -> Tensor:
    """Return F + γ (v − F key) keyᵀ."""
    return memory + (gamma * (value - _times(memory, key))).unsqueeze(-1) * key.unsqueeze(-2)


def _times(memory: Tensor, key: Tensor) -> Tensor:
    return (memory @ key.unsqueeze(-1)).squeeze(-1)
