"""Gradients of the members of a stack: from the loss, from a replayed step, or from the model's own learning rule."""

from collections.abc import Hashable

import torch
from torch import Tensor

from emt.models.base import Log
from emt.tasks.base import Batch
from emt.training.forward import Carried, ForwardPass
from emt.training.replay import StepReplay


class BackwardPass:
    """Sets the gradients of members that share a batch's time shape; those of other members stay as they are."""

    def __init__(self, forward: ForwardPass, replay: StepReplay) -> None:
        self.forward, self.replay, self.model = forward, replay, forward.model

    def __call__(
        self, members: list[int], shape: Hashable, batch: Batch, carried: Carried
    ) -> tuple[Tensor, Tensor]:
        """Set the gradients of some members and return their losses and accuracies, (member,) each.

        Parameters
        ----------
        members
            Their stack positions.
        shape
            The time shape of their batch.
        batch
            The batch, one for each of these members.
        carried
            States that are carried from batch to batch; changed in place.
        """
        replayed = self._replay(shape, batch) if len(members) == len(self.model.seeds) else None
        if replayed is not None:
            return replayed
        (losses, accuracies), log = self.forward(members, batch, carried)
        if self.model.own_gradients:
            self._take(members, log)
        else:
            losses.sum().backward()
        return losses.detach(), accuracies

    def _replay(self, shape: Hashable, batch: Batch) -> tuple[Tensor, Tensor] | None:
        recording = self.replay.find(shape, batch)
        if recording is None:
            return None
        losses, accuracies, *gradients = recording(self.forward.objective.tensors(batch))
        trained = [p for p in self.model.parameters() if p.requires_grad]
        for parameter, gradient in zip(trained, gradients, strict=True):
            parameter.grad = gradient
        return losses, accuracies

    def _take(self, members: list[int], log: Log) -> None:
        """Take the gradients of a model's own learning rule from its log."""
        for name, parameter in self.model.named_parameters():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            parameter.grad[members] = log[f"gradient/{name}"]
