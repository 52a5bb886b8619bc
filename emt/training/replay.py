"""Training steps of a whole stack that are recorded once and then replayed, where a device can do so."""

import warnings
from collections import Counter
from collections.abc import Hashable, Mapping

import torch
from torch import Tensor

from emt.tasks.base import Batch
from emt.training.cuda_graphs import Capture, Recording, Work, is_recordable
from emt.training.objective import Objective, weights_of

RECORDED_AT = 3
"""Time that a shape comes up at which its step is recorded: of many shapes few come up often."""


class StepReplay:
    """Recordings of steps by the time shape of their batch.

    Attributes
    ----------
    capture
        How to record; None: steps are not recorded.
    """

    def __init__(self, objective: Objective) -> None:
        self.objective, self.model = objective, objective.model
        self.capture: Capture | None = None
        self.forget()

    def forget(self) -> None:
        """Drop all recordings: weights have moved to other places."""
        self._recordings: dict[Hashable, Recording] = {}
        self._times: Counter[Hashable] = Counter()

    def find(self, shape: Hashable, batch: Batch) -> Recording | None:
        """Return the recorded step of all members at a time shape; None if there is none to replay.

        Its results are losses, accuracies, and a gradient for each parameter that requires one. A model with
        a learning rule of its own is not recorded, nor is a state that is carried from batch to batch.
        """
        if self.capture is None or self.objective.task.carries or self.model.own_gradients:
            return None
        self._times[shape] += 1
        if self._times[shape] == RECORDED_AT:
            self._record(shape, batch, self.capture)
        return self._recordings.get(shape)

    def _record(self, shape: Hashable, batch: Batch, capture: Capture) -> None:
        work, weights, data = self._work(batch.steps), weights_of(self.model), self.objective.tensors(batch)
        if is_recordable(work, weights, data):
            try:
                self._recordings[shape] = Recording(work, weights, data, capture)
            except RuntimeError as error:
                self.capture = None
                warnings.warn(f"training continues without CUDA graphs, more slowly: {error}", stacklevel=2)

    def _work(self, steps: int) -> Work:
        """Return the step as a function of weights and data."""

        def work(weights: Mapping[str, Tensor], data: Mapping[str, Tensor]) -> list[Tensor]:
            figures, _, _ = self.objective(data, steps, None, weights)
            trained = [weights[name] for name, p in self.model.named_parameters() if p.requires_grad]
            gradients = torch.autograd.grad(figures[0].sum(), trained, materialize_grads=True)
            # Two biases have one gradient; the optimiser scales each parameter's in place.
            return [*(f.detach() for f in figures), *(g.clone() for g in gradients)]

        return work
