"""One step of a model as a map of its whole state, and the map's Jacobians.

The *moving* state is every tensor of the state but the contents of associative memories (``held_state``),
joined in the order of ``state_dims``: for an LSTM (h, c). Memories are held constant: with them a network of
H units would have a matrix of (H + H²)² numbers, and nearly all of its eigenvalues would be the memory's
decay.
"""

import torch
from torch import Tensor

from emt.models.base import Model, State

COPIES = 2**14
"""Rows, over all members, of one backward pass: with more a CPU's cache is too small, with fewer calls cost."""

STATE_BYTES = 2**28
"""Contents of memories are copied too, for each row: so many at a time."""


def moving_state(model: Model, state: State) -> dict[str, int]:
    """Return the tensors (member, point, …) of a state that move, and how many numbers each has."""
    names = [n for n in model.state_dims if n not in model.held_state and state[n].is_floating_point()]
    return {name: state[name][0, 0].numel() for name in names}


def join(model: Model, state: State) -> Tensor:
    """Return the moving state as one tensor (member, point, state)."""
    return torch.cat([state[name].flatten(2) for name in moving_state(model, state)], dim=-1)


def part(model: Model, joined: Tensor, like: State) -> State:
    """Return a state whose moving numbers are ``joined`` (member, point, state) and whose rest is that of ``like``."""
    sizes = moving_state(model, like)
    parts = zip(sizes, joined.split(list(sizes.values()), dim=-1), strict=True)
    return {**like, **{name: values.unflatten(-1, like[name].shape[2:]) for name, values in parts}}


def jacobians(model: Model, state: State, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the derivatives of a step's moving state by the one before and by the input.

    Batch items do not see each other, so one backward pass over as many copies as the state has numbers gives
    all rows.

    Parameters
    ----------
    model
        The members.
    state
        Where to take them: tensors (member, point, …).
    x
        Input of the step, (member, point, channel).

    Returns
    -------
    by_state
        (member, point, state, state): entry (i, j) is the change of number i of the next state with number j.
    by_input
        (member, point, state, channel).
    """
    size = sum(moving_state(model, state).values())
    row_bytes = x.element_size() * sum(tensor[0, 0].numel() for tensor in state.values())
    points = max(1, min(COPIES, STATE_BYTES // row_bytes) // (x.shape[0] * size))
    blocks = [slice(first, first + points) for first in range(0, x.shape[1], points)]
    results = [_jacobians(model, {n: s[:, block] for n, s in state.items()}, x[:, block]) for block in blocks]
    by_state, by_input = (torch.cat(matrices, dim=1) for matrices in zip(*results, strict=True))
    return by_state, by_input


@torch.enable_grad()
def _jacobians(model: Model, state: State, x: Tensor) -> tuple[Tensor, Tensor]:
    joined = join(model, state)
    points, size = joined.shape[1:]
    copies, inputs = (_repeated(t, size).detach().requires_grad_() for t in (joined, x))
    _, following, _ = model(
        inputs[:, :, None], part(model, copies, {n: _repeated(s, size) for n, s in state.items()})
    )
    rows = join(model, following).unflatten(1, (points, size)).diagonal(dim1=2, dim2=3)
    by_state, by_input = torch.autograd.grad(
        rows.sum(), (copies, inputs), allow_unused=True, materialize_grads=True
    )
    return by_state.unflatten(1, (points, size)), by_input.unflatten(1, (points, size))


def _repeated(tensor: Tensor, copies: int) -> Tensor:
    """Return ``copies`` copies of each point, one after the other: (member, point · copy, …)."""
    return tensor.repeat_interleave(copies, dim=1)


def advance(model: Model, state: State, x: Tensor) -> Tensor:
    """Return the moving state after a step with input ``x`` (member, point, channel)."""
    _, following, _ = model(x[:, :, None], state)
    return join(model, following)
