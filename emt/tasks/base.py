"""What a task offers: batches as a pure function of (seed, split, step), how they are scored, and its theory."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from emt.errors import RegistrationError
from emt.streams import Split

Loss = Literal["mse", "half_squares", "cross_entropy", "actor_critic", "advantage"]

ACCURACY: dict[Loss, Literal["sign", "argmax"]] = {
    "mse": "sign",
    "half_squares": "argmax",
    "cross_entropy": "argmax",
    "actor_critic": "argmax",
    "advantage": "argmax",
}
"""When an output is right: each number has its target's sign, or the largest one is where the target's is."""


class Copies(NamedTuple):
    """Targets that repeat inputs, with or without a change of sign.

    Attributes
    ----------
    places
        For each target its place among the numbers of one sequence's inputs, (time, target).
    signs
        What it is multiplied with, (time, target), float32; 0 if there is no target.
    """

    places: Any
    signs: Any

    def of(self, inputs: Any) -> Any:
        """Return the targets (member, batch, time, target) of inputs (member, batch, input time, channel).

        All are arrays, or all are tensors of one device: then nothing as large as the targets has to be moved
        there.
        """
        return inputs.reshape(*inputs.shape[:2], -1)[:, :, self.places] * self.signs


Choose = Callable[[NDArray[np.float32], Mapping[str, NDArray[np.int64]]], NDArray[Any]]
"""What agents do: inputs (member, batch, channel) and events (member, batch) of a step → outputs of theirs."""


class Environment(Protocol):
    """What answers the actions of agents: the episodes that a batch's sequences become once they are played."""

    @property
    def steps(self) -> int:
        """Steps of an episode."""
        ...

    def part(self, sequences: slice) -> "Environment":
        """Return that of some sequences."""
        ...

    def play(self, choose: Choose, members: int) -> "Batch":
        """Return the batch that agents make of it: inputs, targets, events, actions and rewards of each member.

        Parameters
        ----------
        choose
            The agents, asked once for each step, in order.
        members
            How many agents play; an environment of one member is the same for all of them.
        """
        ...


@dataclass(frozen=True)
class Batch:
    """One batch for each member of a group, axes (member, batch, time, …).

    Attributes
    ----------
    inputs
        (member, batch, input time, channel), float32. May cover fewer steps than ``targets``: later inputs
        are zero. Or ids of tokens, (member, batch, time) integers, −1 after a row's last one.
    answers
        The targets, (member, batch, time, target), float32; or ids (member, batch, time) for cross entropy,
        −1 if there is none; or how they follow from the inputs.
    scored
        (member, batch, time), bool: the steps that enter the loss.
    events
        Integer arrays (member, batch, time), −1 for none: ``token``, ``phase`` (0 items are shown, 1 answers
        are due), ``written`` and ``asked`` items (of several at once with an axis more), ``trial``,
        ``group``, its kind, and ``start``, at the first step of a trial whose initial state is drawn anew,
        the number that names this state. Others are the task's own variables, such as ``sample``, for analyses
        by condition.
    judged
        (member, batch, time), bool: the steps that enter the accuracy; None for those that enter the loss.
    draws
        Uniform numbers in [0, 1), (member, batch, time), for a loss that samples choices.
    fresh
        Whether members start anew; if not, they go on from their state after the split's previous batch.
    pace
        What the learning rate is multiplied with in a training step on this batch.
    actions, rewards
        What agents did, (member, batch, time), integers, and what it brought them, float32; None where nothing
        is played.
    environment
        What inputs come from that depend on the members' actions, until it is played: the batch itself then has
        the first inputs only, and no targets.
    """

    inputs: NDArray[np.float32] | NDArray[np.integer[Any]]
    answers: NDArray[np.float32] | NDArray[np.integer[Any]] | Copies
    scored: NDArray[np.bool_]
    events: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    judged: NDArray[np.bool_] | None = None
    draws: NDArray[np.float32] | None = None
    fresh: bool = True
    pace: float = 1.0
    actions: NDArray[np.int64] | None = None
    rewards: NDArray[np.float32] | None = None
    environment: Environment | None = None

    @cached_property
    def targets(self) -> NDArray[np.float32] | NDArray[np.integer[Any]]:
        """The targets as an array."""
        targets = self.answers.of(self.inputs) if isinstance(self.answers, Copies) else self.answers
        return np.asarray(targets)

    @property
    def steps(self) -> int:
        """Number of time steps, silent ones included."""
        return self.scored.shape[2]

    @property
    def judged_steps(self) -> NDArray[np.bool_]:
        """The steps that enter the accuracy, (member, batch, time)."""
        return self.scored if self.judged is None else self.judged

    @property
    def sequences(self) -> int:
        """Number of sequences of each member; 0 where a split has come to its end."""
        return self.scored.shape[1]

    def part(self, sequences: slice) -> "Batch":
        """Return the batch of some of its sequences."""
        rows = (slice(None), sequences)
        return replace(
            self,
            inputs=self.inputs[rows],
            answers=self.answers if isinstance(self.answers, Copies) else self.answers[rows],
            scored=self.scored[rows],
            events={name: event[rows] for name, event in self.events.items()},
            judged=None if self.judged is None else self.judged[rows],
            draws=None if self.draws is None else self.draws[rows],
            actions=None if self.actions is None else self.actions[rows],
            rewards=None if self.rewards is None else self.rewards[rows],
            environment=None if self.environment is None else self.environment.part(sequences),
        )

    def training_targets(self, loss: Loss) -> NDArray[Any]:
        """Return what there is to learn at each step.

        For cross entropy the ids of the right classes, (member, batch, time), −1 where nothing is scored; for
        squared errors the targets, (member, batch, time, target), NaN where nothing is.
        """
        if loss == "mse":
            return np.where(self.scored[..., None], self.targets, np.float32(np.nan))
        ids = self.targets.argmax(axis=-1) if self.targets.ndim == 4 else self.targets
        return np.where(self.scored, ids, -1)

    def padded_inputs(self, channels: int) -> NDArray[np.float32]:
        """Return the inputs of all steps, (member, batch, time, channel)."""
        inputs = one_hot(self.inputs, channels)
        return np.pad(inputs, [(0, 0), (0, 0), (0, self.steps - inputs.shape[2]), (0, 0)])


def one_hot(values: NDArray[Any], width: int) -> NDArray[np.float32]:
    """Return ids (member, batch, time) as one-hot vectors, zero for −1; other values as they are."""
    if values.ndim == 4:
        return values
    return np.asarray(values[..., None] == np.arange(width), np.float32)


def check_task(task: Any, name: str) -> None:
    """Refuse a task that lacks what `Task` lists.

    Raises
    ------
    RegistrationError
        Naming the members that are missing.
    """
    methods = [
        member for member in vars(Task) if not member.startswith("_") and callable(getattr(Task, member))
    ]
    missing = [member for member in (*Task.__annotations__, *methods) if not hasattr(task, member)]
    if missing:
        raise RegistrationError(
            f"task {name!r}: expected {type(task).__name__} to have {', '.join(missing)} (emt/tasks/base.py says what)"
        )


class Task(Protocol):
    """What training, recording and evaluation ask of a task.

    Attributes
    ----------
    input_channels, output_channels
        Sizes of a model's input and output.
    loss
        Name of the loss; the accuracy goes with it (`ACCURACY`).
    curriculum
        Whether ``horizon`` changes the batches, so that a curriculum over horizons makes sense.
    epoch_batches
        Default number of training batches in one epoch.
    lengths
        The sequence lengths that batches may have.
    tokens
        What the ids of the event ``token`` stand for; empty where inputs are no tokens.
    loss_options
        Options of the loss, by name.
    carries
        Whether there are batches that are not fresh.

    A task may also have ``test_sequences``, the number of held-out sequences that it is tested on; and
    ``epoch_end(epochs, size)``, the number of training steps in its first so many epochs at a batch size, in place of
    ``epoch_batches``.
    """

    input_channels: int
    output_channels: int
    loss: Loss
    curriculum: bool
    epoch_batches: int
    lengths: tuple[int, ...]
    tokens: tuple[str, ...]
    loss_options: Mapping[str, float]
    carries: bool

    def shape(self, seed: int, split: Split, step: int, horizon: int) -> Hashable:
        """Return the time shape of a member's batch; members with equal shapes can share a stack."""
        ...

    def batch(self, seeds: Sequence[int], split: Split, step: int, shape: Hashable, size: int) -> Batch:
        """Return the batches of members that share a shape, ``size`` sequences each."""
        ...

    def test_batch(self, seed: int, length: int, horizon: int, size: int) -> Batch:
        """Return a held-out batch, one member wide, of one sequence length; ``horizon`` where the task has one."""
        ...

    def operator(self, length: int) -> NDArray[np.float64] | None:
        """Return f, (length · d, d): next vector = window @ f; None where the task has no linear operator."""
        ...
