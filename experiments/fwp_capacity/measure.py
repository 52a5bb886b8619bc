"""Losses of trained members on new sequences: over all keys alike, and as the published program averages them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from emt.config import RunConfig
from emt.record import load_members, to_tensors

FIRST, SPLIT = 200, 32
"""The published evaluation asks for so many keys at most, and averages means of so many."""


@dataclass(frozen=True)
class Losses:
    """Mean losses of each member, (member,): ``clean`` over all keys asked, ``published`` as published."""

    clean: NDArray[np.float64]
    published: NDArray[np.float64]


@torch.no_grad()
def measure(folder: Path, config: RunConfig, numbers: list[int], pairs: int, sequences: int) -> Losses:
    """Run finished members on new sequences of so many pairs, each member on the same."""
    loaded = load_members(folder, config, numbers)
    clean, published = [], []
    for number in range(sequences):
        batch = loaded.task.test_batch(config.training.seed + number, pairs, 1, 1)
        inputs, context = to_tensors(loaded, batch)
        outputs = loaded.model(inputs, None, batch.steps, context)[0][:, 0]
        asked = batch.scored[0, 0]
        answers, classes = outputs[:, asked], torch.from_numpy(batch.targets[0, 0, asked])
        right = answers.gather(-1, classes.expand(len(numbers), -1).unsqueeze(-1)).squeeze(-1)
        losses = ((answers.square().sum(dim=-1) + 1) / 2 - right).double().numpy()
        clean.append(losses)
        published.append(published_mean(losses))
    # Sequences of repeated keys have different numbers of them.
    return Losses(np.concatenate(clean, axis=1).mean(axis=1), np.mean(published, axis=0))


def published_mean(losses: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what the published program reports of a sequence's losses (…, key), keys in the order of their ids.

    It asks for the first 200 keys only, and takes an unweighted mean of the means of splits of 32: for 100
    keys the last four count for a quarter.
    """
    asked = losses[..., :FIRST]
    splits = [asked[..., i : i + SPLIT].mean(axis=-1) for i in range(0, asked.shape[-1], SPLIT)]
    return np.asarray(np.mean(splits, axis=0))
