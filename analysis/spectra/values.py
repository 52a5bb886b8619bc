"""Spectra of one model: statistics, histograms and their distance from the task's theory.

Everywhere ``eigenvalues`` is a complex array (mode,), in any order. Angles are in radians, in (-π, π].
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.errors import AnalysisError
from analysis.statistics import LARGEST, scale_of

_MODULUS, _ANGLE, _COUNT = (0.0, np.inf), (-np.pi, np.pi), (0.0, np.inf)

RANGES = {
    **dict.fromkeys(
        ("mag_mean", "mag_std", "mag_median", "mag_min", "mag_max", "mag_q25", "mag_q75"), _MODULUS
    ),
    **dict.fromkeys(("mag_range", "spectral_radius", "real_std", "imag_std"), _MODULUS),
    **dict.fromkeys(("real_mean", "imag_mean"), (-np.inf, np.inf)),
    **dict.fromkeys(("angle_mean", "angle_median", "angle_circular_mean"), _ANGLE),
    **dict.fromkeys(("angle_std", "angle_folded_mean"), (0.0, np.pi)),
    "angle_folded_std": (0.0, np.pi / 2),
    **dict.fromkeys(("angle_range", "angle_circular_range"), (0.0, 2 * np.pi)),
    "angle_circular_std": (0.0, np.inf),
    "angle_resultant_length": (0.0, 1.0),
    **dict.fromkeys(("mean_direction_cos", "mean_direction_sin"), (-1.0, 1.0)),
    **dict.fromkeys(("n_unstable", "n_unstable_tolerance", "n_near_unit_circle"), _COUNT),
}
"""Smallest and largest possible value of each of `eigenvalue_statistics` and `corrected_statistics`."""

ANGLE_EDGES = np.linspace(0.0, np.pi, 37)
MAGNITUDE_EDGES = np.linspace(0.0, 2.0, 21)
ANGLE_EDGES.setflags(write=False)
MAGNITUDE_EDGES.setflags(write=False)


@dataclass(frozen=True)
class SpectralError:
    """How far a spectrum is from the theory's; all fields are finite.

    Attributes
    ----------
    angle_deg
        Mean angle in degrees between the theory's modes and the eigenvalues assigned to them, a missing mode
        counting 180.
    found_deg
        The same over the modes that are answered; NaN where none is.
    relative
        sqrt(Σ|λ-μ|² / Σ|μ|²) over the theory's modes μ and as many leading eigenvalues λ, under the
        assignment that makes it smallest; eigenvalues that lack are zeros. Zero for a theory without modes.
    missing
        Modes of the theory that no eigenvalue answers.
    """

    angle_deg: float
    found_deg: float
    relative: float
    missing: int


def check_eigenvalues(eigenvalues: ArrayLike, name: str = "eigenvalues") -> NDArray[np.complex128]:
    """Return a spectrum as a flat complex array; -1-0i becomes -1+0i, so that one number has one angle, π.

    Raises
    ------
    AnalysisError
        If it is empty or not finite, or a number exceeds `analysis.statistics.LARGEST`.
    """
    values = np.asarray(eigenvalues, dtype=np.complex128).ravel() + 0.0
    if values.size == 0:
        raise AnalysisError(f"{name}: expected at least one eigenvalue; got none")
    if not np.isfinite(values).all():
        position = int(np.flatnonzero(~np.isfinite(values))[0])
        raise AnalysisError(
            f"{name}: expected finite eigenvalues; got {values[position]} at position {position}"
        )
    beyond = np.flatnonzero(np.maximum(np.abs(values.real), np.abs(values.imag)) > LARGEST)
    if beyond.size:
        raise AnalysisError(
            f"{name}: expected eigenvalues up to {LARGEST:g}; got {values[beyond[0]]:g} at position {beyond[0]}"
        )
    return values


def eigenvalue_statistics(eigenvalues: ArrayLike) -> dict[str, float]:
    """Return 21 statistics of a spectrum with the names and definitions of the reference implementation.

    Standard deviations divide by n, percentiles are linear, comparisons strict (modulus > 1; 0.95 < modulus <
    1.05), and angles are treated as numbers on a line, so their mean, spread and range are no good near ±π;
    `corrected_statistics` holds the circular ones.

    Examples
    --------
    >>> statistics = eigenvalue_statistics([0.9, 1.1j, -1.1j])
    >>> statistics["spectral_radius"], statistics["n_unstable"], statistics["n_near_unit_circle"]
    (1.1, 2.0, 0.0)
    """
    values = check_eigenvalues(eigenvalues)
    unit = scale_of(values)
    magnitude, angle = np.abs(values), np.angle(values)
    scaled, moduli = values / unit, magnitude / unit
    quarter, half, three_quarters = np.percentile(magnitude, [25, 50, 75])
    statistics = {
        "mag_mean": unit * moduli.mean(),
        "mag_std": unit * moduli.std(),
        "mag_median": half,
        "mag_min": magnitude.min(),
        "mag_max": magnitude.max(),
        "mag_q25": quarter,
        "mag_q75": three_quarters,
        "angle_mean": angle.mean(),
        "angle_std": angle.std(),
        "angle_median": np.median(angle),
        "real_mean": unit * scaled.real.mean(),
        "real_std": unit * scaled.real.std(),
        "imag_mean": unit * scaled.imag.mean(),
        "imag_std": unit * scaled.imag.std(),
        "spectral_radius": magnitude.max(),
        "n_unstable": np.sum(magnitude > 1.0),
        "n_near_unit_circle": np.sum((magnitude > 0.95) & (magnitude < 1.05)),
        "mean_direction_cos": np.cos(angle).mean(),
        "mean_direction_sin": np.sin(angle).mean(),
        "mag_range": np.ptp(magnitude),
        "angle_range": np.ptp(angle),
    }
    return {name: float(value) for name, value in statistics.items()}


def corrected_statistics(eigenvalues: ArrayLike, tolerance: float = 1e-5) -> dict[str, float]:
    """Return statistics that mend those of `eigenvalue_statistics`, under names of their own.

    * ``n_unstable_tolerance``: eigenvalues of modulus > 1 + ``tolerance`` (rounding alone puts many of an exact
      operator's eigenvalues above 1);
    * ``angle_circular_mean``, ``angle_circular_std``: direction of the mean of exp(iθ), and sqrt(-2 ln R) with R its
      length, ``angle_resultant_length``; the first two are NaN where R vanishes, as for roots of unity;
    * ``angle_circular_range``: the shortest arc that holds all angles;
    * ``angle_folded_mean``, ``angle_folded_std``: of the absolute angle, since a real matrix has conjugate pairs.

    Examples
    --------
    Roots of unity have no mean direction; the shortest arc that holds all four is three quarters of a turn:

    >>> statistics = corrected_statistics([1, 1j, -1, -1j])
    >>> statistics["angle_circular_mean"], round(np.degrees(statistics["angle_circular_range"]))
    (nan, 270)
    """
    values = check_eigenvalues(eigenvalues)
    angle = np.angle(values)
    mean_direction = np.exp(1j * angle).mean()
    resultant = float(np.abs(mean_direction))
    directed = resultant > 1e-9
    turn = np.sort(angle)
    gaps = np.diff(turn, append=turn[0] + 2 * np.pi)
    folded = np.abs(angle)
    return {
        "n_unstable_tolerance": float(np.sum(np.abs(values) > 1 + tolerance)),
        "angle_circular_mean": float(np.angle(mean_direction)) if directed else float("nan"),
        "angle_circular_std": float(np.sqrt(-2 * np.log(min(resultant, 1.0)))) if directed else float("nan"),
        "angle_resultant_length": resultant,
        "angle_circular_range": float(2 * np.pi - gaps.max()),
        "angle_folded_mean": float(folded.mean()),
        "angle_folded_std": float(folded.std()),
    }


def eigenvalue_histograms(
    eigenvalues: ArrayLike,
) -> tuple[NDArray[np.int64], NDArray[np.int64], Mapping[str, NDArray[np.float64]]]:
    """Count absolute angles in 36 bins on [0, π] and moduli in 20 bins on [0, 2], larger moduli in the last bin.

    Returns
    -------
    angle_counts, magnitude_counts, bins
        Counts (36,) and (20,), and the edges ``{"angle": (37,), "magnitude": (21,)}``.

    Examples
    --------
    >>> angles, moduli, bins = eigenvalue_histograms([1.02, 0.55j, -0.55j])
    >>> np.degrees(bins["angle"][np.flatnonzero(angles)]).round().tolist(), angles.max().item()
    ([0.0, 90.0], 2)
    >>> bins["magnitude"][np.flatnonzero(moduli)].round(1).tolist()
    [0.5, 1.0]
    """
    values = check_eigenvalues(eigenvalues)
    angle_counts, _ = np.histogram(np.abs(np.angle(values)), ANGLE_EDGES)
    magnitude_counts, _ = np.histogram(np.minimum(np.abs(values), MAGNITUDE_EDGES[-1]), MAGNITUDE_EDGES)
    return angle_counts, magnitude_counts, {"angle": ANGLE_EDGES, "magnitude": MAGNITUDE_EDGES}


def histogram_to_eigenvalues(angle_counts: ArrayLike, magnitude_counts: ArrayLike) -> NDArray[np.complex128]:
    """Return a spectrum with given histograms, as the reference implementation makes one up.

    Centres of bins are repeated by their counts, in ascending order, and the k-th angle goes with the k-th
    modulus. The histograms of the result are right; which angle has which modulus, and the lower half plane,
    are not in them. Use measured eigenvalues if there are any.

    Examples
    --------
    >>> angles, moduli, _ = eigenvalue_histograms([1.02, 0.53j, -0.53j])
    >>> np.abs(histogram_to_eigenvalues(angles, moduli)).round(2).tolist()
    [0.55, 0.55, 1.05]
    """
    angles = np.repeat((ANGLE_EDGES[:-1] + ANGLE_EDGES[1:]) / 2, np.asarray(angle_counts, dtype=int))
    magnitudes = np.repeat(
        (MAGNITUDE_EDGES[:-1] + MAGNITUDE_EDGES[1:]) / 2, np.asarray(magnitude_counts, dtype=int)
    )
    if len(angles) != len(magnitudes):
        raise AnalysisError(
            f"histograms: expected as many angles as moduli; got {len(angles)} and {len(magnitudes)}"
        )
    return magnitudes * np.exp(1j * angles)


def match_modes(
    eigenvalues: ArrayLike, theory: ArrayLike, threshold: float = 0.9
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Assign eigenvalues of modulus > ``threshold`` to the theory's nonzero modes by the smallest sum of angles.

    Returns
    -------
    eigenvalue_index, theory_index
        Positions of the pairs in the two inputs; as many as the shorter side allows.

    Examples
    --------
    >>> eigenvalues, theory = np.array([0.2, -0.98, 1.01]), np.array([1, -1])
    >>> found, mode = match_modes(eigenvalues, theory)
    >>> eigenvalues[found].tolist(), theory[mode].tolist()
    ([-0.98, 1.01], [-1, 1])
    """
    from scipy.optimize import linear_sum_assignment

    values, modes = check_eigenvalues(eigenvalues), check_eigenvalues(theory, "theory")
    candidate, wanted = np.flatnonzero(np.abs(values) > threshold), np.flatnonzero(_is_mode(modes))
    candidate, wanted = candidate[turning_order(values[candidate])], wanted[turning_order(modes[wanted])]
    rows, columns = linear_sum_assignment(_angle_between(values[candidate, None], modes[None, wanted]))
    ascending = np.argsort(candidate[rows])
    return candidate[rows][ascending], wanted[columns][ascending]


def turning_order(values: NDArray[np.complex128]) -> NDArray[np.intp]:
    """Return the order by angle, then modulus: optimal assignments are found two to four times faster in it."""
    return np.lexsort((np.abs(values), np.angle(values)))


def spectral_error(eigenvalues: ArrayLike, theory: ArrayLike, threshold: float = 0.9) -> SpectralError:
    """Compare a spectrum with the theory's under optimal assignment of all modes.

    A mode that is zero in the theory (a variable that the task never reads) is no mode to be answered.

    Examples
    --------
    Two of four modes are there, the other two count 180 degrees each:

    >>> error = spectral_error([1, -1, 0.3], theory=[1, 1j, -1, -1j])
    >>> error.missing, error.angle_deg, error.found_deg
    (2, 90.0, 0.0)
    """
    values, modes = check_eigenvalues(eigenvalues), check_eigenvalues(theory, "theory")
    found, answered = match_modes(values, modes, threshold)
    n_modes = int(_is_mode(modes).sum())
    missing = n_modes - len(found)
    angles = _angle_between(values[found], modes[answered])
    return SpectralError(
        angle_deg=float(np.degrees(angles.sum() + np.pi * missing) / max(n_modes, 1)),
        found_deg=float(np.degrees(angles.mean())) if len(found) else np.nan,
        relative=_relative_error(values, modes),
        missing=missing,
    )


def _relative_error(values: NDArray[np.complex128], modes: NDArray[np.complex128]) -> float:
    from scipy.optimize import linear_sum_assignment

    modes = modes[_is_mode(modes)]
    if not len(modes):
        return 0.0
    # What decays in the theory may decay at any speed in a network: only modes that last are compared.
    leading = values[np.argsort(-np.abs(values), kind="stable")][: len(modes)]
    leading = np.pad(leading, (0, len(modes) - len(leading)))
    unit, unit_of_modes = scale_of(leading, modes), scale_of(modes)
    leading, modes = leading[turning_order(leading)], modes[turning_order(modes)]
    leading, modes_in_unit = leading / unit, modes / unit
    squared = (leading.real[:, None] - modes_in_unit.real) ** 2 + (
        leading.imag[:, None] - modes_in_unit.imag
    ) ** 2
    error = np.sqrt(squared[linear_sum_assignment(squared)].sum()) * (unit / unit_of_modes)
    return float(error / np.sqrt(np.sum(np.abs(modes / unit_of_modes) ** 2)))


def _is_mode(modes: NDArray[np.complex128]) -> NDArray[np.bool_]:
    # Companion matrices have moduli 0 or 1; numerical zeros of a defective block reach about 1e-2.
    return np.abs(modes) > 0.1


def _angle_between(a: NDArray[np.complex128], b: NDArray[np.complex128]) -> NDArray[np.float64]:
    # Unlike arccos of the dot product, exact for equal directions, and no modulus is too large or too small for it.
    difference = np.abs(np.angle(a) - np.angle(b))
    return np.minimum(difference, 2 * np.pi - difference)
