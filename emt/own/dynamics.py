"""Fixed points and exponents of one's own networks."""

import copy
from typing import Any

import torch
import xarray as xr

from emt import dynamics_file
from emt.dynamics.describe import describe
from emt.errors import UserError, renamed
from emt.own.networks import OwnNetworks, in_evaluation_mode
from emt.progress import Progress
from emt.record import Loaded
from emt.tasks.base import Batch


def describe_networks(
    loaded: Loaded, batch: Batch, about: dict[str, Any], starts: int | None = None
) -> xr.Dataset:
    """Return `emt.dynamics.describe.describe` of networks that were not trained here, one after the other.

    Raises
    ------
    UserError
        If nothing of the state moves, nobody said what no input is, a step does not compute in double precision, or
        a state is too large.
    """
    stack = loaded.model
    assert isinstance(stack, OwnNetworks)
    if set(stack.state_dims) <= set(stack.held_state):
        raise UserError("dynamics: expected a state that moves; all of it is held constant (held)")
    stack.silence(0)
    parts = []
    with in_evaluation_mode(stack.networks), Progress("networks", total=stack.members) as progress:
        _check_precision(stack)
        for place, number in enumerate(loaded.numbers):
            labels = {**loaded.labels, "seeds": loaded.labels["seeds"][place : place + 1]}
            one = Loaded(stack.of_member(place), loaded.task, (number,), labels)
            with renamed({"loaded": "networks"}):
                parts.append(describe(one, batch, about, starts=starts))
            progress.update(place + 1)
    return dynamics_file.join(parts)


@torch.no_grad()
def _check_precision(stack: OwnNetworks) -> None:
    """Refuse a function that computes in single precision whatever it is given: a module would be cast."""
    exact = copy.deepcopy(stack).double()
    x = exact.example.expand(1, 1, -1)
    for place in range(exact.members):
        try:
            tensors = exact.run(place, x, None).last.values()
            found = {t.dtype for t in tensors if t.is_floating_point()} - {torch.float64}
        except RuntimeError:
            found = {torch.float32}
        if found:
            raise UserError(
                "dynamics: expected a step that computes in float64 when its input is; got "
                f"{str(found.pop()).removeprefix('torch.')} (make it an nn.Module, or cast its weights)"
            )
