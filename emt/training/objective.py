"""The training objective as the device computes it: a batch as tensors, the model's outputs on it, their loss."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import functional_call

from emt.errors import UserError
from emt.models.base import Log, Model, State
from emt.tasks.base import Batch, Copies, Task
from emt.training.losses import LOSSES, Scoring


class Objective:
    """Loss and accuracy of a model on batches of a task.

    Raises
    ------
    UserError
        If the model learns from targets and the task has none.
    """

    def __init__(self, task: Task, model: Model) -> None:
        if "targets" in model.context and task.loss not in ("cross_entropy", "mse"):
            raise UserError(
                f"{type(model).__name__} learns from targets: expected a task with cross_entropy or mse; "
                f"got one with {task.loss}",
                parameter="model_type",
            )
        self.task, self.model = task, model

    def tensors(self, batch: Batch) -> dict[str, Tensor]:
        """Return what the model and the loss see of a batch, by name, in the host's memory."""
        arrays: dict[str, NDArray[Any] | None] = {"inputs": batch.inputs, "scored": batch.scored}
        arrays |= {name: getattr(batch, name) for name in ("judged", "draws", "actions", "rewards")}
        arrays |= batch.answers._asdict() if isinstance(batch.answers, Copies) else {"targets": batch.answers}
        arrays |= {f"context/{name}": batch.events.get(name) for name in self.model.context}
        if "needed_steps" in self.model.context:
            arrays["context/needed_steps"] = batch.scored | batch.judged_steps
        if "factored" in self.model.context and self.task.loss == "cross_entropy":
            arrays["context/factored"] = np.zeros(0, np.float32)
        if "targets" in self.model.context:
            arrays["context/targets"] = batch.training_targets(self.task.loss)
        return {n: torch.tensor(np.ascontiguousarray(a)) for n, a in arrays.items() if a is not None}

    def __call__(
        self,
        data: Mapping[str, Tensor],
        steps: int,
        state: State | None = None,
        weights: Mapping[str, Tensor] | None = None,
    ) -> tuple[tuple[Tensor, Tensor], State, Log]:
        """Run the model on a batch and score its outputs.

        Parameters
        ----------
        data
            What `tensors` returns, on the model's device.
        steps
            Number of time steps.
        state
            The state before the first step, tensors (member, batch, …); zeros if None.
        weights
            Parameters and buffers to use in place of the model's own.

        Returns
        -------
        figures, state, log
            Losses and accuracies, (member,) each; the state after the last step; the model's log.
        """
        context = {name: data[f"context/{name}"] for name in self.model.context if f"context/{name}" in data}
        call = data["inputs"], state, steps, context
        outputs, after, log = (
            self.model(*call) if weights is None else functional_call(self.model, dict(weights), call)
        )
        targets = (
            Copies(data["places"], data["signs"]).of(data["inputs"]) if "places" in data else data["targets"]
        )
        done = (data.get(name) for name in ("draws", "actions", "rewards"))
        scoring = Scoring(targets, data["scored"], data.get("judged", data["scored"]), *done)
        if isinstance(outputs, Tensor) and outputs.shape[2] == 1 < steps:
            scoring = scoring.at_the_end()
        losses, accuracies = LOSSES[self.task.loss](outputs, scoring, **self.task.loss_options)
        if "added_loss" in log and torch.is_grad_enabled():
            losses = losses + log["added_loss"]
        return (losses, accuracies), after, log


def weights_of(model: Model) -> dict[str, Tensor]:
    """Return the parameters and buffers of a stack by name, (member, …) each."""
    return dict(model.named_parameters()) | dict(model.named_buffers())


def device_of(model: Model) -> torch.device:
    """Return where the members' weights are."""
    return next(model.parameters()).device
