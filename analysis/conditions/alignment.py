"""Clouds of several members made comparable: principal axes of each, and rotations onto what they have in common.

Networks have no units, axes or signs in common, so that coordinates of different members cannot be averaged. After
generalised Procrustes analysis (Gower 1975) they can: all are turned, or mirrored, onto one mean. What is found in
common is measured on other trials than those that rotations come from, and beside what unrelated conditions come
to, whose names are permuted in each member by itself: few conditions in smooth time agree by themselves.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from analysis.statistics import PermutationTest, monte_carlo_test

Array = NDArray[np.float64]

ROUNDS = 50
SETTLED = 1e-8
"""Change of the mean, of norm 1, from which on rotations stay."""

UNDECIDED = 1e-6
"""Share of Σ |score|³ below which Σ score³ says nothing about an axis' direction."""


class Axes(NamedTuple):
    """Principal axes (unit, axis) about a ``centre`` (unit,)."""

    centre: Array
    axes: Array

    def of(self, states: Array) -> Array:
        """Return coordinates (…, axis) of states (…, unit)."""
        return (states - self.centre) @ self.axes


def principal_axes(rows: Array, most: int) -> Axes:
    """Return the leading principal axes of rows (row, unit), at most as many as have variance.

    An axis points to where Σ score³ over the rows is positive; where scores are symmetric, so that its largest
    loading is.
    """
    centre = rows.mean(axis=0)
    left, singular, right = np.linalg.svd(rows - centre, full_matrices=False)
    kept = max(int(np.sum(singular > 1e-10 * max(singular[0], np.finfo(float).tiny))), 1)
    axes = right[: min(most, kept)].T
    scores = (left * singular)[:, : axes.shape[1]]
    skew, size = np.sum(scores**3, axis=0), np.sum(np.abs(scores) ** 3, axis=0)
    largest = axes[np.argmax(np.abs(axes), axis=0), np.arange(axes.shape[1])]
    return Axes(centre, axes * np.where(np.where(np.abs(skew) > UNDECIDED * size, skew, largest) < 0, -1, 1))


def variance_shares(coordinates: Array, rows: Array) -> Array:
    """Return the share of the variance of rows (row, unit) along each axis, of coordinates (row, axis) of theirs."""
    total = rows.var(axis=0).sum()
    return coordinates.var(axis=0) / total if total > 0 else np.zeros(coordinates.shape[1])


def unit_clouds(clouds: list[Array], dimensions: int) -> tuple[Array, Array]:
    """Return clouds (…, axis) centred, of norm 1 and with so many axes, (member, …, axis); and their norms before."""
    found, norms = [], []
    for cloud in clouds:
        centred = cloud - cloud.reshape(-1, cloud.shape[-1]).mean(axis=0)
        norms.append(float(np.linalg.norm(centred)))
        filled = np.zeros((*cloud.shape[:-1], dimensions))
        filled[..., : cloud.shape[-1]] = centred / (norms[-1] or 1.0)
        found.append(filled)
    return np.stack(found), np.array(norms)


def rotations(clouds: Array) -> Array:
    """Return orthogonal matrices (member, axis, axis) that turn clouds (member, row, axis) onto their mean."""
    reference = clouds[0]
    for _ in range(ROUNDS):
        left, _, right = np.linalg.svd(np.swapaxes(clouds, 1, 2) @ reference)
        turns = left @ right
        mean = np.mean(clouds @ turns, axis=0)
        mean /= np.linalg.norm(mean) or 1.0
        change, reference = np.linalg.norm(mean - reference), mean
        if change < SETTLED:
            break
    return np.asarray(turns)


def agreement(aligned: Array) -> float:
    """Return ‖mean over members‖² of clouds (member, row, axis) of norm 1: 1 if all are equal, else more than 0."""
    return float(np.sum(np.mean(aligned, axis=0) ** 2))


class Agreement(NamedTuple):
    """What members have in common on other trials than they were aligned on, beside relabelled conditions.

    ``test`` has the p-value; ``chance`` and ``chance_high`` are the mean and the 95 % quantile of relabellings.
    """

    value: float
    chance: float
    chance_high: float
    test: PermutationTest


def compare_with_relabelled(first: Array, second: Array, permutations: int, seed: int) -> Agreement:
    """Align members by their first clouds, and measure what the second ones then have in common, against chance.

    Parameters
    ----------
    first, second
        (member, condition, step, axis), of norm 1, of other trials.
    permutations
        Draws in which conditions of each member change names by themselves; steps stay.
    seed
        Of these.
    """
    members, conditions, _, axes = first.shape
    rng = np.random.default_rng(seed)

    def found(order: NDArray[np.intp]) -> float:
        rows = np.arange(members)[:, None]
        one, other = (clouds[rows, order].reshape(members, -1, axes) for clouds in (first, second))
        return agreement(other @ rotations(one))

    value = found(np.tile(np.arange(conditions), (members, 1)))
    orders = (np.stack([rng.permutation(conditions) for _ in range(members)]) for _ in range(permutations))
    null = np.array([found(order) for order in orders])
    return Agreement(value, float(null.mean()), float(np.quantile(null, 0.95)), monte_carlo_test(value, null))
