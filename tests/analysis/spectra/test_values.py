"""Statistics of spectra and their distance from theory."""

import numpy as np
import pytest

from analysis.errors import AnalysisError
from analysis.spectra.values import (
    RANGES,
    corrected_statistics,
    eigenvalue_histograms,
    eigenvalue_statistics,
    histogram_to_eigenvalues,
    match_modes,
    spectral_error,
)

S, D = 5, 3
ROOTS = np.repeat(np.exp(2j * np.pi * np.arange(S) / S), D)


def test_a_spectrum_has_no_distance_from_itself():
    shuffled = np.random.default_rng(0).permutation(ROOTS)
    error = spectral_error(shuffled, ROOTS)
    assert error.angle_deg < 1e-6
    assert error.relative < 1e-6
    assert error.missing == 0


@pytest.mark.parametrize("angle", [0.01, 0.3, 0.99 * np.pi / S])
def test_a_rotation_below_half_a_step_is_measured_as_that_rotation(angle):
    error = spectral_error(ROOTS * np.exp(1j * angle), ROOTS)
    assert error.angle_deg == pytest.approx(np.degrees(angle))
    assert error.relative == pytest.approx(2 * np.sin(angle / 2))


def test_a_rotation_by_a_whole_step_cannot_be_seen():
    assert spectral_error(ROOTS * np.exp(2j * np.pi / S), ROOTS).angle_deg < 1e-6


def test_missing_modes_count_180_degrees():
    present = ROOTS.copy()
    present[:4] *= 0.5
    error = spectral_error(present, ROOTS)
    assert error.missing == 4
    assert error.angle_deg == pytest.approx(180 * 4 / (S * D))
    assert error.found_deg < 1e-6
    turned = spectral_error(present * np.exp(0.1j), ROOTS)
    assert turned.found_deg == pytest.approx(np.degrees(0.1))
    assert error.relative == pytest.approx(np.sqrt(4 * 0.25 / (S * D)))


def test_spectra_of_other_lengths_are_compared_too():
    assert spectral_error(ROOTS[:7], ROOTS).missing == S * D - 7
    assert spectral_error(np.append(ROOTS, [0.1, 0.2j]), ROOTS).missing == 0
    assert spectral_error([0.2, 0.1j], ROOTS).angle_deg == 180
    assert np.isnan(spectral_error([0.2, 0.1j], ROOTS).found_deg)


def test_zeros_of_the_theory_need_no_answer():
    error = spectral_error([1.0, 0.0], [1.0, 0.0])
    assert (error.angle_deg, error.relative, error.missing) == (0, 0, 0)
    assert np.isfinite(spectral_error([1.0, 0.5], [0.0, 0.0]).relative)


def test_matching_is_optimal_where_greedy_is_not():
    # Greedily, the first eigenvalue (10°) takes the mode at 0° and leaves 180° for the second.
    values, theory = np.exp(1j * np.radians([10, -80])), np.exp(1j * np.radians([0, 100]))
    found, answered = match_modes(values, theory)
    assert dict(zip(found, answered, strict=True)) == {0: 1, 1: 0}


@pytest.mark.parametrize("bad", [[], [1.0, np.nan], [np.inf * 1j]])
def test_empty_or_infinite_spectra_are_refused(bad):
    with pytest.raises(AnalysisError, match="expected"):
        spectral_error(bad, ROOTS)
    with pytest.raises(AnalysisError, match="expected"):
        eigenvalue_statistics(bad)


def test_statistics_of_a_small_spectrum_by_hand():
    statistics = eigenvalue_statistics(np.array([2.0, 1.0j, -1.0j, -0.96]))
    assert len(statistics) == 21
    assert list(statistics)[:3] == ["mag_mean", "mag_std", "mag_median"]
    assert statistics["mag_mean"] == pytest.approx(4.96 / 4)
    assert statistics["mag_q75"] == pytest.approx(1.25)
    assert statistics["spectral_radius"] == statistics["mag_max"] == 2.0
    assert statistics["n_unstable"] == 1  # strictly above one
    assert statistics["n_near_unit_circle"] == 3
    assert statistics["angle_mean"] == pytest.approx(np.pi / 4)  # the reference's, on a line
    assert statistics["mean_direction_cos"] == pytest.approx(0.0)
    assert statistics["angle_range"] == pytest.approx(1.5 * np.pi)


def test_corrected_statistics_do_not_mind_the_cut_of_the_angle():
    near_cut = -np.exp(1j * np.array([-0.03, 0.01, 0.02]))
    plain, corrected = eigenvalue_statistics(near_cut), corrected_statistics(near_cut)
    assert plain["angle_range"] > 6
    assert corrected["angle_circular_range"] == pytest.approx(0.05)
    assert abs(corrected["angle_circular_mean"]) == pytest.approx(np.pi)
    assert corrected["angle_circular_std"] < 0.05


def test_rounding_is_not_instability():
    rounded = ROOTS * (1 + 1e-12)
    assert eigenvalue_statistics(rounded)["n_unstable"] == S * D
    assert corrected_statistics(rounded)["n_unstable_tolerance"] == 0
    assert corrected_statistics(1.01 * ROOTS)["n_unstable_tolerance"] == S * D


def test_roots_of_unity_have_no_mean_direction():
    corrected = corrected_statistics(ROOTS)
    assert np.isnan(corrected["angle_circular_mean"])
    assert corrected["angle_resultant_length"] < 1e-9


def test_histograms_count_every_eigenvalue_once():
    values = np.array([0.05, -0.5, 1.3j, -1.3j, 7.0])
    angle_counts, magnitude_counts, bins = eigenvalue_histograms(values)
    assert angle_counts.sum() == magnitude_counts.sum() == 5
    assert angle_counts[0] == 2
    assert angle_counts[35] == 1  # π belongs to the last bin
    assert angle_counts[18] == 2  # conjugates share a bin
    assert magnitude_counts[19] == 1  # overflow
    assert (len(bins["angle"]), len(bins["magnitude"])) == (37, 21)


def test_a_made_up_spectrum_has_the_histograms_it_was_made_from():
    angle_counts, magnitude_counts, _ = eigenvalue_histograms(np.array([0.22, -0.57, 1.33j, -1.33j, 1.78]))
    made_up = histogram_to_eigenvalues(angle_counts, magnitude_counts)
    again = eigenvalue_histograms(made_up)
    np.testing.assert_array_equal(again[0], angle_counts)
    np.testing.assert_array_equal(again[1], magnitude_counts)
    with pytest.raises(AnalysisError, match="as many angles as moduli"):
        histogram_to_eigenvalues(angle_counts, 2 * magnitude_counts)


@pytest.mark.parametrize("function", [eigenvalue_statistics, corrected_statistics, eigenvalue_histograms])
def test_inputs_are_not_written_to(function):
    values = ROOTS.copy()
    function(values)
    spectral_error(values, values)
    np.testing.assert_array_equal(values, ROOTS)


@pytest.mark.parametrize("scale", [1e-9, 1.0, 30.0])
def test_every_statistic_has_a_range_and_stays_within(scale):
    rng = np.random.default_rng(0)
    for size in (1, 2, 7):
        values = scale * np.append(np.linalg.eigvals(rng.normal(size=(size, size))), [-1, 0])
        found = eigenvalue_statistics(values) | corrected_statistics(values)
        assert found.keys() == RANGES.keys()
        for name, value in found.items():
            low, high = RANGES[name]
            assert np.isnan(value) or low <= value <= high, name


@pytest.mark.parametrize("unit", [1e-300, 1e-200, 1e200, 1e300])
def test_statistics_have_the_unit_of_the_eigenvalues(unit):
    values = np.array([0.5 + 0.25j, 0.5 - 0.25j, -1.5, 0.75])
    plain, scaled = eigenvalue_statistics(values), eigenvalue_statistics(unit * values)
    for name in plain:
        if name.startswith(("mag_", "real_", "imag_", "spectral_radius")):
            assert scaled[name] / unit == pytest.approx(plain[name], rel=1e-12, abs=1e-15)
        elif not name.startswith("n_"):
            assert scaled[name] == pytest.approx(plain[name], rel=1e-12)


def test_errors_of_huge_eigenvalues_are_what_they_are():
    error = spectral_error([1e300, 1e300j], [1, 1j])
    assert (error.angle_deg, error.missing) == (0, 0)
    assert error.relative == pytest.approx(1e300)  # |1e300 - 1| / |1| for both modes
    assert spectral_error([1e-300, 0.95j], [1, 1j]).missing == 1


def test_minus_one_has_one_angle_whatever_the_sign_of_its_zero():
    one, other = (eigenvalue_statistics([complex(-1, zero), 1]) for zero in (0.0, -0.0))
    assert one == other
    assert one["angle_mean"] == pytest.approx(np.pi / 2)
