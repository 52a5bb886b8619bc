"""The members of one chunk in training: weights, optimiser, place in the curriculum; one real step at a time."""

import contextlib
import warnings
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call

from emt.config import TrainingConfig
from emt.errors import UserError
from emt.models.base import Log, Model, State
from emt.streams import Split
from emt.tasks.base import Batch, Copies, Task
from emt.training.adam import MemberAdam
from emt.training.best import BestWeights
from emt.training.cuda_graphs import Capture, Recording, is_recordable
from emt.training.losses import LOSSES, Scoring
from emt.training.optimizer import MemberOptimizer, MemberSGD

OPTIMIZERS: dict[str, type[MemberOptimizer]] = {"adam": MemberAdam, "sgd": MemberSGD}

STOP_WINDOW = 100
"""Batches over which ``stop_accuracy`` must hold."""

STATE_ARRAYS = ("level", "diverged", "passed", "window")
"""What a stack keeps of each member in its own arrays."""

RECORDED_AT = 3
"""Time that a shape comes up at which its step is recorded."""


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
    level
        Index into the curriculum's horizons, (member,).
    diverged
        Step at which a member was frozen, 0 for none, (member,).
    passed
        First step whose batch accuracy at the last horizon was above ``curriculum_threshold``, 0 for none, (member,).
    window
        Accuracies of the last batches at the last horizon, (member, step modulo STOP_WINDOW); NaN for none.
    state
        What members carry to the next training step, tensors (member, batch, …); empty where nothing is carried.
    best
        The weights that members end with, or None where they end with their last ones.
    capture
        How to record steps of the whole stack, where they are then replayed; None: they are not.
    """

    def __init__(self, config: TrainingConfig, task: Task, model: Model, numbers: Sequence[int]) -> None:
        if "targets" in model.context and task.loss == "actor_critic":
            raise UserError(
                f"{type(model).__name__} learns from targets: expected a task with cross_entropy or mse; "
                f"got one with {task.loss}",
                parameter="model_type",
            )
        self.config, self.task, self.model = config, task, model
        self.numbers = list(numbers)
        self.step = 0
        starts_last = not (config.curriculum and task.curriculum)
        self.level = np.full(len(numbers), (len(config.curriculum_horizons) - 1) * starts_last)
        self.diverged = np.zeros(len(numbers), np.int64)
        self.passed = np.zeros(len(numbers), np.int64)
        self.window = np.full((len(numbers), STOP_WINDOW), np.nan)
        self.optimizer = OPTIMIZERS[config.optimizer](
            model.parameters(), config.learning_rate, config.gradient_clip, config.l2_penalty
        )
        self.state: dict[str, Tensor] = {}
        self.best = BestWeights(model, len(numbers)) if config.keep == "best" else None
        self.capture: Capture | None = None
        self._forget_recordings()

    @property
    def epoch_steps(self) -> int:
        """Training steps in an epoch."""
        return self.config.epoch_batches or self.task.epoch_batches

    @property
    def total_steps(self) -> int:
        """Training steps in all."""
        return self.config.epochs * self.epoch_steps

    @property
    def device(self) -> torch.device:
        """Where the members live."""
        return next(self.model.parameters()).device

    @property
    def frozen(self) -> NDArray[np.bool_]:
        """Which members diverged, (member,)."""
        return self.optimizer.frozen.numpy()

    def horizons(self) -> NDArray[np.int64]:
        """Return the number of output steps at which each member trains, (member,)."""
        return np.asarray(self.config.curriculum_horizons)[self.level]

    def gradients(self) -> StepReport:
        """Compute all members' losses and gradients on their next batches."""
        horizons = self.horizons()
        self.model.zero_grad()
        loss, accuracy = np.empty(len(self.numbers)), np.empty(len(self.numbers))
        for shape, members in self._groups("train", self.step, dict(enumerate(horizons.tolist()))).items():
            batch = self._batch(members, "train", self.step, shape)
            self.model.noise_step = self.step
            recording = self._recording(shape, batch) if len(members) == len(self.numbers) else None
            if recording is not None:
                losses, accuracies, *gradients = recording(self._seen(batch))
                for parameter, gradient in zip(self._trained(), gradients, strict=True):
                    parameter.grad = gradient
            else:
                losses, accuracies, log = self._evaluate(members, batch, self.state)
                if self.model.own_gradients:
                    self._take(members, log)
                else:
                    losses.sum().backward()
            self.model.noise_step = None
            loss[members] = losses.detach().cpu().double()
            accuracy[members] = accuracies.cpu().double()
        self.optimizer.frozen |= torch.from_numpy(~np.isfinite(loss))
        return StepReport(loss, accuracy, horizons)

    def advance(self, report: StepReport) -> None:
        """Move the curriculum on after the optimiser's step."""
        self.step += 1
        self.diverged[self.frozen & (self.diverged == 0)] = self.step
        last = len(self.config.curriculum_horizons) - 1
        at_last = (self.level == last) & ~self.frozen
        self.window[at_last, self.step % STOP_WINDOW] = report.accuracy[at_last]
        above = (report.accuracy > self.config.curriculum_threshold) & ~self.frozen
        self.passed[above & at_last & (self.passed == 0)] = self.step
        if self.config.curriculum and self.task.curriculum:
            self.level += above & (self.level < last)

    def finished(self) -> NDArray[np.bool_]:
        """Return which members meet ``stop_accuracy`` or have done all steps, (member,)."""
        if self.step >= self.total_steps:
            return np.ones(len(self.numbers), bool)
        if self.config.stop_accuracy is None:
            return np.zeros(len(self.numbers), bool)
        # A window that is not full has a NaN in it, and NaN is at least nothing.
        return (self.window.mean(axis=1) >= self.config.stop_accuracy) & ~self.frozen

    def keep(self, kept: NDArray[np.bool_]) -> None:
        """Let the other members leave the stack."""
        positions = np.flatnonzero(kept)
        self._forget_recordings()
        self.optimizer.keep(torch.from_numpy(positions))
        self.model.seeds = tuple(np.array(self.model.seeds)[positions].tolist())
        for buffer in self.model.buffers():
            buffer.data = buffer[torch.from_numpy(positions).to(buffer.device)]
        self.numbers = [self.numbers[i] for i in positions]
        for name in STATE_ARRAYS:
            setattr(self, name, getattr(self, name)[positions])
        self.state = {name: s[torch.from_numpy(positions)] for name, s in self.state.items()}
        if self.best is not None:
            self.best.keep(positions)

    def first_rows(self) -> State:
        """Return the carried state of each member's first row, tensors (member, …)."""
        return {name: s[:, 0] for name, s in self.state.items()}

    def validate(self, positions: NDArray[np.intp]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return loss and accuracy on the fixed validation batches, one for each stack position; remember the best."""
        loss, accuracy = self.measure("validation", self.config.validation_batches, positions)
        if self.best is not None:
            self.best.update(positions, self.step, loss, accuracy, self.first_rows())
        return loss, accuracy

    @torch.no_grad()
    def measure(
        self, split: Split, batches: int, positions: NDArray[np.intp]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return loss and accuracy over the first batches of a split at the last horizon, for each position.

        Means are over all steps that are scored or judged, whichever batch they stand in.
        """
        horizons = dict.fromkeys(positions.tolist(), self.config.curriculum_horizons[-1])
        totals, counts = np.zeros((2, 2, len(self.numbers)))
        state: dict[str, Tensor] = {}
        for step in range(batches):
            for shape, members in self._groups(split, step, horizons).items():
                batch = self._batch(members, split, step, shape)
                if not batch.sequences:
                    continue
                figures = torch.stack(self._evaluate(members, batch, state)[:2]).cpu().double().numpy()
                steps = np.stack([m.sum(axis=(1, 2)) for m in (batch.scored, batch.judged_steps)])
                totals[:, members] += figures * steps
                counts[:, members] += steps
        loss, accuracy = totals[:, positions] / counts[:, positions]
        return loss, accuracy

    def state_dict(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Return everything needed to go on: tensors by name, and plain values."""
        tensors: dict[str, Tensor] = {}
        for name, parameter in self.model.named_parameters():
            slots = self.optimizer.slots(parameter)
            tensors |= {f"weight.{name}": parameter.detach()} | {f"{slot}.{name}": s for slot, s in slots.items()}
        tensors |= {"steps": self.optimizer.steps, "frozen": self.optimizer.frozen}
        tensors |= {f"state.{name}": s for name, s in self.state.items()}
        tensors |= {name: torch.from_numpy(getattr(self, name)) for name in STATE_ARRAYS}
        tensors |= self.best.state_dict() if self.best is not None else {}
        return {k: v.cpu().contiguous() for k, v in tensors.items()}, {"step": self.step, "numbers": self.numbers}

    def load_state_dict(self, tensors: dict[str, Tensor], about: dict[str, Any]) -> None:
        """Go on from `state_dict`; members that had left the stack by then leave this one too."""
        self.keep(np.isin(self.numbers, about["numbers"]))
        for name, parameter in self.model.named_parameters():
            parameter.data = tensors[f"weight.{name}"].to(parameter.device)
            self.optimizer.state[parameter] = {
                slot: tensors[f"{slot}.{name}"].to(parameter.device) for slot in self.optimizer.SLOTS
            }
        self.optimizer.steps, self.optimizer.frozen = tensors["steps"], tensors["frozen"]
        for name in STATE_ARRAYS:
            setattr(self, name, tensors[name].numpy())
        self.state = {n.removeprefix("state."): s.to(self.device) for n, s in tensors.items() if n.startswith("state.")}
        if self.best is not None:
            self.best.load_state_dict(tensors)
        self.step = int(about["step"])

    def _groups(self, split: Split, step: int, horizons: Mapping[int, int]) -> dict[Hashable, list[int]]:
        """Return stack positions by the time shape of their batch, for the positions and horizons given."""
        groups: dict[Hashable, list[int]] = defaultdict(list)
        for position, horizon in horizons.items():
            groups[self.task.shape(self.model.seeds[position], split, step, horizon)].append(position)
        return groups

    def _batch(self, members: list[int], split: Split, step: int, shape: Hashable) -> Batch:
        return self.task.batch([self.model.seeds[m] for m in members], split, step, shape, self.config.batch_size)

    def _forget_recordings(self) -> None:
        """Start anew with recordings: weights have moved to other places."""
        self._recordings: dict[Hashable, Recording] = {}
        self._times: Counter[Hashable] = Counter()

    def _recording(self, shape: Hashable, batch: Batch) -> Recording | None:
        """Return the recorded step of all members at a time shape; None if there is none to replay.

        A step is recorded when its shape comes up the third time: of many shapes few come up often.
        """
        if self.capture is None or self.task.carries or self.model.own_gradients:
            return None
        self._times[shape] += 1
        if self._times[shape] == RECORDED_AT:

            def work(weights: Mapping[str, Tensor], data: Mapping[str, Tensor]) -> list[Tensor]:
                figures, _, _ = self._run(dict(weights), data, None, batch.steps)
                trained = [weights[name] for name, p in self.model.named_parameters() if p.requires_grad]
                gradients = torch.autograd.grad(figures[0].sum(), trained, materialize_grads=True)
                # Two biases have one gradient; the optimiser scales each parameter's in place.
                return [*(f.detach() for f in figures), *(g.clone() for g in gradients)]

            seen = self._seen(batch)
            if is_recordable(work, self._weights(), seen):
                try:
                    self._recordings[shape] = Recording(work, self._weights(), seen, self.capture)
                except RuntimeError as error:
                    self.capture = None
                    warnings.warn(f"training continues without CUDA graphs, more slowly: {error}", stacklevel=2)
        return self._recordings.get(shape)

    def _trained(self) -> list[nn.Parameter]:
        return [p for p in self.model.parameters() if p.requires_grad]

    def _take(self, members: list[int], log: Log) -> None:
        """Take up the gradients that a model with a learning rule of its own gives to some of its members."""
        for name, parameter in self.model.named_parameters():
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            parameter.grad[members] = log[f"gradient/{name}"]

    def _evaluate(self, members: list[int], batch: Batch, state: dict[str, Tensor]) -> tuple[Tensor, Tensor, Log]:
        """Return losses and accuracies of some members on their batch, and the model's log.

        They go on from their place in ``state`` unless the batch is fresh, and leave their new state there, cut from
        the graph.
        """
        data = {name: value.to(self.device) for name, value in self._seen(batch).items()}
        before = None if batch.fresh or not state else state
        weights, everyone = None, len(members) == len(self.numbers)
        if not everyone:
            index = torch.tensor(members, device=self.device)
            weights = {name: w.index_select(0, index) for name, w in self._weights().items()}
            before = None if before is None else {name: s.index_select(0, index) for name, s in before.items()}
        with self._seeds_of(members):
            figures, after, log = self._run(weights, data, before, batch.steps)
        if self.task.carries:
            for name, value in after.items():
                if not everyone:
                    whole = state.get(name, value.new_zeros(len(self.numbers), *value.shape[1:]))
                    value = whole.index_copy(0, index, value)
                state[name] = value.detach()
        return *figures, log

    def _run(
        self, weights: dict[str, Tensor] | None, data: Mapping[str, Tensor], before: State | None, steps: int
    ) -> tuple[tuple[Tensor, Tensor], State, Log]:
        """Return losses and accuracies on what `_seen` gives, state and log; with other weights than the stack's."""
        context = {name: data[f"context/{name}"] for name in self.model.context if f"context/{name}" in data}
        call = data["inputs"], before, steps, context
        outputs, after, log = self.model(*call) if weights is None else functional_call(self.model, weights, call)
        targets = Copies(data["places"], data["signs"]).of(data["inputs"]) if "places" in data else data["targets"]
        scoring = Scoring(targets, data["scored"], data.get("judged", data["scored"]), data.get("draws"))
        return LOSSES[self.task.loss](outputs, scoring, **self.task.loss_options), after, log

    def _seen(self, batch: Batch) -> dict[str, Tensor]:
        """Return what the model and the loss see of a batch, by name, in the host's memory."""
        seen: dict[str, NDArray[Any] | None] = {"inputs": batch.inputs, "scored": batch.scored}
        seen |= {"judged": batch.judged, "draws": batch.draws}
        if isinstance(batch.answers, Copies):
            seen |= batch.answers._asdict()
        else:
            seen["targets"] = batch.answers
        seen |= {f"context/{name}": batch.events.get(name) for name in self.model.context}
        if "needed_steps" in self.model.context:
            seen["context/needed_steps"] = batch.scored | batch.judged_steps
        if "targets" in self.model.context:
            seen["context/targets"] = batch.training_targets(self.task.loss)
        return {n: torch.from_numpy(np.require(v, requirements=["C", "W"])) for n, v in seen.items() if v is not None}

    def _weights(self) -> dict[str, Tensor]:
        return dict(self.model.named_parameters()) | dict(self.model.named_buffers())

    @contextlib.contextmanager
    def _seeds_of(self, members: list[int]) -> Iterator[None]:
        """Let the model know the seeds of the members it runs, for whatever it draws."""
        everyone = self.model.seeds
        self.model.seeds = tuple(everyone[m] for m in members)
        try:
            yield
        finally:
            self.model.seeds = everyone
