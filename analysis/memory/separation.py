"""How well classes tell points apart: their share of variance, and the area under the ROC curve on a line."""

import numpy as np
from numpy.typing import NDArray

from analysis.memory.log import Array
from analysis.memory.relabelling import NONE
from analysis.statistics import DISTANCE_TIES, ranks


def class_separation(points: Array, classes: NDArray[np.int64]) -> float:
    """Return the share of the variance of points (point, feature) that their classes (point,) account for.

    Adjusted for chance, 1 - (1 - R²) (n - 1) / (n - k) with n points in k classes: labels that mean nothing
    give zero on average where points are independent. Points of class `NONE` are left out; NaN where fewer
    than two classes or no variance is left.

    Examples
    --------
    Two clusters, and labels that have nothing to do with them:

    >>> points = np.array([[0.0, 0.0], [0.0, 0.1], [5.0, 0.0], [5.0, 0.1]])
    >>> round(class_separation(points, np.array([0, 0, 1, 1])), 3)
    0.999
    >>> class_separation(points, np.array([0, 1, 0, 1])) < 0
    True
    """
    points, classes = points[classes != NONE], classes[classes != NONE]
    kinds, kind, count = np.unique(classes, return_inverse=True, return_counts=True)
    total = np.sum((points - points.mean(axis=0)) ** 2) if len(points) else 0.0
    if len(kinds) < 2 or len(points) == len(kinds) or total == 0:
        return float("nan")
    sums = np.zeros((len(kinds), points.shape[1]))
    np.add.at(sums, kind, points)
    within = np.sum((points - (sums / count[:, None])[kind]) ** 2)
    return float(1 - within / total * (len(points) - 1) / (len(points) - len(kinds)))


def component_auc(positions: Array, classes: NDArray[np.int64]) -> float:
    """Return how well positions (point,) on a line tell classes (point,) apart: 1 perfectly, 0.5 not at all.

    For each class the probability that one of its points lies beyond one of another class, on whichever side
    is likelier (area under the ROC curve; ties, positions that differ by less than 1e-6 of the largest, count
    half), averaged over classes. Points of class `NONE` are left out; NaN where fewer than two classes are
    left.

    Examples
    --------
    >>> positions = np.array([0.1, 0.2, 0.8, 0.9])
    >>> component_auc(positions, np.array([0, 0, 1, 1])), component_auc(positions, np.array([0, 1, 1, 0]))
    (1.0, 0.5)
    """
    positions, classes = positions[classes != NONE], classes[classes != NONE]
    kinds, kind, count = np.unique(classes, return_inverse=True, return_counts=True)
    if len(kinds) < 2:
        return float("nan")
    sums = np.bincount(kind, weights=ranks(positions, DISTANCE_TIES))
    beyond = (sums - count * (count + 1) / 2) / (count * (len(classes) - count))
    return float(np.maximum(beyond, 1 - beyond).mean())
