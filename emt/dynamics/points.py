"""Fixed and slow points of all members at once.

From many starts the speed q(h) = ½|F(h, x) − h|² (Sussillo & Barak 2013, eq. 1) is minimised at constant
input x by Levenberg–Marquardt steps. Being steps for the equation F(h, x) = h they end in saddles as readily
as in stable points. A point is *fixed* where q is below `FIXED_SPEED`, *slow* where q has a minimum below
`SLOW_SPEED`; elsewhere a search found nothing.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from emt.jacobians import advance, jacobians, part
from emt.models.base import Model, State

FIXED_SPEED = 1e-14
"""Largest q of a fixed point: a step changes the state by 1e-7, the rounding of a float32 number near 1."""

SLOW_SPEED = 1e-4
"""Largest q of a slow point: the state needs 70 steps for a way of length 1."""

LARGEST_SEARCH = 200
"""Steps of a search; one that has found no minimum by then found none."""

_EXACT_SPEED = 1e-28
"""A search ends here: the square of float64's rounding."""

_SMALLEST_STEP = 1e-9
_DAMPING, _LARGEST_DAMPING = 1e-2, 1e8
_BLOCK_BYTES = 2**28
"""Jacobians held in memory at a time."""


@dataclass(frozen=True)
class Search:
    """Where searches ended.

    Attributes
    ----------
    position
        (member, start, state).
    speed
        q there, (member, start).
    settled
        Whether q has a minimum there, (member, start).
    """

    position: Tensor
    speed: Tensor
    settled: Tensor

    @property
    def fixed(self) -> Tensor:
        """Whether a search ended in a fixed point, (member, start)."""
        return self.speed < FIXED_SPEED

    @property
    def slow(self) -> Tensor:
        """Whether a search ended in a slow point, (member, start)."""
        return ~self.fixed & self.settled & (self.speed < SLOW_SPEED)


class Step(Protocol):
    """One step as a map F of positions (member, point, state), each by itself."""

    def displacement(self, position: Tensor) -> Tensor:
        """Return F(h) − h, (member, point, state)."""

    def linearised(self, position: Tensor) -> tuple[Tensor, Tensor]:
        """Return F(h) − h, and ∂F/∂h (member, point, state, state)."""


@dataclass(frozen=True)
class StepMap:
    """One step of a stack of models as a map of the moving state.

    Attributes
    ----------
    model
        The members.
    held
        A state (member, 1, …): its memories are held constant.
    x
        Constant input, (member, 1, channel).
    """

    model: Model
    held: State
    x: Tensor

    def at(self, position: Tensor) -> tuple[State, Tensor]:
        """Return state and input (member, point, …) at positions (member, point, state)."""
        points = position.shape[1]
        held = {name: tensor.expand(-1, points, *tensor.shape[2:]) for name, tensor in self.held.items()}
        return part(self.model, position, held), self.x.expand(-1, points, -1)

    def displacement(self, position: Tensor) -> Tensor:
        """Return F(h, x) − h, (member, point, state)."""
        return advance(self.model, *self.at(position)) - position

    def linearised(self, position: Tensor) -> tuple[Tensor, Tensor]:
        """Return F(h, x) − h and ∂F/∂h."""
        return self.displacement(position), self.jacobians(position)[0]

    def jacobians(self, position: Tensor) -> tuple[Tensor, Tensor]:
        """Return ∂F/∂h and ∂F/∂x; see `emt.jacobians.jacobians`."""
        return jacobians(self.model, *self.at(position))


@torch.no_grad()
def find_points(step: Step, starts: Tensor) -> Search:
    """Search from starts (member, start, state) for the minima of the speed nearest to them."""
    members, _, size = starts.shape
    blocks = starts.split(max(1, _BLOCK_BYTES // (members * size**2 * starts.element_size())), dim=1)
    return joined(search_block(step, block) for block in blocks)


def joined(searches: Iterable[Search]) -> Search:
    """Return searches of the same members as one."""
    return Search(*(torch.cat(p, dim=1) for p in zip(*(vars(s).values() for s in searches), strict=True)))


@torch.no_grad()
def search_block(step: Step, starts: Tensor, tick: Callable[[int], None] | None = None) -> Search:
    """Search from starts (member, start, state) at once; ``tick`` is told after each step how many have ended."""
    position, speed = starts.clone(), speed_of(step.displacement(starts))
    damping, settled = torch.full_like(speed, _DAMPING), torch.zeros_like(speed, dtype=torch.bool)
    member = torch.arange(len(starts), device=starts.device)[:, None]
    for _ in range(LARGEST_SEARCH):
        unsettled = int((~settled).sum(dim=1).max())
        if unsettled == 0:
            break
        # Each member's searches that go on, and some that have ended where it has fewer than others.
        chosen = member, settled.int().argsort(dim=1, stable=True)[:, :unsettled]
        here, over = position[chosen], settled[chosen]
        move = _damped_step(step, here, damping[chosen])
        after = speed_of(step.displacement(here + move))
        # What has ended stays where it is, so that no member's points depend on the others in the stack.
        better = (after < speed[chosen]) & ~over
        position[chosen] = torch.where(better[..., None], here + move, here)
        speed[chosen] = torch.where(better, after, speed[chosen])
        damping[chosen] *= torch.where(better, 0.2, 4.0)
        still = better & (move.norm(dim=-1) < _SMALLEST_STEP * (1 + here.norm(dim=-1)))
        settled[chosen] |= still | (speed[chosen] < _EXACT_SPEED) | (damping[chosen] > _LARGEST_DAMPING)
        if tick:
            tick(int(settled.sum()))
    return Search(position, speed, settled)


def speed_of(displacement: Tensor) -> Tensor:
    """Return q = ½|F(h, x) − h|², (member, point)."""
    return displacement.square().sum(dim=-1) / 2


def _damped_step(step: Step, position: Tensor, damping: Tensor) -> Tensor:
    """Return −(AᵀA + μ I)⁻¹ Aᵀ r with r = F(h) − h, A = ∂F/∂h − I and the damping μ (Marquardt 1963)."""
    identity = torch.eye(position.shape[-1], dtype=position.dtype, device=position.device)
    displacement, jacobian = step.linearised(position)
    matrix = jacobian - identity
    downhill = matrix.mT @ displacement[..., None]
    # Where a state has run away to infinity the result is not finite, no better, and so the search's end.
    solved, _ = torch.linalg.solve_ex(matrix.mT @ matrix + damping[..., None, None] * identity, downhill)
    return -solved.squeeze(-1)


def merge_points(search: Search, member: int, radius: float) -> tuple[Tensor, Tensor]:
    """Return which searches of a member found points of their own, and how many ended at each of these points.

    Parameters
    ----------
    search
        The searches.
    member
        Place in the stack.
    radius
        Ends that are nearer to each other are one point: the first start's, fixed before slow ones.

    Returns
    -------
    first, hits
        Both (point,).
    """
    ends = torch.cat([kind[member].nonzero().flatten() for kind in (search.fixed, search.slow)])
    first, owner = merge(search.position[member, ends], radius)
    return ends[first], owner.bincount(minlength=len(first))


def merge(positions: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    """Return which positions (end, state) are points of their own, and to which of these each belongs, (end,).

    Each is the first's point that is within ``radius`` of it and belongs to no earlier one.
    """
    owner, first = torch.full((len(positions),), -1, device=positions.device), list[int]()
    while (free := owner < 0).any():
        place = int(free.int().argmax())
        owner[free & ((positions - positions[place]).norm(dim=-1) <= radius)] = len(first)
        first.append(place)
    return torch.tensor(first, dtype=torch.int64, device=positions.device), owner
