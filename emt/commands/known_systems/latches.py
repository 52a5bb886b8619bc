"""Three latches as an Elman network with weights by hand, and the search of their fixed points (torch)."""

import numpy as np
import torch
from numpy.typing import NDArray

from emt.dynamics.points import StepMap, find_points, merge_points
from emt.models.elman import Elman

LATCHES = 3
HELD = 0.9575040240772687
"""The positive solution of h = tanh(2 h)."""


def find_latches(starts: int = 400) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the Jacobians (point, state, from_state) and positions (point, state) of all fixed points found."""
    model = Elman([0], 2, 1, hidden_dim=LATCHES).double().requires_grad_(False)
    model.w_rec[:] = 2 * torch.eye(LATCHES, dtype=torch.float64)
    like = torch.zeros(1, 1, 2, dtype=torch.float64)
    step = StepMap(model, model.zero_state(like[:, :, None]), like)
    draw = np.random.default_rng(13).uniform(-1.3, 1.3, (1, starts, LATCHES))
    search = find_points(step, torch.tensor(draw))
    first, _ = merge_points(search, 0, 1e-2)
    position = search.position[:, first]
    return step.jacobians(position)[0][0].numpy(), position[0].numpy()
