"""The curriculum over horizons: where each member stands, and which members have learnt enough to stop."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from emt.config import TrainingConfig
from emt.tasks.base import Task

STOP_WINDOW = 100
"""Batches over which ``stop_accuracy`` must hold."""


class MemberProgress(NamedTuple):
    """What training remembers of each member besides its weights; saved in the resume state under these names.

    Attributes
    ----------
    level
        Index into the curriculum's horizons, (member,).
    diverged
        Step at which a member was frozen, 0 for none, (member,).
    passed
        First step whose batch accuracy at the last horizon was above ``curriculum_threshold``, 0 for none,
        (member,).
    window
        Accuracies of the last batches at the last horizon, (member, step modulo STOP_WINDOW); NaN for none.
    """

    level: NDArray[np.int64]
    diverged: NDArray[np.int64]
    passed: NDArray[np.int64]
    window: NDArray[np.float64]

    @classmethod
    def initial(cls, members: int, level: int) -> "MemberProgress":
        """Return the progress of members that have done no step."""
        zeros = np.zeros((2, members), np.int64)
        return cls(np.full(members, level), zeros[0], zeros[1], np.full((members, STOP_WINDOW), np.nan))


class Curriculum:
    """Moves each member to the next horizon once its batch accuracy is above a threshold.

    Parameters
    ----------
    config
        Horizons, threshold, and the accuracy at which members stop.
    task
        Where its batches do not depend on the horizon, or ``config.curriculum`` is off, all stay at the last
        horizon.
    members
        Number of members.

    Attributes
    ----------
    progress
        Where the members stand; the arrays change in place with each step.
    """

    def __init__(self, config: TrainingConfig, task: Task, members: int) -> None:
        self.config = config
        self.moves = config.curriculum and task.curriculum
        self.last = len(config.curriculum_horizons) - 1
        self.progress = MemberProgress.initial(members, 0 if self.moves else self.last)

    def horizons(self) -> NDArray[np.int64]:
        """Return the number of output steps at which each member trains, (member,)."""
        return np.asarray(self.config.curriculum_horizons)[self.progress.level]

    def move_to_last(self) -> None:
        """Let all members train at the last horizon."""
        self.progress.level[:] = self.last

    def advance(self, step: int, accuracy: NDArray[np.float64], frozen: NDArray[np.bool_]) -> None:
        """Take up a step's batch accuracies, (member,), and move members on; those that are frozen stay."""
        level, diverged, passed, window = self.progress
        diverged[frozen & (diverged == 0)] = step
        at_last = (level == self.last) & ~frozen
        window[at_last, step % STOP_WINDOW] = accuracy[at_last]
        above = (accuracy > self.config.curriculum_threshold) & ~frozen
        passed[above & at_last & (passed == 0)] = step
        if self.moves:
            level += above & (level < self.last)

    def may_stop(self, frozen: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which members have reached ``stop_accuracy``, (member,); none where it is not set."""
        if self.config.stop_accuracy is None:
            return np.zeros(len(frozen), bool)
        # A window that is not full has a NaN in it, and a comparison with NaN is false.
        return (self.progress.window.mean(axis=1) >= self.config.stop_accuracy) & ~frozen

    def keep(self, positions: NDArray[np.intp]) -> None:
        """Keep only the members at these stack positions."""
        self.progress = MemberProgress._make(array[positions] for array in self.progress)
