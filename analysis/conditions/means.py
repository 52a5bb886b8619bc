"""Means of states by condition, how trials scatter about them, and how fast they move."""

import numpy as np
from numpy.typing import NDArray

from analysis.conditions.labels import Integers

Array = NDArray[np.float64]


def condition_means(
    states: Array, present: NDArray[np.bool_], classes: Integers, count: int
) -> tuple[Array, Array]:
    """Return means (…, condition, step, unit) of states (trial, step, unit), and numbers of trials behind them.

    States are 0 where a step does not exist; ``classes`` (…, trial) are those of ``count`` conditions, negative
    for none. Means without a trial are NaN.
    """
    member_of = (classes[..., None, :] == np.arange(count)[:, None]).astype(float)
    n = member_of @ present
    sums = member_of @ states.reshape(len(states), -1)
    sums = sums.reshape(*sums.shape[:-1], *states.shape[1:])
    return np.divide(sums, n[..., None], out=np.full_like(sums, np.nan), where=n[..., None] > 0), n


def spreads(states: Array, present: NDArray[np.bool_], classes: Integers, count: int) -> Array:
    """Return the standard deviation over trials of coordinates (trial, step, axis), (condition, step, axis)."""
    means, n = condition_means(states, present, classes, count)
    squares, _ = condition_means(states**2, present, classes, count)
    variance = np.maximum(squares - means**2, 0) * (n / np.maximum(n - 1, 1))[..., None]
    return np.sqrt(variance)


def squared_speeds(states: Array, present: NDArray[np.bool_], classes: Integers, count: int) -> Array:
    """Return the squared length of each step of the means of conditions, (condition, step - 1), without bias.

    With d_i what trial i moves by, (|Σ d_i|² - Σ |d_i|²) / (n (n - 1)): the plain square of a mean of n trials is
    too large by the trials' variance over n. So it may be negative where nothing moves.
    """
    moved, there = np.diff(states, axis=1), present[:, 1:]
    moved = np.where(there[..., None], moved, 0.0)
    means, n = condition_means(moved, there, classes, count)
    lengths, _ = condition_means(np.sum(moved**2, axis=-1, keepdims=True), there, classes, count)
    return (n * np.sum(means**2, axis=-1) - lengths[..., 0]) / np.maximum(n - 1, 1)
