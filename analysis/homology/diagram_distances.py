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
    a: Diagram, b: Diagram, metric: Literal["bottleneck", "wasserstein"] = "bottleneck"
) -> float:
    """Distance of two diagrams of one dimension: bottleneck (maximum norm) or Wasserstein (order 1, Euclidean).

    Infinite bars are matched with each other in the order of their births. Where one diagram has more of
    them, the distance is infinite: no shift of finite size makes a bar die.

    Parameters
    ----------
    a, b
        Diagrams (bar, 2).
    metric
        "bottleneck" or "wasserstein".

    Examples
    --------
    >>> circle, arc = np.array([[0.0, np.inf], [0.5, 1.7]]), np.array([[0.0, np.inf]])
    >>> round(diagram_distance(circle, arc), 3), diagram_distance(circle, circle[1:])
    (0.6, inf)
    """
    if np.array_equal(a, b):
        return 0.0
    essential = [np.sort(bars[np.isinf(bars[:, 1]), 0]) for bars in (a, b)]
    if len(essential[0]) != len(essential[1]):
        return math.inf
    shifts = np.abs(essential[0] - essential[1])
    a, b = finite_bars(a), finite_bars(b)
    if metric == "bottleneck":
        return max(_bottleneck(a, b), float(shifts.max(initial=0.0)))
    return _sum(np.concatenate([_matched_costs(a, b), shifts]))


def pairwise_diagram_distances(
    diagrams: Sequence[Diagrams], metric: Literal["bottleneck", "wasserstein"] = "bottleneck"
) -> NDArray[np.float64]:
    """Return distances (dimension, model, model) of models' diagrams, one matrix for each dimension.

    Models whose numbers of infinite bars differ are infinitely far apart (`comparable_models` finds those
    that are not). Many pairs are shared among all cores.

    Examples
    --------
    The loop of a square lives from √2 to 2, and it is cheaper to let both loops die than to move one to the other:

    >>> models = [persistence_diagrams(np.exp(2j * np.pi * np.arange(n) / n)) for n in (16, 4)]
    >>> distances = pairwise_diagram_distances(models)
    >>> distances.shape, distances[1].round(3).tolist()
    ((2, 2, 2), [[0.0, 0.729], [0.729, 0.0]])
    """
    keys = [content_hash(*model) for model in diagrams]
    compute = partial(_distances_of, diagrams, metric)
    return all_pairs(f"{metric}_distances", keys, compute, len(diagrams[0]))


def comparable_models(distances: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which models (model,) belong to the largest set at finite distances (model, model), the first of equals.

    Being at a finite distance means having as many infinite bars, so such sets do not overlap.
    """
    finite = np.isfinite(distances)
    return finite[int(np.argmax(finite.sum(axis=1)))]


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
    pairs: tuple[NDArray[np.intp], NDArray[np.intp]],
) -> NDArray[np.float64]:
    """Return distances (dimension, pair)."""
    distances = np.zeros((len(diagrams[0]), len(pairs[0])))
    for place, (i, j) in enumerate(zip(*pairs, strict=True)):
        for dimension, (a, b) in enumerate(zip(diagrams[i], diagrams[j], strict=True)):
            distances[dimension, place] = diagram_distance(a, b, metric)
    return distances


def _bottleneck(a: Diagram, b: Diagram) -> float:
    """Return the smallest r at which all bars longer than 2 r are matched to bars no further away than r.

    Bars that are no longer may die on the diagonal. A matching of the long bars of ``a`` and one of the long
    bars of ``b`` make one of both (Mendelsohn & Dulmage 1958), so the two sides are looked at one by one.
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

    Such points lie on a line, so matching them by descending length is optimal, and a pair whose both bars
    die more cheaply on the diagonal goes there together with all shorter ones.
    """
    lengths = np.zeros((2, max(len(a), len(b))))
    lengths[0, : len(a)], lengths[1, : len(b)] = np.sort(a)[::-1], np.sort(b)[::-1]
    return float(np.minimum(np.abs(lengths[0] - lengths[1]), lengths.max(axis=0) / 2).max())


def _matched_costs(a: Diagram, b: Diagram) -> NDArray[np.float64]:
    """Return the distances that make up the smallest total of a matching of all bars with bars or with the diagonal.

    A pair costs its distance or, where that is less, two ways to the diagonal; bars without a partner cost
    theirs. Costs are minimised, not savings maximised: the total is as exact as its terms, however far all
    bars are from zero.
    """
    from scipy.optimize import linear_sum_assignment

    if len(a) < len(b):
        a, b = b, a
    to_diagonal = [np.ptp(bars, axis=1) / math.sqrt(2) for bars in (a, b)]
    apart = np.hypot(*(a[:, None, i] - b[:, i] for i in range(2)))
    costs = np.repeat(to_diagonal[0][:, None], len(a), axis=1)
    costs[:, : len(b)] = np.minimum(apart, to_diagonal[0][:, None] + to_diagonal[1])
    # Of two small costs beside a large one the assignment still finds the smaller, since it works with differences.
    matched: NDArray[np.float64] = costs[linear_sum_assignment(costs / scale_of(costs))]
    return matched


def _sum(values: NDArray[np.float64]) -> float:
    """Return a correctly rounded sum."""
    unit = scale_of(values)
    return unit * math.fsum(values / unit)
