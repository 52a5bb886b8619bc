"""Contents of a memory under relabelled trials: does a class explain them beyond what these trials give by accident?

All members saw the same trials, so a class that means nothing agrees with the contents of all members alike.
A relabelling moves the class sequence of each trial (an item of the batch axis) as a whole to another trial,
the same in all members (`analysis.statistics.chance_test`).
"""

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from analysis.memory.log import Array
from analysis.statistics import RELABELLINGS, ROUNDING, scale_of

NONE = -1
"""Class of contents at steps without the event."""


LARGEST_CHUNK = 2**22
"""Numbers that labellings taken at once may need."""


def trial_orders(n_trials: int, seed: int = 0) -> NDArray[np.intp]:
    """Return random orders of trials (relabelling, trial)."""
    rng = np.random.default_rng(seed)
    return np.stack([rng.permutation(n_trials) for _ in range(RELABELLINGS)])


def count_different(labellings: NDArray[np.int64]) -> int:
    """Return how many of some labellings (labelling, …) are different."""
    return len({labelling.tobytes() for labelling in labellings})


def share_trials(recording: xr.DataTree, event: str) -> bool:
    """Whether all members saw the same trials: neither inputs nor the event depend on the member."""
    names = [name for name in ("inputs", event) if name in recording.data_vars]
    return not any("member" in recording[name].dims for name in names)


def relabelled_separations(points: Array, classes: NDArray[np.int64]) -> Array:
    """Return `analysis.memory.separation.class_separation` of points under each labelling, (relabelling,).

    Parameters
    ----------
    points
        (point, feature).
    classes
        (relabelling, point), `NONE` for none.
    """
    compact = _compact(points)
    squares = np.sum(compact**2, axis=1)
    smallest = ROUNDING**2 * float(np.sum((points / scale_of(points)) ** 2))
    kinds = np.setdiff1d(classes, [NONE])
    size = max(LARGEST_CHUNK // (max(len(kinds), 1) * sum(compact.shape)), 1)
    starts = range(0, len(classes), size)
    return np.concatenate(
        [_separations(compact, squares, classes[k : k + size], kinds, smallest) for k in starts]
    )


def _separations(
    points: Array, squares: Array, classes: NDArray[np.int64], kinds: NDArray[np.int64], smallest: float
) -> Array:
    """Return 1 - within / total, adjusted for chance, from the sums of classes alone; NaN where it is undefined."""
    belongs = (classes[:, None] == kinds[:, None]).astype(float)  # (relabelling, kind, point)
    sums, count = belongs @ points, belongs.sum(axis=-1)
    n, k = count.sum(axis=-1), (count > 0).sum(axis=-1)
    everything = (belongs.sum(axis=1) @ squares) - np.sum(sums.sum(axis=1) ** 2, axis=-1) / np.maximum(n, 1)
    explained = np.sum(np.sum(sums**2, axis=-1) / np.maximum(count, 1), axis=-1)
    within = (belongs.sum(axis=1) @ squares) - explained
    defined = (k >= 2) & (n > k) & (everything > smallest)
    share = within / np.where(defined, everything, 1.0)
    return np.where(defined, 1 - share * (n - 1) / np.maximum(n - k, 1), np.nan)


def _compact(points: Array) -> Array:
    """Return points with the same distances about their mean, in no more features than there are points."""
    centred = points / scale_of(points)
    centred = centred - centred.mean(axis=0)
    if centred.shape[1] <= len(centred):
        return centred
    values, vectors = np.linalg.eigh(centred @ centred.T)
    kept = values > ROUNDING * values[-1]
    return np.asarray(vectors[:, kept] * np.sqrt(values[kept]))
