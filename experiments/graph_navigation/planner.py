"""An agent that needs no training: it goes the cheapest way that it knows of, and tries what it does not know."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emt.tasks.graph_episodes import ACTION, RECEIVED
from emt.tasks.graphs import ACTIONS, NONE, PLACES

UNTRIED = NONE - 1
"""What a pair (place, action) leads to that was not tried."""

SURE = 60.0
"""Logit of the action that is taken."""


class Planner:
    """Agents that keep what each pair (place, action) led to, on inputs of the paper, which show rewards.

    A pair that was tried costs 1; one that was not is taken to lead to the reward, and costs 1 + ``curiosity``. Of a
    step after which both places are drawn again nothing is learnt but that it was invalid.

    Parameters
    ----------
    curiosity
        What an untried pair costs beside the step.
    """

    def __init__(self, curiosity: float = 1.5) -> None:
        self.curiosity = curiosity
        self._before: tuple[NDArray[np.int64], ...] | None = None

    def __call__(self, inputs: NDArray[np.float32], events: Mapping[str, Any]) -> NDArray[np.float64]:
        """Return logits (member, batch, action) for the inputs of the next step."""
        goal, place = (inputs[..., first : first + PLACES].argmax(axis=-1) for first in (0, PLACES))
        total, late = inputs[..., RECEIVED].astype(float), inputs[..., ACTION] > 0
        if self._before is None:
            self.known = np.full((*goal.shape, PLACES, ACTIONS), UNTRIED)
        else:
            self._learn(place, total, late)
        member, row = np.ogrid[: goal.shape[0], : goal.shape[1]]
        actions = self._costs(goal)[member, row, place].argmin(axis=-1)
        self._before = goal, place, actions, total
        return SURE * (actions[..., None] == np.arange(ACTIONS))

    def _learn(self, place: NDArray[np.int64], total: NDArray[np.float64], late: NDArray[np.bool_]) -> None:
        assert self._before is not None
        goal, left, action, received = self._before
        reward = total - received
        led = np.where(reward > 1, goal, np.where(reward < 0, NONE, np.where(late, UNTRIED, place)))
        member, row = np.ogrid[: led.shape[0], : led.shape[1]]
        # What was known is not forgotten.
        held = self.known[member, row, left, action]
        self.known[member, row, left, action] = np.where(led == UNTRIED, held, led)

    def _costs(self, goal: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the cost to the reward of each pair, (member, batch, place, action)."""
        member, row = (index[..., None, None] for index in np.ogrid[: goal.shape[0], : goal.shape[1]])
        there = goal[..., None] == np.arange(PLACES)
        costs = np.where(there, 0.0, np.inf)
        for _ in range(PLACES):
            led = 1 + costs[member, row, np.maximum(self.known, 0)]
            pairs = np.where(
                self.known == NONE, np.inf, np.where(self.known == UNTRIED, 1 + self.curiosity, led)
            )
            costs = np.where(there, 0.0, pairs.min(axis=-1))
        return pairs
