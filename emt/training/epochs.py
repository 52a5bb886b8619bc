"""Where epochs end, in training steps."""

from bisect import bisect_right

from emt.config import TrainingConfig
from emt.tasks.base import Task


class Epochs:
    """Epochs of ``--epoch_batches`` steps; without it, of as many as the task says, or the task's passes over its data.

    Parameters
    ----------
    config
        How many epochs, of how many steps and of batches of which size.
    task
        With ``epoch_batches`` or ``epoch_end`` (`emt.tasks.base.Task`).
    """

    def __init__(self, config: TrainingConfig, task: Task) -> None:
        self.config, self.task = config, task

    def end(self, epochs: int) -> int:
        """Return how many training steps the first so many epochs have."""
        own = getattr(self.task, "epoch_end", None)
        if own is None or self.config.epoch_batches is not None:
            return epochs * (self.config.epoch_batches or self.task.epoch_batches)
        return int(own(epochs, self.config.batch_size))

    def done(self, step: int) -> int:
        """Return how many epochs have ended after so many steps."""
        return bisect_right(range(1, self.config.epochs + 1), step, key=self.end)

    def ends_at(self, step: int) -> bool:
        """Whether an epoch ends after so many steps, or the first one begins."""
        return step == self.end(self.done(step))
