"""How far apart are the dynamics of members, and how exactly is that known? Linear models with a split-half floor.

A model z_{t+1} = A z_t + B u_{t+1} + c of the leading principal components z of a member's states is fitted by least
squares, with the inputs u (``dmdc``, dynamic mode decomposition with control, Proctor, Brunton & Kutz 2016) or without
them (``dmd``). Members are compared by the eigenvalues of A: the mean modulus of differences after optimal assignment
(Wasserstein distance), which no change of coordinates changes. It is what DSA (Ostrow et al. 2023) compares for linear
models without delays; slow inputs are taken for slow dynamics where inputs are left out.

Eigenvalues are estimates. Each model is fitted to two halves of the trials: distances are of different members across
halves, and their floor is the distance of a member to itself across halves. A distance of which half is floor is not
resolved.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from analysis.errors import AnalysisError
from analysis.spectra.distances import spectral_distance
from analysis.states.dynamical_similarity import (
    dsa_distances,
    filled_dimensions,
    input_components,
    input_dsa_distances,
    movements,
)
from analysis.states.similarity import inputs_of
from emt import trace

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Halves:
    """Distances of members across two halves of the trials.

    Attributes
    ----------
    distances
        (member, member), of different members: mean of first to second half and of second to first. Zero on the
        diagonal.
    floor
        Of each member to itself, (member,).
    """

    distances: Array
    floor: Array


def dynamics_distances(
    recording: xr.DataTree, *, components: int, dsa: bool = False
) -> tuple[dict[str, Halves], int]:
    """Return distances of dynamics by measure, and the number of components of ``dmd`` and ``dmdc``.

    Raises
    ------
    AnalysisError
        If there are too few trials or steps, or ``dsa`` asks for a package that is not installed.
    """
    present = trace.present_steps(recording)
    if len(present) < 2:
        raise AnalysisError(f"no distances of dynamics: expected at least two trials; got {len(present)}")
    names, states = trace.about(recording).states, []
    for place, name in enumerate(trace.member_names(recording)):
        states.append(trace.member_states(recording, names, place))
        there = states[-1][present]
        if not np.isfinite(there).all():
            raise AnalysisError(f"{name}: expected finite states; some are not")
        if not (there != there[:1]).any():
            raise AnalysisError(
                f"no distances of dynamics: expected states that vary; those of {name} do not"
            )
    scores = [_scores(own, present, components) for own in states]
    rank = min(own.shape[-1] for own in scores)
    inputs = inputs_of(recording)
    halves = [np.arange(len(present)) % 2 == half for half in (0, 1)]
    found = {}
    for measure, driven in (("dmd", False), ("dmdc", True)):
        spectra = [
            [_eigenvalues(own[half, :, :rank], inputs[half], present[half], driven) for own in scores]
            for half in halves
        ]
        found[measure] = across(spectra[0], spectra[1], partial(spectral_distance, metric="emd"))
    return found | (_by_package(states, inputs, present, halves, recording) if dsa else {}), rank


def across(
    first: Sequence[Array], second: Sequence[Array], distance: Callable[[Array, Array], float]
) -> Halves:
    """Return distances across the halves of what was found for each member in the first and in the second."""
    matrix = np.array([[distance(a, b) for b in second] for a in first])
    return _halves(matrix)


def _halves(matrix: Array) -> Halves:
    """Return the distances of a matrix (member in the first half, member in the second)."""
    both = (matrix + matrix.T) / 2
    np.fill_diagonal(both, 0.0)
    return Halves(both, np.diagonal(matrix).copy())


def _scores(states: Array, present: NDArray[np.bool_], components: int) -> Array:
    """Return the leading components (batch, time, component) of states, of those that states fill; zero if absent."""
    rows = states[present]
    rows = rows - rows.mean(axis=0)
    values, vectors = np.linalg.eigh(rows.T @ rows)
    # Squares of singular values.
    known = filled_dimensions(np.sqrt(np.maximum(values[::-1], 0)), rows.shape)
    chosen = max(1, min(components, known))
    scores = np.zeros((*present.shape, chosen))
    scores[present] = rows @ vectors[:, ::-1][:, :chosen]
    spread = np.sqrt(np.mean(scores[present] ** 2)) or 1.0
    return scores / spread


def _eigenvalues(scores: Array, inputs: Array, present: NDArray[np.bool_], driven: bool) -> Array:
    """Return the eigenvalues of A, fitted to all transitions between steps that exist."""
    there = present[:, 1:]
    before, after, driving = scores[:, :-1][there], scores[:, 1:][there], inputs[:, 1:][there]
    known = np.concatenate([before, np.ones((len(before), 1)), *([driving] if driven else [])], axis=1)
    fitted = np.linalg.lstsq(known, after, rcond=None)[0]
    return np.linalg.eigvals(fitted[: before.shape[1]].T)


def _by_package(
    states: Sequence[Array],
    inputs: Array,
    present: NDArray[np.bool_],
    halves: Sequence[NDArray[np.bool_]],
    recording: xr.DataTree,
) -> dict[str, Halves]:
    """Return distances by DSA and, where inputs vary, InputDSA over the steps that all trials have."""
    common, members = int(present.sum(axis=1).min()), len(states)
    size = min(int(half.sum()) for half in halves)
    runs = [own[half][:size, :common] for half in halves for own in states]
    names = [f"{name}, half {half}" for half in (1, 2) for name in trace.member_names(recording)]
    moves = movements(runs, names)
    found = {"dsa": _halves(dsa_distances(moves)[:members, members:])}
    seen = [input_components(inputs[half][:size, :common]) for half in halves]
    if seen[0].shape[-1]:
        each = [own for own in seen for _ in range(members)]
        found["input_dsa"] = _halves(input_dsa_distances(moves, each)[:members, members:])
    return found
