"""Subspaces of a network's state space: invariant, singular and principal ones, and how much they share.

Every basis is (unit, dimension) with orthonormal columns.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.variables.companion import companion_eigenvalues

RELATIVE_VARIANCE = 1e-10
"""Directions with a smaller share of the variance are rounding."""


@dataclass(frozen=True)
class ReferenceComparison:
    """What the reference implementation reports on one length; NaN where its formula is undefined.

    Attributes
    ----------
    eigenvalues
        Of Uᵀ W U, with U the leading left singular vectors of W.
    variance_ratio
        Share of the leading squared singular values in all.
    frob_error, frob_relative
        ‖Uᵀ W U - Φ‖ and the same over ‖Φ‖ (Frobenius). They depend on the basis and on the signs of U.
    spectral_error_deg
        `greedy_spectral_error` of these eigenvalues.
    """

    eigenvalues: NDArray[np.complex128]
    variance_ratio: float
    frob_error: float
    frob_relative: float
    spectral_error_deg: float


def leading_subspace(matrix: NDArray[Any], k: int) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
    """Return the invariant subspace of the ``k`` eigenvalues of largest modulus, by reordering the Schur form.

    Unlike eigenvectors, Schur vectors are orthonormal also for matrices that are defective or nearly so.

    Parameters
    ----------
    matrix
        (unit, unit).
    k
        Dimension; the whole space where it exceeds the matrix.

    Returns
    -------
    basis, eigenvalues
        (unit, k), complex because a conjugate pair may be cut in two, and (k,) by descending modulus.

    Examples
    --------
    >>> basis, eigenvalues = leading_subspace(np.array([[2.0, 5.0], [0.0, -3.0]]), 1)
    >>> basis.shape, eigenvalues.round(6).tolist()
    ((2, 1), [(-3+0j)])
    """
    from scipy import linalg

    triangle, vectors = linalg.schur(matrix, output="complex")
    chosen = np.zeros(len(triangle), dtype=np.int32)
    chosen[np.argsort(-np.abs(np.diag(triangle)), kind="stable")[:k]] = 1
    (reorder,) = linalg.get_lapack_funcs(("trsen",), (triangle,))
    # job="N": no condition numbers, which would need more workspace than the wrapper reserves.
    _, vectors, eigenvalues, dimension, *_ = reorder(chosen, triangle, vectors, job="N")
    eigenvalues = eigenvalues[:dimension]
    return vectors[:, :dimension], eigenvalues[np.argsort(-np.abs(eigenvalues), kind="stable")]


def left_singular_subspace(matrix: NDArray[np.float64], k: int) -> NDArray[np.float64]:
    """Return the ``k`` leading left singular vectors, which span no invariant subspace in general.

    Examples
    --------
    >>> np.abs(left_singular_subspace(np.diag([1.0, 3.0, 2.0]), 2)).round(6).tolist()
    [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
    """
    return np.linalg.svd(matrix)[0][:, :k]


def principal_subspace(
    activity: NDArray[np.float64], k: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return principal directions of activity (…, unit) and the share of the variance along each.

    Returns
    -------
    basis, shares
        (unit, n) and (n,), descending, with n = ``k`` or as many directions as have any variance.

    Examples
    --------
    >>> activity = np.array([[1.0, 0, 0], [-1, 0, 0], [0, 2, 0], [0, -2, 0]])
    >>> basis, shares = principal_subspace(activity, 3)
    >>> basis.shape, shares.round(6).tolist()
    ((3, 2), [0.8, 0.2])
    """
    flat = activity.reshape(-1, activity.shape[-1]).astype(np.float64)
    centred = flat - flat.mean(axis=0)
    variances, directions = np.linalg.eigh(centred.T @ centred)
    variances, directions = variances[::-1], directions[:, ::-1]
    total = variances.clip(min=0).sum()
    n = min(k, int(np.sum(variances > RELATIVE_VARIANCE * total)))
    return directions[:, :n], variances[:n] / (total or 1.0)


def subspace_overlap(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Return ‖Aᴴ B‖² / min(dimensions) of two orthonormal bases: 1 where one holds the other, 0 where orthogonal.

    Examples
    --------
    >>> axes = np.eye(3)
    >>> subspace_overlap(axes[:, :2], axes[:, 1:]), subspace_overlap(axes[:, :1], axes[:, :2])
    (0.5, 1.0)
    """
    return float(np.linalg.norm(a.conj().T @ b) ** 2 / min(a.shape[1], b.shape[1]))


def compare_as_reference(
    recurrent: NDArray[np.float64], companions: Mapping[int, NDArray[np.float64]]
) -> dict[int, ReferenceComparison]:
    """Return the reference implementation's quantities of W_hh (unit, unit) for the companion matrix of each length."""
    left, singular, _ = np.linalg.svd(recurrent)
    return {
        length: _compare(left[:, : len(companion)], singular, recurrent, companion)
        for length, companion in companions.items()
    }


def greedy_spectral_error(
    eigenvalues: NDArray[np.complex128], theory: NDArray[np.complex128], threshold: float = 0.9
) -> float:
    """Return the reference implementation's mean angle in degrees between two spectra, or NaN.

    Of the eigenvalues with modulus > ``threshold``, each in turn takes the nearest direction that is left; so
    the order matters. Undefined where the numbers differ or none is left; `spectral_error` is always defined.
    """
    a, b = (np.angle(values[np.abs(values) > threshold]) for values in (eigenvalues, theory))
    if len(a) != len(b) or not len(a):
        return float("nan")
    free = np.ones(len(b), dtype=bool)
    angles = []
    for angle in a:
        distances = np.where(free, np.abs((angle - b + np.pi) % (2 * np.pi) - np.pi), np.inf)
        nearest = int(distances.argmin())
        free[nearest] = False
        angles.append(distances[nearest])
    return float(np.degrees(np.mean(angles)))


def _compare(
    left: NDArray[np.float64],
    singular: NDArray[np.float64],
    recurrent: NDArray[np.float64],
    companion: NDArray[np.float64],
) -> ReferenceComparison:
    compressed = left.T @ recurrent @ left
    eigenvalues = np.linalg.eigvals(compressed).astype(np.complex128)
    same = compressed.shape == companion.shape
    difference = float(np.linalg.norm(compressed - companion)) if same else float("nan")
    energy = singular**2
    return ReferenceComparison(
        eigenvalues=eigenvalues,
        variance_ratio=float(energy[: left.shape[1]].sum() / energy.sum()) if energy.any() else float("nan"),
        frob_error=difference,
        frob_relative=difference / float(np.linalg.norm(companion)),
        spectral_error_deg=greedy_spectral_error(eigenvalues, companion_eigenvalues(companion)),
    )
