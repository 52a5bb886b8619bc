"""Random directed graphs that an agent can explore (Schlag, Munkhdalai & Schmidhuber 2021, listing 1).

A graph is a table g (place, action) of the place that an action leads to, -1 where it leads nowhere. Each place
has one action out and one action in, at random, so that ten of the fifteen pairs (place, action) are valid;
graphs in which not every place is reached from every other, or which are periodic, are drawn again.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from emt.streams import Split

PLACES, ACTIONS = 5, 3

NONE = -1
"""Where an action leads that is not valid."""

SEED = 666
"""Of the published data sets."""

Table = NDArray[np.int64]
"""Graphs (graph, place, action)."""


@lru_cache(maxsize=8)
def graphs_of(split: Split, count: int) -> Table:
    """Return the graphs of a split, (graph, place, action); read-only.

    One generator draws the test graphs, then those of training, as published, and then those of validation.
    A graph that an earlier split has is drawn again.

    Parameters
    ----------
    split
        Whose graphs.
    count
        Graphs of each split; published are 600.
    """
    # The published graphs are those of numpy's first generator.
    generator = np.random.RandomState(SEED)
    sets: dict[Split, Table] = {}
    seen: set[bytes] = set()
    for name in ("test", "train", "validation"):
        drawn: list[Table] = []
        while len(drawn) < count:
            graph = draw_graph(generator)
            if graph.tobytes() not in seen:
                drawn.append(graph)
        seen |= {graph.tobytes() for graph in drawn}
        sets[name] = np.stack(drawn)
        sets[name].flags.writeable = False
    return sets[split]


def draw_graph(generator: np.random.RandomState) -> Table:
    """Return the next graph, (place, action)."""
    while True:
        graph = np.full((PLACES, ACTIONS), NONE, np.int64)
        for place in range(PLACES):
            target = generator.choice([other for other in range(PLACES) if other != place])
            graph[place, generator.randint(0, ACTIONS)] = target
        for target in range(PLACES):
            free = [
                (place, action)
                for action in range(ACTIONS)
                for place in range(PLACES)
                if graph[place, action] == NONE and place != target
            ]
            graph[free[generator.choice(len(free))]] = target
        if is_primitive(graph):
            return graph


def is_primitive(graph: Table) -> bool:
    """Whether for some number of steps every place is reached from every place in exactly as many.

    The 32nd power of the adjacency matrix decides: a primitive matrix of five rows has no zero from the 17th on
    (Wielandt).
    """
    power = adjacency(graph)
    for _ in range(5):
        power = (power @ power > 0).astype(np.int64)
    return bool(power.all())


def adjacency(graph: Table) -> NDArray[np.int64]:
    """Return 1 where an action leads from a place to another, (place, place)."""
    matrix = np.zeros((PLACES, PLACES), np.int64)
    places, actions = np.nonzero(graph != NONE)
    matrix[places, graph[places, actions]] = 1
    return matrix
