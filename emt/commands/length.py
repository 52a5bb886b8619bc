"""The length of a training in steps, ``--training_steps``, in the epochs that it is made of."""

from collections.abc import Mapping
from typing import Any

from emt.config import Positive
from emt.errors import UserError
from emt.options import Option

TRAINING_STEPS = Option(
    "training_steps",
    Positive | None,
    None,
    "length of training in steps, in the place of --epochs: a multiple of --epoch_batches, or one shorter epoch",
)
"""Not ``--steps``, which is the length of a trial where a task has it."""


def in_epochs(steps: int, given: Mapping[str, Any], task_batches: int) -> dict[str, int]:
    """Return the epochs that a number of training steps is, and the steps of each.

    Parameters
    ----------
    steps
        Training steps in all.
    given
        What else was given; ``epoch_batches`` among it holds.
    task_batches
        Steps of an epoch where nothing was given; 0 where an epoch is a pass over the task's data.

    Raises
    ------
    UserError
        If the steps end within an epoch, or ``epochs`` was given too.

    Examples
    --------
    >>> in_epochs(6000, {}, 2000), in_epochs(50, {}, 2000)
    ({'epochs': 3, 'epoch_batches': 2000}, {'epochs': 1, 'epoch_batches': 50})
    """
    if "epochs" in given:
        raise UserError("expected no --epochs beside it; got both", parameter="training_steps")
    batches: int = given.get("epoch_batches") or min(task_batches, steps)
    if not batches:
        text = "expected --epoch_batches beside it: an epoch of this task is a pass over its data"
        raise UserError(text, parameter="training_steps")
    if steps % batches:
        text = f"must be a multiple of --epoch_batches {batches}, the steps of an epoch; got {steps}"
        raise UserError(text, parameter="training_steps")
    return {"epochs": steps // batches, "epoch_batches": batches}
