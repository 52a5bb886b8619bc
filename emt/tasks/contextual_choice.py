"""Contextual choice (Ritter et al. 2018; Lu et al.): left or right? Evidence for a side, seen in a context.

An episode shows U trials, each with a context of its own, and then the same trials in another order. A trial
has T steps; before step t_off its evidence is noise, so that only who has kept the context's first trial can
choose at once.

One training step is one trial: members carry their state until the episode is over.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Annotated, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from emt.errors import UserError
from emt.streams import Split, stream
from emt.tasks.base import Batch

UNSEEN, SEEN = 0, 1
"""Kinds of trial, the event ``group``."""

CHOICES = ("left", "right")


class Sizes(NamedTuple):
    """U trials of T steps, D numbers of evidence and of context, and the first step whose evidence is real."""

    trials: int
    steps: int
    evidence: int
    t_off: int


class Episodes(NamedTuple):
    """Episodes of one member.

    Attributes
    ----------
    evidence, context
        Of each trial, (batch, trial, time, number) and (batch, trial, 1, number).
    targets
        Which choice is right, (batch, trial).
    order
        Which trial each of the 2 U trials of an episode is, (batch, place).
    draws
        Uniform numbers in [0, 1) for choices, (batch, place, time).
    first
        Number of an episode's first trial, (batch,): it and the numbers after it name initial states.
    """

    evidence: NDArray[np.float32]
    context: NDArray[np.float32]
    targets: NDArray[np.int64]
    order: NDArray[np.int64]
    draws: NDArray[np.float32]
    first: NDArray[np.int64]


class ContextualChoice:
    """Contextual choice: trials with evidence for a side and a context, then the same trials again.

    Parameters
    ----------
    trials
        U, different trials in an episode, each shown twice.
    steps
        T, time steps of a trial.
    evidence
        D, numbers of evidence, and as many of context.
    t_off
        first step whose evidence is real, below --steps.
    discount
        weight of the next step's return in a step's (0: every step is rewarded for itself alone).
    entropy
        weight of the entropy of choices, which is rewarded.
    normalise_returns
        scale a trial's returns to mean zero and deviation one.
    """

    loss: Literal["actor_critic"] = "actor_critic"
    curriculum = False
    carries = True
    tokens = CHOICES
    output_channels = len(CHOICES) + 1

    def __init__(
        self,
        *,
        trials: Annotated[int, Field(ge=1)] = 50,
        steps: Annotated[int, Field(ge=1)] = 10,
        evidence: Annotated[int, Field(ge=1)] = 32,
        t_off: Annotated[int, Field(ge=0)] = 5,
        discount: Annotated[float, Field(ge=0, le=1)] = 0.0,
        entropy: Annotated[float, Field(ge=0)] = 0.0,
        normalise_returns: bool = False,
    ) -> None:
        if t_off >= steps:
            raise UserError(
                f"must be a step below {steps}, the steps of a trial; got {t_off}", parameter="t_off"
            )
        self.sizes = Sizes(trials, steps, evidence, t_off)
        self.input_channels = 2 * evidence
        self.epoch_batches = 2 * trials
        self.lengths = (2 * trials * steps,)
        self.loss_options = {"discount": discount, "entropy": entropy, "normalise_returns": normalise_returns}

    def operator(self, length: int) -> None:
        """Return None: the task has no linear operator."""

    def shape(self, seed: int, split: Split, step: int, horizon: int) -> int:
        """Return the steps of a trial, the same for all batches."""
        return self.sizes.steps

    def batch(self, seeds: Sequence[int], split: Split, step: int, shape: int, size: int) -> Batch:
        """Return the next trial of each seed's ``size`` episodes; fresh where new episodes begin."""
        episode, place = divmod(step, 2 * self.sizes.trials)
        whole = _show(self.sizes, tuple(seeds), split, episode, size)
        now = slice(place * shape, (place + 1) * shape)
        return replace(
            whole,
            inputs=whole.inputs[:, :, now],
            answers=whole.targets[:, :, now],
            scored=whole.scored[:, :, now],
            events={name: event[:, :, now] for name, event in whole.events.items()},
            draws=None if whole.draws is None else whole.draws[:, :, now],
            fresh=place == 0,
        )

    def test_batch(self, seed: int, length: int, horizon: int, size: int) -> Batch:
        """Return whole held-out episodes, one member wide.

        Raises
        ------
        UserError
            If ``length`` is not 2 U T.
        """
        if length != self.lengths[0]:
            raise UserError(
                f"must be {self.lengths[0]}, the steps of an episode; got {length}", parameter="length"
            )
        return self.episodes((seed,), "test", 0, size)

    def episodes(self, seeds: Sequence[int], split: Split, number: int, size: int) -> Batch:
        """Return whole episodes of each seed: all trials one after the other."""
        return _show(self.sizes, tuple(seeds), split, number, size)


@lru_cache(maxsize=2)
def _show(sizes: Sizes, seeds: tuple[int, ...], split: Split, number: int, size: int) -> Batch:
    """Draw the episodes of a number for some members; their trials are the batches of 2 U training steps."""
    drawn = [_draw_member(sizes, seed, split, number, size) for seed in seeds]
    names = ("targets", "order", "draws", "first")
    targets, order, draws, first = (np.stack([getattr(one, name) for one in drawn]) for name in names)
    inputs = np.empty((*draws.shape, 2 * sizes.evidence), np.float32)
    for shown, one in zip(inputs, drawn, strict=True):
        places = np.arange(size)[:, None], one.order
        shown[..., : sizes.evidence], shown[..., sizes.evidence :] = one.evidence[places], one.context[places]
    member, row = (i[..., None] for i in np.ogrid[: order.shape[0], : order.shape[1]])
    place = np.broadcast_to(np.arange(2 * sizes.trials), order.shape)
    seen, step = place >= sizes.trials, np.arange(sizes.steps)

    def along(values: NDArray[np.int64], where: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
        """Return values (member, batch, place) at all steps of their trials or at some, -1 elsewhere."""
        shown = np.broadcast_to(values[..., None], (*values.shape, sizes.steps))
        return (shown if where is None else np.where(where, shown, -1)).reshape(*values.shape[:2], -1)

    events = {
        "token": along(targets[member, row, order]),
        "written": along(np.where(seen, -1, order), step == sizes.steps - 1),
        "asked": along(np.where(seen, order, -1)),
        # An item is asked for among all of its episode.
        "trial": along(np.zeros_like(place)),
        "group": along(np.where(seen, SEEN, UNSEEN)),
        "start": along(first[..., None] + place, step == 0),
    }
    shape = events["token"].shape
    return Batch(
        inputs=inputs.reshape(*shape, -1),
        answers=np.eye(len(CHOICES), dtype=np.float32)[events["token"]],
        scored=np.ones(shape, np.bool_),
        events=events,
        draws=draws.reshape(shape),
    )


def _draw_member(sizes: Sizes, seed: int, split: Split, episode: int, size: int) -> Episodes:
    trials, steps, width, t_off = sizes
    generator = stream("choice", seed, split, episode)
    side = np.where(generator.standard_normal((size, trials), np.float32) < 0, np.float32(-1), np.float32(1))
    evidence = generator.standard_normal((size, trials, steps, width), np.float32)
    evidence[:, :, t_off:] += side[..., None, None]
    # The right choice is what all evidence says, its taken away first part included: that one's sum is drawn.
    hidden = t_off * width
    unseen = hidden * side + hidden**0.5 * generator.standard_normal((size, trials), np.float32)
    targets = (evidence[:, :, t_off:].sum(axis=(2, 3)) + unseen > 0).astype(np.int64)
    context = generator.standard_normal((size, trials, 1, width), np.float32)
    first_round = np.broadcast_to(np.arange(trials), (size, trials))
    return Episodes(
        evidence=evidence,
        context=context,
        targets=targets,
        order=np.concatenate([first_round, generator.permuted(first_round, axis=1)], axis=1),
        draws=generator.random((size, 2 * trials, steps), np.float32),
        first=generator.integers(2**62, size=size),
    )
