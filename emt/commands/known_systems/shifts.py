"""Spectra that are shifts of one another: distances, maps and comparisons are then known exactly.

Optimal transport between a set of points and its shift by t moves every point by t, so the distance W₂ is |t|
whatever the points are: no other plan is shorter, since the means are t apart.
"""

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from analysis.population import Population
from emt.commands.known_systems.answers import Answer, analyse
from emt.commands.known_systems.populations import plant_population

ROUNDING = 1e-9

SPREAD = np.linspace(-0.1, 0.1, 6)
"""Shifts of the six members of a set along the real axis."""

GAP = 0.75
"""How far the second set is shifted beyond the first."""


def _base() -> NDArray[np.complex128]:
    rng = np.random.default_rng(3)
    return rng.normal(size=11) + 1j * rng.normal(size=11)


def shifted_spectra() -> Iterator[Answer]:
    """Map of six networks whose spectra are shifted by points of the plane, the last two equal.

    Distances are |t_i - t_j|. Along a direction u the projections are shifted by t·u, and the mean of (t·u)²
    over equally spaced directions is |t|² / 2, so that √2 times the sliced distance is |t| as well: the
    principal components are the shifts themselves, two dimensions explain all, and the map has no stress.
    Five places for six networks.
    """
    shifts = np.array([0, 1, 0.3 + 2j, -1 + 0.5j, 2 - 1j, 2 - 1j])
    population = plant_population([_base() + t for t in shifts])
    truth = np.abs(shifts[:, None] - shifts)
    for method in ("pca", "mds"):
        result = analyse("embedding", population, method=method)
        on_map = np.linalg.norm(result.coordinates[:, None] - result.coordinates, axis=-1)
        worst = np.abs(on_map - truth).max()
        # SMACOF stops at a relative change of 1e-6 of the stress; from the exact solution it moves no further.
        yield Answer("embedding", f"largest error of a distance on the map ({method})", 0.0, worst, 1e-6)
        yield Answer("embedding", f"stress ({method})", 0.0, result.quality["stress"], 1e-6)
    yield Answer(
        "embedding", "largest error of a distance", 0.0, np.abs(result.distances - truth).max(), 1e-7
    )
    yield Answer("embedding", "rank correlation", 1.0, result.quality["spearman"], ROUNDING)
    yield Answer("embedding", "dimensions that explain 95 %", 2.0, result.quality["intrinsic_dimension"], 0.0)
    yield Answer("embedding", "places of six networks, two of them equal", 5.0, result.places, 0.0)


def sets_that_differ() -> Iterator[Answer]:
    """Two sets of six networks, one shifted by t_k, the other by t_k + .75 along the real axis, t_k from -.1 to .1.

    The mean of the real part differs by .75. Its standard deviation over members is .1 √(7 / 15) on both sides (six
    equally spaced values on [-1, 1] have the variance 7 / 15, dividing by n - 1 it is (7 / 15) (6 / 5)), so Cohen's d
    is .75 over that and Hedges' g is d (1 - 3 / 39) with n_a + n_b = 12. Every value of the second set is larger: δ =
    1. Of C(12, 6) = 924 splits only the observed one and its mirror image give so large a difference: p = 2 / 924, and
    likewise of the energy statistic. In pairs of one name every difference is .75 and p = 2 / 2⁶. Distances between
    the sets are .75 + t_j - t_i, on average .75.
    """
    first, second = _sets(GAP)
    result = analyse("compare", [first, second])
    row = result.differences.loc[("first", "second", "real_mean")]
    deviation = 0.1 * math.sqrt(7 / 15 * 6 / 5)
    yield Answer("compare", "difference of the mean real part", GAP, row["difference"], ROUNDING)
    yield Answer("compare", "Hedges' g", GAP / deviation * (1 - 3 / 39), row["hedges_g"], 1e-6)
    yield Answer("compare", "Cliff's delta", 1.0, row["cliffs_delta"], 0.0)
    yield Answer("compare", "p of the difference", 2 / 924, row["p"], ROUNDING)
    distance = result.distance_tests.loc[("first", "second")]
    yield Answer("compare", "mean distance between the sets", GAP, distance["between"], 1e-7)
    yield Answer("compare", "p of the spectra", 2 / 924, distance["p"], ROUNDING)
    paired = analyse("compare", [first, second], paired=True).differences.loc[
        ("first", "second", "real_mean")
    ]
    yield Answer("compare", "upper end of the paired difference", GAP, paired["high"], ROUNDING)
    yield Answer("compare", "p of the paired difference", 2 / 64, paired["p"], ROUNDING)


def sets_that_do_not_differ() -> Iterator[Answer]:
    """A set of networks and an equal one: no difference, δ = 0 (as many pairs above as below), and every p is 1.

    No relabelling has a smaller energy than two equal sets, whose energy is 0.
    """
    result = analyse("compare", _sets(0.0))
    rows = result.differences.loc[("first", "second")]
    distance = result.distance_tests.loc[("first", "second")]
    yield Answer("compare", "largest difference, equal sets", 0.0, rows["difference"].abs().max(), 1e-12)
    yield Answer("compare", "Cliff's delta, equal sets", 0.0, rows.loc["real_mean", "cliffs_delta"], 0.0)
    yield Answer("compare", "smallest p of all statistics, equal sets", 1.0, rows["p"].min(), 0.0)
    yield Answer("compare", "energy, equal sets", 0.0, distance["energy"], ROUNDING)
    yield Answer("compare", "p of the spectra, equal sets", 1.0, distance["p"], 0.0)


def _sets(gap: float) -> list[Population]:
    base = _base()
    shifts = {"first": SPREAD, "second": SPREAD + gap}
    return [plant_population([base + t for t in values], label=label) for label, values in shifts.items()]
