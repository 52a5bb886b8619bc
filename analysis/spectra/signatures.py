"""Signatures: a spectrum as a list of named features, so that models become points of one space."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from analysis.errors import AnalysisError
from analysis.population import Population
from analysis.spectra.values import (
    ANGLE_EDGES,
    MAGNITUDE_EDGES,
    check_eigenvalues,
    eigenvalue_histograms,
    eigenvalue_statistics,
)
from analysis.statistics import scale_of

SignatureType = Literal["quantiles", "histogram", "centred_histogram", "statistics", "combined"]

N_DIRECTIONS = 32
"""Directions on which spectra are projected, at equal angles from 0 on."""

MAX_QUANTILES = 1024
"""Cells of the common grid of quantile functions of samples of many sizes."""

PRECISION = 1e-6
"""How well eigenvalues are known, as a share of the spectral radius: weights are numbers of single precision."""


def spectral_signature(
    eigenvalues: ArrayLike, signature_type: SignatureType = "quantiles", theory: ArrayLike | None = None
) -> dict[str, float]:
    """Return the features of one spectrum by name, unscaled.

    Parameters
    ----------
    eigenvalues
        Complex array (mode,).
    signature_type
        * ``quantiles``: the sorted projections on 32 fixed directions, so weighted that the Euclidean distance of two
          signatures is √2 times the sliced Wasserstein distance W₂ of the spectra (`quantile_coordinates`);
        * ``histogram``: counts of 36 bins of absolute angle, then of 20 bins of modulus, as in the reference
          implementation. Multiples of 5 degrees and of 0.1 are edges of bins;
        * ``centred_histogram``: the same widths, but edges as far as can be from the theory's values (`centred_edges`);
        * ``statistics``: the 21 values of `eigenvalue_statistics`;
        * ``combined``: the histogram and 7 values read from it: mean, std and index of the peak bin of the angle and of
          the modulus (from bin centres), and the count in bins of modulus that begin above 1.
    theory
        The task's spectrum (mode,), which ``centred_histogram`` alone looks at; without it bins are centred
        on multiples of their width.

    Examples
    --------
    >>> signature = spectral_signature([1, 1j, -1j], "histogram")
    >>> len(signature), {name: count for name, count in signature.items() if count}
    (56, {'angle_bin_0': 1.0, 'angle_bin_18': 2.0, 'mag_bin_10': 3.0})
    """
    values = check_eigenvalues(eigenvalues)
    if signature_type == "quantiles":
        return dict(
            zip(_quantile_names(len(values)), np.hstack(list(slices([values])))[0].tolist(), strict=True)
        )
    if signature_type == "statistics":
        return eigenvalue_statistics(values)
    if signature_type == "centred_histogram":
        return _centred_histogram(values, *centred_edges(theory))
    if signature_type in ("histogram", "combined"):
        return _histogram(values, signature_type == "combined")
    raise AnalysisError(
        f"expected quantiles, histogram, centred_histogram, statistics or combined; got {signature_type!r}",
        parameter="signature_type",
    )


def signature_table(
    spectra: Population | Sequence[ArrayLike], signature_type: SignatureType = "quantiles"
) -> pd.DataFrame:
    """Return the unscaled signatures of all models: a row for each model, a column for each feature.

    Where spectra differ in size, quantiles are those of a common grid (`quantile_functions`).

    Examples
    --------
    >>> table = signature_table([[1, -1], [2j, -2j]], "statistics")
    >>> table.shape, table["spectral_radius"].tolist()
    ((2, 21), [1.0, 2.0])
    """
    if isinstance(spectra, Population):
        names, theory, index = spectra.names, spectra.theory, pd.Index(spectra.names, name="model_name")
        members: Sequence[ArrayLike] = spectra.eigenvalues
    else:
        names, theory, index = tuple(f"spectrum {i}" for i in range(len(spectra))), None, None
        members = spectra
    values = [check_eigenvalues(v, n) for n, v in zip(names, members, strict=True)]
    if signature_type == "quantiles":
        table = np.hstack(list(slices(values)))
        return pd.DataFrame(table, index=index, columns=_quantile_names(table.shape[1] // N_DIRECTIONS))
    return pd.DataFrame([spectral_signature(v, signature_type, theory) for v in values], index=index)


def quantile_functions(
    samples: Sequence[NDArray[np.float64]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return quantile functions of samples on a common grid, and the widths of its cells.

    Parameters
    ----------
    samples
        Arrays (value,), whose sizes may differ.

    Returns
    -------
    quantiles, widths
        Values (sample, cell) and widths (cell,), which sum to 1. The grid holds every step of every function,
        so that Σ widths |F⁻¹ - G⁻¹|ᵖ is Wᵖ; where more than 1,024 cells would be needed, it has 1,024 equal
        cells and values are means over each, so that the sum is at most Wᵖ.
    """
    sizes = {len(s) for s in samples}
    edges = np.unique(np.concatenate([np.arange(1, n + 1) / n for n in sizes]))
    if len(sizes) == 1:
        return np.sort(np.stack(samples)), np.diff(edges, prepend=0.0)
    exact = len(edges) <= MAX_QUANTILES
    edges = edges if exact else np.arange(1, MAX_QUANTILES + 1) / MAX_QUANTILES
    widths = np.diff(edges, prepend=0.0)
    if exact:
        middles = edges - widths / 2
        return np.stack([np.sort(s)[(middles * len(s)).astype(int)] for s in samples]), widths
    return np.stack([_cell_means(np.sort(s)) for s in samples]), widths


def slices(spectra: Sequence[NDArray[np.complex128]]) -> Iterator[NDArray[np.float64]]:
    """Yield the weighted quantiles (model, cell) of the projections on each direction."""
    for direction in np.pi * np.arange(N_DIRECTIONS) / N_DIRECTIONS:
        quantiles, widths = quantile_functions([(v * np.exp(-1j * direction)).real for v in spectra])
        yield quantiles * np.sqrt(2 * widths / N_DIRECTIONS)


def quantile_coordinates(spectra: Sequence[NDArray[np.complex128]]) -> NDArray[np.float64]:
    """Return coordinates (model, coordinate) whose Euclidean distances are those of ``quantiles`` signatures.

    That distance is √2 times the sliced Wasserstein distance of order 2 (Bonneel, Rabin, Peyré & Pfister
    2015, eq. 14; the mean over directions by 32 of them at equal angles). √2 makes it the length of the shift
    where one spectrum is the other one shifted, since the mean square of a cosine is 1/2.

    There are as many coordinates as features, or as models where those are fewer: the features are rotated
    into the space that the models span (triangular factor R of a QR decomposition, a few directions at a
    time), since 1,000 eigenvalues have 32,000 features.
    """
    directions = slices(spectra)
    first = next(directions)
    n_models, n_cells = first.shape
    if N_DIRECTIONS * n_cells <= n_models:
        return np.hstack([first, *directions])
    unit, factor, rows = scale_of(*spectra), np.empty((0, n_models)), []
    # Four times as many rows as models at a time: a factorisation costs as much again as its first factor is long.
    at_once = -(-4 * n_models // n_cells)
    for number, block in enumerate(itertools.chain([first], directions), 1):
        rows.append((block - block[0]).T / unit)
        if len(rows) == at_once or number == N_DIRECTIONS:
            factor, rows = _triangular(np.vstack([factor, *rows])), []
    return unit * factor.T


def centred_edges(theory: ArrayLike | None = None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return edges of bins of absolute angle (5 degrees wide) and of modulus (0.1) that keep clear of the theory.

    Edges stand in the middle of the widest gap between the theory's values, counted modulo the width of a
    bin: where all are multiples of it, as for repeat copy at length 8, they are the centres of bins. Without
    a theory so are all multiples.
    """
    modes = np.array([1.0]) if theory is None else check_eigenvalues(theory, "theory")
    angle = _clear_edges(np.abs(np.angle(modes)), np.pi / 36, np.pi)
    return angle, _clear_edges(np.abs(modes), 0.1, 2.0)


def standardise(features: pd.DataFrame, change: ArrayLike = 0.0) -> pd.DataFrame:
    """Scale each column to mean 0 and (population) standard deviation 1.

    Left out are columns that are constant, and those whose standard deviation is at most ``change``
    (feature,), what the precision of the data alone does to them (`precision_change`). Without scaling
    features with large units (counts, indices of bins) would decide every distance.

    Examples
    --------
    Features that are the same in all models are left out:

    >>> table = signature_table([[1, -1], [2, -2], [3, -3]], "statistics")
    >>> standardise(table)["spectral_radius"].round(3).tolist(), "imag_std" in standardise(table)
    ([-1.225, 0.0, 1.225], False)
    """
    units = features.abs().max().map(scale_of)
    spread = (features / units).std(ddof=0)
    rounding = 1e-12 * (features / units).abs().max()
    kept = spread > np.maximum(rounding, np.asarray(change) / units)
    scaled = (features / units).loc[:, kept]
    return (scaled - scaled.mean()) / spread[kept]


def precision_change(
    population: Population, signature_type: SignatureType, precision: float = PRECISION, draws: int = 4
) -> NDArray[np.float64]:
    """Return by how much each feature (feature,) changes where every eigenvalue moves within its precision.

    Root mean square over members and ``draws`` moves by complex normal numbers of standard deviation
    ``precision`` times the member's spectral radius. Bins whose edges are eigenvalues, angles at ±π and
    moduli at 1 change as much as among different networks.
    """
    features = signature_table(population, signature_type).to_numpy()
    changes = np.empty((draws, *features.shape))
    for draw in range(draws):
        rng = np.random.default_rng(draw)
        moved = [_moved(values, precision, rng) for values in population.eigenvalues]
        rows = [list(spectral_signature(v, signature_type, population.theory).values()) for v in moved]
        changes[draw] = np.array(rows) - features
    unit = np.array([scale_of(change) for change in np.moveaxis(changes, -1, 0)])
    root_mean_square: NDArray[np.float64] = unit * np.sqrt(np.mean((changes / unit) ** 2, axis=(0, 1)))
    return root_mean_square


def _moved(
    values: NDArray[np.complex128], precision: float, rng: np.random.Generator
) -> NDArray[np.complex128]:
    real, imaginary = rng.normal(size=(2, len(values))) / np.sqrt(2)
    return values + precision * np.abs(values).max() * (real + 1j * imaginary)


def _quantile_names(cells: int) -> list[str]:
    return [f"direction_{k}_quantile_{i}" for k in range(N_DIRECTIONS) for i in range(cells)]


def _cell_means(ordered: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return means of the quantile function of a sorted sample over equal cells."""
    centre = ordered[len(ordered) // 2]
    integral = np.concatenate([[0.0], np.cumsum(ordered - centre) / len(ordered)])
    edges = np.arange(MAX_QUANTILES + 1) / MAX_QUANTILES
    return centre + MAX_QUANTILES * np.diff(
        np.interp(edges, np.arange(len(ordered) + 1) / len(ordered), integral)
    )


def _triangular(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    from scipy.linalg import qr

    (factor,) = qr(columns, mode="r", overwrite_a=True, check_finite=False)
    return factor[: columns.shape[1]]


def _histogram(values: NDArray[np.complex128], combined: bool) -> dict[str, float]:
    angle, magnitude, _ = eigenvalue_histograms(values)
    features = _counts(angle, magnitude)
    if combined:
        features |= _moments("angle", angle, ANGLE_EDGES) | _moments("mag", magnitude, MAGNITUDE_EDGES)
        # The bin that begins at 1 holds the modes of an exact solution, so it is not counted.
        features["mag_hist_above_one"] = float(magnitude[MAGNITUDE_EDGES[:-1] > 1.0].sum())
    return features


def _centred_histogram(
    values: NDArray[np.complex128], angle_edges: NDArray[np.float64], magnitude_edges: NDArray[np.float64]
) -> dict[str, float]:
    largest = (magnitude_edges[-2] + magnitude_edges[-1]) / 2
    angle, _ = np.histogram(np.abs(np.angle(values)), angle_edges)
    magnitude, _ = np.histogram(np.minimum(np.abs(values), largest), magnitude_edges)
    return _counts(angle, magnitude)


def _counts(angle: NDArray[np.int64], magnitude: NDArray[np.int64]) -> dict[str, float]:
    features = {f"angle_bin_{i}": float(n) for i, n in enumerate(angle)}
    return features | {f"mag_bin_{i}": float(n) for i, n in enumerate(magnitude)}


def _clear_edges(values: NDArray[np.float64], width: float, stop: float) -> NDArray[np.float64]:
    """Return edges ``width`` apart, the first at most 0 and the last beyond ``stop``, far from all values."""
    places = np.unique(values % width)
    gaps = np.diff(places, append=places[0] + width)
    widest = int(gaps.argmax())
    offset = (places[widest] + gaps[widest] / 2) % width
    return np.arange(-1, np.ceil(stop / width) + 1) * width + offset


def _moments(name: str, counts: NDArray[np.int64], edges: NDArray[np.float64]) -> dict[str, float]:
    centres = (edges[:-1] + edges[1:]) / 2
    mean = np.average(centres, weights=counts)
    return {
        f"{name}_hist_mean": float(mean),
        f"{name}_hist_std": float(np.sqrt(np.average((centres - mean) ** 2, weights=counts))),
        f"{name}_hist_peak": float(np.argmax(counts)),
    }
