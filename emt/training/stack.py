"""The members of one chunk in training: weights, optimiser, place in the curriculum; one real step at a time."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from emt.config import TrainingConfig
from emt.models.base import Model, State
from emt.streams import Split
from emt.tasks.base import Task
from emt.training.adam import MemberAdam
from emt.training.backward import BackwardPass
from emt.training.best import BestWeights
from emt.training.curriculum import Curriculum, MemberProgress
from emt.training.epochs import Epochs
from emt.training.forward import Carried, ForwardPass
from emt.training.objective import Objective, device_of
from emt.training.optimizer import MemberOptimizer, MemberSGD, member_norms
from emt.training.replay import StepReplay

OPTIMIZERS: dict[str, type[MemberOptimizer]] = {"adam": MemberAdam, "sgd": MemberSGD}


@dataclass(frozen=True)
class StepReport:
    """Loss and accuracy of one step and the horizons it was made at, (member,) each."""

    loss: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    horizon: NDArray[np.int64]


class Stack:
    """Members that train together, each exactly as it would alone.

    Attributes
    ----------
    numbers
        Model numbers of the members still in the stack, in stack order.
    step
        Real steps done; the same for all members.
    epochs
        Where epochs end.
    curriculum
        Where each member stands.
    forward, backward, replay
        How steps are computed, and recordings of them for a device that can replay whole steps.
    state
        What members carry to the next training step, tensors (member, batch, …); empty where nothing is
        carried.
    best
        The weights that members end with, or None where they end with their last ones.
    """

    def __init__(self, config: TrainingConfig, task: Task, model: Model, numbers: Sequence[int]) -> None:
        self.config, self.task, self.model = config, task, model
        self.numbers, self.epochs = list(numbers), Epochs(config, task)
        self.step = 0
        self.curriculum = Curriculum(config, task, len(numbers))
        objective = Objective(task, model)
        self.forward, self.replay = ForwardPass(objective, config.batch_size), StepReplay(objective)
        self.backward = BackwardPass(self.forward, self.replay)
        rates = config.rates()
        self.optimizer = OPTIMIZERS[config.optimizer](
            model.parameters(),
            [rates[number - 1] for number in numbers],
            config.gradient_clip,
            config.l2_penalty,
            config.adam_epsilon,
            config.warmup_steps,
            config.average_rate,
            model.spared(),
        )
        self.state: Carried = {}
        self.best = None if config.keep == "last" else BestWeights(model, len(numbers), config.keep)

    @property
    def total_steps(self) -> int:
        """Training steps in all."""
        return self.epochs.end(self.config.epochs)

    @property
    def device(self) -> torch.device:
        """Where the members live."""
        return device_of(self.model)

    @property
    def frozen(self) -> NDArray[np.bool_]:
        """Which members diverged, (member,)."""
        return self.optimizer.frozen.numpy()

    @property
    def progress(self) -> MemberProgress:
        """Where the members stand, `Curriculum.progress`."""
        return self.curriculum.progress

    def horizons(self) -> NDArray[np.int64]:
        """Return the number of output steps at which each member trains, (member,)."""
        return self.curriculum.horizons()

    @torch.no_grad()
    def norms(self) -> dict[str, NDArray[np.float64]]:
        """Return norms of the members by name, (member,) each: of the gradient, of all weights, and the model's own.

        The gradient is that of the last step, before it was clipped; the state of `Model.norms` is that after the next
        batch.
        """
        found = {
            "grad_norm": self.optimizer.norms.numpy(),
            "weight_norm": member_norms(p.double() for p in self.model.parameters()).cpu().numpy(),
        }
        if self.model.norm_names:
            own = np.full((len(self.model.norm_names), len(self.numbers)), np.nan)
            for shape, members in self.forward.groups(
                "train", self.step, dict(enumerate(self.horizons().tolist()))
            ).items():
                batch = self.forward.batch(members, "train", self.step, shape)
                norms = self.model.norms(self.forward.after(members, batch, self.state), members)
                own[:, members] = [norms[name].cpu().numpy() for name in self.model.norm_names]
            found |= dict(zip(self.model.norm_names, own, strict=True))
        return found

    def gradients(self) -> StepReport:
        """Compute all members' losses and gradients on their next batches."""
        horizons = self.horizons()
        self.model.zero_grad()
        loss, accuracy = np.empty(len(self.numbers)), np.empty(len(self.numbers))
        for shape, members in self.forward.groups(
            "train", self.step, dict(enumerate(horizons.tolist()))
        ).items():
            # Who acts has the noise that it learns with.
            self.model.noise_step = self.step
            batch = self.forward.batch(members, "train", self.step, shape)
            self.optimizer.pace[members] = batch.pace
            losses, accuracies = self.backward(members, shape, batch, self.state)
            self.model.noise_step = None
            loss[members] = losses.cpu().double()
            accuracy[members] = accuracies.cpu().double()
        self.optimizer.frozen |= torch.tensor(~np.isfinite(loss))
        return StepReport(loss, accuracy, horizons)

    def advance(self, report: StepReport) -> None:
        """Move the curriculum on after the optimiser's step."""
        self.step += 1
        self.curriculum.advance(self.step, report.accuracy, self.frozen)

    def finished(self) -> NDArray[np.bool_]:
        """Return which members may stop early (`Curriculum.may_stop`) or have done all steps, (member,)."""
        if self.step >= self.total_steps:
            return np.ones(len(self.numbers), bool)
        return self.curriculum.may_stop(self.frozen)

    def keep(self, kept: NDArray[np.bool_]) -> None:
        """Let the other members leave the stack."""
        positions = np.flatnonzero(kept)
        index = torch.tensor(positions)
        self.replay.forget()
        self.optimizer.keep(index)
        self.model.seeds = tuple(np.array(self.model.seeds)[positions].tolist())
        for buffer in self.model.buffers():
            buffer.data = buffer[index.to(buffer.device)]
        self.numbers = [self.numbers[i] for i in positions]
        self.curriculum.keep(positions)
        self.state = {name: s[index] for name, s in self.state.items()}
        if self.best is not None:
            self.best.keep(positions)

    def first_rows(self) -> State:
        """Return the carried state of each member's first row, tensors (member, …)."""
        return {name: s[:, 0] for name, s in self.state.items()}

    def validate(self, positions: NDArray[np.intp]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return loss and accuracy on the fixed validation batches, one for each stack position; remember the best.

        They are those of a member's average, once it has one. Members that are due to do so begin to average.
        """
        with self.optimizer.averages():
            loss, accuracy = self.measure("validation", self.config.validation_batches, positions)
            if self.best is not None:
                self.best.update(positions, self.step, loss, accuracy, self.first_rows())
        self.curriculum.validated(positions, loss)
        due, after = self.curriculum.stalls(positions, loss), self.config.average_after
        if after is not None and self.epochs.done(self.step) >= after:
            due[:] = True
        self.optimizer.begin_average(torch.tensor(positions[due]))
        return loss, accuracy

    def export(self, position: int) -> dict[str, NDArray[np.float32]]:
        """Return a member's weights as in its file: its best or, without these, its average, if it has one."""
        if self.best is not None:
            self.best.restore(position)
            return self.model.export(position)
        with self.optimizer.averages():
            # Some arrays are the weights themselves, which are put back.
            return {name: array.copy() for name, array in self.model.export(position).items()}

    def measure(
        self, split: Split, batches: int, positions: NDArray[np.intp]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return loss and accuracy over the first batches of a split at the last horizon; see `ForwardPass.measure`."""
        return self.forward.measure(split, batches, positions, self.config.curriculum_horizons[-1])
