"""Errors in closed form, for values that are drawn independently, of length one and mean zero."""

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def error_of_best(first: NDArray[np.int64], second: NDArray[np.int64], *, product: bool) -> float:
    """Return the smallest mean squared error of a linear memory: 1 − rank/L, of L keys.

    What is read of L keys lies in a space of as many dimensions as the keys have; independent values lose the rest.
    Tensor products of independent symbols are independent. Of symbols side by side the rank is that of the
    incidence matrix of a graph, whose edges are the pairs and whose vertices the symbols at either place: the
    number of its vertices less that of its components (the graph is bipartite), at most 19 of 10 symbols.

    Parameters
    ----------
    first, second
        Numbers of the symbols of each pair; pairs differ.
    product
        Whether keys are tensor products.
    """
    load = len(first)
    if product:
        return 0.0
    rows, columns = (np.unique(place, return_inverse=True) for place in (first, second))
    vertices = len(rows[0]) + len(columns[0])
    graph = coo_array((np.ones(load), (rows[1], len(rows[0]) + columns[1])), shape=(vertices, vertices))
    rank = vertices - connected_components(graph, directed=False)[0]
    return 1 - float(rank) / load


def error_of_sum(keys: NDArray[np.float64]) -> float:
    """Return the mean squared error of a sum of v kᵀ over keys of length one: Σ_{j ≠ i} (k_i·k_j)², a mean over i."""
    overlaps = np.square(keys @ keys.T)
    return float((overlaps.sum() - np.trace(overlaps)) / len(keys))
