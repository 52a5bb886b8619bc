"""Agents at work: members act step by step in the environment of a batch, and the batch becomes what they did.

Learning needs no acting: given what was done, a run over the whole episode has the outputs that were seen while
acting, and its gradient is that of the kept graph, since none passes through the environment.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from emt.models.base import Model, Stepper
from emt.tasks.base import Batch


@torch.no_grad()
def played(batch: Batch, model: Model, stepper: Callable[[int], Stepper], members: int) -> Batch:
    """Return a batch as members of a stack play it; one that waits for no actions, as it is.

    Parameters
    ----------
    batch
        The batch of these members, or of one member: then all of them have the same episodes and chances.
    model
        The stack, for its float type and device.
    stepper
        `Model.stepper`, or the like for some of its members.
    members
        How many play.
    """
    if batch.environment is None:
        return batch
    step = stepper(batch.environment.steps)

    def choose(inputs: NDArray[np.float32], events: Mapping[str, NDArray[np.int64]]) -> NDArray[Any]:
        told = {name: torch.tensor(events[name]) for name in model.context if name in events}
        context = {name: event.to(model.like.device).unsqueeze(2) for name, event in told.items()}
        outputs = step(torch.tensor(inputs).to(model.like).unsqueeze(2), context)
        return outputs.squeeze(2).cpu().numpy()

    return batch.environment.play(choose, members)


def played_by(model: Model, batch: Batch) -> Batch:
    """Return a batch as all members of a stack play it; one that waits for no actions, as it is."""
    return played(batch, model, model.stepper, model.members)
