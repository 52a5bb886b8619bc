"""Losses that tasks name, each with its accuracy; one number for each member."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor
from torch.nn import functional


class Scoring(NamedTuple):
    """What outputs are scored against.

    Attributes
    ----------
    targets
        (member, batch, time, output), or ids (member, batch, time), -1 where there is none.
    scored
        The steps that enter the loss, (member, batch, time), bool.
    judged
        The steps that enter the accuracy, (member, batch, time), bool.
    draws
        Uniform numbers in [0, 1), (member, batch, time), for losses that sample; None where the task gives none.
    """

    targets: Tensor
    scored: Tensor
    judged: Tensor
    draws: Tensor | None = None


LossFunction = Callable[..., tuple[Tensor, Tensor]]
"""(outputs (member, batch, time, output), scoring, options of the task by name) → loss and accuracy, (member,) each."""


def mean_squared_error(outputs: Tensor, scoring: Scoring) -> tuple[Tensor, Tensor]:
    """Return each member's mean squared error and share of matching signs; zero, also −0.0, has a positive sign."""
    targets, scored, judged, _ = scoring
    squares = (outputs - targets).square() * scored[..., None]
    matches = ((outputs >= 0) == (targets >= 0)) & judged[..., None]
    width = outputs.shape[-1]
    return squares.sum(dim=(1, 2, 3)) / (counts(scored) * width), matches.sum(dim=(1, 2, 3)) / (counts(judged) * width)


def cross_entropy(outputs: Tensor, scoring: Scoring) -> tuple[Tensor, Tensor]:
    """Return each member's mean cross entropy of logits, and share of right choices: the largest, first of equals."""
    targets, scored, judged, _ = scoring
    # Few steps are scored: only these are looked at.
    surprise = functional.cross_entropy(outputs[scored], _classes(targets[scored]), reduction="none")
    right = outputs[judged].argmax(dim=-1) == _classes(targets[judged])
    return _mean(surprise, scored), _mean(right.to(outputs), judged)


def counts(steps: Tensor) -> Tensor:
    """Return each member's number of such steps, (member,); one where there are none, so that a mean of none is 0."""
    return steps.sum(dim=(1, 2)).clamp(min=1)


def _classes(targets: Tensor) -> Tensor:
    return targets.argmax(dim=-1) if targets.is_floating_point() else targets.long()


def _mean(values: Tensor, steps: Tensor) -> Tensor:
    """Return the mean over each member's steps of ``values``, which stand in the order of ``steps``'s true entries."""
    member = steps.nonzero()[:, 0]
    return values.new_zeros(len(steps)).index_add(0, member, values) / counts(steps)


LOSSES: dict[str, LossFunction] = {"mse": mean_squared_error, "cross_entropy": cross_entropy}
