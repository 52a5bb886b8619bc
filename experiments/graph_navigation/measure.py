"""Returns of agents on the test graphs, and what they are compared with: agents that know nothing, all, or plan."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from emt import runs
from emt.acting import played_by
from emt.config import RunConfig
from emt.record import load_members
from emt.tasks.graph_navigation import GraphNavigation
from emt.tasks.graph_values import Policy, expected_returns
from emt.tasks.graphs import graphs_of
from experiments.graph_navigation.planner import Planner

EPISODES = 4
"""Episodes on each test graph, the same chances for all agents."""

SEED = 0
"""Of these chances."""

POLICIES: dict[str, Policy] = {"random": "random", "random, valid": "valid", "knows the graph": "best"}


KeptSteps = dict[int, tuple[int | None, list[int]]]
"""By updates the step that names the weights after them, None: the last ones, and the members that have them."""


class Yardsticks(NamedTuple):
    """Mean returns on each test graph, (graph,), by name: exact ones, and that of the planner."""

    returns: dict[str, NDArray[np.float64]]

    def score(self, returns: NDArray[np.float64]) -> float:
        """Return where mean returns stand between those of the random and of the knowing agent, 0 and 1."""
        low, high = self.returns["random"].mean(), self.returns["knows the graph"].mean()
        return float((returns.mean() - low) / (high - low))

    def table(self) -> pd.DataFrame:
        """Return mean, standard error over graphs, and score of each."""
        rows = {
            name: (values.mean(), values.std(ddof=1) / len(values) ** 0.5, self.score(values))
            for name, values in self.returns.items()
        }
        return pd.DataFrame.from_dict(rows, orient="index", columns=["mean_return", "se", "score"])


def yardsticks(task: GraphNavigation) -> Yardsticks:
    """Return what a task's agents are compared with."""
    graphs, (steps,) = graphs_of("test", task.test_sequences), task.lengths
    found = {
        name: expected_returns(graphs, task.dynamics, policy, steps) for name, policy in POLICIES.items()
    }
    shown = GraphNavigation(steps=steps, graphs=task.test_sequences, dynamics=task.dynamics, sees="paper")
    waiting = shown.test_batch(SEED, steps, 1, EPISODES * shown.test_sequences)
    assert waiting.environment is not None
    planned = waiting.environment.play(Planner(), 1)
    return Yardsticks(found | {"plans on what it tried": by_graph(planned.rewards)[0]})


def by_graph(rewards: Any) -> NDArray[np.float64]:
    """Return mean returns on each graph, (member, graph), of rewards (member, episode · graph, time)."""
    returns = np.asarray(rewards, dtype=np.float64).sum(axis=-1)
    return np.asarray(returns.reshape(len(returns), EPISODES, -1).mean(axis=1))


def measure(folder: Path, config: RunConfig, numbers: list[int], step: int | None) -> NDArray[np.float64]:
    """Return mean returns of members on each test graph after so many updates, (member, graph)."""
    loaded = load_members(folder, config, numbers, step=step)
    (steps,), graphs = loaded.task.lengths, config.task["graphs"]
    waiting = loaded.task.test_batch(SEED, steps, 1, EPISODES * graphs)
    return by_graph(played_by(loaded.model, waiting).rewards)


def kept_steps(folder: Path, config: RunConfig) -> KeptSteps:
    """Return what weights of a population there are; members that are still trained count as far as they are."""
    numbers = range(1, config.training.num_models + 1)
    found: KeptSteps = {}
    for step in config.training.keep_checkpoints or ():
        kept = [n for n in numbers if runs.checkpoint_path(runs.model_folder(folder, n), step).exists()]
        if kept:
            found[step] = step, kept
    last = config.training.epochs * (config.training.epoch_batches or GraphNavigation.epoch_batches)
    done = [n for n in numbers if runs.is_done(folder, n)]
    return {**found, last: (None, done)} if done and last not in found else found


class Episode(NamedTuple):
    """What an agent did on a graph: places (place, action), and by step its place, the reward's, action and reward."""

    graph: NDArray[np.int64]
    place: NDArray[np.int64]
    goal: NDArray[np.int64]
    action: NDArray[np.int64]
    reward: NDArray[np.float64]


def episode_of(folder: Path, config: RunConfig, number: int, step: int | None) -> Episode:
    """Return an episode of a member on the first test graph, after so many updates; None: the last."""
    loaded = load_members(folder, config, [number], step=step)
    done = played_by(loaded.model, loaded.task.test_batch(SEED, loaded.task.lengths[0], 1, 1))
    assert done.actions is not None
    assert done.rewards is not None
    goal, place = (done.inputs[0, 0, :, first : first + 5].argmax(axis=-1) for first in (0, 5))
    graph = graphs_of("test", config.task["graphs"])[0]
    return Episode(graph, place, goal, done.actions[0, 0], done.rewards[0, 0].astype(np.float64))
