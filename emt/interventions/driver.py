"""Runs that are cut between steps, so that the state there can be changed; the steps after it follow by themselves."""

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor

from emt.interventions.states import StateEdit
from emt.models.base import Context, Model, State


@torch.no_grad()
def run_edited(
    model: Model, inputs: Tensor, steps: int, context: Context, states: Mapping[int, StateEdit]
) -> tuple[Tensor, State]:
    """Run members over a batch and change their state before some steps.

    The run starts from no state, not from a state of zeros, which some models take another form for. Without
    edits it is one call of `Model.forward`. A run that is cut differs from one that is not by rounding; so
    the run to compare with is one with the same cuts (`emt.interventions.states.unchanged`).

    Parameters
    ----------
    model
        The members.
    inputs
        (member, batch, time, channel), or ids (member, batch, time); steps after them are silent.
    steps
        Number of steps.
    context
        What the model is told, each (member, batch, time).
    states
        Edits by the step that they precede, from 0 to ``steps`` - 1.

    Returns
    -------
    outputs, state
        (member, batch, time, output), and the state after the last step.
    """
    state: State | None = None
    pieces = []
    for first, last in pairwise(sorted({0, *states, steps})):
        if first in states:
            before = model.zero_state(inputs) if state is None else state
            state = {**before, **states[first](before)}
        outputs, state = run_between(model, inputs, context, state, first, last)
        pieces.append(outputs)
    assert state is not None
    return torch.cat(pieces, dim=2), state


@torch.no_grad()
def run_between(
    model: Model, inputs: Tensor, context: Context, state: State | None, first: int, last: int
) -> tuple[Tensor, State]:
    """Run the steps from ``first`` to before ``last`` from a state on; see `run_edited`."""
    part = {name: values[:, :, first:last] for name, values in context.items()}
    outputs, after, _ = model(shown(inputs, first, last), state, last - first, part)
    return outputs, after


class UneditedRun:
    """Members over a batch without edits: the state after any number of steps, found from that of the last call."""

    def __init__(self, model: Model, inputs: Tensor, context: Context) -> None:
        self.model, self.inputs, self.context = model, inputs, context
        self.reached: tuple[int, State | None] = (0, None)

    def state(self, after: int) -> State:
        """Return the state after so many steps, at least one."""
        done, state = self.reached if self.reached[0] <= after else (0, None)
        if done < after or state is None:
            _, state = run_between(self.model, self.inputs, self.context, state, done, after)
        self.reached = after, state
        return state


def shown(inputs: Tensor, first: int, last: int) -> Tensor:
    """Return inputs (member, batch, time, …) of some steps; at least one, which may be silent."""
    there = inputs[:, :, first:last]
    if there.shape[2]:
        return there
    silent = inputs.new_zeros(()) if inputs.is_floating_point() else inputs.new_full((), -1)
    return silent.expand(*inputs.shape[:2], 1, *inputs.shape[3:])
