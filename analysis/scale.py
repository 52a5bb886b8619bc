"""The unit of numbers that are squared or summed: divided out first, so that no result depends on it."""

import numpy as np
from numpy.typing import ArrayLike


def unit_of(*arrays: ArrayLike) -> float:
    """Return the largest power of two that is at most the largest modulus in finite arrays; 1 where all are zero.

    Dividing by it and multiplying with it again are exact, and squares of what it leaves neither overflow nor vanish.

    Examples
    --------
    >>> unit_of([3.0, -5.0], [1e-3])
    4.0
    """
    largest = max(float(np.abs(array).max(initial=0.0)) for array in map(np.asarray, arrays))
    return float(np.ldexp(1.0, np.frexp(largest)[1] - 1)) if largest else 1.0
