"""What a task offers: batches as a pure function of (seed, split, step), how they are scored, and its theory."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from emt.streams import Split

Loss = Literal["mse", "cross_entropy"]

ACCURACY: dict[Loss, Literal["sign", "argmax"]] = {"mse": "sign", "cross_entropy": "argmax"}
"""When an output is right: each number has its target's sign, or the largest one is where the target's is."""


@dataclass(frozen=True)
class Batch:
    """One batch for each member of a group, axes (member, batch, time, …).

    Attributes
    ----------
    inputs
        (member, batch, input time, channel), float32. May cover fewer steps than ``targets``: later inputs are zero.
    targets
        (member, batch, time, target), float32.
    scored
        (member, batch, time), bool: the steps that enter loss and accuracy.
    events
        Integer arrays (member, batch, time), −1 for none: ``token``, ``phase`` (0 items are shown, 1 answers are due),
        ``written`` and ``asked`` items, ``trial``.
    """

    inputs: NDArray[np.float32]
    targets: NDArray[np.float32]
    scored: NDArray[np.bool_]
    events: dict[str, NDArray[np.int64]] = field(default_factory=dict)

    @property
    def steps(self) -> int:
        """Number of time steps, silent ones included."""
        return self.targets.shape[2]

    @property
    def sequences(self) -> int:
        """Number of sequences of each member; 0 where a split has come to its end."""
        return self.targets.shape[1]

    def padded_inputs(self) -> NDArray[np.float32]:
        """Return the inputs of all steps, (member, batch, time, channel)."""
        missing = self.steps - self.inputs.shape[2]
        return np.pad(self.inputs, [(0, 0), (0, 0), (0, missing), (0, 0)])


class Task(Protocol):
    """What training, recording and evaluation ask of a task.

    Attributes
    ----------
    input_channels, output_channels
        Sizes of a model's input and output.
    loss
        Name of the loss; the accuracy goes with it (`ACCURACY`).
    curriculum
        Whether ``horizon`` changes the batches, so that a curriculum over horizons makes sense.
    epoch_batches
        Default number of training batches in one epoch.
    lengths
        The sequence lengths that batches may have.
    tokens
        What the ids of the event ``token`` stand for; empty where inputs are no tokens.
    """

    input_channels: int
    output_channels: int
    loss: Loss
    curriculum: bool
    epoch_batches: int
    lengths: tuple[int, ...]
    tokens: tuple[str, ...]

    def shape(self, seed: int, split: Split, step: int, horizon: int) -> Hashable:
        """Return the time shape of a member's batch; members with equal shapes can share a stack."""
        ...

    def batch(self, seeds: Sequence[int], split: Split, step: int, shape: Hashable, size: int) -> Batch:
        """Return the batches of members that share a shape, ``size`` sequences each."""
        ...

    def test_batch(self, seed: int, length: int, horizon: int, size: int) -> Batch:
        """Return a held-out batch, one member wide, of one sequence length; ``horizon`` where the task has one."""
        ...

    def operator(self, length: int) -> NDArray[np.float64] | None:
        """Return f, (length · d, d): next vector = window @ f; None where the task has no linear operator."""
        ...
