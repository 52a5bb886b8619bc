"""Distances of persistence diagrams: bottleneck and Wasserstein, for one pair and for all pairs of many models.

A diagram is an array (bar, 2) of births and deaths; what is left over never dies, its death is infinite.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from analysis.cache import all_pairs, content_hash
from analysis.statistics import scale_of

Diagram = NDArray[np.float64]
Diagrams = tuple[Diagram, ...]
"""One model's diagrams by dimension."""


def diagram_distance(
    a: Diagram, b: Diagram, metric: Literal["bottleneck", "wasserstein"] = "bottleneck", cap: float | None = None
) -> float:
    """Distance of two diagrams of one dimension: bottleneck (maximum norm) or Wasserstein (order 1, Euclidean).

    Infinite bars are matched with each other in the order of their births. Where one diagram has more of them, all are
    taken to die at ``cap``, since the distance would be infinite otherwise.

    Parameters
    ----------
    a, b
        Diagrams (bar, 2).
    metric
        "bottleneck" or "wasserstein".
    cap
        A scale no smaller than any finite one; by default the largest birth or death of the two.
    """
    if np.array_equal(a, b):
        return 0.0
    essential = [np.sort(bars[np.isinf(bars[:, 1]), 0]) for bars in (a, b)]
    if len(essential[0]) == len(essential[1]):
        a, b = finite_bars(a), finite_bars(b)
    else:
        cap = largest_scale([a, b]) if cap is None else cap
        a, b = (np.where(np.isinf(bars), cap, bars) for bars in (a, b))
        essential = [np.empty(0), np.empty(0)]
    shifts = np.abs(essential[0] - essential[1])
    if metric == "bottleneck":
        return max(_bottleneck(a, b), float(shifts.max(initial=0.0)))
    return _wasserstein(a, b) + float(shifts.sum())


def pairwise_diagram_distances(
    diagrams: Sequence[Diagrams], metric: Literal["bottleneck", "wasserstein"] = "bottleneck"
) -> NDArray[np.float64]:
    """Return distances (dimension, model, model) of models' diagrams, one matrix for each dimension.

    Numbers of infinite bars that differ are settled as in `diagram_distance`, with the largest scale of all models.
    Many pairs are shared among all cores.
    """
    n_infinite = {tuple(int(np.isinf(bars[:, 1]).sum()) for bars in model) for model in diagrams}
    # Where all have as many, no distance depends on other models.
    cap = largest_scale([bars for model in diagrams for bars in model]) if len(n_infinite) > 1 else None
    keys = [content_hash(cap, *model) for model in diagrams]
    compute = partial(_distances_of, diagrams, metric, cap)
    return all_pairs(f"{metric}_distances", keys, compute, len(diagrams[0]))


def finite_bars(bars: Diagram) -> Diagram:
    """Return the bars that die."""
    return bars[np.isfinite(bars[:, 1])]


def largest_scale(diagrams: Sequence[Diagram]) -> float:
    """Return the largest finite birth or death, 0 if there is none."""
    values = np.concatenate([bars.ravel() for bars in diagrams])
    return float(values[np.isfinite(values)].max(initial=0.0))


def _distances_of(
    diagrams: Sequence[Diagrams],
    metric: Literal["bottleneck", "wasserstein"],
    cap: float | None,
    pairs: tuple[NDArray[np.intp], NDArray[np.intp]],
) -> NDArray[np.float64]:
    """Return distances (dimension, pair)."""
    distances = np.zeros((len(diagrams[0]), len(pairs[0])))
    for place, (i, j) in enumerate(zip(*pairs, strict=True)):
        for dimension, (a, b) in enumerate(zip(diagrams[i], diagrams[j], strict=True)):
            distances[dimension, place] = diagram_distance(a, b, metric, cap)
    return distances


def _bottleneck(a: Diagram, b: Diagram) -> float:
    """Return the smallest r at which all bars longer than 2 r are matched to bars no further away than r.

    Bars that are no longer may die on the diagonal. A matching of the long bars of ``a`` and one of the long bars of
    ``b`` make one of both (Mendelsohn & Dulmage 1958), so the two sides are looked at one by one.
    """
    from scipy.spatial.distance import cdist

    half = [np.ptp(bars, axis=1) / 2 for bars in (a, b)]
    largest = float(max(h.max(initial=0.0) for h in half))
    if not (len(a) and len(b)):
        return largest
    if not (a[:, 0].any() or b[:, 0].any()):
        return _bottleneck_of_lengths(a[:, 1], b[:, 1])
    costs = cdist(a, b, "chebyshev")
    sides = ((costs, half[0]), (costs.T, half[1]))
    scales = np.unique(np.concatenate([costs.ravel(), *half]))
    # No bar does better than with its nearest, and often all have it.
    least = max(float(np.minimum(cost.min(axis=1), h).max()) for cost, h in sides)
    scales = scales[(scales >= least) & (scales <= largest)]
    low, high, middle = 0, len(scales) - 1, 0
    while low < high:
        if all(_covers(cost[h > scales[middle]] <= scales[middle]) for cost, h in sides):
            high = middle
        else:
            low = middle + 1
        middle = (low + high) // 2
    return float(scales[low])


def _covers(near: NDArray[np.bool_]) -> bool:
    """Whether each row can be matched to a column of its own."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import maximum_bipartite_matching

    if not near.any(axis=1).all() or len(near) > near.shape[1]:
        return False
    return len(near) < 2 or bool((maximum_bipartite_matching(csr_array(near), perm_type="column") >= 0).all())


def _bottleneck_of_lengths(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Bottleneck distance of bars that are all born at 0, as components are, in closed form.

    Such points lie on a line, so matching them by descending length is optimal, and a pair whose both bars die more
    cheaply on the diagonal goes there together with all shorter ones.
    """
    lengths = np.zeros((2, max(len(a), len(b))))
    lengths[0, : len(a)], lengths[1, : len(b)] = np.sort(a)[::-1], np.sort(b)[::-1]
    return float(np.minimum(np.abs(lengths[0] - lengths[1]), lengths.max(axis=0) / 2).max())


def _wasserstein(a: Diagram, b: Diagram) -> float:
    """Return the smallest total distance of a matching of all bars with bars or with the diagonal."""
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    unit = scale_of(a, b)
    a, b = a / unit, b / unit
    to_diagonal = [np.ptp(bars, axis=1) / math.sqrt(2) for bars in (a, b)]
    if not (len(a) and len(b)):
        return unit * float(sum(d.sum() for d in to_diagonal))
    # A pair costs its distance or, where that is less, two ways to the diagonal; bars without a partner cost theirs.
    saved = np.maximum(to_diagonal[0][:, None] + to_diagonal[1] - cdist(a, b), 0.0)
    matched = saved[linear_sum_assignment(saved, maximize=True)].sum()
    return unit * float(sum(d.sum() for d in to_diagonal) - matched)
