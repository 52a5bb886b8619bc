"""The portrait of loaded members: points, Jacobians and exponents, as arrays for `emt.dynamics_file`.

Searches start from recorded states, from places between two of them, and from such places with noise, at
input zero. What lies between states in which a network rests is where the saddles are. Memory contents are
held constant at their value after the first recorded sequence, or belong to the moving state.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from emt import dynamics_file
from emt.acting import played_by
from emt.dynamics import STARTS
from emt.dynamics.exponents import changed_exponents, steady_weights
from emt.dynamics.points import FIXED_SPEED, SLOW_SPEED, Search, StepMap, find_points, merge_points
from emt.errors import UserError
from emt.jacobians import join, moving_state
from emt.models.base import Context, Model, State
from emt.record import Loaded, states_of, to_array, to_tensors
from emt.streams import stream
from emt.tasks.base import Batch

NOISE = 0.3
"""Noise on a third of the starts, in standard deviations over the recorded states, number by number."""

MERGE_DISTANCE = 1e-2
"""Points that are nearer than this many spreads are one."""

MOST_POINTS = 64
"""Points of a member that are kept, in the order of the searches that found them."""

LARGEST_STATE = 1024
"""A search inverts matrices of the size of the moving state, some thousand times for each member."""

EXPONENTS, SEQUENCES, SILENT_STEPS = 32, 4, 1000
"""Leading exponents; runs they are taken along, and their steps without input after the recorded ones.

So many steps bring those of random linear networks of up to 32 units within 1e-3 of what they are.
"""


@dataclass(frozen=True)
class Run:
    """A recorded run in float64.

    Attributes
    ----------
    inputs
        (member, batch, time, channel).
    context
        What the model was told beside, each (member, batch, time).
    moving
        The moving state after each step, (member, batch, time, state).
    last
        The whole state after the last step, (member, batch, …).
    """

    inputs: Tensor
    context: Context
    moving: Tensor
    last: State

    @property
    def states(self) -> Tensor:
        """The moving states of all sequences and steps, (member, visit, state)."""
        return self.moving.flatten(1, 2)

    @property
    def spread(self) -> Tensor:
        """Root mean square distance of the states from their mean, (member,)."""
        return self.states.var(dim=1, correction=0).sum(dim=-1).sqrt()


def held_contents(model: Model, moving: str) -> list[str]:
    """Return the tensors of the state that are held constant: with ``moving`` "whole" only what counts and flags.

    Raises
    ------
    UserError
        If the whole state should move, and some of it has no derivatives.
    """
    if moving != "whole":
        return list(model.held_state)
    zero = model.zero_state(model.like.new_zeros(model.members, 1, 1))
    held = [name for name in model.held_state if name not in model.smooth_state]
    if rough := [name for name in held if zero[name].is_floating_point()]:
        raise UserError(
            f"expected a model whose whole state changes smoothly; in this one {', '.join(rough)} do not",
            parameter="moving",
        )
    return held


def state_size(model: Model, held: Sequence[str]) -> int:
    """Return how many numbers the moving state of a member has where these tensors are held constant."""
    zero = model.zero_state(model.like.new_zeros(model.members, 1, 1))
    moving = [name for name in model.state_dims if name not in held and zero[name].is_floating_point()]
    return sum(zero[name][0, 0].numel() for name in moving)


def describe(
    loaded: Loaded,
    batch: Batch,
    about: dict[str, Any],
    held: Sequence[str] | None = None,
    starts: int | None = None,
) -> xr.Dataset:
    """Return the portrait of all members.

    Parameters
    ----------
    loaded
        The members.
    batch
        One batch, (1, batch, time, …): the run whose states searches start from.
    about
        What the portrait says of itself beside model, seeds and tolerances.
    held
        Tensors of the state that are held constant (`held_contents`); without it the model's ``held_state``.
    starts
        Searches of each member; None for `STARTS`.

    Raises
    ------
    UserError
        If the moving state is too large.
    """
    model = copy.deepcopy(loaded.model).double()
    if held is not None:
        model.held_state = tuple(held)
    run = run_members(loaded, model, batch)
    if run.moving.shape[-1] > LARGEST_STATE:
        raise UserError(
            f"expected a model of which at most {LARGEST_STATE} numbers move; got {run.moving.shape[-1]}",
            parameter="loaded",
        )
    first = {name: tensor[:, :1] for name, tensor in run.last.items()}
    step = StepMap(model, first, model.silence(run.inputs.shape[-1])[:, None])
    visited, begun = choose_starts(run.states, model.seeds, STARTS if starts is None else starts)
    search = find_points(step, begun)
    arrays = _describe_points(step, search, run, loaded.numbers)
    arrays |= {"spread": run.spread, "visited": visited.float()}
    arrays["exponent"], arrays["exponent_change"] = _exponents(model, run)
    return dynamics_file.make(
        {name: to_array(tensor) for name, tensor in arrays.items()},
        list(loaded.numbers),
        {
            **{name: loaded.labels[name] for name in ("model", "experiment", "seeds")},
            "states": moving_state(model, run.last),
            "held": list(model.held_state),
            "searches": search.speed.shape[1],
            "fixed_speed": FIXED_SPEED,
            "slow_speed": SLOW_SPEED,
            "merge_distance": MERGE_DISTANCE,
            **about,
        },
    )


@torch.no_grad()
def run_members(loaded: Loaded, model: Model, batch: Batch) -> Run:
    """Run members step by step on one batch that all of them see."""
    batch = played_by(loaded.model, batch)
    _, context = to_tensors(loaded, batch)
    channels = torch.tensor(batch.padded_inputs(loaded.task.input_channels)).to(loaded.device).double()
    inputs = channels.expand(model.members, -1, -1, -1)
    moving: list[Tensor] = []
    state: State = {}
    for state in states_of(model, inputs, batch.steps, context):
        moving.append(join(model, state))
    return Run(inputs, context, torch.stack(moving, dim=2), state)


def choose_starts(states: Tensor, seeds: tuple[int, ...], count: int) -> tuple[Tensor, Tensor]:
    """Return ``count`` recorded states of each member, and starts made of them, both (member, start, state).

    Of each three starts one is a recorded state h, one h + u (h' − h) with another state h' and u from 0 to
    1, and one such a place with noise.
    """
    chosen = [_choose_starts(own, seed, count) for own, seed in zip(states, seeds, strict=True)]
    visited, starts = (torch.stack(tensors) for tensors in zip(*chosen, strict=True))
    return visited, starts


def _choose_starts(states: Tensor, seed: int, count: int) -> tuple[Tensor, Tensor]:
    generator = stream("dynamics.start", seed, "test", 0)
    first, second = states[torch.tensor(generator.integers(len(states), size=(2, count))).to(states.device)]
    between, noisy = (torch.tensor(np.arange(count) % 3 >= k).to(states)[:, None] for k in (1, 2))
    way = torch.tensor(generator.random((count, 1))).to(states)
    noise = torch.tensor(generator.standard_normal(first.shape)).to(states) * states.std(dim=0)
    return first, first + between * way * (second - first) + noisy * NOISE * noise


def _describe_points(step: StepMap, search: Search, run: Run, numbers: tuple[int, ...]) -> dict[str, Tensor]:
    """Return what a portrait has for each point, and ``found`` of each member."""
    merged = [merge_points(search, m, MERGE_DISTANCE * float(s)) for m, s in enumerate(run.spread)]
    kept = [first[:MOST_POINTS] for first, _ in merged]
    # As many columns for all members, so that their Jacobians are taken at once; the surplus is dropped again.
    width = max(1, *(len(k) for k in kept))
    padded = torch.stack([torch.cat([k, k.new_zeros(width - len(k))]) for k in kept])
    own = torch.arange(width) < torch.tensor([len(k) for k in kept])[:, None]
    at = torch.arange(len(kept))[:, None], padded
    position = search.position[at]
    by_state, by_input = step.jacobians(position)
    distance = torch.cdist(position, run.states).amin(dim=-1) / run.spread[:, None]
    described = {
        "position": position,
        "speed": search.speed[at],
        "distance": distance,
        "jacobian": by_state.float(),
        "input_jacobian": by_input.float(),
    }
    return {
        "found": torch.tensor([len(first) for first, _ in merged]),
        "owner": torch.tensor(numbers).repeat_interleave(own.sum(dim=1)),
        "hits": torch.cat([hits[:MOST_POINTS] for _, hits in merged]),
        **{name: tensor[own] for name, tensor in described.items()},
    }


def _exponents(model: Model, run: Run) -> tuple[Tensor, Tensor]:
    """Return exponents along recorded inputs and in silence after them, (member, drive, sequence, rank), and changes.

    Weights are known to single precision. A change of that size in all Jacobians, as large as their norm
    times 2⁻²⁴, says which exponents this leaves open.
    """
    inputs = run.inputs[:, :SEQUENCES]
    context = {name: values[:, :SEQUENCES] for name, values in run.context.items()}
    take = partial(changed_exponents, model, count=EXPONENTS, changes=(0.0, dynamics_file.PRECISION))
    driven = take(model.zero_state(inputs), inputs, context)
    silence = model.silence(inputs.shape[-1])[:, None, None].expand(-1, inputs.shape[1], SILENT_STEPS, -1)
    last = {name: tensor[:, :SEQUENCES] for name, tensor in run.last.items()}
    silent = take(last, silence, weights=steady_weights(SILENT_STEPS))
    exact, changed = torch.stack([driven, silent], dim=2)
    # Both are -infinity where a step erases all perturbations.
    return exact, torch.where(exact == changed, 0.0, (exact - changed).abs())
