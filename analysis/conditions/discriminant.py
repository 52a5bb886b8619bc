"""Linear discriminant analysis with shrinkage whose expensive half knows no labels, so that relabelling is cheap.

With z a state minus the mean, over the standard deviation, of the n training states by unit, S = ZᵀZ/n,
R = (S + λI)⁻¹ and N one-hot labels over the counts n_c of classes:

    m = ZᵀN,  κ = mᵀRm,  W = diag(n_c / n),  Q = W⁻¹ (W⁻¹ − κ)⁻¹,   δ(z) = Q mᵀRz − ½ diag(Q κ)

is the discriminant of the covariance within classes, S − Σ (n_c/n) m_c m_cᵀ + λI, with equal priors (by the
Woodbury identity). λ = ρ/(1 − ρ) tr S / units with the shrinkage ρ of Ledoit and Wolf (2004) for Z, which needs no
labels either: scikit-learn's ``LinearDiscriminantAnalysis(solver="lsqr", shrinkage=λ/(v + λ))`` with v the mean
variance within classes.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

LARGEST_SHRINKAGE = 1 - 1e-6
SMALLEST_SHRINKAGE = 1e-9
"""For states with nothing to shrink, so that R exists."""


class Whitened(NamedTuple):
    """Training states in coordinates where R is the identity, and how others get there.

    ``train`` (state, coordinate): inner products are zᵀRz'. ``mean`` and ``scale`` (unit,) standardise a
    state, ``map`` (unit, coordinate) does the rest; what training states do not span plays no part.
    """

    train: Array
    mean: Array
    scale: Array
    map: Array

    def of(self, states: Array) -> Array:
        """Return states (…, unit) in the coordinates, (…, coordinate)."""
        return (states - self.mean) / self.scale @ self.map


def whiten(states: Array) -> Whitened:
    """Return training states (state, unit) whitened with shrinkage."""
    n, units = states.shape
    mean, scale = states.mean(axis=0), states.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    z = (states - mean) / scale
    left, singular, right = np.linalg.svd(z, full_matrices=False)
    rho = np.clip(shrinkage(z), SMALLEST_SHRINKAGE, LARGEST_SHRINKAGE)
    trace = float(np.sum(singular**2)) / n
    # States that do not vary are told apart by nothing; any λ does.
    ridge = rho / (1 - rho) * trace / units or 1.0
    factor = 1 / np.sqrt(singular**2 / n + ridge)
    return Whitened(left * (singular * factor), mean, scale, right.T * factor)


def shrinkage(z: Array) -> float:
    """Return the intensity ρ of Ledoit and Wolf (2004) for states (state, unit) of mean zero, 1 where none varies."""
    n, units = z.shape
    squares = np.sum(z**2, axis=1)
    gram = z @ z.T if n < units else z.T @ z
    total = float(np.sum(gram**2)) / n**2
    target = squares.sum() / n / units
    distance = total - units * target**2
    error = (np.sum(squares**2) / n - total) / n
    return float(min(error / distance, 1.0)) if distance > 0 else 1.0


def discriminants(train: Array, classes: Integers, n_classes: int) -> tuple[Array, Array]:
    """Return what makes δ of labellings of whitened states: weights (labelling, class, coordinate), offsets.

    Parameters
    ----------
    train
        (state, coordinate), of `Whitened`.
    classes
        (labelling, state), each class there at least once in each labelling.
    n_classes
        Number of classes.

    Returns
    -------
    weights, offsets
        δ(x) = weights x + offsets, offsets (labelling, class).
    """
    one_hot = (classes[:, None] == np.arange(n_classes)[:, None]).astype(float)
    counts = one_hot.sum(axis=-1)
    means = one_hot @ train / counts[..., None]
    between = means @ means.swapaxes(-1, -2)
    inverse_share = train.shape[0] / counts
    matrix = np.eye(n_classes) * inverse_share[..., None] - between
    q = inverse_share[..., None] * np.linalg.inv(matrix)
    return q @ means, -0.5 * np.einsum("pcd,pdc->pc", q, between)
