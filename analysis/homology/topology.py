"""Persistent homology of hidden trajectories, with inference: which members' states surround a hole, beyond chance?

The states of one member at all steps of all sequences are a cloud of points; scales are Euclidean distances
of states. Loops grow costly: of many states a stated number is drawn at random, the same for all members.
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from analysis.errors import AnalysisError
from analysis.homology.diagram_distances import Diagrams
from analysis.homology.nulls import (
    Array,
    BarTests,
    Sample,
    bar_tests,
    check_memory,
    gaussian_cloud,
    rotate_phases,
    shuffle_time,
)
from analysis.homology.persistence import bar_table, check_dimension, distance_diagrams
from analysis.result import Result
from analysis.spectra.sliced import euclidean_distances
from analysis.statistics import LARGEST
from emt import trace
from emt.errors import renamed


@dataclass(frozen=True)
class Topology(Result):
    """Topology of a population's hidden trajectories.

    Attributes
    ----------
    label
        What figures call this population.
    model_names
        Names of the members.
    diagrams
        One tuple of diagrams for each member, by dimension, of the points analysed.
    tests
        The longest bars against null clouds.
    n_points, n_states
        Points analysed, and states recorded, of each member.
    """

    label: str
    model_names: tuple[str, ...]
    diagrams: tuple[Diagrams, ...]
    tests: BarTests
    n_points: int
    n_states: int

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return tests by member, their summary over members, and all bars (an infinite death is an empty field)."""
        return {
            "topology_tests": self.tests.members,
            "topology_population": self.tests.population,
            "topology_diagrams": bar_table(self.model_names, self.diagrams),
        }

    def headline(self) -> str:
        """Say what was found, and in how many of the states."""
        return f"{self.n_points} of {self.n_states} states of each member; {self.tests.headline()}"


def analyse_topology(
    recording: xr.DataTree,
    *,
    max_dimension: int = 1,
    points: int = 100,
    null_clouds: int = 199,
    level: float = 0.05,
    memory_limit: float = 4.0,
    seed: int = 0,
) -> Topology:
    """Test hidden trajectories for loops: persistent homology of states against null clouds.

    Parameters
    ----------
    recording
        recorded run of a population
    max_dimension
        largest dimension of homology: 0 gaps between clusters, 1 loops, 2 voids
    points
        states analysed of each model, drawn at random, the same steps for all models
    null_clouds
        random clouds of each kind (same covariance; shuffled in time; random Fourier phases) for each model
    level
        level of significance
    memory_limit
        GB that one model may take, of which as many as there are cores run at once; what needs more is
        refused
    seed
        seed of the states drawn and of random clouds

    Raises
    ------
    AnalysisError
        If an option does not fit or states are not finite.

    Examples
    --------
    Twelve states on a circle; the loop is longer than in each of 19 normal clouds, so p = 1 / 20:

    >>> turns = 2 * np.pi * np.arange(12) / 12
    >>> states = np.stack([np.cos(turns), np.sin(turns)], axis=-1)[None, None]
    >>> topology = analyse_topology(emt.from_arrays(states).recording, points=12, null_clouds=19)
    >>> topology.tests.members.loc[("model-1", 1, "gaussian"), "p"].item()
    0.05
    """
    if points < 4:
        raise AnalysisError(f"must be at least 4, which a loop needs; got {points}", parameter="points")
    check_dimension(max_dimension)
    names, present = trace.member_names(recording), trace.present_steps(recording)
    hidden = [trace.member_states(recording, ("hidden",), place) for place in range(len(names))]
    for name, states in zip(names, hidden, strict=True):
        if not (np.abs(states[present]) <= LARGEST).all():
            raise AnalysisError(f"{name}: expected finite hidden states up to {LARGEST:g}; some are not")
    n_states = int(present.sum())
    with renamed({"limit": "memory_limit"}):
        check_memory(min(points, n_states), max_dimension, memory_limit)
    chosen = np.sort(np.random.default_rng(seed).permutation(n_states)[:points])
    samples = [_sample(name, states, present, chosen) for name, states in zip(names, hidden, strict=True)]
    with renamed({"n_nulls": "null_clouds"}):
        tests = bar_tests(samples, max_dimension, null_clouds, level, seed)
    return Topology(
        label=trace.label(recording),
        model_names=names,
        diagrams=tuple(
            distance_diagrams(euclidean_distances(sample.cloud), max_dimension) for sample in samples
        ),
        tests=tests,
        n_points=len(chosen),
        n_states=n_states,
    )


def _sample(name: str, trajectories: Array, present: NDArray[np.bool_], chosen: NDArray[np.intp]) -> Sample:
    states = trajectories[present]
    return Sample(
        name=name,
        cloud=states[chosen],
        pool=states,
        nulls={
            "gaussian": partial(gaussian_cloud, states[chosen]),
            "shuffle": partial(_null_states, shuffle_time, trajectories, present, chosen),
            "phases": partial(_null_states, rotate_phases, trajectories, present, chosen),
        },
    )


def _null_states(
    null: Any,
    trajectories: Array,
    present: NDArray[np.bool_],
    chosen: NDArray[np.intp],
    rng: np.random.Generator,
) -> Array:
    """Return the chosen states of a null trajectory; trials of one length are drawn together."""
    drawn, lengths = np.empty_like(trajectories), present.sum(axis=1)
    for length in np.unique(lengths):
        rows = lengths == length
        drawn[rows, :length] = null(trajectories[rows, :length], rng)
    states: Array = drawn[present][chosen]
    return states
