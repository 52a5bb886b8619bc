"""Forward passes of the members of a stack: those whose batches share a time shape run together."""

import contextlib
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import functional_call

from emt.acting import played
from emt.models.base import Log, State, Stepper, Steps
from emt.streams import Split
from emt.tasks.base import Batch
from emt.training.objective import Objective, device_of, weights_of

Carried = dict[str, Tensor]
"""States that members carry from batch to batch, tensors (member, batch, …) by name; empty before the first."""


class ForwardPass:
    """Runs all or some members of a stack on their batches.

    Parameters
    ----------
    objective
        Task and model.
    batch_size
        Sequences in a batch.
    """

    def __init__(self, objective: Objective, batch_size: int) -> None:
        self.objective, self.batch_size = objective, batch_size
        self.task, self.model = objective.task, objective.model

    def groups(self, split: Split, step: int, horizons: Mapping[int, int]) -> dict[Hashable, list[int]]:
        """Return stack positions by the time shape of their batch, for the positions and horizons given."""
        groups: dict[Hashable, list[int]] = defaultdict(list)
        for position, horizon in horizons.items():
            groups[self.task.shape(self.model.seeds[position], split, step, horizon)].append(position)
        return groups

    def batch(self, members: list[int], split: Split, step: int, shape: Hashable) -> Batch:
        """Return the batch of the members at these stack positions; where inputs depend on actions, they act."""
        seeds = [self.model.seeds[m] for m in members]
        waiting = self.task.batch(seeds, split, step, shape, self.batch_size)
        return played(waiting, self.model, self._stepper_of(members), len(members))

    def __call__(
        self, members: list[int], batch: Batch, carried: Carried
    ) -> tuple[tuple[Tensor, Tensor], Log]:
        """Return losses and accuracies of some members on their batch, (member,) each, and the model's log.

        They go on from their place in ``carried`` unless the batch is fresh, and leave their new state there,
        cut from the graph.
        """
        figures, after, log = self._run(members, batch, carried)
        if self.task.carries:
            self._carry(members, after, carried)
        return figures, log

    def after(self, members: list[int], batch: Batch, carried: Carried) -> State:
        """Return the state of some members after their batch; ``carried`` stays as it is."""
        return self._run(members, batch, carried)[1]

    def _run(
        self, members: list[int], batch: Batch, carried: Carried
    ) -> tuple[tuple[Tensor, Tensor], State, Log]:
        data = {
            name: value.to(device_of(self.model)) for name, value in self.objective.tensors(batch).items()
        }
        state: State | None = None if batch.fresh or not carried else carried
        if len(members) == len(self.model.seeds):
            return self.objective(data, batch.steps, state)
        weights = self._of(members, weights_of(self.model))
        state = None if state is None else self._of(members, state)
        with self._seeds_of(members):
            return self.objective(data, batch.steps, state, weights)

    @torch.no_grad()
    def measure(
        self, split: Split, batches: int, positions: NDArray[np.intp], horizon: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return loss and accuracy over the first batches of a split, for each stack position.

        Means are over all steps that are scored or judged, whichever batch they stand in.
        """
        horizons = dict.fromkeys(positions.tolist(), horizon)
        totals, counts = np.zeros((2, 2, len(self.model.seeds)))
        carried: Carried = {}
        for step in range(batches):
            for shape, members in self.groups(split, step, horizons).items():
                batch = self.batch(members, split, step, shape)
                if batch.sequences:
                    figures = torch.stack(self(members, batch, carried)[0]).cpu().double().numpy()
                    steps = np.stack([m.sum(axis=(1, 2)) for m in (batch.scored, batch.judged_steps)])
                    totals[:, members] += figures * steps
                    counts[:, members] += steps
        loss, accuracy = totals[:, positions] / counts[:, positions]
        return loss, accuracy

    def _stepper_of(self, members: list[int]) -> Callable[[int], Stepper]:
        """Return `Model.stepper` of some members."""
        if len(members) == len(self.model.seeds):
            return self.model.stepper
        weights = self._of(members, weights_of(self.model))

        def forward(*call: Any) -> tuple[Tensor, State, Log]:
            with self._seeds_of(members):
                outputs, after, log = functional_call(self.model, weights, call)
            return outputs, after, log

        return lambda steps: Steps(forward)

    def _index(self, members: list[int]) -> Tensor:
        return torch.tensor(members, device=device_of(self.model))

    def _of(self, members: list[int], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: value.index_select(0, self._index(members)) for name, value in tensors.items()}

    def _carry(self, members: list[int], after: State, carried: Carried) -> None:
        everyone = len(self.model.seeds)
        for name, value in after.items():
            if len(members) < everyone:
                whole = carried.get(name, value.new_zeros(everyone, *value.shape[1:]))
                value = whole.index_copy(0, self._index(members), value)
            # In one piece and aligned, as a resumed run has it: sums round otherwise over the steps of a longer run.
            carried[name] = value.detach().clone(memory_format=torch.contiguous_format)

    @contextlib.contextmanager
    def _seeds_of(self, members: list[int]) -> Iterator[None]:
        """Let the model know the seeds of the members it runs, for whatever it draws."""
        everyone = self.model.seeds
        self.model.seeds = tuple(everyone[m] for m in members)
        try:
            yield
        finally:
            self.model.seeds = everyone
