"""Episodes on graphs: agents walk, all at once, to rewards that move away when they are reached."""

from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from emt.tasks.base import Batch, Choose
from emt.tasks.graph_values import LIMIT, PENALTY, REWARD, Dynamics
from emt.tasks.graphs import ACTIONS, NONE, PLACES

Inputs = Literal["code", "paper"]

CHANNELS = 17
"""Of an input, by place: reward place, agent place, last action from `ACTION` on, one, time, rewards."""

ACTION, ONE, TIME, RECEIVED = 10, 14, 15, 16

LEAST = 1e-8
"""Added to the probability of each action, as published."""

Integers = NDArray[np.int64]


class Draws(NamedTuple):
    """Uniform numbers in [0, 1) that an episode is made of.

    Attributes
    ----------
    actions
        One for each action, (member, batch, time).
    places
        For the places of reward and agent at the start and after each step, (member, batch, time + 1, 2).
    """

    actions: NDArray[np.float64]
    places: NDArray[np.float64]


class Stand(NamedTuple):
    """Where agents stand before a step, (member, batch) each.

    Attributes
    ----------
    goal, place
        Places of the reward and of the agent.
    timer
        Steps that count towards the limit.
    last
        The last action, `NONE` at the start and after both places were drawn again by the timer.
    received
        Sum of the rewards so far.
    """

    goal: Integers
    place: Integers
    timer: Integers
    last: Integers
    received: NDArray[np.float64]


def start(draws: NDArray[np.float64]) -> Stand:
    """Return the stand before the first step, from uniform numbers (member, batch, 2)."""
    goal = np.floor(PLACES * draws[..., 0]).astype(np.int64)
    zero = np.zeros_like(goal)
    return Stand(goal, elsewhere(goal, draws[..., 1]), zero, zero + NONE, np.zeros(goal.shape))


def elsewhere(place: Integers, draws: NDArray[np.float64]) -> Integers:
    """Return another place than the one given, all four equally likely."""
    drawn = np.floor((PLACES - 1) * draws).astype(np.int64)
    return np.asarray(drawn + (drawn >= place))


def move(
    graphs: Integers, stand: Stand, actions: Integers, draws: NDArray[np.float64], dynamics: Dynamics
) -> tuple[Stand, NDArray[np.float64]]:
    """Return where agents stand after a step, and what it brought them.

    Parameters
    ----------
    graphs
        (batch, place, action), the same for all members.
    stand
        Before the step.
    actions
        (member, batch).
    draws
        Uniform numbers for new places, (member, batch, 2).
    dynamics
        Whether a reward leaves the timer as it is ("code") or starts it again ("paper").
    """
    target = graphs[np.arange(len(graphs)), stand.place, actions]
    invalid, found = target == NONE, target == stand.goal
    timer = stand.timer + ~found
    if dynamics == "paper":
        timer[found] = 0
    late = timer == LIMIT
    again = found | late
    goal = np.where(again, elsewhere(stand.goal, draws[..., 0]), stand.goal)
    place = np.where(invalid, stand.place, target)
    place = np.where(again, elsewhere(goal, draws[..., 1]), place)
    rewards = REWARD * found + PENALTY * invalid
    timer[late] = 0
    return Stand(goal, place, timer, np.where(late, NONE, actions), stand.received + rewards), rewards


def observe(stand: Stand, time: float, inputs: Inputs) -> NDArray[np.float32]:
    """Return what agents see, (member, batch, channel).

    Parameters
    ----------
    stand
        Where they stand.
    time
        The share of the episode that is over.
    inputs
        "paper": the last action or none at four places, and the sum of rewards so far; "code", as the published
        program does it: "no action" is not shown, and neither are rewards.
    """
    seen = np.zeros((*stand.goal.shape, CHANNELS), np.float32)
    for first, index in ((0, stand.goal), (PLACES, stand.place), (ACTION + 1, stand.last)):
        np.put_along_axis(seen, (first + index)[..., None], 1, axis=-1)
    seen[..., ONE], seen[..., TIME] = 1, time
    if inputs == "paper":
        seen[..., RECEIVED] = stand.received
    else:
        seen[..., ACTION] = 0
    return seen


def sample(logits: NDArray[Any], draws: NDArray[np.float64]) -> Integers:
    """Return actions (member, batch) of the probabilities that logits (member, batch, action) stand for."""
    # Of a member that diverges it does not matter what it does.
    with np.errstate(invalid="ignore"):
        p = np.exp(logits - logits.max(axis=-1, keepdims=True), dtype=np.float64)
    p = p / p.sum(axis=-1, keepdims=True) + LEAST
    below = np.cumsum(p / p.sum(axis=-1, keepdims=True), axis=-1)[..., :-1]
    return np.asarray((below <= draws[..., None]).sum(axis=-1))


@dataclass(frozen=True)
class Episodes:
    """Episodes that wait for agents; one for each sequence of a batch.

    Attributes
    ----------
    numbers
        Of the graphs, (batch,); members share them.
    graphs
        All graphs, (graph, place, action).
    best
        Which actions are best for an agent that knows the graph, (time, graph, reward place, place, timer,
        action).
    draws
        All that is random.
    dynamics, inputs
        As `move` and `observe` take them.
    """

    numbers: Integers
    graphs: Integers
    best: NDArray[np.bool_]
    draws: Draws
    dynamics: Dynamics
    inputs: Inputs

    @property
    def steps(self) -> int:
        """Steps of an episode."""
        return self.draws.actions.shape[2]

    def part(self, sequences: slice) -> "Episodes":
        """Return the episodes of some sequences."""
        draws = Draws(*(values[:, sequences] for values in self.draws))
        return replace(self, numbers=self.numbers[sequences], draws=draws)

    def waiting(self) -> Batch:
        """Return the batch before any action: what agents see first."""
        first = observe(start(self.draws.places[:, :, 0]), 0.0, self.inputs)
        shape = self.draws.actions.shape
        return Batch(
            inputs=first[:, :, None],
            answers=np.zeros((*shape, ACTIONS), np.float32),
            scored=np.ones(shape, np.bool_),
            environment=self,
        )

    def play(self, choose: Choose, members: int) -> Batch:
        """Return the batch that agents make of it, see `emt.tasks.base.Environment`."""
        shape = (members, *self.draws.actions.shape[1:])
        draws = Draws(*(np.broadcast_to(a, (members, *a.shape[1:])) for a in self.draws))
        graphs, stand = self.graphs[self.numbers], start(draws.places[:, :, 0])
        seen = np.empty((*shape, CHANNELS), np.float32)
        right = np.zeros((*shape, ACTIONS), np.float32)
        actions, places, tried = (np.empty(shape, np.int64) for _ in range(3))
        rewards = np.empty(shape, np.float32)
        pair = np.full(shape[:2], NONE)
        for t in range(self.steps):
            seen[:, :, t] = observe(stand, t / self.steps, self.inputs)
            places[:, :, t], tried[:, :, t] = stand.place, np.where(stand.last == NONE, NONE, pair)
            logits = choose(seen[:, :, t], {"written": tried[:, :, t]})[..., :ACTIONS]
            actions[:, :, t] = sample(logits, draws.actions[:, :, t])
            right[:, :, t] = self._best_of(t, stand, logits)
            pair = ACTIONS * stand.place + actions[:, :, t]
            now = actions[:, :, t], draws.places[:, :, t + 1], self.dynamics
            stand, rewards[:, :, t] = move(graphs, stand, *now)
        chosen = ACTIONS * places + actions
        return Batch(
            inputs=seen,
            answers=right,
            scored=np.ones(shape, np.bool_),
            events={
                "token": places,
                "written": tried,
                "asked": np.where(tried_before(tried, chosen), chosen, NONE),
            },
            actions=actions,
            rewards=rewards,
        )

    def _best_of(self, t: int, stand: Stand, logits: NDArray[Any]) -> NDArray[np.bool_]:
        """Return the best action as one-hot vectors; of several that one which the agent finds likeliest."""
        best = self.best[t, self.numbers, stand.goal, stand.place, stand.timer]
        likeliest = np.where(best, logits, -np.inf).argmax(axis=-1)
        return np.asarray(likeliest[..., None] == np.arange(ACTIONS))


def tried_before(tried: Integers, chosen: Integers) -> NDArray[np.bool_]:
    """Return at which steps the pair chosen is one that was tried up to there, (member, batch, time)."""
    same = tried[..., None, :] == chosen[..., :, None]
    return np.asarray((same & np.tri(tried.shape[2], dtype=bool)).any(axis=-1))
