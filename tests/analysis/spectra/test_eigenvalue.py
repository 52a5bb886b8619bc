"""The eigenvalue summary of a population."""

import dataclasses

import numpy as np
import pytest

from analysis.errors import AnalysisError
from analysis.population import mean_over_members
from analysis.spectra.eigenvalue import summarise_eigenvalues
from analysis.spectra.values import RANGES, eigenvalue_statistics
from analysis.statistics import mean_interval


def test_statistics_belong_to_the_model_that_they_name(make_population):
    population = make_population(11, missing=(1, 3))
    models = summarise_eigenvalues(population).documents()["eigenvalue_statistics"]["models"]
    assert [m["model_name"] for m in models] == [f"model-{k}" for k in (2, 4, 5, 6, 7, 8, 9, 10, 11)]
    for model, values in zip(models, population.eigenvalues, strict=True):
        expected = eigenvalue_statistics(values)
        assert {name: model["statistics"][name] for name in expected} == expected


def test_the_table_joins_accuracy_and_both_kinds_of_statistics(make_population):
    table = summarise_eigenvalues(make_population(4, nan_accuracy=(2,))).tables()["eigenvalue_statistics"]
    assert np.isnan(table.loc["model-2", "accuracy"])
    assert table.loc["model-3", "accuracy"] == pytest.approx(0.97)
    assert {"n_unstable", "n_unstable_tolerance", "spectral_error_deg", "missing_modes"} <= set(table)


def test_less_noise_is_less_error(make_population):
    quiet, loud = (summarise_eigenvalues(make_population(3, noise=noise)).corrected for noise in (1e-3, 0.3))
    assert quiet["spectral_error_deg"].max() < 0.5
    assert loud["spectral_error_deg"].min() > 1


def test_without_theory_there_is_no_error_to_report(make_population):
    summary = summarise_eigenvalues(dataclasses.replace(make_population(3), theory=None))
    assert "spectral_error_deg" not in summary.corrected
    assert "no theory" in summary.headline()


def test_means_have_intervals_that_end_where_values_do(make_population):
    summary = summarise_eigenvalues(make_population(5))
    rows = summary.tables()["eigenvalue_summary"]
    expected = mean_interval(summary.statistics["spectral_radius"], bounds=(0.0, np.inf))
    assert rows.loc["spectral_radius", ["mean", "low", "high", "n"]].tolist() == pytest.approx(
        [expected.estimate, expected.low, expected.high, 5]
    )
    assert rows.loc["missing_modes", "low"] >= 0
    text = f"means over n = 5: spectral radius {expected.estimate:.3f} ({expected.low:.3f} to {expected.high:.3f}); "
    assert summary.headline().startswith(text)
    assert "spectral radius 1" in summarise_eigenvalues(make_population(1)).headline().split(";")[0]
    assert "(" not in summarise_eigenvalues(make_population(1)).headline()


def test_one_model_is_summarised_too(make_population):
    tables = summarise_eigenvalues(make_population(1)).tables()
    assert len(tables["eigenvalue_statistics"]) == 1


def test_a_broken_spectrum_is_named(make_population):
    population = make_population(3)
    population.eigenvalues[1][4] = np.inf
    with pytest.raises(AnalysisError, match=r"model-2.*position 4"):
        summarise_eigenvalues(population)


def test_no_interval_leaves_the_range_of_its_statistic(make_population):
    """Random matrices of 1, 5, 20 and 64 units: radii from 0.1 to 8.6, whose t interval reaches below zero."""
    rng = np.random.default_rng(0)
    spectra = tuple(np.linalg.eigvals(rng.normal(size=(units, units))) for units in (1, 5, 20, 64))
    population = dataclasses.replace(make_population(4), eigenvalues=spectra, theory=None)
    summary = summarise_eigenvalues(population)
    table = summary.tables()["eigenvalue_summary"]
    for name, (low, high) in RANGES.items():
        row = table.loc[name]
        assert low <= row["low"] <= row["mean"] + 1e-12, name
        assert row["mean"] - 1e-12 <= row["high"] <= high, name
    radius = table.loc["spectral_radius"]
    assert 0 < radius["low"] < 1.5
    assert (
        f"spectral radius {radius['mean']:.3f} ({radius['low']:.3f} to {radius['high']:.3f})"
        in summary.headline()
    )
    assert mean_interval(summary.statistics["spectral_radius"]).low < 0


def test_a_number_beyond_its_range_is_refused_by_name(make_population):
    population = make_population(3)
    values = population.scalars["accuracy"] + 1
    with pytest.raises(AnalysisError, match=r"^accuracy: expected values from 0 to 1; got 1\.99"):
        mean_over_members(values)


@pytest.mark.parametrize("scale", [2.0**-1000, 2.0**1010])
def test_extreme_spectra_are_summarised_without_a_warning(make_population, scale):
    """Warnings are errors here. The scales are powers of two: every table is that of scale 1, times the scale."""
    near = dataclasses.replace(make_population(4), theory=None)
    far = dataclasses.replace(near, eigenvalues=tuple(scale * values for values in near.eigenvalues))
    expected, found = (summarise_eigenvalues(p).tables()["eigenvalue_summary"] for p in (near, far))
    for name in ("spectral_radius", "mag_std", "real_std"):
        columns = ["mean", "std", "min", "max", "low", "high"]
        np.testing.assert_allclose(found.loc[name, columns] / scale, expected.loc[name, columns], rtol=1e-9)
    headline = summarise_eigenvalues(far).headline()
    assert len(headline) < 200
