"""Navigation of graphs (Schlag, Munkhdalai & Schmidhuber 2021, section 4.2): find the reward in a world that is new.

An agent sees at which of five places it is and where the reward is, and takes one of three actions. Where an
action leads it has to try, and to remember: in an episode the graph stays, while reward and agent are placed anew
after each reward, and after six steps without one. Agents learn by advantage actor-critic.
"""

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from emt.errors import UserError
from emt.streams import Split, stream
from emt.tasks.base import Batch
from emt.tasks.graph_episodes import CHANNELS, Draws, Episodes
from emt.tasks.graph_values import best_actions
from emt.tasks.graphs import ACTIONS, graphs_of


class GraphNavigation:
    """Graph navigation: walk to a reward that moves, on a graph that has to be learnt within the episode.

    Targets are the best action of an agent that knows the graph. Sequence j of update t has the graph with the
    number j + t x sequences, modulo ``graphs``: as many sequences as graphs, and each keeps its graph.

    Parameters
    ----------
    steps
        steps of an episode.
    graphs
        graphs of each split.
    dynamics
        whether a reward leaves the timer of six steps as it is, as in the published code, or starts it again, as
        in the paper.
    sees
        inputs of the published code, which show neither rewards nor that there was no last action, or of the
        paper.
    critic
        values as in the published code, each compared with all returns of its step, or each with its own.
    gamma
        weight of the next step's return in a step's.
    entropy_weight
        weight of the entropy of choices, which is rewarded.
    value_weight
        weight of the critic's squared error.
    """

    loss: Literal["advantage"] = "advantage"
    curriculum = False
    carries = False
    epoch_batches = 500
    tokens = ("A", "B", "C", "D", "E")
    input_channels = CHANNELS
    output_channels = ACTIONS + 1

    def __init__(
        self,
        *,
        steps: Annotated[int, Field(ge=1)] = 30,
        graphs: Annotated[int, Field(ge=1)] = 600,
        dynamics: Literal["code", "paper"] = "code",
        sees: Literal["code", "paper"] = "code",
        critic: Literal["pooled", "own"] = "pooled",
        gamma: Annotated[float, Field(ge=0, le=1)] = 0.9,
        entropy_weight: Annotated[float, Field(ge=0)] = 0.03,
        value_weight: Annotated[float, Field(ge=0)] = 0.1,
    ) -> None:
        self.lengths, self.test_sequences = (steps,), graphs
        self.dynamics, self.sees = dynamics, sees
        self.loss_options = {
            "discount": gamma,
            "entropy": entropy_weight,
            "value_weight": value_weight,
            "pooled": critic == "pooled",
        }

    def operator(self, length: int) -> None:
        """Return None: the task has no linear operator."""

    def shape(self, seed: int, split: Split, step: int, horizon: int) -> int:
        """Return the steps of an episode, the same for all batches."""
        return self.lengths[0]

    def batch(self, seeds: Sequence[int], split: Split, step: int, shape: int, size: int) -> Batch:
        """Return episodes that wait for each seed's agents."""
        count = self.test_sequences
        numbers = (np.arange(size) + step * size) % count
        draws = [_draw(seed, split, step, size, shape) for seed in seeds]
        episodes = Episodes(
            numbers=numbers,
            graphs=graphs_of(split, count),
            best=best_actions(split, count, self.dynamics, shape),
            draws=Draws(*(np.stack(values) for values in zip(*draws, strict=True))),
            dynamics=self.dynamics,
            inputs=self.sees,
        )
        return episodes.waiting()

    def test_batch(self, seed: int, length: int, horizon: int, size: int) -> Batch:
        """Return held-out episodes that wait for agents, one member wide.

        Raises
        ------
        UserError
            If ``length`` is not the steps of an episode.
        """
        if length != self.lengths[0]:
            expected = f"must be {self.lengths[0]}, the steps of an episode"
            raise UserError(f"{expected}; got {length}", parameter="length")
        return self.batch([seed], "test", 0, length, size)


def _draw(seed: int, split: Split, step: int, size: int, steps: int) -> Draws:
    generator = stream("graph_navigation", seed, split, step)
    return Draws(generator.random((size, steps)), generator.random((size, steps + 1, 2)))
