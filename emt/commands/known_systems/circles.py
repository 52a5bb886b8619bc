"""Spectra on the unit circle: roots of unity of a cyclic shift, and rotations by known angles."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from analysis.variables.companion import companion_matrix
from emt.commands.known_systems.answers import Answer, analyse
from emt.commands.known_systems.populations import in_random_basis, plant_population

ROUNDING = 1e-9
"""Eigenvalues of a matrix of 15 rows in a basis of condition 2 are exact to some 1e-14, angles in degrees to 1e-12."""


def roots_of_unity() -> Iterator[Answer]:
    """Spectrum of repeat copy at length 5 with 3 bits: Φ, a cyclic shift of 15 variables by 3, in a random basis.

    Φ⁵ = 1 with all five roots of unity threefold, so the spectral radius is 1, the error against them is 0
    and no mode is missing. The mean of exp(iθ) is 0, and the shortest arc that holds all angles leaves out
    one gap of 2π / 5.
    """
    rng = np.random.default_rng(1)
    operator = np.vstack([np.eye(3), np.zeros((12, 3))])
    theory = np.repeat(np.exp(2j * np.pi * np.arange(5) / 5), 3)
    spectra = [np.linalg.eigvals(in_random_basis(companion_matrix(operator, 5), rng)) for _ in range(2)]
    result = analyse("eigenvalue", plant_population(spectra, theory))
    table = result.statistics.join(result.corrected).iloc[1]
    yield Answer("eigenvalue", "spectral radius", 1.0, table["spectral_radius"], ROUNDING)
    yield Answer("eigenvalue", "spectral error, degrees", 0.0, table["spectral_error_deg"], 1e-6)
    yield Answer("eigenvalue", "relative spectral error", 0.0, table["spectral_relative_error"], ROUNDING)
    yield Answer("eigenvalue", "missing modes", 0.0, table["missing_modes"], 0.0)
    yield Answer("eigenvalue", "unstable eigenvalues", 0.0, table["n_unstable_tolerance"], 0.0)
    yield Answer("eigenvalue", "length of the mean direction", 0.0, table["angle_resultant_length"], ROUNDING)
    yield Answer("eigenvalue", "arc of all angles", 1.6 * np.pi, table["angle_circular_range"], ROUNDING)
    yield Answer("eigenvalue", "mean modulus", 1.0, table["mag_mean"], ROUNDING)


def rotations() -> Iterator[Answer]:
    """Four plane rotations by 2πk / 9 + 2°, k = 1 to 4, in a random basis, against the primitive ninth roots of unity.

    Each of the eight modes is 2° off, which is |e^{iε} - 1| = 2 sin(ε / 2) relative to its modulus of 1. With
    the fourth plane shrunk to one half its two modes have no eigenvalue above the threshold of .9: they are
    missing and count 180°, so that the mean over eight modes is (6 · 2 + 2 · 180) / 8 = 46.5°. The median of
    the eight moduli remains 1, their mean is (6 + 2 / 2) / 8 = .875.
    """
    angles = 2 * np.pi * np.arange(1, 5) / 9
    theory = np.exp(1j * np.concatenate([angles, -angles]))
    rng = np.random.default_rng(2)
    spectra = [
        np.linalg.eigvals(in_random_basis(_planes(angles + np.radians(2), moduli), rng))
        for moduli in (np.ones(4), np.array([1.0, 1.0, 1.0, 0.5]))
    ]
    result = analyse("eigenvalue", plant_population(spectra, theory))
    whole, damped = (result.statistics.join(result.corrected).iloc[k] for k in (0, 1))
    yield Answer(
        "eigenvalue", "spectral error of a turn by 2 degrees", 2.0, whole["spectral_error_deg"], ROUNDING
    )
    relative = whole["spectral_relative_error"]
    yield Answer(
        "eigenvalue", "relative error of a turn by 2 degrees", 2 * np.sin(np.radians(1)), relative, ROUNDING
    )
    yield Answer("eigenvalue", "missing modes, one plane damped", 2.0, damped["missing_modes"], 0.0)
    yield Answer(
        "eigenvalue", "spectral error, one plane damped", 46.5, damped["spectral_error_deg"], ROUNDING
    )
    yield Answer("eigenvalue", "mean modulus, one plane damped", 0.875, damped["mag_mean"], ROUNDING)
    yield Answer("eigenvalue", "median modulus, one plane damped", 1.0, damped["mag_median"], ROUNDING)


def _planes(angles: NDArray[np.float64], moduli: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a block-diagonal matrix that turns plane k by its angle and scales it by its modulus."""
    matrix = np.zeros((2 * len(angles), 2 * len(angles)))
    for k, (angle, modulus) in enumerate(zip(angles, moduli, strict=True)):
        turn = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        matrix[2 * k : 2 * k + 2, 2 * k : 2 * k + 2] = modulus * np.array(turn)
    return matrix


def loop_of_roots() -> Iterator[Answer]:
    """Persistent homology of the five roots of unity, once and scaled by 1.1.

    Neighbours are 2 sin(π / 5) apart, all others 2 sin(2π / 5): at the first distance the four finite
    components die and the loop is born, at the second, where every pair is joined, it is filled. The second
    diagram has all scales 1.1 times larger. Matching each bar with its counterpart moves the components by .1
    · 2 sin(π / 5) and the loop by at most .1 · 2 sin(2π / 5), less than half its length: these are the
    bottleneck distances of the two dimensions, which the command adds.
    """
    roots = np.exp(2j * np.pi * np.arange(5) / 5)
    population = plant_population([roots, 1.1 * roots, roots])
    result = analyse("persistence", population)
    near, far = 2 * np.sin(np.pi / 5), 2 * np.sin(2 * np.pi / 5)
    first = result.features.iloc[0]
    for quantity, expected in {
        "h0_bars": 5.0,
        "h0_max_persistence": near,
        "h1_count": 1.0,
        "h1_mean_birth": near,
        "h1_mean_death": far,
        "h1_longest_relative": (far - near) / far,
    }.items():
        yield Answer("persistence", quantity, expected, first[quantity], ROUNDING)
    apart = result.total_distances
    yield Answer(
        "persistence", "bottleneck distance of a copy 1.1 times larger", 0.1 * (near + far), apart[0, 1], 1e-6
    )
    yield Answer("persistence", "bottleneck distance of an equal copy", 0.0, apart[0, 2], ROUNDING)


def points_on_a_line() -> Iterator[Answer]:
    """Persistent homology of eigenvalues 0, 1, 3, 7: a line has no loop; components die at its gaps 1, 2 and 4."""
    result = analyse("persistence", plant_population([[0, 1, 3, 7]]))
    features = result.features.iloc[0]
    yield Answer("persistence", "loops of points on a line", 0.0, features["h1_count"], 0.0)
    yield Answer("persistence", "sum of gaps", 7.0, features["h0_total_persistence"], ROUNDING)
    yield Answer("persistence", "largest gap", 4.0, features["h0_max_persistence"], ROUNDING)
