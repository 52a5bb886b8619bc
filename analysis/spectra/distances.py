"""Distances between spectra and between histograms, and what a distance matrix says about single models.

A spectrum is a set of points in the complex plane without order, each of mass 1/n; W₁ is the Wasserstein-1
distance.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.cache import all_pairs, content_hash
from analysis.errors import AnalysisError
from analysis.population import Population
from analysis.spectra.signatures import quantile_functions
from analysis.spectra.sliced import sliced_distances
from analysis.spectra.values import check_eigenvalues, turning_order
from analysis.statistics import scale_of

SpectralMetric = Literal[
    "transport",
    "2d",
    "emd",
    "separate",
    "separate_circular",
    "magnitude_only",
    "angle_only",
    "angle_circular",
    "hausdorff",
]
HistogramMetric = Literal["euclidean", "manhattan", "chi2", "kl", "bhattacharyya", "jensen_shannon"]

Pairs = tuple[NDArray[np.intp], NDArray[np.intp]]
"""First and second places of pairs."""

N_PROJECTIONS = 50
EXACT_SIZE = 128
"""Eigenvalues up to which ``transport`` is exact."""

EXACT_WORK = 2**31
"""Pairs of spectra, times the square of their eigenvalues, up to which it is: about a minute on two cores.

A thousand spectra of 64 eigenvalues are below, and so are 500 of 128.
"""

ROUNDING = 1e-9
"""Share of a distance below which a difference may be rounding."""

_GUARD = 1e-10


def spectral_distance(
    a: ArrayLike, b: ArrayLike, metric: SpectralMetric = "transport", *, seed: int = 42
) -> float:
    """Return the distance between two spectra; `pairwise_distances` describes the metrics.

    Examples
    --------
    Two eigenvalues have a quarter of a turn to go, √2 on a straight line; their moduli are the same:

    >>> a, b = [1, -1], [1j, -1j]
    >>> round(spectral_distance(a, b), 3), round(spectral_distance(a, b, "magnitude_only"), 3)
    (1.414, 0.0)
    """
    return float(pairwise_distances([a, b], metric, seed=seed)[0, 1])


def pairwise_distances(
    spectra: Population | Sequence[ArrayLike], metric: SpectralMetric = "transport", *, seed: int = 42
) -> NDArray[np.float64]:
    """Return the distances between all pairs of spectra.

    Of these metrics ``transport``, ``2d``, ``emd``, ``magnitude_only`` and ``hausdorff`` are continuous:
    eigenvalues that move by ε change a distance by at most 2ε. Angles are not where an eigenvalue passes 0,
    and ``separate`` and ``angle_only`` not where one passes the negative real axis.

    Parameters
    ----------
    spectra
        A population, or one complex array for each model. Only ``emd`` needs equal sizes.
    metric
        * ``transport``: W₂ in the complex plane, sqrt(min Σ|λ-μ|² / n) over assignments, exact for spectra of one size
          up to 128 where pairs are not too many (`EXACT_WORK`); otherwise √2 times the sliced W₂ of
          `quantile_coordinates`, never more than W₂ and equal to it for a shift or a change of scale about the
          mean (`transport_method` says which);
        * ``magnitude_only``, ``angle_only``: W₁ of moduli; of angles (radians) on the line from -π to π;
        * ``separate``: their sum;
        * ``angle_circular``, ``separate_circular``: the same with angles on the circle, where -π and π are one place;
        * ``2d``: mean over 50 random directions of W₁ of the projections (sliced Wasserstein);
        * ``emd``: W₁ in the complex plane, exact, by optimal assignment;
        * ``hausdorff``: the largest distance of a point of one from the nearest point of the other.
    seed
        Seed of the directions of ``2d``, which are the same for all pairs.

    Returns
    -------
    distances : (model, model)

    Raises
    ------
    AnalysisError
        For an unknown metric, empty spectra or, with ``emd``, unequal sizes.

    Examples
    --------
    >>> pairwise_distances([[1, -1], [1.1, -1.1], [1, -1]]).round(3).tolist()
    [[0.0, 0.1, 0.0], [0.1, 0.0, 0.1], [0.0, 0.1, 0.0]]
    >>> population = from_summary(read_summary("demo/repeat_copy"))
    >>> pairwise_distances(population).shape
    (5, 5)
    """
    values = _spectra_of(spectra)
    if metric == "transport":
        return _transport(values)
    if metric in ("separate", "magnitude_only", "angle_only", "2d"):
        features = _line_features(values, metric, seed)
        return _pairwise(metric, features, partial(_cityblock_of, features), parallel=False)
    if metric == "separate_circular":
        return pairwise_distances(values, "magnitude_only") + pairwise_distances(values, "angle_circular")
    if metric == "angle_circular":
        angles = [np.angle(v) for v in values]
        return _pairwise(metric, angles, partial(_distances_of, angles, circular_wasserstein))
    if metric in ("emd", "hausdorff"):
        distance = _earth_movers if metric == "emd" else _hausdorff
        return _pairwise(metric, values, partial(_distances_of, values, distance))
    known = ", ".join(get_args(SpectralMetric))
    raise AnalysisError(f"metric: must be one of {known}; got {metric!r}")


def transport_method(spectra: Sequence[ArrayLike]) -> Literal["exact", "sliced"]:
    """Return how ``transport`` measures spectra: exact for one size up to `EXACT_SIZE`, and work up to `EXACT_WORK`."""
    sizes = {np.size(values) for values in spectra}
    work = math.comb(len(spectra), 2) * max(sizes) ** 2
    return "exact" if len(sizes) == 1 and max(sizes) <= EXACT_SIZE and work <= EXACT_WORK else "sliced"


def circular_wasserstein(a: ArrayLike, b: ArrayLike) -> float:
    """Return W₁ between two sets of angles on the circle, in radians.

    The smallest ∫|F - G - c| dθ over constants c, reached at the weighted median of F - G (Rabin, Delon &
    Gousseau 2011, eq. 14), F and G being the two distribution functions.

    Examples
    --------
    Two angles on both sides of π are neighbours:

    >>> round(circular_wasserstein([np.pi - 0.1], [-np.pi + 0.1]), 6)
    0.2
    """
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    angles = np.concatenate([a, b])
    order = np.argsort(angles)
    steps = np.repeat([1 / len(a), -1 / len(b)], [len(a), len(b)])[order]
    angles, difference = angles[order], np.cumsum(steps)
    arcs = np.diff(angles, append=angles[0] + 2 * np.pi)
    by_height = np.argsort(difference)
    middle = np.searchsorted(np.cumsum(arcs[by_height]), arcs.sum() / 2)
    return float(np.sum(arcs * np.abs(difference - difference[by_height[middle]])))


def histogram_distance(a: ArrayLike, b: ArrayLike, metric: HistogramMetric = "euclidean") -> float:
    """Return the distance between two histograms (bin,) of counts.

    Parameters
    ----------
    a, b
        Counts.
    metric
        ``euclidean``, ``manhattan``, ``chi2`` = Σ(a-b)²/(a+b) of the counts themselves. Of their shares p =
        a/Σa and q = b/Σb, with a guard g = 1e-10 for empty bins, so that only the proportions of the counts
        matter: ``kl`` = Σ p ln((p+g)/(q+g)), which is not symmetric; ``bhattacharyya`` = -ln((Σ sqrt(pq) + g)
        / (1 + g)), at most ln(1 + 1/g) = 23.03; ``jensen_shannon`` = square root of the Jensen-Shannon
        divergence in nats, a metric that needs no guard. The last three are NaN for a histogram without
        counts.

    Examples
    --------
    >>> histogram_distance([3, 1], [1, 1], "manhattan"), round(histogram_distance([3, 3], [1, 1], "kl"), 6)
    (2.0, 0.0)
    """
    from scipy.special import rel_entr

    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    p, q = _shares(a), _shares(b)
    formulas: dict[str, Callable[[], float]] = {
        "euclidean": lambda: np.sqrt(np.sum((a - b) ** 2)),
        "manhattan": lambda: np.sum(np.abs(a - b)),
        "chi2": lambda: np.sum((a - b) ** 2 / (a + b + _GUARD)),
        "kl": lambda: np.sum(p * np.log((p + _GUARD) / (q + _GUARD))),
        # Rounding may take the sum of two equal histograms over 1.
        "bhattacharyya": lambda: np.log((1 + _GUARD) / (np.minimum(np.sum(np.sqrt(p * q)), 1) + _GUARD)),
        "jensen_shannon": lambda: np.sqrt(np.maximum(np.sum(rel_entr([p, q], (p + q) / 2)) / 2, 0)),
    }
    if metric not in formulas:
        raise AnalysisError(f"metric: must be one of {', '.join(formulas)}; got {metric!r}")
    return float(formulas[metric]())


def _shares(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return counts over their sum, NaN for none."""
    total = np.sum(counts)
    return counts / total if total else np.full_like(counts, np.nan)


def pairwise_histogram_distances(
    counts: ArrayLike, metric: HistogramMetric = "euclidean"
) -> NDArray[np.float64]:
    """Return `histogram_distance` of all ordered pairs of rows of ``counts`` (model, bin), as (model, model).

    Examples
    --------
    >>> pairwise_histogram_distances([[2, 0], [0, 2], [2, 0]], "manhattan").tolist()
    [[0.0, 4.0, 0.0], [4.0, 0.0, 4.0], [0.0, 4.0, 0.0]]
    """
    from scipy.spatial.distance import cdist

    rows = np.asarray(counts, dtype=float)
    return cdist(rows, rows, lambda a, b: histogram_distance(a, b, metric))


def distance_statistics(distances: ArrayLike) -> dict[str, float]:
    """Describe the distances of all pairs in a symmetric matrix (model, model).

    ``relative_spread`` is std / mean, 0 where all distances are 0; ``std`` divides by the number of pairs.

    Examples
    --------
    >>> statistics = distance_statistics([[0, 1, 2], [1, 0, 3], [2, 3, 0]])
    >>> statistics["mean"], statistics["max"]
    (2.0, 3.0)
    """
    matrix = np.asarray(distances, dtype=float)
    pairs = matrix[np.triu_indices_from(matrix, k=1)]
    if pairs.size == 0:
        raise AnalysisError(f"distances: expected at least two models; got {len(matrix)}")
    unit = scale_of(pairs)
    mean, std = (pairs / unit).mean(), (pairs / unit).std()
    return {
        "mean": unit * float(mean),
        "median": float(np.median(pairs)),
        "std": unit * float(std),
        "min": float(pairs.min()),
        "max": float(pairs.max()),
        "q25": float(np.percentile(pairs, 25)),
        "q75": float(np.percentile(pairs, 75)),
        "range": float(np.ptp(pairs)),
        "relative_spread": float(std / mean) if mean > 0 else 0.0,
        "n_pairs": int(pairs.size),
    }


def find_outliers(distances: ArrayLike, threshold: float = 2.0) -> NDArray[np.bool_]:
    """Mark models whose mean distance to all models exceeds the mean of these means by ``threshold`` of their std.

    The mean of a row includes its zero diagonal. Of n models none can be marked unless sqrt(n - 1) >
    ``threshold``: with the default threshold of 2, none of 5 or fewer. Means that differ by rounding alone
    mark nothing.

    Examples
    --------
    >>> place = np.array([0, 1, 2, 3, 4, 5, 60])
    >>> find_outliers(np.abs(place[:, None] - place)).nonzero()[0].tolist()
    [6]
    """
    distances = np.asarray(distances, dtype=float)
    means = (distances / scale_of(distances)).mean(axis=1)
    return means > means.mean() + np.maximum(threshold * means.std(), ROUNDING * means.mean())


def nearest_neighbours(distances: ArrayLike, k: int = 1) -> NDArray[np.intp]:
    """Return the positions (model, k) of each model's nearest other models, nearest first.

    Examples
    --------
    >>> place = np.array([0, 1, 5])
    >>> nearest_neighbours(np.abs(place[:, None] - place)).tolist()
    [[1], [0], [1]]
    """
    matrix = np.array(distances, dtype=float)
    if not 0 < k < len(matrix):
        raise AnalysisError(f"k: must be 1 to {len(matrix) - 1} neighbours of {len(matrix)} models; got {k}")
    np.fill_diagonal(matrix, np.inf)
    return np.argsort(matrix, axis=1, kind="stable")[:, :k]


def _spectra_of(spectra: Population | Sequence[ArrayLike]) -> list[NDArray[np.complex128]]:
    if isinstance(spectra, Population):
        return [check_eigenvalues(v, n) for n, v in zip(spectra.names, spectra.eigenvalues, strict=True)]
    return [check_eigenvalues(v, f"spectrum {i}") for i, v in enumerate(spectra)]


def _line_features(spectra: Sequence[NDArray[np.complex128]], metric: str, seed: int) -> NDArray[np.float64]:
    """Return features (model, feature) whose cityblock distance is the metric, sorting each spectrum once."""
    if metric == "2d":
        directions = np.random.default_rng(seed).uniform(0, np.pi, N_PROJECTIONS)
        projections = [_quantiles([(v * np.exp(-1j * d)).real for v in spectra]) for d in directions]
        return np.hstack(projections) / N_PROJECTIONS
    parts = {"separate": (np.abs, np.angle), "magnitude_only": (np.abs,), "angle_only": (np.angle,)}[metric]
    return np.hstack([_quantiles([part(v) for v in spectra]) for part in parts])


def _quantiles(samples: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return quantile functions times cell widths: their cityblock distance is W₁ = ∫|F⁻¹ - G⁻¹|."""
    quantiles, widths = quantile_functions(samples)
    return quantiles * widths


def _transport(spectra: Sequence[NDArray[np.complex128]]) -> NDArray[np.float64]:
    """Return W₂ (model, model), exact or sliced."""
    if transport_method(spectra) == "exact":
        ordered = [values[turning_order(values)] for values in spectra]
        return _pairwise("transport", ordered, partial(_distances_of, ordered, _assignment_distance))
    return sliced_distances(spectra)


def _assignment_distance(a: NDArray[np.complex128], b: NDArray[np.complex128]) -> float:
    from scipy.optimize import linear_sum_assignment

    unit = scale_of(a, b)
    a, b = a / unit, b / unit
    squares = (a.real[:, None] - b.real) ** 2 + (a.imag[:, None] - b.imag) ** 2
    return unit * float(np.sqrt(squares[linear_sum_assignment(squares)].mean()))


def _pairwise(
    metric: str,
    items: Sequence[NDArray[Any]] | NDArray[Any],
    distances_of: Callable[[Pairs], NDArray[np.float64]],
    parallel: bool = True,
) -> NDArray[np.float64]:
    keys = [content_hash(item) for item in items]
    return all_pairs(f"{metric}_distances", keys, distances_of, parallel=parallel)[0]


def _cityblock_of(features: NDArray[np.float64], pairs: Pairs) -> NDArray[np.float64]:
    """Return distances (1, pair) of rows."""
    from scipy.spatial.distance import cdist

    first, second = pairs
    distances = np.empty((1, len(first)))
    for i in np.unique(first):
        here = first == i
        distances[0, here] = cdist(features[[i]], features[second[here]], "cityblock")
    return distances


def _distances_of(
    items: Sequence[NDArray[Any]], distance: Callable[[Any, Any], float], pairs: Pairs
) -> NDArray[np.float64]:
    """Return distances (1, pair)."""
    return np.array([[distance(items[i], items[j]) for i, j in zip(*pairs, strict=True)]])


def _earth_movers(a: NDArray[np.complex128], b: NDArray[np.complex128]) -> float:
    from scipy.optimize import linear_sum_assignment

    if len(a) != len(b):
        raise AnalysisError(
            f"metric: emd expects spectra of equal size, 2d takes any; got {len(a)} and {len(b)} eigenvalues"
        )
    cost = np.abs(a[:, None] - b)
    return float(cost[linear_sum_assignment(cost)].mean())


def _hausdorff(a: NDArray[np.complex128], b: NDArray[np.complex128]) -> float:
    cost = np.abs(a[:, None] - b)
    return float(max(cost.min(axis=0).max(), cost.min(axis=1).max()))
