"""How often trained members recall: at the trained length and longer ones, and with the convolution cut."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from emt.config import RunConfig
from emt.models.short_convolution import ShortConvolution
from emt.record import Loaded, load_members
from experiments.rates import answers

LONG = {"induction": (2, 4, 8)}
"""Lengths beside the trained one, as multiples of it, by task; recall of more pairs is another task."""


def measure(folder: Path, config: RunConfig, numbers: list[int], rows: int) -> dict[str, NDArray[np.float64]]:
    """Return accuracies of finished members on the same held-out rows, (member,) each.

    ``accuracy`` is at the trained length, ``accuracy_x2`` and so on at multiples of it; ``accuracy_cut`` is that of
    members whose convolutions, if there are any, have lost every tap but that of a step's own token.
    """
    loaded = load_members(folder, config, numbers)
    length, seed = loaded.task.lengths[0], config.training.seed
    measured = {"accuracy": accuracy_of(loaded, length, seed, rows)}
    for factor in LONG.get(config.task_name, ()):
        measured[f"accuracy_x{factor}"] = accuracy_of(loaded, factor * length, seed, rows)
    if cut_convolutions(loaded):
        measured["accuracy_cut"] = accuracy_of(loaded, length, seed, rows)
    return measured


def accuracy_of(loaded: Loaded, length: int, seed: int, rows: int) -> NDArray[Any]:
    """Return the share of right answers of each member, (member,)."""
    batch = loaded.task.test_batch(seed, length, 1, rows)
    scored = torch.from_numpy(batch.scored)
    right = sum(correct.sum(dim=(1, 2)) for _, _, correct, _ in answers(loaded, batch))
    assert isinstance(right, torch.Tensor)
    return np.asarray((right.double() / scored.sum()).numpy())


@torch.no_grad()
def cut_convolutions(loaded: Loaded) -> bool:
    """Set all taps of convolutions but the last, that of a step's own token, to zero; whether there are any."""
    convolutions = [module for module in loaded.model.modules() if isinstance(module, ShortConvolution)]
    for convolution in convolutions:
        convolution.filters[:, :-1] = 0
    return bool(convolutions)
