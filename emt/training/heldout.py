"""Loss and accuracy of finished members on held-out batches."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from emt import runs
from emt.config import RunConfig
from emt.devices import choose_device
from emt.training.chunk import build


def measure_members(
    experiment: Path, config: RunConfig, numbers: Sequence[int], batches: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return loss and accuracy, (member,) each, on the first ``batches`` batches of the members' test splits.

    A member's figures are those of the weights in its folder. Where the task's data are a stream each member
    has a test split of its own.

    Raises
    ------
    UserError
        If a member's weight file is missing or damaged.
    """
    torch.set_num_threads(1)
    stack = build(config, tuple(numbers))
    for position, number in enumerate(numbers):
        stack.model.load(position, runs.read_weights(runs.model_folder(experiment, number))[0])
    stack.model.to(choose_device(config.execution.accelerator))
    return stack.measure("test", batches, np.arange(len(numbers)))
