"""Distances between the dynamics of members: eigenvalues of linear models of how states move (DSA, Ostrow et al. 2023).

A linear model has one coefficient for each dimension that states fill, in each row. Dimensions are counted
from the data (the numerical rank): a model of more would fit rounding errors, and its eigenvalues would be
noise. A model with more coefficients than there are transitions fits anything, so recordings must have two
for each coefficient.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.cache import all_pairs, content_hash
from analysis.errors import AnalysisError
from emt.errors import install_hint

Array = NDArray[np.float64]
Places = NDArray[np.intp]

TRANSITIONS_PER_COEFFICIENT = 2
"""Steps from one state to the next that a coefficient of a linear model needs."""

LOST_WITH_INPUTS = 3
"""Steps of a sequence that are no transition in the subspace identification of the package."""

RIDGE = 1e-10
"""Ridge of linear models with inputs, for each transition: where inputs repeat the state their shares are undefined."""

PRECISION = float(np.finfo(np.float32).eps)
"""Relative rounding error of recorded states, which are in single precision."""


class TooFewStepsError(AnalysisError):
    """States that are too few for a linear model; says how many steps it needs."""


@dataclass(frozen=True)
class Movement:
    """How a member's states move, in coordinates in which a linear model is well conditioned.

    Attributes
    ----------
    name
        What messages call the member.
    scores
        (sequence, time, component): as many components as dimensions that states fill, centred, uncorrelated
        and of one variance. No linear change of coordinates changes the eigenvalues of a linear model.
    """

    name: str
    scores: Array

    @property
    def rank(self) -> int:
        """Dimensions that states fill."""
        return self.scores.shape[-1]


def dynamical_distances(runs: Sequence[Array], names: Sequence[str] = ()) -> Array:
    """Return DSA distances (member, member) of states (sequence, time, unit) of each member.

    Linear models of all dimensions that states fill, without delays since states are known whole. They are
    compared by their eigenvalues: the least mean squared difference over ways to match them (Wasserstein), as
    in the package.

    Raises
    ------
    AnalysisError
        If the package is not installed.
    TooFewStepsError
        If there are too few steps for a linear model of a member's states.

    Examples
    --------
    Two spirals that turn alike, one of them five times as large, and one that turns faster:

    >>> def spiral(turn, seed):
    ...     start = np.random.default_rng(seed).normal(size=(4, 2)) @ [1, 1j]
    ...     path = start[:, None] * (0.97 * np.exp(1j * turn)) ** np.arange(30)
    ...     return np.stack([path.real, path.imag], axis=-1)
    >>> distances = dynamical_distances([spiral(0.2, seed=0), 5 * spiral(0.2, seed=1), spiral(0.9, seed=2)])
    >>> distances[0].round(3).tolist()
    [0.0, 0.0, 0.442]
    """
    names = names or [f"member {place + 1}" for place in range(len(runs))]
    return dsa_distances(movements(runs, names))


def movements(runs: Sequence[Array], names: Sequence[str]) -> list[Movement]:
    """Return how the states (sequence, time, unit) of each member move."""
    return [_movement(run, name) for run, name in zip(runs, names, strict=True)]


def dsa_distances(moves: Sequence[Movement]) -> Array:
    """Return DSA distances (member, member); raises as `dynamical_distances`."""
    dsa = _package()

    def score(sides: Sequence[Sequence[Movement]]) -> Any:
        scores = [[move.scores for move in side] for side in sides]
        return dsa.DSA(*scores, n_delays=1, rank=_ranks(sides), score_method="wasserstein").fit_score()

    keys = [content_hash(move.scores) for move in moves]
    return _all_pairs("dynamical_distances", moves, keys, score)


def input_dsa_distances(moves: Sequence[Movement], inputs: Array | Sequence[Array]) -> Array:
    """Return InputDSA distances (member, member): the same of linear models x_{t+1} = A x_t + B u_{t+1} + c.

    What inputs do to the states is fitted beside the dynamics, which are then compared by the eigenvalues of
    A: slow inputs are not taken for slow dynamics. The models are the package's subspace identification,
    which keeps trials apart.

    Parameters
    ----------
    moves
        How the states of members move.
    inputs
        `input_components` of the sequences that all members saw, or of those of each.

    Raises
    ------
    AnalysisError
        If the package is not installed.
    TooFewStepsError
        If there are too few steps for a linear model of a member's states.
    """
    dsa = _package()
    each = [inputs] * len(moves) if isinstance(inputs, np.ndarray) else inputs
    controls = {id(move): _controls(own) for move, own in zip(moves, each, strict=True)}
    for move in moves:
        sequences, steps, rank = move.scores.shape
        check_steps(move.name, sequences, steps, rank + controls[id(move)].shape[-1], lost=LOST_WITH_INPUTS)

    def score(sides: Sequence[Sequence[Movement]]) -> Any:
        given = [x for side in sides for x in ([m.scores for m in side], [controls[id(m)] for m in side])]
        model = {
            "n_delays": 1,
            "rank": _ranks(sides),
            "lamb": RIDGE * moves[0].scores[..., 0].size,
            "backend": "n4sid",
        }
        compared = {"compare": "state", "score_method": "wasserstein"}
        with warnings.catch_warnings():
            # That B is not compared is what is wanted.
            warnings.filterwarnings("ignore", message=".*does not compare control operators")
            return dsa.InputDSA(*given, dmd_config=model, simdist_config=compared).fit_score()

    # The order of the package's arguments: X, X_control, Y, Y_control.
    keys = [content_hash(move.scores, controls[id(move)]) for move in moves]
    return _all_pairs("input_dynamical_distances", moves, keys, score)


def _controls(inputs: Array) -> Array:
    """Return inputs as the package takes them, with a constant (sequence, time, component).

    A state is where its own step's input brought it; the package's u_t leads to the next state. The last is not used.
    """
    following = np.concatenate([inputs[:, 1:], inputs[:, -1:]], axis=1)
    return np.concatenate([following, np.ones((*following.shape[:2], 1))], axis=-1)


def input_components(inputs: Array) -> Array:
    """Return inputs (sequence, time, channel) as uncorrelated components, as many as vary (sequence, time, component).

    Only steps that lead to a transition that is fitted count: what is shown before cannot be told from the
    state.
    """
    seen = np.concatenate(list(inputs[:, LOST_WITH_INPUTS - 1 : -1]))
    mean = seen.mean(axis=0) if len(seen) else np.zeros(inputs.shape[-1])
    _, values, axes = np.linalg.svd(seen - mean, full_matrices=False)
    rank = filled_dimensions(values, seen.shape) if len(values) else 0
    return np.asarray((inputs - mean) @ axes[:rank].T / values[:rank] * math.sqrt(len(seen)))


def _package() -> Any:
    try:
        import DSA
    except ModuleNotFoundError as error:
        raise AnalysisError(
            f"expected the package dsa-metric ({install_hint('similarity')}); got {error}",
            parameter="dynamical",
        ) from None
    return DSA


def _ranks(sides: Sequence[Sequence[Movement]]) -> list[Any]:
    ranks = [[move.rank for move in side] for side in sides]
    return ranks if len(ranks) > 1 else ranks[0]


def _all_pairs(
    name: str,
    moves: Sequence[Movement],
    keys: Sequence[str],
    score: Callable[[Sequence[Sequence[Movement]]], Any],
) -> Array:
    """Return distances (member, member) from scores of all pairs of one side, or of two."""

    def distances_of(pairs: tuple[Places, Places]) -> Array:
        # Who is new is paired with everyone: only distances to these are computed.
        paired = np.bincount(np.concatenate(pairs), minlength=len(moves))
        new = np.flatnonzero(paired == paired.max()).tolist()
        sides = [list(moves)] if len(new) == len(moves) else [[moves[i] for i in new], list(moves)]
        distances = np.zeros((len(moves), len(moves)))
        distances[new] = np.reshape(score(sides), (len(new), len(moves)))
        distances[:, new] = distances[new].T
        return distances[pairs][None]

    (distances,) = all_pairs(name, keys, distances_of, parallel=False)
    return distances


def _movement(run: Array, name: str) -> Movement:
    sequences, steps, units = run.shape
    # Linear models have no constant term: a mean state would be taken for dynamics.
    centred = (run - run.mean(axis=(0, 1))).reshape(-1, units)
    vectors, values, _ = np.linalg.svd(centred, full_matrices=False)
    rank = filled_dimensions(values, centred.shape)
    # Few states fill fewer dimensions than more states of the same network would.
    check_steps(name, sequences, steps, units if rank >= len(centred) - 1 else rank)
    scores = vectors[:, :rank] * math.sqrt(len(centred))
    return Movement(name, scores.reshape(sequences, steps, rank))


def filled_dimensions(values: Array, shape: tuple[int, ...]) -> int:
    """Return how many dimensions states (state, unit) with these singular values fill beyond rounding.

    Those count that exceed the largest times the larger size of the matrix times the rounding error.
    """
    return int(np.sum(values > values[0] * max(shape) * PRECISION))


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
