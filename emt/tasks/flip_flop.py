"""Flip-flop (Sussillo & Barak 2013): each output holds the sign of the last pulse in its own input channel.

A network that solves it with B bits needs 2^B states to rest in, and ways between them, so the task is a test
of methods that find fixed points.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from emt.streams import Split, stream
from emt.tasks.base import Batch


class FlipFlop:
    """Flip-flop: every bit holds the sign of its channel's last pulse; pulses are -1 or +1, rare and random.

    Parameters
    ----------
    bits
        channels and outputs.
    steps
        time steps in a sequence; all channels have a pulse at the first.
    pulse_rate
        probability of a pulse, for each channel and step.
    """

    loss: Literal["mse"] = "mse"
    curriculum = False
    epoch_batches = 500
    tokens: tuple[str, ...] = ()
    loss_options: Mapping[str, float] = {}
    carries = False

    def __init__(
        self,
        *,
        bits: Annotated[int, Field(ge=1)] = 3,
        steps: Annotated[int, Field(ge=1)] = 48,
        pulse_rate: Annotated[float, Field(ge=0, le=1)] = 0.15,
    ) -> None:
        self.steps, self.pulse_rate = steps, pulse_rate
        self.input_channels = self.output_channels = bits
        self.lengths = (steps,)

    def operator(self, length: int) -> None:
        """Return None: the task has no linear operator."""

    def shape(self, seed: int, split: Split, step: int, horizon: int) -> int:
        """Return the number of steps, the same for all batches."""
        return self.steps

    def batch(self, seeds: Sequence[int], split: Split, step: int, shape: int, size: int) -> Batch:
        """Return one batch of ``shape`` steps for each seed."""
        pulses = np.stack(
            [self._pulses(seed, split, step, (size, shape, self.input_channels)) for seed in seeds]
        )
        full = pulses.shape[:3]
        return Batch(
            inputs=pulses,
            answers=held_signs(pulses),
            scored=np.ones(full, bool),
            events={"phase": np.ones(full, np.int64), "trial": np.zeros(full, np.int64)},
        )

    def test_batch(self, seed: int, length: int, horizon: int, size: int) -> Batch:
        """Return a held-out batch of sequences of ``length`` steps, one member wide."""
        return self.batch([seed], "test", 0, length, size)

    def _pulses(self, seed: int, split: Split, step: int, shape: tuple[int, int, int]) -> NDArray[np.float32]:
        """Return pulses (batch, time, bit): -1, +1, or 0 if there is none."""
        generator = stream("pulses", seed, split, step)
        there = generator.random(shape) < self.pulse_rate
        there[:, 0] = True
        return np.where(there, 2 * generator.integers(0, 2, shape) - 1, 0).astype(np.float32)


def held_signs(pulses: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return each channel's last pulse up to each step; pulses and result (…, time, bit), zero before the first."""
    steps = np.arange(pulses.shape[-2])[:, None]
    last = np.maximum.accumulate(np.where(pulses != 0, steps, 0), axis=-2)
    return np.take_along_axis(pulses, last, axis=-2)
