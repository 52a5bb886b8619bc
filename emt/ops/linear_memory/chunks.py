"""What both chunked forms of a linear memory share: sequences cut into chunks, masks, and the solve within a chunk."""

import torch
from torch import Tensor
from torch.nn.functional import pad


def fold(x: Tensor, leading: torch.Size, size: int) -> Tensor:
    """Return steps in chunks, (chunk, row, step, feature), zero after the last step.

    Parameters
    ----------
    x
        (*leading, time, feature), the leading axes possibly broadcast.
    leading
        Axes that become rows.
    size
        Steps in a chunk.
    """
    steps, features = x.shape[-2:]
    if steps % size:
        x = pad(x, (0, 0, 0, -steps % size))
    chunks = x.unflatten(-2, (-1, size)).expand(*leading, -1, size, features)
    return chunks.movedim(-3, 0).reshape(chunks.shape[-3], -1, size, features).contiguous()


def unfold(x: Tensor, leading: torch.Size, steps: int) -> Tensor:
    """Return (*leading, time, feature) from chunks: `fold` undone."""
    return x.transpose(0, 1).flatten(1, 2)[:, :steps].reshape(*leading, steps, x.shape[-1])


def earlier(x: Tensor) -> Tensor:
    """Return what a running sum (…, step, feature) was before each step: zero before the first."""
    return pad(x[..., :-1, :], (0, 0, 1, 0))


def later_sum(x: Tensor) -> Tensor:
    """Return Σ_{t ≥ s} x_t for each step s of (…, step, feature)."""
    return x.flip(-2).cumsum(dim=-2).flip(-2)


def solve(system: Tensor, right: Tensor, *, transposed: bool = False) -> Tensor:
    """Return (I + L)⁻¹ R, or (I + Lᵀ)⁻¹ R, for strictly lower triangular L."""
    return torch.linalg.solve_triangular(
        system.mT if transposed else system, right, upper=transposed, unitriangular=True
    )


def lower(size: int, like: Tensor, *, strict: bool) -> Tensor:
    """Return where i ≤ t, or i < t, bool (t, i)."""
    return torch.ones(size, size, dtype=torch.bool, device=like.device).tril(-1 if strict else 0)
