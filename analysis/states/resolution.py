"""What the precision of weights leaves open: places of fixed points, and moduli of their Jacobians' eigenvalues.

Weights are numbers of single precision, so a Jacobian J is known to a relative precision u = 2⁻²⁴: what a
change E with ‖E‖ ≤ u ‖J‖_F may turn into something else is not a property of the network but of the last
digit of its weights. Jacobians that are far from normal, with J² ≪ ‖J‖² along some directions, can have such
eigenvalues and fixed points.
"""

import numpy as np
from numpy.typing import NDArray

from emt.dynamics_file import PRECISION


def eigenvalue_errors(matrices: NDArray[np.float64], vectors: NDArray[np.complex128]) -> NDArray[np.float64]:
    """Return by how much each eigenvalue may move where J changes in its last digit, (point, mode).

    To first order u ‖J‖_F κ, with the eigenvalue's condition number κ = ‖x‖ ‖y‖ / |yᴴx| of its right and left
    eigenvectors x and y (Wilkinson 1965, §2.8; Trefethen & Embree 2005, §52): 1 for normal matrices, infinite
    for an eigenvalue that has too few eigenvectors.

    Parameters
    ----------
    matrices
        (point, state, state).
    vectors
        Right eigenvectors (point, state, mode).
    """
    norms = np.linalg.norm(matrices, axis=(-2, -1))
    conditions = np.array([_conditions(own) for own in vectors]).reshape(matrices.shape[:2])
    return np.where(norms[:, None] > 0, PRECISION * norms[:, None] * conditions, 0.0)


def place_errors(
    matrices: NDArray[np.float64], positions: NDArray[np.float64], speeds: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return by how much each fixed point may be elsewhere, (point,), infinite where nothing keeps it in place.

    At a place h found with speed q = ½|F(h) − h|² the true point h* has F(h*) − h* = 0, so to first order (J
    − 1)(h* − h) = −(F(h) − h) and |h* − h| ≤ (√(2q) + u ‖J‖_F |h|) / σ, the second term being how much F(h)
    changes with J, and σ the smallest singular value of J − 1 that such a change may leave.

    Parameters
    ----------
    matrices
        (point, state, state).
    positions
        (point, state).
    speeds
        q, (point,).
    """
    doubt = PRECISION * np.linalg.norm(matrices, axis=(-2, -1))
    residual = np.sqrt(2 * speeds) + doubt * np.linalg.norm(positions, axis=-1)
    stiffness = np.linalg.svd(matrices - np.eye(matrices.shape[-1]), compute_uv=False)[..., -1] - doubt
    return np.divide(residual, stiffness, out=np.full_like(residual, np.inf), where=stiffness > 0)


def _conditions(vectors: NDArray[np.complex128]) -> NDArray[np.float64]:
    """Return κ of each mode, from eigenvectors (state, mode), whose inverse has the left ones in its rows."""
    try:
        with np.errstate(all="ignore"):
            left = np.linalg.norm(np.linalg.inv(vectors), axis=1)
            conditions = left * np.linalg.norm(vectors, axis=0)
    except np.linalg.LinAlgError:
        return np.full(vectors.shape[-1], np.inf)
    return np.where(np.isfinite(conditions), conditions, np.inf)
