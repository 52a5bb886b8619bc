"""Populations as points: signatures of all members, their distances, and maps of them in two dimensions."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from analysis.errors import AnalysisError
from analysis.population import Population
from analysis.spectra.distances import distance_statistics, find_outliers, nearest_neighbours
from analysis.spectra.signatures import signature_table, standardise
from analysis.statistics import DISTANCE_TIES, rank_correlation

COLOR_COLUMNS = {"accuracy": "accuracy", "frob_error": "frob_error", "spectral_error": "spectral_error_deg"}


@dataclass(frozen=True)
class Embedding:
    """One population as points in the plane.

    Attributes
    ----------
    population, method, signature_type, distance_metric, color_by, annotate_outliers
        What was embedded, and how it was asked for.
    coordinates
        Positions (model, 2).
    distances
        Distances of standardised signatures (model, model).
    variance_ratio
        Share of the variance of the standardised signatures by principal component (component,).
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
    distance_metric: str
    color_by: str
    annotate_outliers: bool
    coordinates: NDArray[np.float64]
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
        return (
            f"rank correlation of distances in the map and in signature space {self.quality['spearman']:.2f}; "
            f"{self.quality['intrinsic_dimension']} dimensions hold 95 % of the variance; "
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
    signature_type: Literal["histogram", "statistics", "combined"] = "combined",
    distance_metric: str = "euclidean",
    color_by: Literal["none", "accuracy", "frob_error", "spectral_error"] = "accuracy",
    annotate_outliers: bool = False,
) -> Embedding:
    """Embed a population in two dimensions by the spectra of its members.

    Features of the signatures are scaled to unit variance first, so that none decides by its unit.

    Parameters
    ----------
    population
        members to embed, at least 3
    method
        how to embed: pca of the signatures, or tsne, mds (metric), isomap of their distances
    signature_type
        features of a spectrum: histogram, statistics (21 values) or combined (histogram and its moments)
    distance_metric
        distance between signatures, any name that scipy's pdist knows; pca does not depend on it
    color_by
        what colours the points
    annotate_outliers
        write the names of outliers into the figure

    Raises
    ------
    AnalysisError
        For fewer than 3 models, models that do not differ, or a metric that these signatures do not allow.
    """
    if len(population) < 3:
        raise AnalysisError(f"--summary_file: expected at least 3 models to embed; got {len(population)}")
    features = standardise(signature_table(population, signature_type))
    if features.shape[1] == 0:
        raise AnalysisError(f"--signature_type: expected models that differ; all {signature_type} signatures are equal")
    distances = signature_distances(features.to_numpy(), distance_metric)
    components, variance_ratio = principal_components(features.to_numpy())
    coordinates = components[:, :2] if method == "pca" else embed_distances(distances, method)
    column = COLOR_COLUMNS.get(color_by, "")
    return Embedding(
        population=population,
        method=method,
        signature_type=signature_type,
        distance_metric=distance_metric,
        color_by=color_by,
        annotate_outliers=annotate_outliers,
        coordinates=coordinates,
        distances=distances,
        variance_ratio=variance_ratio,
        outliers=find_outliers(distances),
        color=population.scalars.reindex(columns=[column])[column].to_numpy(dtype=float) if column else None,
        quality=embedding_quality(distances, coordinates)
        | {"intrinsic_dimension": intrinsic_dimension(variance_ratio)},
    )


def signature_distances(features: ArrayLike, metric: str = "euclidean") -> NDArray[np.float64]:
    """Return distances (model, model) between rows of ``features`` (model, feature), by any metric of scipy's pdist.

    Raises
    ------
    AnalysisError
        If scipy does not know the metric or it is undefined for these features.
    """
    from scipy.spatial.distance import pdist, squareform

    try:
        with np.errstate(all="ignore"):
            distances = pdist(np.asarray(features, dtype=float), metric)
    except (ValueError, np.linalg.LinAlgError) as error:
        raise AnalysisError(
            f"--distance_metric: expected a metric of scipy's pdist; got {metric!r} ({error})"
        ) from None
    if not np.isfinite(distances).all():
        raise AnalysisError(f"--distance_metric: expected a metric defined for real features; got {metric!r}")
    return squareform(distances)


def principal_components(features: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return positions on all principal components (model, component), at least two, and their shares of variance."""
    from sklearn.decomposition import PCA

    features = np.asarray(features, dtype=float)
    pca = PCA(svd_solver="full")
    scores = pca.fit_transform(features)
    missing = max(0, 2 - scores.shape[1])
    return np.pad(scores, ((0, 0), (0, missing))), pca.explained_variance_ratio_


def embed_distances(distances: ArrayLike, method: Literal["tsne", "mds", "isomap"] = "mds") -> NDArray[np.float64]:
    """Return positions (model, 2) that keep distances (model, model); three models are enough for each method.

    Nothing is random: ``mds`` (metric, SMACOF) and ``tsne`` start from the classical solution. ``tsne`` has perplexity
    30, less for fewer than 91 models; ``isomap`` has 5 neighbours, more where the graph would fall apart.
    """
    from sklearn.manifold import TSNE, Isomap, smacof

    distances = np.asarray(distances, dtype=float)
    start = classical_scaling(distances)
    if method == "mds":
        return smacof(distances, init=start, n_init=1, random_state=0)[0]
    if method == "isomap":
        return Isomap(n_neighbors=_connecting_neighbours(distances), metric="precomputed").fit_transform(distances)
    n_models = len(distances)
    tsne = TSNE(
        metric="precomputed",
        init=(1e-4 * start / start[:, 0].std()).astype(np.float32),
        perplexity=min(30.0, (n_models - 1) / 3),
        # scikit-learn's smallest rate, 50, throws a handful of models apart.
        learning_rate=max(n_models / 48, 10.0),
        random_state=0,
    )
    return tsne.fit_transform(distances).astype(float)


def classical_scaling(distances: ArrayLike, n_components: int = 2) -> NDArray[np.float64]:
    """Return positions (model, component) by classical scaling (Torgerson): eigenvectors of -½ J D² J.

    For Euclidean distances these are the principal components of the points behind them.
    """
    squared = np.asarray(distances, dtype=float) ** 2
    centred = squared - squared.mean(axis=0) - squared.mean(axis=1)[:, None] + squared.mean()
    values, vectors = np.linalg.eigh(-centred / 2)
    leading = np.argsort(-values)[:n_components]
    return vectors[:, leading] * np.sqrt(np.maximum(values[leading], 0.0))


def embedding_quality(distances: ArrayLike, coordinates: ArrayLike) -> dict[str, float]:
    """Compare distances (model, model) with those of positions (model, dimension).

    Returns
    -------
    quality
        ``pearson`` and ``spearman`` correlation over pairs, NaN where all distances of a side are ties
        (`analysis.statistics.ranks`: they differ by less than 1e-6 of the largest), and
        ``stress`` = sqrt(Σ(d - d')² / Σd²).
    """
    from scipy import stats
    from scipy.spatial.distance import pdist, squareform

    original, embedded = squareform(np.asarray(distances, dtype=float), checks=False), pdist(np.asarray(coordinates))
    spearman = rank_correlation(original, embedded, DISTANCE_TIES)
    return {
        "pearson": float("nan") if np.isnan(spearman) else float(stats.pearsonr(original, embedded)[0]),
        "spearman": spearman,
        "stress": float(np.sqrt(np.sum((original - embedded) ** 2) / np.sum(original**2))),
    }


def intrinsic_dimension(variance_ratio: ArrayLike, share: float = 0.95) -> int:
    """Return the smallest number of components whose cumulative share of variance reaches ``share``."""
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
