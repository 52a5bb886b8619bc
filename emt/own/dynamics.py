"""Fixed points and exponents of one's own networks."""

import copy
from typing import Any

import torch
import xarray as xr

from emt.dynamics.describe import describe
from emt.errors import UserError, renamed
from emt.own.networks import OwnNetworks, in_evaluation_mode
from emt.record import Loaded
from emt.tasks.base import Batch


def describe_networks(loaded: Loaded, batch: Batch, about: dict[str, Any]) -> xr.Dataset:
    """Return `emt.dynamics.describe.describe` of networks that were not trained here.

    Raises
    ------
    UserError
        If nobody said what no input is, a step does not compute in double precision, or a state is too large.
    """
    stack = loaded.model
    assert isinstance(stack, OwnNetworks)
    stack.silence(0)
    with in_evaluation_mode(stack.networks):
        _check_precision(stack)
        with renamed({"loaded": "networks"}):
            return describe(loaded, batch, about)


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
