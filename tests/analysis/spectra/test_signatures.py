"""Signatures of spectra."""

import numpy as np
import pandas as pd
import pytest

from analysis.errors import AnalysisError
from analysis.spectra.signatures import signature_table, spectral_signature, standardise
from analysis.spectra.values import eigenvalue_statistics

SPECTRUM = np.array([1.0, -1.04, 1.33j, -1.33j, 0.33])


@pytest.mark.parametrize(("signature_type", "size"), [("histogram", 56), ("statistics", 21), ("combined", 63)])
def test_sizes(signature_type, size):
    assert len(spectral_signature(SPECTRUM, signature_type)) == size


def test_statistics_are_the_21():
    assert spectral_signature(SPECTRUM, "statistics") == eigenvalue_statistics(SPECTRUM)


def test_combined_adds_seven_values_read_from_the_histogram():
    features = spectral_signature(SPECTRUM)
    extras = dict(list(features.items())[56:])
    assert extras["mag_hist_above_one"] == 2  # the bin [1, 1.1) is not counted
    assert extras["mag_hist_peak"] == 10
    assert extras["mag_hist_mean"] == pytest.approx((1.05 + 1.05 + 1.35 + 1.35 + 0.35) / 5)
    assert extras["angle_hist_peak"] == 0
    assert extras["angle_hist_std"] == pytest.approx(np.std((np.array([0, 0, 18, 18, 35]) + 0.5) * np.pi / 36))


def test_unknown_types_are_refused():
    with pytest.raises(AnalysisError, match="--signature_type"):
        spectral_signature(SPECTRUM, "moments")


def test_rows_carry_the_names_of_models(make_population):
    table = signature_table(make_population(4, missing=(2,)), "histogram")
    assert table.index.tolist() == ["model-1", "model-3", "model-4"]
    assert (table.sum(axis=1) == 30).all()  # 15 eigenvalues, counted by angle and by modulus


def test_standardising_makes_units_irrelevant_and_drops_constants():
    features = pd.DataFrame({"a": [1.0, 2.0, 4.0], "b": [3.0, 3.0, 3.0], "c": [1000.0, -500.0, 0.0]})
    scaled = standardise(features)
    assert list(scaled) == ["a", "c"]
    np.testing.assert_allclose(scaled.mean(), 0, atol=1e-12)
    np.testing.assert_allclose(scaled.std(ddof=0), 1)
    pd.testing.assert_frame_equal(scaled, standardise(features * 7))
