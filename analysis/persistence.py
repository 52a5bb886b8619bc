"""Persistent homology of spectra: eigenvalues as points of the plane, Vietoris–Rips filtration, coefficients Z/2.

A diagram is an array (bar, 2) of births and deaths, and a model has one diagram for each dimension: bars of dimension 0
are components, of dimension 1 loops. The component that is left over never dies: its death is infinite. Scales are
distances between eigenvalues (pairs join when the scale reaches their distance).

Bars no longer than a tolerance (1e-6) are dropped, in every dimension. For components this is the same as merging
points that lie closer than the tolerance: repeated eigenvalues count once, whatever the rounding.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from analysis.embedding import classical_scaling, embed_distances
from analysis.population import AnalysisError, Population
from analysis.spectra import check_eigenvalues

Diagram = NDArray[np.float64]
Diagrams = tuple[Diagram, ...]

N_BETTI_SCALES = 10
"""Scales of the Betti numbers among a diagram's features."""

N_CURVE_SCALES = 100
"""Scales of the Betti curves."""

LARGEST_DIMENSION = 3
"""Homology of dimension 3 needs simplices of dimension 4, of which 64 points have 7.6 million."""


@dataclass(frozen=True)
class Persistence:
    """Topology of a population's spectra.

    Attributes
    ----------
    population
        What was analysed.
    diagrams
        One tuple of diagrams for each model, by dimension.
    features
        One row for each model: `topological_features` under the reference implementation's names, then ``diameter`` and
        ``hD_bars``, ``hD_longest_relative`` (`scale_free_features`).
    betti_curves
        Columns model_name, dimension, scale, betti: bars alive at scales common to all models, infinite bars included.
    distances
        (dimension, model, model): distance of diagrams, one matrix for each dimension.
    metric
        "bottleneck" or "wasserstein".
    embedding
        Coordinates (model, 2) of the summed distances, None where there are fewer than three models.
    method
        "mds", "tsne" or "pca".
    color
        The values that colour the embedding, by model, or None.
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

    @property
    def total_distances(self) -> NDArray[np.float64]:
        """Distances (model, model) summed over dimensions."""
        return self.distances.sum(axis=0)

    def headline(self) -> str:
        """Say in a sentence what was found."""
        text = f"n = {len(self.population)}: in the median {self.features['h0_bars'].median():g} distinct eigenvalues"
        if "h1_count" in self.features:
            length = self.features["h1_longest_relative"].median()
            text += f", {self.features['h1_count'].median():g} loops, the longest alive over {length:.2f} diameters"
        return text if self.embedding is not None else f"{text}; no embedding, which needs at least 3 models"

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return features, bars (an infinite death is an empty field), Betti curves, distances and coordinates."""
        index = pd.Index(self.population.names, name="model_name")
        tables = {
            "persistence_statistics": self.population.scalars[["accuracy"]].join(self.features),
            "persistence_diagrams": _bars(self.population.names, self.diagrams),
            "persistence_betti_curves": self.betti_curves.set_index("model_name"),
            f"persistence_{self.metric}_distances": pd.DataFrame(self.total_distances, index, list(index)),
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
            name: {"mean": column.mean(), "std": column.std(ddof=0), "min": column.min(), "max": column.max()}
            for name, column in self.features.items()
        }
        statistics = [
            {"model_name": name, "accuracy": accuracy[name], **row.to_dict()} for name, row in self.features.iterrows()
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
        how models are placed in the plane by their distances; pca is classical scaling (principal coordinates)
    normalize
        project eigenvalues to the unit circle first; zero eigenvalues are left out
    color_by
        what colours the embedding: accuracy, mean birth of components (0 in this filtration) or mean death of loops
    tolerance
        eigenvalues closer than this count once, and loops that live shorter are left out

    Raises
    ------
    AnalysisError
        If an option does not fit.
    """
    spectra = [check_eigenvalues(v, name) for name, v in zip(population.names, population.eigenvalues, strict=True)]
    clouds = [unit_circle(values) if normalize else values for values in spectra]
    diagrams = tuple(persistence_diagrams(cloud, max_dimension, tolerance) for cloud in clouds)
    rows = [topological_features(d) | scale_free_features(d, cloud) for d, cloud in zip(diagrams, clouds, strict=True)]
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
        embedding=_embed(distances.sum(axis=0), embedding_method) if len(population) >= 3 else None,
        method=embedding_method,
        color=color,
    )


def unit_circle(eigenvalues: ArrayLike) -> NDArray[np.complex128]:
    """Return λ / |λ| of all eigenvalues but zeros, which have no direction."""
    values = np.asarray(eigenvalues, dtype=np.complex128).ravel()
    values = values[values != 0]
    return values / np.abs(values)


def persistence_diagrams(eigenvalues: ArrayLike, max_dimension: int = 1, tolerance: float = 1e-6) -> Diagrams:
    """Return the diagrams of a spectrum for dimensions 0 to ``max_dimension``, bars sorted by birth and death.

    Births and deaths are exact distances of pairs in double precision: the filtration depends only on the order of the
    distances, so ripser, which computes in single precision, is given their ranks.

    Parameters
    ----------
    eigenvalues
        Complex (mode,); none give empty diagrams.
    max_dimension
        Largest dimension.
    tolerance
        Bars no longer than this are dropped.

    Raises
    ------
    AnalysisError
        If an eigenvalue is not finite or an option is out of range.
    """
    if not 0 <= max_dimension <= LARGEST_DIMENSION:
        raise AnalysisError(f"--max_dimension: expected 0 to {LARGEST_DIMENSION}; got {max_dimension}")
    if not 0 <= tolerance < math.inf:
        raise AnalysisError(f"--tolerance: expected a length of zero or more; got {tolerance}")
    if np.size(eigenvalues) == 0:
        return tuple(np.empty((0, 2)) for _ in range(max_dimension + 1))
    from ripser import ripser

    values = check_eigenvalues(eigenvalues)
    scales, ranks = np.unique(np.abs(values[:, None] - values), return_inverse=True)
    raw = ripser(ranks.reshape(len(values), -1).astype(float), maxdim=max_dimension, distance_matrix=True)["dgms"]
    scales = np.append(scales, np.inf)
    return tuple(_long_bars(scales[_as_index(bars, len(scales) - 1)], tolerance) for bars in raw)


def topological_features(diagrams: Diagrams) -> dict[str, float]:
    """Describe finite bars with the names and definitions of the reference implementation.

    For each dimension D: ``hD_count``, ``hD_total_persistence``, ``hD_max_persistence``, ``hD_mean_persistence``,
    ``hD_mean_birth``, ``hD_mean_death`` and ``hD_betti_scale0`` … ``9``, the bars alive (birth ≤ scale < death) at ten
    scales from 0 to the dimension's largest death. Every key is there in every dimension; means of no bars are NaN.
    Since infinite bars do not count here, components are one fewer than there are; `betti_numbers` counts them.
    """
    features: dict[str, float] = {}
    for dimension, bars in enumerate(diagrams):
        finite = _finite(bars)
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

    ``diameter`` is the largest distance of two eigenvalues; for each dimension D ``hD_bars`` counts all bars, infinite
    ones included (for D = 0: distinct eigenvalues), and ``hD_longest_relative`` is the longest finite bar over the
    diameter: √3 / 2 for the loop of a fine circle.
    """
    values = np.asarray(eigenvalues, dtype=np.complex128).ravel()
    diameter = float(np.abs(values[:, None] - values).max(initial=0.0))
    features = {"diameter": diameter}
    for dimension, bars in enumerate(diagrams):
        features[f"h{dimension}_bars"] = float(len(bars))
        longest = float(np.ptp(_finite(bars), axis=1).max(initial=0.0))
        features[f"h{dimension}_longest_relative"] = longest / diameter if diameter > 0 else math.nan
    return features


def betti_numbers(bars: Diagram, scales: ArrayLike) -> NDArray[np.int64]:
    """Count the bars of a diagram alive (birth ≤ scale < death) at each scale, infinite bars included."""
    at = np.asarray(scales, dtype=float)[:, None]
    return np.sum((bars[:, 0] <= at) & (at < bars[:, 1]), axis=1)


def diagram_distance(
    a: Diagram, b: Diagram, metric: Literal["bottleneck", "wasserstein"] = "bottleneck", cap: float | None = None
) -> float:
    """Distance of two diagrams of one dimension: bottleneck (maximum norm) or Wasserstein (order 1, Euclidean).

    Infinite bars are matched with each other in the order of their births. Where one diagram has more of them, all are
    taken to die at ``cap``, since the distance would be infinite otherwise.

    Parameters
    ----------
    a, b
        Diagrams (bar, 2).
    metric
        "bottleneck" or "wasserstein".
    cap
        A scale no smaller than any finite one; by default the largest birth or death of the two.
    """
    if np.array_equal(a, b):
        return 0.0
    essential = [np.sort(bars[np.isinf(bars[:, 1]), 0]) for bars in (a, b)]
    if len(essential[0]) == len(essential[1]):
        a, b = _finite(a), _finite(b)
    else:
        cap = _largest_scale([a, b]) if cap is None else cap
        a, b = (np.where(np.isinf(bars), cap, bars) for bars in (a, b))
        essential = [np.empty(0), np.empty(0)]
    shifts = np.abs(essential[0] - essential[1])
    if metric == "bottleneck":
        return max(_bottleneck(a, b), float(shifts.max(initial=0.0)))
    return _wasserstein(a, b) + float(shifts.sum())


def pairwise_diagram_distances(
    diagrams: Sequence[Diagrams], metric: Literal["bottleneck", "wasserstein"] = "bottleneck"
) -> NDArray[np.float64]:
    """Return distances (dimension, model, model) of models' diagrams, one matrix for each dimension.

    Numbers of infinite bars that differ are settled as in `diagram_distance`, with the largest scale of all models.
    """
    n_models, n_dimensions = len(diagrams), len(diagrams[0])
    cap = _largest_scale([bars for model in diagrams for bars in model])
    distances = np.zeros((n_dimensions, n_models, n_models))
    for i, j in itertools.combinations(range(n_models), 2):
        for dimension, (a, b) in enumerate(zip(diagrams[i], diagrams[j], strict=True)):
            distances[dimension, i, j] = distances[dimension, j, i] = diagram_distance(a, b, metric, cap)
    return distances


def _bottleneck(a: Diagram, b: Diagram) -> float:
    if not (len(a) and len(b)):
        return float(np.ptp(np.vstack([a, b]), axis=1).max(initial=0.0)) / 2
    if not (a[:, 0].any() or b[:, 0].any()):
        return _bottleneck_of_lengths(a[:, 1], b[:, 1])
    from persim import bottleneck

    return float(bottleneck(a, b))


def _bottleneck_of_lengths(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Bottleneck distance of bars that are all born at 0, as components are: in closed form, 100 times faster.

    Such points lie on a line, so matching them by descending length is optimal, and a pair whose both bars die more
    cheaply on the diagonal goes there together with all shorter ones.
    """
    lengths = np.zeros((2, max(len(a), len(b))))
    lengths[0, : len(a)], lengths[1, : len(b)] = np.sort(a)[::-1], np.sort(b)[::-1]
    return float(np.minimum(np.abs(lengths[0] - lengths[1]), lengths.max(axis=0) / 2).max())


def _wasserstein(a: Diagram, b: Diagram) -> float:
    if not (len(a) and len(b)):
        return float(np.ptp(np.vstack([a, b]), axis=1).sum()) / math.sqrt(2)
    from persim import wasserstein

    return float(wasserstein(a, b))


def _finite(bars: Diagram) -> Diagram:
    return bars[np.isfinite(bars[:, 1])]


def _largest_scale(diagrams: Sequence[Diagram]) -> float:
    values = np.concatenate([bars.ravel() for bars in diagrams])
    return float(values[np.isfinite(values)].max(initial=0.0))


def _as_index(ranks: Diagram, infinite: int) -> NDArray[np.intp]:
    return np.where(np.isinf(ranks), infinite, ranks).astype(np.intp)


def _long_bars(bars: Diagram, tolerance: float) -> Diagram:
    kept = bars[bars[:, 1] - bars[:, 0] > tolerance]
    return kept[np.lexsort(kept.T[::-1])]


def _bars(names: Sequence[str], diagrams: Sequence[Diagrams]) -> pd.DataFrame:
    rows = [
        (name, dimension, birth, death)
        for name, model in zip(names, diagrams, strict=True)
        for dimension, bars in enumerate(model)
        for birth, death in bars
    ]
    return pd.DataFrame(rows, columns=["model_name", "dimension", "birth", "death"]).set_index("model_name")


def _betti_curves(names: Sequence[str], diagrams: Sequence[Diagrams]) -> pd.DataFrame:
    scales = np.linspace(0, _largest_scale([bars for model in diagrams for bars in model]), N_CURVE_SCALES)

    def curves() -> Iterator[pd.DataFrame]:
        for name, model in zip(names, diagrams, strict=True):
            for dimension, bars in enumerate(model):
                alive = betti_numbers(bars, scales)
                yield pd.DataFrame({"model_name": name, "dimension": dimension, "scale": scales, "betti": alive})

    return pd.concat(curves(), ignore_index=True)


def _color(population: Population, features: pd.DataFrame, color_by: str) -> pd.Series | None:
    if color_by == "none":
        return None
    if color_by == "accuracy":
        return population.scalars["accuracy"]
    column = {"h0_births": "h0_mean_birth", "h1_deaths": "h1_mean_death"}[color_by]
    if column not in features:
        raise AnalysisError("--color_by: expected none, accuracy or h0_births with --max_dimension 0; got h1_deaths")
    return features[column]


def _embed(distances: NDArray[np.float64], method: Literal["mds", "tsne", "pca"]) -> NDArray[np.float64]:
    if not distances.any():
        return np.zeros((len(distances), 2))
    # Principal components of the rows of a distance matrix, as if they were features, keep no distances.
    return classical_scaling(distances) if method == "pca" else embed_distances(distances, method)
