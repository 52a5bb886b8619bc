"""How far apart conditions are: cross-validated Mahalanobis distances of their mean states, and correlations.

With M_k (condition, unit) the means of fold k of K and P the precision of the noise, the second moment of conditions is

    G = [(Σ M_k) P (Σ M_k)ᵀ - Σ M_k P M_kᵀ] / (K (K - 1)),     d_ij = (G_ii + G_jj - 2 G_ij) / units

(crossnobis, Walther et al. 2016). Noise of different folds has nothing in common, so that the distance of conditions
that do not differ is zero on average, and may be negative. That holds only if P is independent of the means: it is of
deviations from the mean of each condition *in each fold*. Deviations from the means of conditions contain how folds
differ, which P then makes small, and conditions that do not differ seem to.
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from analysis.conditions.discriminant import LARGEST_SHRINKAGE, SMALLEST_SHRINKAGE, shrinkage
from analysis.conditions.labels import Integers

Array = NDArray[np.float64]
Noise = Literal["residuals", "identity"]
Distance = Literal["crossnobis", "correlation"]


def cell_means(states: Array, cells: Integers, count: int) -> Array:
    """Return means (cell, unit) of states (trial, unit) by their cell (trial,), each of which has one."""
    member_of = (cells == np.arange(count)[:, None]).astype(float)
    return np.asarray(member_of @ states / member_of.sum(axis=1, keepdims=True))


def whitening(residuals: Array, freedom: int) -> Array:
    """Return W (unit, unit) with W Wᵀ the precision of residuals (trial, unit) of mean zero.

    Their covariance is shrunk (Ledoit & Wolf 2004). ``freedom`` is how many of the trials are left after the means
    that were taken off.
    """
    rho = np.clip(shrinkage(residuals), SMALLEST_SHRINKAGE, LARGEST_SHRINKAGE)
    covariance = residuals.T @ residuals / freedom
    target = float(np.trace(covariance)) / len(covariance)
    if target <= 0:
        return np.eye(len(covariance))
    values, vectors = np.linalg.eigh((1 - rho) * covariance + rho * target * np.eye(len(covariance)))
    return np.asarray(vectors / np.sqrt(np.maximum(values, np.finfo(float).tiny)))


def second_moment(states: Array, classes: Integers, folds: Integers, count: int, noise: Noise) -> Array:
    """Return G (condition, condition) of states (trial, unit), over the number of units.

    Parameters
    ----------
    states
        Of trials.
    classes, folds
        Of each trial, from 0.
    count
        Number of conditions.
    noise
        P from residuals about the means of each condition in each fold, or the identity.
    """
    n_folds = int(folds.max()) + 1
    cells = n_folds * classes + folds
    means = cell_means(states, cells, n_folds * count)
    if noise == "residuals":
        white = whitening(states - means[cells], len(states) - len(means))
        means = means @ white
    parts = means.reshape(count, n_folds, -1)
    total = parts.sum(axis=1)
    own = np.einsum("cku,dku->cd", parts, parts, optimize=True)
    return (total @ total.T - own) / (n_folds * (n_folds - 1) * states.shape[1])


def dissimilarities(moments: Array, distance: Distance) -> Array:
    """Return distances (…, condition, condition) of second moments G.

    ``correlation`` is 1 - G_ij / √(G_ii G_jj) of G about the mean over conditions: how different patterns are
    whatever their strength; NaN where a G_ii is not above zero.
    """
    if distance == "crossnobis":
        diagonal = np.diagonal(moments, axis1=-2, axis2=-1)
        return diagonal[..., :, None] + diagonal[..., None, :] - 2 * moments
    centred = doubly_centred(moments)
    sizes = np.diagonal(centred, axis1=-2, axis2=-1)
    roots = np.sqrt(np.where(sizes > 0, sizes, np.nan))
    found = 1 - centred / (roots[..., :, None] * roots[..., None, :])
    return np.where(np.eye(found.shape[-1], dtype=bool), 0.0, found)


def doubly_centred(matrices: Array) -> Array:
    """Return H A H of matrices A (…, condition, condition), H taking off the mean."""
    rows = matrices - matrices.mean(axis=-1, keepdims=True)
    return rows - rows.mean(axis=-2, keepdims=True)
