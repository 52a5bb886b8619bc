"""The delta rule for a memory whose norm stays at one or below (Schlag et al. 2021, arXiv:2011.07831)."""

from typing import NamedTuple

import torch
from torch import Tensor

from emt.ops.fwm.forms import fwm
from emt.ops.linear_memory.forms import LOWEST_LOG_KEEP


class NormalisedRun(NamedTuple):
    """What was read (…, time, value), the last memory (…, value, key), and −log of what it was divided by (…, time)."""

    reads: Tensor
    memory: Tensor
    log_keep: Tensor


def normalised_delta(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    erase: Tensor,
    memory: Tensor | None = None,
    hold: Tensor | None = None,
) -> NormalisedRun:
    """Run M ← (M + β (v − M k) kᵀ) / max(1, ‖·‖_F), step by step; reads come after the write.

    Nothing is divided by in a step that does not write (β = 0), nor in the first that writes to an empty memory.
    With the divisors s known it is the rule of `linear_memory_steps`: log w = −log s, b = β, c = β/s.

    Parameters
    ----------
    query, key
        (…, time, key).
    value
        (…, time, value).
    erase
        β, (…, time).
    memory
        M before the first step, (…, value, key); None: empty.
    hold
        s, (…, time), where it is given and not the norm; NaN: the norm.
    """
    held = key.new_zeros(*key.shape[:-2], value.shape[-1], key.shape[-1]) if memory is None else memory
    norm = _norm(held)
    reads, scales = [], []
    for t in range(key.shape[-2]):
        k, beta = key[..., t, :], erase[..., t, None]
        change = beta * (value[..., t, :] - (held @ k.unsqueeze(-1)).squeeze(-1))
        divides = (beta != 0) & (norm != 0)
        held = held + change.unsqueeze(-1) * k.unsqueeze(-2)
        norm = _norm(held)
        scale = torch.where(divides, norm.clamp(min=1), 1)
        if hold is not None:
            given = hold[..., t, None].to(scale)
            scale = torch.where(given.isnan(), scale, given)
        held = held / scale.unsqueeze(-1)
        scales.append(scale.squeeze(-1))
        reads.append((held @ query[..., t, :].unsqueeze(-1)).squeeze(-1))
    log_keep = -torch.stack(scales, dim=-1).log()
    return NormalisedRun(torch.stack(reads, dim=-2), held, log_keep.clamp(min=LOWEST_LOG_KEEP))


def normalised_delta_answer(query: Tensor, key: Tensor, value: Tensor, erase: Tensor) -> Tensor:
    """Return the layer-normalised answer after the last step of `normalised_delta`, (member, batch, value).

    The memory is never built: it is that of `emt.ops.fwm`, but that nothing is divided by in the first step. Once
    differentiable.

    Parameters
    ----------
    query
        (member, batch, key).
    key, value, erase
        As for `normalised_delta`, (member, batch, time, …); every step writes.
    """
    # After the first step the memory is a product of two vectors, as large as they are.
    start = (erase[:, :, 0, None] * value[:, :, 0]).unsqueeze(-1) * key[:, :, 0].unsqueeze(-2)
    last = torch.full((*key.shape[:2], 1), key.shape[2] - 2, device=key.device)
    rest = key[:, :, 1:].unsqueeze(3), value[:, :, 1:], erase[:, :, 1:]
    run = fwm(*rest, None, query[:, :, None, None], start, last)
    return run.outputs.squeeze(2)


def _norm(memory: Tensor) -> Tensor:
    """Return the Frobenius norm, (…, 1)."""
    return torch.linalg.vector_norm(memory, dim=(-2, -1)).unsqueeze(-1)
