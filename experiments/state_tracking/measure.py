"""What a trained member does on longer words than it was trained on, and which eigenvalues its steps have."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from emt.config import RunConfig
from emt.record import Loaded, load_members
from experiments.rates import answers

LONG = 6
"""Words are tested at the length of training and at so many times it."""


@dataclass(frozen=True)
class Measured:
    """What members do.

    Attributes
    ----------
    accuracy
        Share of right answers at each step of long words, (member, time).
    eigenvalue
        The smallest eigenvalue 1 − β ‖k‖² of any head, a mean over steps with the same token, (member, token);
        None for models whose memory erases nothing.
    """

    accuracy: NDArray[np.float64]
    eigenvalue: NDArray[np.float64] | None


def measure(folder: Path, config: RunConfig, numbers: list[int], words: int) -> Measured:
    """Run finished members on the same held-out words."""
    loaded = load_members(folder, config, numbers)
    length = LONG * loaded.task.lengths[0]
    batch = loaded.task.test_batch(config.training.seed, length, 1, words)
    right: NDArray[np.float64] = np.zeros((len(numbers), length))
    eigenvalues = []
    for _, inputs, correct, log in answers(loaded, batch):
        right += correct.sum(dim=1).double().numpy()
        if "memory/fast/write_erase" in log and log["memory/fast/write_erase"].any():
            eigenvalues.append(_smallest(loaded, inputs, log))
    eigenvalue = np.mean(eigenvalues, axis=0) if eigenvalues else None
    return Measured(right / words, eigenvalue)


def _smallest(loaded: Loaded, inputs: Tensor, log: dict[str, Tensor]) -> NDArray[np.float64]:
    """Return the mean eigenvalue at each token of the head where it is smallest, (member, token)."""
    key, erase = log["memory/fast/write_key"], log["memory/fast/write_erase"]
    value = 1 - erase * key.square().sum(dim=-1)
    tokens = []
    for token in range(loaded.task.input_channels):
        there = (inputs == token).to(value)
        there = there if value.ndim == there.ndim else there.unsqueeze(-1)
        mean = (value * there).sum(dim=(1, 2)) / there.sum(dim=(1, 2))
        tokens.append(mean if mean.ndim == 1 else mean.amin(dim=-1))
    return torch.stack(tokens, dim=1).double().numpy()
