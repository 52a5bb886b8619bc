"""What agents that know the graph expect of an episode, exactly, by dynamic programming over the steps that are left.

With V_0 = 0 and, for each reward place r, agent place a and timer k, all on the horizon one shorter,

    D(r, k) = mean of V(r', a', k) over r' != r and a' != r'                             (1) after a placement
    M(p) = D(r, 0) if k + 1 is the limit of the timer, else V(r, p, k + 1)               (2) after any other step
    Q(r, a, k, u) = 10 + D(r, k, or 0 in the paper) if g[a, u] = r                       (3)
                    M(g[a, u]) if that is another place, -0.05 + M(a) if there is none

V is the mean of Q over actions for an agent that acts at random, that over valid actions, or the maximum.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from emt.streams import Split
from emt.tasks.graphs import ACTIONS, NONE, PLACES, Table, graphs_of

REWARD, PENALTY, LIMIT = 10.0, -0.05, 6
"""For reaching the reward, for an invalid action, and the value of the timer at which both places are drawn again."""

Dynamics = Literal["code", "paper"]
Policy = Literal["random", "valid", "best"]

TIES = 1e-9
"""Actions whose values differ by less are equally good."""

Array = NDArray[np.float64]


def action_values(graphs: Table, dynamics: Dynamics, policy: Policy, steps: int) -> Iterator[Array]:
    """Yield Q with one step left, with two, … and with ``steps``, (graph, reward place, place, timer, action).

    Parameters
    ----------
    graphs
        (graph, place, action).
    dynamics
        Whether the timer is left as it is by a reward (the published code) or starts again (the paper).
    policy
        What the agent does after this action: any action, any valid one, or the best.
    steps
        Steps of an episode.
    """
    values = np.zeros((len(graphs), PLACES, PLACES, LIMIT))
    reached = np.where(graphs == NONE, np.arange(PLACES)[:, None], graphs)
    rewarded = graphs[:, None] == np.arange(PLACES)[:, None, None]
    valid = np.broadcast_to((graphs != NONE)[:, None, :, None], (*values.shape, ACTIONS))
    shares = {"random": np.full(valid.shape, 1 / ACTIONS), "valid": valid / valid.sum(axis=-1, keepdims=True)}
    rows = np.arange(len(graphs))[:, None, None]
    for _ in range(steps):
        placed = after_placement(values)
        last = np.broadcast_to(placed[:, :, None, :1], values[..., :1].shape)
        moved = np.concatenate([values[..., 1:], last], axis=-1)[rows, :, reached]
        moved = np.where(valid, 0.0, PENALTY) + moved.transpose(0, 3, 1, 4, 2)
        found = placed if dynamics == "code" else np.repeat(placed[..., :1], LIMIT, axis=-1)
        q = np.where(rewarded[:, :, :, None], REWARD + found[:, :, None, :, None], moved)
        values = q.max(axis=-1) if policy == "best" else (q * shares[policy]).sum(axis=-1)
        yield q


def after_placement(values: Array) -> Array:
    """Return D, (graph, old reward place, timer), of V, (graph, reward place, place, timer): equation (1)."""
    apart = 1 - np.eye(PLACES)
    means = np.einsum("grak,ra->grk", values, apart) / (PLACES - 1)
    return np.asarray(np.einsum("grk,or->gok", means, apart) / (PLACES - 1))


def expected_returns(graphs: Table, dynamics: Dynamics, policy: Policy, steps: int) -> Array:
    """Return what an agent expects of an episode on each graph, (graph,): the mean over the twenty starts."""
    *_, q = action_values(graphs, dynamics, policy, steps)
    valid = np.broadcast_to((graphs != NONE)[:, None, :, None], q.shape)
    means = {"random": q.mean(axis=-1), "valid": q.mean(axis=-1, where=valid), "best": q.max(axis=-1)}
    start = means[policy][..., 0]
    return np.asarray(start[:, ~np.eye(PLACES, dtype=bool)].mean(axis=-1))


@lru_cache(maxsize=4)
def best_actions(split: Split, count: int, dynamics: Dynamics, steps: int) -> NDArray[np.bool_]:
    """Return which actions are best for an agent that knows the graph; ties are all best; read-only.

    Returns
    -------
    ndarray
        (time, graph, reward place, place, timer, action).
    """
    values = action_values(graphs_of(split, count), dynamics, "best", steps)
    best = np.stack([q >= q.max(axis=-1, keepdims=True) - TIES for q in values])[::-1]
    best.flags.writeable = False
    return best
