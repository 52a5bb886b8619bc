"""Populations as points: signatures of all members, their distances, and maps of them in two dimensions."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from analysis.errors import AnalysisError
from analysis.population import Population
from analysis.result import Result
from analysis.spectra.distances import (
    ROUNDING,
    distance_statistics,
    find_outliers,
    nearest_neighbours,
    pairwise_distances,
    transport_method,
)
from analysis.spectra.signatures import (
    N_DIRECTIONS,
    PRECISION,
    precision_change,
    quantile_coordinates,
    signature_table,
    standardise,
)
from analysis.spectra.sliced import euclidean_distances, sliced_distances
from analysis.spectra.values import check_eigenvalues
from analysis.statistics import DISTANCE_TIES, rank_correlation, scale_of
from emt.errors import renamed

COLOR_COLUMNS = {"accuracy": "accuracy", "frob_error": "frob_error", "spectral_error": "spectral_error_deg"}

_PROPORTIONAL = ("euclidean", "cityblock", "chebyshev", "minkowski")
"""Metrics that have the unit of the features."""


@dataclass(frozen=True)
class Embedding(Result):
    """One population as points in the plane.

    Attributes
    ----------
    population, method, signature_type, color_by, annotate_outliers
        What was embedded, and how it was asked for.
    measure
        What the distances are, in words.
    coordinates
        Positions (model, 2); members that are equal have one place.
    places
        How many places there are.
    distances
        Distances (model, model) of spectra, or of signatures.
    variance_ratio
        Share of the variance of the signatures by principal component (component,).
    outliers
        Models that `find_outliers` marks (model,).
    color
        Values that ``color_by`` names (model,), NaN where a model has none; None for ``none``.
    quality
        How well positions keep distances: `embedding_quality`, and the ``intrinsic_dimension``.
    """

    population: Population
    method: str
    signature_type: str
    measure: str
    color_by: str
    annotate_outliers: bool
    coordinates: NDArray[np.float64]
    places: int
    distances: NDArray[np.float64]
    variance_ratio: NDArray[np.float64]
    outliers: NDArray[np.bool_]
    color: NDArray[np.float64] | None
    quality: dict[str, float]

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return positions, distances, their statistics, the embedding's quality and, for PCA, all variances."""
        names = pd.Index(self.population.names, name="model_name")
        nearest = nearest_neighbours(self.distances)[:, 0]
        points = pd.DataFrame(self.coordinates, index=names, columns=["dimension_1", "dimension_2"]).assign(
            accuracy=self.population.scalars["accuracy"],
            mean_distance=self.distances.mean(axis=1),
            outlier=self.outliers,
            nearest_model=names[nearest],
            nearest_distance=self.distances[np.arange(len(names)), nearest],
        )
        statistics = pd.Series(distance_statistics(self.distances), name="value").rename_axis("statistic")
        tables = {
            f"{self.method}_embedding": points,
            "distance_matrix": pd.DataFrame(self.distances, index=names, columns=names),
            "distance_statistics": statistics.to_frame(),
            "embedding_quality": pd.DataFrame([self.quality], index=pd.Index([self.method], name="method")),
        }
        return tables | ({"pca_variance": self._variances()} if self.method == "pca" else {})

    def documents(self) -> dict[str, Any]:
        """Return ``distance_statistics``."""
        return {"distance_statistics": distance_statistics(self.distances)}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return positions and distances."""
        return {f"{self.method}_embedding": self.coordinates, "distance_matrix": self.distances}

    def headline(self) -> str:
        """Return the result in a sentence."""
        outliers = [n for n, far in zip(self.population.names, self.outliers, strict=True) if far]
        members = len(self.population)
        shared = (
            f"{members} members have {self.places} places, since some are equal; "
            if self.places < members
            else ""
        )
        return (
            f"distances: {self.measure}; {shared}"
            f"rank correlation of distances in the map with these {self.quality['spearman']:z.2f}; "
            f"{self.quality['intrinsic_dimension']} dimensions explain 95 % of the variance; "
            f"outliers: {', '.join(outliers) or 'none'}"
        )

    def _variances(self) -> pd.DataFrame:
        component = pd.RangeIndex(1, len(self.variance_ratio) + 1, name="component")
        columns = {"variance_ratio": self.variance_ratio, "cumulative": np.cumsum(self.variance_ratio)}
        return pd.DataFrame(columns, index=component)


def embed_population(
    population: Population,
    *,
    method: Literal["pca", "tsne", "mds", "isomap"] = "pca",
    signature_type: Literal[
        "quantiles", "histogram", "centred_histogram", "statistics", "combined"
    ] = "quantiles",
    distance_metric: str | None = None,
    color_by: Literal["none", "accuracy", "frob_error", "spectral_error"] = "accuracy",
    annotate_outliers: bool = False,
) -> Embedding:
    """Embed a population in two dimensions by the spectra of its members.

    Distances are those of optimal transport between spectra (``transport`` of `pairwise_distances`), and
    ``pca`` maps their sliced form, of which ``quantiles`` signatures are coordinates: networks whose
    eigenvalues are nearly equal are near each other. Other signatures are features in units of their own and
    are scaled to unit variance; those that vary no more than the precision of eigenvalues makes them do not
    count (`standardise`).

    Parameters
    ----------
    population
        members to embed, at least 3
    method
        how to embed: pca of the signatures, or tsne, mds (metric), isomap of the distances
    signature_type
        features of a spectrum: quantiles of its projections, a histogram, centred_histogram (bins centred on
        the theory), 21 statistics, or combined (histogram and its moments)
    distance_metric
        distance between signatures, any name that scipy's pdist knows (default: optimal transport for
        quantiles, else euclidean); pca does not depend on it
    color_by
        what colours the points
    annotate_outliers
        write the names of outliers into the figure

    Raises
    ------
    AnalysisError
        For fewer than 3 models, models that do not differ, or a metric that these signatures do not allow.

    Examples
    --------
    >>> embedding = embed_population(from_summary(read_summary("demo/repeat_copy")), method="mds")
    >>> embedding.coordinates.shape, embedding.distances.shape
    ((5, 2), (5, 5))
    >>> embedding.plot().savefig("map.png")
    """
    if len(population) < 3:
        raise AnalysisError(
            f"expected at least 3 models to embed; got {len(population)}", parameter="population"
        )
    measured = _by_transport if signature_type == "quantiles" else _by_features
    with renamed({"metric": "distance_metric"}):
        measure, distances, points, precision = measured(population, signature_type, distance_metric)
    components, variance_ratio = principal_components(points)
    place, first = _places(distances, precision)
    coordinates = components[:, :2] if method == "pca" else embed_distances(distances, method, precision)
    coordinates = coordinates[first[place]]
    column = COLOR_COLUMNS.get(color_by, "")
    return Embedding(
        population=population,
        method=method,
        signature_type=signature_type,
        measure=measure,
        color_by=color_by,
        annotate_outliers=annotate_outliers,
        coordinates=coordinates,
        places=len(first),
        distances=distances,
        variance_ratio=variance_ratio,
        outliers=find_outliers(distances),
        color=population.scalars.reindex(columns=[column])[column].to_numpy(dtype=float) if column else None,
        quality=embedding_quality(distances, coordinates)
        | {"intrinsic_dimension": intrinsic_dimension(variance_ratio)},
    )


Measured = tuple[str, NDArray[np.float64], NDArray[np.float64], float]
"""Words for a distance, the distances, points whose principal components are mapped, the precision of distances."""


def _by_transport(population: Population, signature_type: str, metric: str | None) -> Measured:
    spectra = [check_eigenvalues(v, n) for n, v in zip(population.names, population.eigenvalues, strict=True)]
    points = quantile_coordinates(spectra)
    if metric not in (None, "transport"):
        features = signature_table(population, "quantiles").to_numpy()
        return f"{metric} distance of quantiles", signature_distances(features, str(metric)), points, 0.0
    exact = transport_method(spectra) == "exact"
    precision = PRECISION * max(float(np.abs(values).max()) for values in spectra)
    # Nothing is computed, and so nothing cached, for spectra that are plainly equal.
    equal = np.ptp(points, axis=0).max() == 0
    distances = pairwise_distances(spectra) if exact and not equal else sliced_distances(spectra, points)
    if distances.max() <= precision:
        raise AnalysisError(
            f"expected models whose spectra differ; all are equal to {PRECISION:g} of the largest spectral radius",
            parameter="population",
        )
    how = "exact" if exact else f"sliced along {N_DIRECTIONS} directions"
    return f"optimal transport, {how}", distances, points, precision


def _by_features(population: Population, signature_type: Any, metric: str | None) -> Measured:
    table = signature_table(population, signature_type)
    features = standardise(table, precision_change(population, signature_type))
    if features.shape[1] == 0:
        raise AnalysisError(
            f"expected models that differ; all {signature_type} signatures are equal within the "
            "precision of eigenvalues",
            parameter="signature_type",
        )
    metric = metric or "euclidean"
    counted = f"{features.shape[1]} of {table.shape[1]} features"
    words = f"{metric} distance of {signature_type} signatures, {counted}"
    return words, signature_distances(features.to_numpy(), metric), features.to_numpy(), 0.0


def signature_distances(features: ArrayLike, metric: str = "euclidean") -> NDArray[np.float64]:
    """Return distances (model, model) between rows of ``features`` (model, feature), by any metric of scipy's pdist.

    Raises
    ------
    AnalysisError
        If scipy does not know the metric or it is undefined for these features.

    Examples
    --------
    >>> features = [[0, 0], [3, 4]]
    >>> signature_distances(features)[0, 1].item(), signature_distances(features, "cityblock")[0, 1].item()
    (5.0, 7.0)
    """
    from scipy.spatial.distance import pdist, squareform

    features = np.asarray(features, dtype=float)
    unit = scale_of(features) if metric in _PROPORTIONAL else 1.0
    try:
        with np.errstate(all="ignore"):
            distances = unit * pdist(features / unit, metric)
    except (ValueError, np.linalg.LinAlgError) as error:
        raise AnalysisError(
            f"expected a metric of scipy's pdist; got {metric!r} ({error})", parameter="metric"
        ) from None
    if not np.isfinite(distances).all():
        raise AnalysisError(f"must be a metric defined for real features; got {metric!r}", parameter="metric")
    return squareform(distances)


def principal_components(features: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return positions on all principal components (model, component), at least two, and their shares of variance.

    Examples
    --------
    >>> positions, shares = principal_components([[0, 0], [3, 4], [6, 8]])
    >>> np.abs(positions[:, 0]).round(6).tolist(), shares.round(6).tolist()
    ([5.0, 0.0, 5.0], [1.0, 0.0])
    """
    from sklearn.decomposition import PCA

    features = np.asarray(features, dtype=float)
    unit = scale_of(features)
    pca = PCA(svd_solver="full")
    scores = unit * pca.fit_transform(features / unit)
    missing = max(0, 2 - scores.shape[1])
    return np.pad(scores, ((0, 0), (0, missing))), pca.explained_variance_ratio_


def embed_distances(
    distances: ArrayLike, method: Literal["tsne", "mds", "isomap"] = "mds", precision: float = 0.0
) -> NDArray[np.float64]:
    """Return positions (model, 2) that keep distances (model, model); three models are enough for each method.

    Models that are equal, their distance at most ``precision`` or a billionth of the largest, share a place,
    and each place is embedded once; two places have their distance, with ``tsne`` distance 1. Nothing is
    random: ``mds`` (metric, SMACOF) and ``tsne`` start from the classical solution. ``tsne`` has perplexity
    30, less for fewer than 91 places; ``isomap`` has 5 neighbours, more where the graph would fall apart.
    Distances may have any unit, which positions of ``mds`` and ``isomap`` share; those of ``tsne`` have none.

    Examples
    --------
    >>> positions = embed_distances([[0, 3, 4], [3, 0, 5], [4, 5, 0]], "mds")
    >>> round(float(np.linalg.norm(positions[1] - positions[2])), 3)
    5.0
    """
    distances = np.asarray(distances, dtype=float)
    place, first = _places(distances, precision)
    distinct = distances[np.ix_(first, first)]
    unit = scale_of(distinct)
    if len(first) < 3:
        # Two places have no neighbours to choose from; in the map of t-SNE, which has no unit, they are 1 apart.
        apart = distinct / max(float(distinct.max()), np.finfo(float).tiny) if method == "tsne" else distinct
        return classical_scaling(apart)[place]
    positions = {"mds": _mds, "isomap": _isomap, "tsne": _tsne}[method](distinct / unit)
    return (positions if method == "tsne" else unit * positions)[place]


def _mds(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    from sklearn.manifold import smacof

    return smacof(distances, init=classical_scaling(distances), n_init=1, random_state=0)[0]


def _isomap(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    from sklearn.manifold import Isomap

    return Isomap(n_neighbors=_connecting_neighbours(distances), metric="precomputed").fit_transform(
        distances
    )


def _tsne(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    from sklearn.manifold import TSNE

    n_places, start = len(distances), classical_scaling(distances)
    tsne = TSNE(
        metric="precomputed",
        init=(1e-4 * start / start[:, 0].std()).astype(np.float32),
        perplexity=min(30.0, (n_places - 1) / 3),
        # scikit-learn's smallest rate, 50, throws a handful of models apart.
        learning_rate=max(n_places / 48, 10.0),
        random_state=0,
    )
    return tsne.fit_transform(distances).astype(float)


def classical_scaling(distances: ArrayLike, n_components: int = 2) -> NDArray[np.float64]:
    """Return positions (model, component) by classical scaling (Torgerson): eigenvectors of -½ J D² J.

    For Euclidean distances these are the principal components of the points behind them.

    Examples
    --------
    >>> positions = classical_scaling([[0, 3, 4], [3, 0, 5], [4, 5, 0]])
    >>> positions.shape, round(float(np.linalg.norm(positions[1] - positions[2])), 6)
    ((3, 2), 5.0)
    """
    distances = np.asarray(distances, dtype=float)
    unit = scale_of(distances)
    squared = (distances / unit) ** 2
    centred = squared - squared.mean(axis=0) - squared.mean(axis=1)[:, None] + squared.mean()
    values, vectors = np.linalg.eigh(-centred / 2)
    leading = np.argsort(-values)[:n_components]
    positions = unit * vectors[:, leading] * np.sqrt(np.maximum(values[leading], 0.0))
    return np.pad(positions, ((0, 0), (0, n_components - len(leading))))


def embedding_quality(distances: ArrayLike, coordinates: ArrayLike) -> dict[str, float]:
    """Compare distances (model, model) with those of positions (model, dimension).

    Returns
    -------
    quality
        ``pearson`` and ``spearman`` correlation over pairs, NaN where all distances of a side are ties
        (`analysis.statistics.ranks`: they differ by less than 1e-6 of the largest), and
        ``stress`` = sqrt(Σ(d - d')² / Σd²).

    Examples
    --------
    The third side of a triangle is lost on a line:

    >>> distances = [[0, 3, 4], [3, 0, 5], [4, 5, 0]]
    >>> round(embedding_quality(distances, [[3], [0], [7]])["stress"], 3)
    0.283
    """
    from scipy import stats
    from scipy.spatial.distance import squareform

    original = squareform(np.asarray(distances, dtype=float), checks=False)
    embedded = squareform(euclidean_distances(np.asarray(coordinates, dtype=float)), checks=False)
    unit, unit_of_map = scale_of(original), scale_of(embedded)
    difference = original / max(unit, unit_of_map) - embedded / max(unit, unit_of_map)
    original, scaled_map = original / unit, embedded / unit_of_map
    spearman = rank_correlation(original, scaled_map, DISTANCE_TIES)
    stress = float(np.sqrt(np.sum(difference**2) / np.sum(original**2))) * (max(unit, unit_of_map) / unit)
    return {
        "pearson": float("nan") if np.isnan(spearman) else float(stats.pearsonr(original, scaled_map)[0]),
        "spearman": spearman,
        "stress": stress,
    }


def intrinsic_dimension(variance_ratio: ArrayLike, share: float = 0.95) -> int:
    """Return the smallest number of components whose cumulative share of variance reaches ``share``.

    Examples
    --------
    >>> intrinsic_dimension([0.8, 0.16, 0.04]), intrinsic_dimension([0.8, 0.16, 0.04], share=0.99)
    (2, 3)
    """
    # Rounding may leave the sum of all shares just below one.
    return int(np.argmax(np.cumsum(variance_ratio) >= min(share, 1.0) - 1e-12)) + 1


def _connecting_neighbours(distances: NDArray[np.float64], wanted: int = 5) -> int:
    """Return the smallest number of neighbours, from ``wanted`` up where possible, that connects all models."""
    from scipy.sparse.csgraph import connected_components
    from sklearn.neighbors import kneighbors_graph

    for neighbours in range(min(wanted, len(distances) - 1), len(distances) - 1):
        graph = kneighbors_graph(distances, neighbours, metric="precomputed", include_self=False)
        if connected_components(graph, directed=False)[0] == 1:
            return neighbours
    return len(distances) - 1


def _places(
    distances: NDArray[np.float64], precision: float = 0.0
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the place of each model (model,), and the first model of each place (place,)."""
    from scipy.sparse.csgraph import connected_components

    near = distances <= max(precision, ROUNDING * float(distances.max(initial=0.0)))
    _, place = connected_components(near, directed=False)
    _, first, place = np.unique(place, return_index=True, return_inverse=True)
    return place, first
