"""Persistent homology of spectra: eigenvalues as points of the plane, Vietoris–Rips filtration, coefficients Z/2.

A diagram is an array (bar, 2) of births and deaths, and a model has one diagram for each dimension: bars of
dimension 0 are components, of dimension 1 loops. The component that is left over never dies: its death is
infinite. Scales are distances between eigenvalues (pairs join when the scale reaches their distance).

Whether a bar is longer than chance makes it is tested against null clouds (`analysis.homology.nulls`).

Bars no longer than a tolerance (1e-6, and at least 1e-12 of the largest modulus) are dropped, in every
dimension. For components this is the same as merging points that lie closer than the tolerance: repeated
eigenvalues count once, whatever the rounding.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from analysis.cache import content_hash, each_item
from analysis.errors import AnalysisError
from analysis.homology.diagram_distances import (
    Diagram,
    Diagrams,
    comparable_models,
    finite_bars,
    largest_scale,
    pairwise_diagram_distances,
)
from analysis.homology.nulls import (
    BarTests,
    Sample,
    bar_tests,
    check_memory,
    gaussian_cloud,
    plane,
    rotate_angles,
)
from analysis.homology.rips import rips_bars
from analysis.parallel import counted
from analysis.population import Population
from analysis.result import Result
from analysis.spectra.embedding import classical_scaling, embed_distances
from analysis.spectra.values import check_eigenvalues
from analysis.statistics import ROUNDING, bootstrap_interval, standard_deviation
from emt.errors import renamed

N_BETTI_SCALES = 10
"""Scales of the Betti numbers among a diagram's features."""

N_CURVE_SCALES = 100
"""Scales of the Betti curves."""

LARGEST_DIMENSION = 3
"""Homology of dimension 3 needs simplices of dimension 4, of which 64 points have 7.6 million."""


@dataclass(frozen=True)
class Persistence(Result):
    """Topology of a population's spectra.

    Attributes
    ----------
    population
        What was analysed.
    diagrams
        One tuple of diagrams for each model, by dimension.
    features
        One row for each model: `topological_features` under the reference implementation's names, then
        ``diameter`` and ``hD_bars``, ``hD_longest_relative`` (`scale_free_features`).
    betti_curves
        Columns model_name, dimension, scale, betti: bars alive at scales common to all models, infinite bars
        included.
    distances
        (dimension, model, model): distance of diagrams, one matrix for each dimension.
    metric
        "bottleneck" or "wasserstein".
    embedding
        Coordinates (model, 2) of the summed distances, NaN for models that are ``left_out``; None if fewer
        than three models are left.
    method
        "mds", "tsne" or "pca".
    color
        The values that colour the embedding, by model, or None.
    tests
        The longest bars against null clouds, or None where none were asked for.
    tolerance
        Eigenvalues closer than this count once.
    """

    population: Population
    diagrams: tuple[Diagrams, ...]
    features: pd.DataFrame
    betti_curves: pd.DataFrame
    distances: NDArray[np.float64]
    metric: str
    embedding: NDArray[np.float64] | None
    method: str
    color: pd.Series | None
    tests: BarTests | None
    tolerance: float

    @property
    def total_distances(self) -> NDArray[np.float64]:
        """Distances (model, model) summed over dimensions."""
        return self.distances.sum(axis=0)

    @property
    def left_out(self) -> tuple[str, ...]:
        """Names of models that no map can show: they are infinitely far from most, having other infinite bars."""
        kept = comparable_models(self.total_distances)
        return tuple(
            name for name, comparable in zip(self.population.names, kept, strict=True) if not comparable
        )

    def headline(self) -> str:
        """Say in a sentence what was found."""
        text = f"n = {len(self.population)}: in the median {self.features['h0_bars'].median():g} distinct eigenvalues"
        if "h1_count" in self.features:
            length = bootstrap_interval(np.median, self.features["h1_longest_relative"])
            text += f", {self.features['h1_count'].median():g} loops"
            if np.isfinite(length.estimate):
                text += f", the longest alive over {length.estimate:.2f} diameters"
            if np.isfinite(length.low):
                text += f" (95 % interval {length.low:.2f} to {length.high:.2f})"
        one = self.features[(self.features["h0_bars"] == 1) & (self.features["diameter"] > 0)].index
        if len(one):
            text += f"; all eigenvalues within {self.tolerance:g} of each other, so one: {', '.join(one)}"
        if self.left_out:
            text += f"; at infinite distance from the others, not on the map: {', '.join(self.left_out)}"
        text = text if self.embedding is not None else f"{text}; no embedding, which needs at least 3 models"
        return text if self.tests is None else f"{text}\n{self.tests.headline()}"

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return features, bars (an infinite death is an empty field), Betti curves, distances and coordinates."""
        index = pd.Index(self.population.names, name="model_name")
        tables = {
            "persistence_statistics": self.population.scalars[["accuracy"]].join(self.features),
            "persistence_diagrams": bar_table(self.population.names, self.diagrams),
            "persistence_betti_curves": self.betti_curves.set_index("model_name"),
            f"persistence_{self.metric}_distances": pd.DataFrame(self.total_distances, index, list(index)),
        }
        if self.tests is not None:
            tables |= {
                "persistence_tests": self.tests.members,
                "persistence_tests_population": self.tests.population,
            }
        if self.embedding is not None:
            tables[f"persistence_{self.method}_embedding"] = pd.DataFrame(
                self.embedding, index, ["dimension_1", "dimension_2"]
            )
        return tables

    def documents(self) -> dict[str, Any]:
        """Return the statistics in the reference implementation's layout."""
        accuracy = self.population.scalars["accuracy"]
        aggregate = {
            name: {
                "mean": column.mean(),
                "std": standard_deviation(column, ddof=0),
                "min": column.min(),
                "max": column.max(),
            }
            for name, column in self.features.items()
        }
        statistics = [
            {"model_name": name, "accuracy": accuracy[name], **row.to_dict()}
            for name, row in self.features.iterrows()
        ]
        return {
            "persistence_statistics": {
                "n_models": len(self.population),
                "statistics": statistics,
                "aggregate_statistics": aggregate,
            }
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Distances, summed and by dimension, and coordinates."""
        arrays = {
            f"persistence_{self.metric}_distances": self.total_distances,
            f"persistence_{self.metric}_distances_by_dimension": self.distances,
        }
        if self.embedding is not None:
            arrays[f"persistence_{self.method}_embedding"] = self.embedding
        return arrays


def analyse_persistence(
    population: Population,
    *,
    max_dimension: int = 1,
    distance_metric: Literal["bottleneck", "wasserstein"] = "bottleneck",
    embedding_method: Literal["mds", "tsne", "pca"] = "mds",
    normalize: bool = False,
    color_by: Literal["none", "accuracy", "h0_births", "h1_deaths"] = "accuracy",
    tolerance: float = 1e-6,
    null_clouds: int = 0,
    level: float = 0.05,
    memory_limit: float = 4.0,
    seed: int = 0,
) -> Persistence:
    """Compare models by the persistent homology of their eigenvalues.

    Parameters
    ----------
    population
        The models; fewer than three get everything but an embedding.
    max_dimension
        largest dimension of homology: 0 components, 1 loops, 2 voids
    distance_metric
        distance of two diagrams, summed over dimensions
    embedding_method
        how models are placed in the plane by their distances; pca is classical scaling (principal
        coordinates)
    normalize
        project eigenvalues to the unit circle first; zero eigenvalues are left out
    color_by
        what colours the embedding: accuracy, mean birth of components (0 in this filtration) or mean death of
        loops
    tolerance
        eigenvalues closer than this count once, and loops that live shorter are left out
    null_clouds
        random clouds of each kind (same covariance; random angles) that each model's longest bars are tested
        against
    level
        level of significance of these tests
    memory_limit
        GB that one model may take, of which as many as there are cores run at once; what needs more is
        refused
    seed
        seed of random clouds

    Raises
    ------
    AnalysisError
        If an option does not fit.

    Examples
    --------
    >>> persistence = analyse_persistence(from_summary(read_summary("demo/repeat_copy")))
    >>> persistence
    Persistence: n = 5: in the median ... distinct eigenvalues, ...
    >>> persistence.distances.shape  # by dimension: components, loops
    (2, 5, 5)
    >>> persistence.features["h1_longest_relative"].between(0, 1).all().item()
    True
    """
    spectra = [
        check_eigenvalues(v, name) for name, v in zip(population.names, population.eigenvalues, strict=True)
    ]
    check_dimension(max_dimension)
    clouds = [unit_circle(values) if normalize else values for values in spectra]
    with renamed({"limit": "memory_limit"}):
        check_memory(max(map(len, clouds)), max_dimension, memory_limit)
    diagrams = _diagrams(clouds, max_dimension, tolerance)
    rows = [
        topological_features(d) | scale_free_features(d, cloud)
        for d, cloud in zip(diagrams, clouds, strict=True)
    ]
    features = pd.DataFrame(rows, index=pd.Index(population.names, name="model_name"))
    color = _color(population, features, color_by)
    distances = pairwise_diagram_distances(diagrams, distance_metric)
    return Persistence(
        population=population,
        diagrams=diagrams,
        features=features,
        betti_curves=_betti_curves(population.names, diagrams),
        distances=distances,
        metric=distance_metric,
        embedding=_embed(distances.sum(axis=0), embedding_method),
        method=embedding_method,
        color=color,
        tests=_tests(population, clouds, max_dimension, null_clouds, level, seed) if null_clouds else None,
        tolerance=tolerance,
    )


def unit_circle(eigenvalues: ArrayLike) -> NDArray[np.complex128]:
    """Return ``λ / |λ|`` of all eigenvalues but zeros, which have no direction.

    Examples
    --------
    >>> unit_circle([2, 0, -3j]).tolist()
    [(1+0j), -1j]
    """
    values = np.asarray(eigenvalues, dtype=np.complex128).ravel()
    values = values[values != 0]
    # Numbers below the normal range would lose digits, or their quotient be infinite.
    values = values * np.where(np.abs(values) < np.finfo(float).tiny, 2.0**600, 1.0)
    return values / np.abs(values)


def persistence_diagrams(eigenvalues: ArrayLike, max_dimension: int = 1, tolerance: float = 1e-6) -> Diagrams:
    """Return the diagrams of a spectrum for dimensions 0 to ``max_dimension``, bars sorted by birth and death.

    Births and deaths are exact distances of pairs in double precision (`analysis.homology.rips`).

    Parameters
    ----------
    eigenvalues
        Complex (mode,); none give empty diagrams.
    max_dimension
        Largest dimension.
    tolerance
        Bars no longer than this are dropped, nor any no longer than rounding makes them, 1e-12 of the
        largest modulus.

    Raises
    ------
    AnalysisError
        If an eigenvalue is not finite or an option is out of range.

    Examples
    --------
    The loop of an octagon is born when neighbours join and filled when a side of length 2 sin(3π / 8) does:

    >>> components, loops = persistence_diagrams(np.exp(2j * np.pi * np.arange(8) / 8))
    >>> len(components), loops.round(3).tolist()
    (8, [[0.765, 1.848]])
    """
    if not 0 <= tolerance < math.inf:
        raise AnalysisError(f"must be a length of zero or more; got {tolerance}", parameter="tolerance")
    check_dimension(max_dimension)
    if np.size(eigenvalues) == 0:
        return tuple(np.empty((0, 2)) for _ in range(max_dimension + 1))
    values = check_eigenvalues(eigenvalues)
    distances = np.abs(values[:, None] - values)
    return distance_diagrams(distances, max_dimension, max(tolerance, ROUNDING * float(np.abs(values).max())))


def _diagrams(
    clouds: Sequence[NDArray[np.complex128]], max_dimension: int, tolerance: float
) -> tuple[Diagrams, ...]:
    """Return `persistence_diagrams` of all spectra; kept as arrays (bar, 3): birth, death, dimension."""

    def compute(places: list[int]) -> Iterator[NDArray[np.float64]]:
        for place in counted(places, "diagrams"):
            diagrams = persistence_diagrams(clouds[place], max_dimension, tolerance)
            yield np.vstack(
                [np.insert(bars, 2, dimension, axis=1) for dimension, bars in enumerate(diagrams)]
            )

    tables = each_item("diagrams", [content_hash(c, max_dimension, tolerance) for c in clouds], compute)
    return tuple(tuple(t[t[:, 2] == d, :2] for d in range(max_dimension + 1)) for t in tables)


def check_dimension(max_dimension: int) -> None:
    """Refuse dimensions of homology that are out of range."""
    if not 0 <= max_dimension <= LARGEST_DIMENSION:
        raise AnalysisError(
            f"must be 0 to {LARGEST_DIMENSION}; got {max_dimension}", parameter="max_dimension"
        )


def distance_diagrams(
    distances: NDArray[np.float64], max_dimension: int = 1, tolerance: float = 0.0
) -> Diagrams:
    """Return the diagrams of points with these distances (point, point), as `persistence_diagrams` does."""
    return tuple(_long_bars(bars, tolerance) for bars in rips_bars(distances, max_dimension))


def topological_features(diagrams: Diagrams) -> dict[str, float]:
    """Describe finite bars with the names and definitions of the reference implementation.

    For each dimension D: ``hD_count``, ``hD_total_persistence``, ``hD_max_persistence``,
    ``hD_mean_persistence``, ``hD_mean_birth``, ``hD_mean_death`` and ``hD_betti_scale0`` … ``9``, the bars
    alive (birth ≤ scale < death) at ten scales from 0 to the dimension's largest death. Every key is there in
    every dimension; means of no bars are NaN. Since infinite bars do not count here, components are one fewer
    than there are; `betti_numbers` counts them.

    Examples
    --------
    >>> features = topological_features(persistence_diagrams(np.exp(2j * np.pi * np.arange(8) / 8)))
    >>> features["h1_count"], round(features["h1_max_persistence"], 3)
    (1.0, 1.082)
    """
    features: dict[str, float] = {}
    for dimension, bars in enumerate(diagrams):
        finite = finite_bars(bars)
        births, deaths = finite.T
        lengths = deaths - births
        some = len(finite) > 0
        scales = np.linspace(0, deaths.max(initial=0.0), N_BETTI_SCALES)
        values = {
            "count": len(finite),
            "total_persistence": lengths.sum(),
            "max_persistence": lengths.max(initial=0.0),
            "mean_persistence": lengths.mean() if some else math.nan,
            "mean_birth": births.mean() if some else math.nan,
            "mean_death": deaths.mean() if some else math.nan,
        } | {f"betti_scale{i}": alive for i, alive in enumerate(betti_numbers(finite, scales))}
        features |= {f"h{dimension}_{name}": float(value) for name, value in values.items()}
    return features


def scale_free_features(diagrams: Diagrams, eigenvalues: ArrayLike) -> dict[str, float]:
    """Describe diagrams against the size of the spectrum.

    ``diameter`` is the largest distance of two eigenvalues; for each dimension D ``hD_bars`` counts all bars,
    infinite ones included (for D = 0: distinct eigenvalues), and ``hD_longest_relative`` is the longest
    finite bar over the diameter: √3 / 2 for the loop of a fine circle.

    Examples
    --------
    >>> octagon = np.exp(2j * np.pi * np.arange(8) / 8)
    >>> features = scale_free_features(persistence_diagrams(octagon), octagon)
    >>> round(features["diameter"], 3), features["h0_bars"], round(features["h1_longest_relative"], 3)
    (2.0, 8.0, 0.541)
    """
    values = np.asarray(eigenvalues, dtype=np.complex128).ravel()
    diameter = float(np.abs(values[:, None] - values).max(initial=0.0))
    features = {"diameter": diameter}
    for dimension, bars in enumerate(diagrams):
        features[f"h{dimension}_bars"] = float(len(bars))
        longest = float(np.ptp(finite_bars(bars), axis=1).max(initial=0.0))
        features[f"h{dimension}_longest_relative"] = longest / diameter if diameter > 0 else math.nan
    return features


def betti_numbers(bars: Diagram, scales: ArrayLike) -> NDArray[np.int64]:
    """Count the bars of a diagram alive (birth ≤ scale < death) at each scale, infinite bars included.

    Examples
    --------
    >>> bars = np.array([[0, 0.5], [0, np.inf]])
    >>> betti_numbers(bars, [0.1, 0.4, 0.5]).tolist()
    [2, 2, 1]
    """
    at = np.asarray(scales, dtype=float)[:, None]
    return np.sum((bars[:, 0] <= at) & (at < bars[:, 1]), axis=1)


def _long_bars(bars: Diagram, tolerance: float) -> Diagram:
    kept = bars[bars[:, 1] - bars[:, 0] > tolerance]
    return kept[np.lexsort(kept.T[::-1])]


def _tests(
    population: Population,
    clouds: Sequence[NDArray[np.complex128]],
    max_dimension: int,
    null_clouds: int,
    level: float,
    seed: int,
) -> BarTests:
    samples = [
        Sample(
            name=name,
            cloud=plane(cloud),
            pool=plane(cloud),
            nulls={
                "gaussian": partial(gaussian_cloud, plane(cloud)),
                "angles": partial(rotate_angles, cloud),
            },
        )
        for name, cloud in zip(population.names, clouds, strict=True)
    ]
    with renamed({"n_nulls": "null_clouds"}):
        return bar_tests(samples, max_dimension, null_clouds, level, seed)


def bar_table(names: Sequence[str], diagrams: Sequence[Diagrams]) -> pd.DataFrame:
    """Return birth and death of all bars by model_name, with their dimension."""
    rows = [
        (name, dimension, birth, death)
        for name, model in zip(names, diagrams, strict=True)
        for dimension, bars in enumerate(model)
        for birth, death in bars
    ]
    return pd.DataFrame(rows, columns=["model_name", "dimension", "birth", "death"]).set_index("model_name")


def _betti_curves(names: Sequence[str], diagrams: Sequence[Diagrams]) -> pd.DataFrame:
    scales = np.linspace(0, largest_scale([bars for model in diagrams for bars in model]), N_CURVE_SCALES)

    def curves() -> Iterator[pd.DataFrame]:
        for name, model in zip(names, diagrams, strict=True):
            for dimension, bars in enumerate(model):
                alive = betti_numbers(bars, scales)
                yield pd.DataFrame(
                    {"model_name": name, "dimension": dimension, "scale": scales, "betti": alive}
                )

    return pd.concat(curves(), ignore_index=True)


def _color(population: Population, features: pd.DataFrame, color_by: str) -> pd.Series | None:
    if color_by == "none":
        return None
    if color_by == "accuracy":
        return population.scalars["accuracy"]
    column = {"h0_births": "h0_mean_birth", "h1_deaths": "h1_mean_death"}[color_by]
    if column not in features:
        raise AnalysisError(
            "must be none, accuracy or h0_births with max_dimension 0; got h1_deaths", parameter="color_by"
        )
    return features[column]


def _embed(
    distances: NDArray[np.float64], method: Literal["mds", "tsne", "pca"]
) -> NDArray[np.float64] | None:
    """Return coordinates (model, 2) of models at finite distances, NaN for the others; None for fewer than three."""
    kept = comparable_models(distances)
    if kept.sum() < 3:
        return None
    positions = np.full((len(kept), 2), np.nan)
    positions[kept] = _place(distances[np.ix_(kept, kept)], method)
    return positions


def _place(distances: NDArray[np.float64], method: Literal["mds", "tsne", "pca"]) -> NDArray[np.float64]:
    if not distances.any():
        return np.zeros((len(distances), 2))
    # Principal components of the rows of a distance matrix, as if they were features, keep no distances.
    return classical_scaling(distances) if method == "pca" else embed_distances(distances, method)
