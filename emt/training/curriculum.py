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
    lowest
        Lowest validation loss, infinite before the first, (member,).
    waited
        Validations since then, (member,).
    recent
        Losses of the last ``average_patience`` validations, the latest last, (member, validation); infinite for none.
    earlier
        Lowest loss of all validations before these, infinite for none, (member,).
    """

    level: NDArray[np.int64]
    diverged: NDArray[np.int64]
    passed: NDArray[np.int64]
    window: NDArray[np.float64]
    lowest: NDArray[np.float64]
    waited: NDArray[np.int64]
    recent: NDArray[np.float64]
    earlier: NDArray[np.float64]

    @classmethod
    def initial(cls, members: int, level: int, patience: int = 0) -> "MemberProgress":
        """Return the progress of members that have done no step."""
        zeros = np.zeros((3, members), np.int64)
        window, lowest = np.full((members, STOP_WINDOW), np.nan), np.full(members, np.inf)
        recent, earlier = np.full((members, patience), np.inf), np.full(members, np.inf)
        return cls(np.full(members, level), zeros[0], zeros[1], window, lowest, zeros[2], recent, earlier)


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
        self.progress = MemberProgress.initial(
            members, 0 if self.moves else self.last, config.average_patience or 0
        )

    def horizons(self) -> NDArray[np.int64]:
        """Return the number of output steps at which each member trains, (member,)."""
        return np.asarray(self.config.curriculum_horizons)[self.progress.level]

    def move_to_last(self) -> None:
        """Let all members train at the last horizon."""
        self.progress.level[:] = self.last

    def advance(self, step: int, accuracy: NDArray[np.float64], frozen: NDArray[np.bool_]) -> None:
        """Take up a step's batch accuracies, (member,), and move members on; those that are frozen stay."""
        level, diverged, passed, window = self.progress[:4]
        diverged[frozen & (diverged == 0)] = step
        at_last = (level == self.last) & ~frozen
        window[at_last, step % STOP_WINDOW] = accuracy[at_last]
        above = (accuracy > self.config.curriculum_threshold) & ~frozen
        passed[above & at_last & (passed == 0)] = step
        if self.moves:
            level += above & (level < self.last)

    def validated(self, positions: NDArray[np.intp], loss: NDArray[np.float64]) -> None:
        """Take up the validation losses of the members at these stack positions."""
        lowest, waited = self.progress.lowest, self.progress.waited
        lower = loss < lowest[positions]
        waited[positions] = np.where(lower, 0, waited[positions] + 1)
        lowest[positions] = np.where(lower, loss, lowest[positions])

    def stalls(self, positions: NDArray[np.intp], loss: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Take up validation losses of members; return whose is above all but its last ``average_patience``.

        The non-monotonic trigger of Merity et al. (2018, algorithm 1), without a patience, no one's.
        """
        recent, earlier = self.progress.recent, self.progress.earlier
        if not recent.shape[1]:
            return np.zeros(len(positions), bool)
        stalled = loss > earlier[positions]
        earlier[positions] = np.fmin(earlier[positions], recent[positions, 0])
        recent[positions] = np.column_stack([recent[positions, 1:], loss])
        return stalled

    def may_stop(self, frozen: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which members meet ``stop_accuracy``, ``stop_loss`` or ``patience``, (member,); unset ones, none."""
        config, progress = self.config, self.progress
        stops = np.zeros(len(frozen), bool)
        if config.stop_accuracy is not None:
            # A window that is not full has a NaN in it, and a comparison with NaN is false.
            stops |= progress.window.mean(axis=1) >= config.stop_accuracy
        if config.stop_loss is not None:
            stops |= progress.lowest <= config.stop_loss
        if config.patience is not None:
            stops |= progress.waited >= config.patience
        return stops & ~frozen

    def keep(self, positions: NDArray[np.intp]) -> None:
        """Keep only the members at these stack positions."""
        self.progress = MemberProgress._make(array[positions] for array in self.progress)
