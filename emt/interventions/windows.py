"""What trials of a linear task hold at each step, and what they answer from there on."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emt.codes import Array, Codes, task_windows
from emt.interventions.queries import Answers, event_items
from emt.tasks.base import Batch


@dataclass(frozen=True)
class Windows:
    """Windows of trials.

    Attributes
    ----------
    values
        (trial, time, window), NaN for vectors that are not there yet.
    left
        How many answers follow each other from a step on in all trials, each made from those before, (time,);
        0 where not all trials hold a whole window before the step.
    """

    values: Array
    left: NDArray[np.int64]

    def steps(self, length: int) -> list[int]:
        """Return after how many steps windows can be exchanged: as many answers follow as two windows have.

        Where trials are shorter, half as many as follow the first such step.
        """
        wanted = min(2 * length, -(-int(self.left.max()) // 2))
        return np.flatnonzero(self.left >= max(wanted, 1)).tolist()

    def last(self, after: int, length: int) -> int:
        """Return the step before which answers are scored: those of two windows, as far as they follow."""
        return after + min(2 * length, int(self.left[after]))


def windows_of(batch: Batch, answers: Answers, codes: Codes) -> Windows:
    """Return the windows of a batch, one member wide."""
    shape, width = answers.judged.shape, codes.width
    inputs = batch.padded_inputs(batch.inputs.shape[-1])[0, ..., :width]
    values = np.where(answers.judged[..., None], answers.targets, inputs).astype(float)
    written, trial = (event_items(batch.events, name, shape)[..., 0] for name in ("written", "trial"))
    windows = task_windows(values, answers.judged | (written >= 0), trial, codes.length)
    whole = np.asarray(np.isfinite(windows).all(axis=(0, 2)))
    before = np.concatenate([[False], whole[:-1]])
    same = np.concatenate([[False], (trial[:, 1:] == trial[:, :-1]).all(axis=0)])
    goes_on = answers.judged.all(axis=0) & same
    left = np.zeros(shape[1] + 1, int)
    for t in range(shape[1] - 1, -1, -1):
        left[t] = left[t + 1] + 1 if goes_on[t] else 0
    return Windows(windows, np.where(before, left[:-1], 0))
