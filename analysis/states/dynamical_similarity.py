"""Distances between the dynamics of members: eigenvalues of linear models of how states move (DSA, Ostrow et al. 2023).

A linear model has one coefficient for each dimension that states fill, in each row. Dimensions are counted from the
data (`numerical_rank`): a model of more would fit rounding errors, and its eigenvalues would be noise. A model of more
coefficients than there are steps to fit them fits anything, so recordings must have twice as many.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.cache import all_pairs, content_hash
from analysis.errors import AnalysisError
from emt.errors import install_hint

Array = NDArray[np.float64]
Places = NDArray[np.intp]

TRANSITIONS_PER_COEFFICIENT = 2
"""Steps from one state to the next that a coefficient of a linear model needs."""

PRECISION = float(np.finfo(np.float32).eps)
"""Relative rounding error of recorded states, which are in single precision."""


class TooFewStepsError(AnalysisError):
    """States that are too few for a linear model; says how many steps it needs."""


@dataclass(frozen=True)
class Movement:
    """How a member's states move: (sequence, time, component), components centred, uncorrelated and of one variance.

    A linear change of coordinates does not change the eigenvalues of a linear model.
    """

    scores: Array

    @property
    def rank(self) -> int:
        """Dimensions that states fill."""
        return self.scores.shape[-1]


def dynamical_distances(runs: Sequence[Array], names: Sequence[str] = ()) -> Array:
    """Return DSA distances (member, member) of states (sequence, time, unit) of each member.

    Linear models of all dimensions that states fill, without delays since states are known whole. They are compared by
    their eigenvalues: the least mean squared distance over ways to pair them (Wasserstein), as in the package.

    Raises
    ------
    AnalysisError
        If the package is not installed.
    TooFewStepsError
        If there are too few steps for a linear model of a member's states.
    """
    try:
        from DSA import DSA
    except ModuleNotFoundError as error:
        raise AnalysisError(
            f"expected the package dsa-metric ({install_hint('similarity')}); got {error}", parameter="dynamical"
        ) from None
    names = names or [f"member {place + 1}" for place in range(len(runs))]
    moves = [movement(run, name) for run, name in zip(runs, names, strict=True)]

    def distances_of(pairs: tuple[Places, Places]) -> Array:
        # Who is new is paired with everyone: only distances to these are asked for.
        paired = np.bincount(np.concatenate(pairs), minlength=len(moves))
        new = np.flatnonzero(paired == paired.max())
        every = [move.scores for move in moves]
        sides = [every] if len(new) == len(moves) else [[every[i] for i in new], every]
        ranks = [[side.shape[-1] for side in sides_of] for sides_of in sides]
        rank = ranks[0] if len(sides) == 1 else ranks
        scores = DSA(*sides, n_delays=1, rank=rank, score_method="wasserstein").fit_score()
        distances = np.zeros((len(moves), len(moves)))
        distances[new] = np.reshape(scores, (len(new), len(moves)))
        distances[:, new] = distances[new].T
        return distances[pairs][None]

    keys = [content_hash(move.scores) for move in moves]
    (distances,) = all_pairs("dynamical_distances", keys, distances_of, parallel=False)
    return distances


def numerical_rank(states: Array) -> int:
    """Return how many dimensions centred states (state, unit) fill beyond the rounding of single precision.

    Singular values count that exceed the largest times the larger size of the matrix times the rounding error.
    """
    values = np.linalg.svd(states, compute_uv=False)
    return int(np.sum(values > values[0] * max(states.shape) * PRECISION))


def movement(run: Array, name: str) -> Movement:
    """Return how states (sequence, time, unit) move, on the dimensions that they fill.

    Raises
    ------
    TooFewStepsError
        With the number of steps needed.
    """
    sequences, steps, units = run.shape
    # Linear models have no constant term: a mean state would be taken for dynamics.
    centred = (run - run.mean(axis=(0, 1))).reshape(-1, units)
    vectors, values, _ = np.linalg.svd(centred, full_matrices=False)
    rank = int(np.sum(values > values[0] * max(centred.shape) * PRECISION))
    # Few states fill fewer dimensions than more states of the same network would.
    dimensions = units if rank >= len(centred) - 1 else rank
    check_steps(name, sequences, steps, dimensions)
    scores = vectors[:, :rank] * math.sqrt(len(centred))
    return Movement(scores.reshape(sequences, steps, rank))


def check_steps(name: str, sequences: int, steps: int, coefficients: int, lost: int = 1) -> None:
    """Refuse recordings too short for a linear model, whose rows have so many coefficients.

    Of each sequence ``lost`` steps are no transition.
    """
    needed = max(TRANSITIONS_PER_COEFFICIENT * coefficients, 1)
    if sequences * (steps - lost) < needed:
        raise TooFewStepsError(
            f"{name}: expected at least {lost + math.ceil(needed / sequences)} steps of {sequences} trials for a "
            f"linear model of {coefficients} dimensions; got {steps}"
        )
