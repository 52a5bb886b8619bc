"""Comparison of sets of models."""

import copy
import dataclasses
import math

import numpy as np
import pytest

from analysis.errors import AnalysisError
from analysis.spectra.comparison import compare_populations
from analysis.tables import save_results


@pytest.fixture
def two_sets(make_population):
    """Six and seven models, the second set noisier."""
    return make_population(6, label="calm"), make_population(7, label="noisy", noise=0.4, seed=5)


def renamed(population, label):
    return dataclasses.replace(population, label=label)


def test_identical_sets_do_not_differ(make_population):
    population = make_population(6)
    result = compare_populations([renamed(population, "a"), renamed(population, "b")])
    np.testing.assert_array_equal(result.differences["difference"], 0.0)
    np.testing.assert_array_equal(result.differences["hedges_g"], 0.0)
    np.testing.assert_array_equal(result.differences["p"], 1.0)
    test = result.distance_tests.loc[("a", "b")]
    assert test["energy"] == pytest.approx(0.0, abs=1e-12)
    assert test["p"] == 1.0


def test_a_difference_is_found_with_its_sign(two_sets):
    result = compare_populations(two_sets)
    row = result.differences.loc[("calm", "noisy", "spectral_error_deg")]
    assert 0 < row["low"] < row["difference"] < row["high"]
    assert row["p_holm"] < 0.05
    assert row["cliffs_delta"] == 1.0
    test = result.distance_tests.loc[("calm", "noisy")]
    assert test["p"] < 0.01
    assert test["separation"] > 0
    swapped = compare_populations(two_sets[::-1]).differences
    np.testing.assert_allclose(
        swapped.loc[("noisy", "calm", "mag_std"), "difference"],
        -result.differences.loc[("calm", "noisy", "mag_std"), "difference"],
    )


def test_sets_of_one_origin_seldom_differ(make_population):
    whole = make_population(12)
    halves = [
        dataclasses.replace(
            whole,
            label=f"half {start}",
            names=whole.names[start::2],
            eigenvalues=whole.eigenvalues[start::2],
            scalars=whole.scalars.iloc[start::2],
        )
        for start in (0, 1)
    ]
    result = compare_populations(halves)
    assert (result.differences["p_holm"].dropna() > 0.05).all()
    assert result.distance_tests["p"].item() > 0.05


def test_corrections_are_made_over_the_statistics_of_a_pair(two_sets, make_population):
    alone = compare_populations(two_sets).differences
    among = compare_populations([*two_sets, make_population(3, label="third")]).differences
    assert len(among) == 3 * len(alone)
    np.testing.assert_array_equal(among["p_holm"].iloc[: len(alone)], alone["p_holm"])
    assert (alone["p_holm"] >= alone["p_bh"]).all()
    assert (alone["p_bh"] >= alone["p"]).all()


def test_small_sets_are_told_what_they_cannot_show(make_population):
    small = [make_population(3, label="a"), make_population(3, label="b", noise=0.9, seed=4)]
    result = compare_populations(small)
    np.testing.assert_allclose(result.differences["smallest_p"], 0.1)
    assert result.differences[["p", "p_holm", "p_bh"]].isna().all(axis=None)
    assert "too few for a p: 0.1 is the smallest attainable" in result.headline()
    assert "smallest attainable p 0.1" in result.headline()


def test_the_level_asked_decides_whether_sets_are_too_small(make_population):
    small = [make_population(3, label="a"), make_population(3, label="b", noise=0.9, seed=4)]
    tests = compare_populations(small, confidence=0.9).distance_tests
    assert tests["p"].item() == pytest.approx(0.1)
    assert tests[["n_a", "n_b"]].to_numpy().tolist() == [[3, 3]]


def test_models_of_one_name_are_compared_with_each_other(make_population):
    first = make_population(7, label="first", nan_accuracy=(2,))
    better = first.scalars.iloc[::-1].assign(accuracy=lambda rows: rows["accuracy"] + 0.001)
    second = dataclasses.replace(
        first, label="second", names=first.names[::-1], eigenvalues=first.eigenvalues[::-1], scalars=better
    )
    apart, paired = (compare_populations([first, second], paired=p).differences for p in (False, True))
    rows = [table.loc[("first", "second", "accuracy")] for table in (apart, paired)]
    assert [row["difference"] for row in rows] == pytest.approx([0.001, 0.001])
    assert rows[0]["p"] > 0.5
    assert rows[1]["p"] == rows[1]["smallest_p"] == pytest.approx(2 / 2**6)
    assert rows[1]["low"] == pytest.approx(0.001)
    assert rows[1]["n_a"] == 6
    with pytest.raises(AnalysisError, match="paired: expected sets with names of models in common"):
        compare_populations([first, dataclasses.replace(second, names=tuple("abcdefg"))], paired=True)


def test_spectra_of_one_name_are_compared_with_each_other(make_population):
    first = make_population(9, label="first", noise=0.5)
    turned = tuple(values * np.exp(0.02j) for values in first.eigenvalues[::-1])
    second = dataclasses.replace(first, label="second", names=first.names[::-1], eigenvalues=turned)
    other_name = second.scalars.rename(index={second.names[-1]: "other"})
    fewer = dataclasses.replace(second, names=(*second.names[:-1], "other"), scalars=other_name)
    apart, paired, partly = (
        compare_populations([first, other], paired=p).distance_tests.loc[("first", "second")]
        for other, p in ((second, False), (second, True), (fewer, True))
    )
    assert apart["p"] > 0.5
    assert paired["p"] == paired["smallest_p"] == pytest.approx(2 / 2**9)
    assert paired[["energy", "between", "within_a", "n_a"]].tolist() == pytest.approx(
        apart[["energy", "between", "within_a", "n_a"]].tolist()
    )
    assert partly[["n_a", "n_b"]].tolist() == [8, 8]


def test_models_of_one_name_and_other_seeds_are_no_pairs(make_population):
    first, second = (
        dataclasses.replace(make_population(7, label=label), training_seed=seed)
        for label, seed in (("a", 0), ("b", 7))
    )
    with pytest.raises(AnalysisError, match=r"trained from one base seed, .*; got 0 \(a\) and 7 \(b\)"):
        compare_populations([first, second], paired=True)
    assert compare_populations([first, second]).labels == ("a", "b")
    compare_populations([first, dataclasses.replace(second, training_seed=None)], paired=True)


def test_a_set_of_one_model_has_no_interval(two_sets, make_population):
    result = compare_populations([two_sets[0], make_population(1, label="single")])
    alone = result.summary.loc[("single", "mag_mean")]
    assert alone["n"] == 1
    assert math.isnan(alone["low"])
    assert alone["mean"] == pytest.approx(alone["max"])
    row = result.differences.loc[("calm", "single", "mag_mean")]
    assert math.isfinite(row["difference"])
    assert math.isnan(row["low"])
    assert math.isnan(result.set_distances.loc[("single", "single"), "mean_distance"])
    assert "Sets of one model have no interval: single." in result.headline()


def test_one_set_is_described(two_sets, tmp_path):
    result = compare_populations(two_sets[:1])
    assert "A comparison needs two sets" in result.headline()
    assert result.pairs == ()
    assert len(result.differences) == len(result.distance_tests) == 0
    assert result.summary.loc[("calm", "accuracy"), "n"] == 6
    save_results(result, tmp_path)


def test_missing_values_are_left_out(make_population):
    result = compare_populations(
        [make_population(5, label="a", nan_accuracy=(2, 4)), make_population(4, label="b")]
    )
    summary = result.summary.loc[("a", "accuracy")]
    assert summary["n"] == 3
    assert summary["mean"] == pytest.approx((0.99 + 0.97 + 0.95) / 3)
    assert result.differences.loc[("a", "b", "accuracy"), "n_a"] == 3


def test_a_set_without_a_statistic_has_no_difference_in_it(two_sets):
    calm, noisy = two_sets
    result = compare_populations([calm, dataclasses.replace(noisy, scalars=noisy.scalars[["accuracy"]])])
    row = result.differences.loc[("calm", "noisy", "missing_modes")]
    assert row[["difference", "p", "p_holm", "p_bh"]].isna().all()
    assert result.differences.loc[("calm", "noisy", "accuracy"), "p_holm"] <= 1


def test_sums_that_vanish_by_symmetry_do_not_differ_by_rounding(two_sets):
    result = compare_populations(two_sets)
    assert (result.members["imag_mean"] == 0).all()
    assert "imag_mean" not in result.varying
    assert "mag_mean" in result.varying


def test_distances_within_and_between(two_sets):
    result = compare_populations(two_sets, distance_metric="emd")
    assert result.distances.shape == (13, 13)
    within = result.distances[:6, :6][np.triu_indices(6, 1)].mean()
    assert result.set_distances.loc[("calm", "calm"), "mean_distance"] == pytest.approx(within)
    assert result.set_distances.loc[("calm", "noisy"), "mean_distance"] == pytest.approx(
        result.distances[:6, 6:].mean()
    )
    sums = result.distances[6:, 6:].sum(axis=0)
    assert result.medoids[1] == two_sets[1].names[int(np.argmin(sums))]


def test_sets_of_other_lengths_compare(make_population):
    sets = [make_population(3, label="5"), make_population(4, label="7", lengths=(7,))]
    assert compare_populations(sets).distance_tests["p"].item() <= 0.1


def test_standardised_differences(two_sets):
    result = compare_populations(two_sets)
    rows = result.standardised(("calm", "noisy"))
    row = result.differences.loc[("calm", "noisy", "mag_std")]
    assert rows.loc["mag_std", "low"] == pytest.approx(row["low"] / row["pooled_std"])
    assert "imag_mean" not in rows.index


def test_statistics_in_the_layout_of_the_reference(two_sets):
    document = compare_populations(two_sets).documents()["comparison_statistics"]
    assert [(entry["label"], entry["n_models"]) for entry in document] == [("calm", 6), ("noisy", 7)]
    moduli = [np.abs(values).mean() for values in two_sets[1].eigenvalues]
    statistics = document[1]["statistics"]["mag_mean"]
    expected = {"mean": np.mean(moduli), "std": np.std(moduli), "min": min(moduli), "max": max(moduli)}
    assert {name: statistics[name] for name in expected} == pytest.approx(expected)
    assert statistics["low"] < statistics["mean"] < statistics["high"]


def test_the_seed_decides(two_sets):
    first, again, other = (compare_populations(two_sets, seed=seed).differences["low"] for seed in (1, 1, 2))
    assert first.equals(again)
    assert not first.equals(other)


@pytest.mark.parametrize(
    ("labels", "options", "message"),
    [
        (["a", "a"], {}, "populations: labels must all differ; got a, a"),
        (["a", "b"], {"confidence": 95.0}, "confidence: must be a share between 0 and 1; got 95.0"),
        ([], {}, "populations: expected at least one"),
    ],
)
def test_bad_options_are_refused(make_population, labels, options, message):
    with pytest.raises(AnalysisError, match=message):
        compare_populations([make_population(2, label=label) for label in labels], **options)


def test_a_broken_spectrum_is_named(two_sets):
    broken = dataclasses.replace(two_sets[1], eigenvalues=(np.array([np.nan]), *two_sets[1].eigenvalues[1:]))
    with pytest.raises(AnalysisError, match="noisy, model-1: expected finite eigenvalues"):
        compare_populations([two_sets[0], broken])


def test_inputs_are_left_alone(two_sets):
    before = copy.deepcopy([population.eigenvalues for population in two_sets])
    compare_populations(two_sets)
    np.testing.assert_equal([population.eigenvalues for population in two_sets], before)


def test_the_method_of_the_distance_stands_in_the_headline_and_on_the_figure(two_sets):
    assert "(transport, exact) between the sets" in compare_populations(two_sets).headline()
    assert "(2d) between the sets" in compare_populations(two_sets, distance_metric="2d").headline()


@pytest.mark.parametrize("unit", [1e-200, 1e100])
def test_what_is_compared_has_the_unit_of_the_eigenvalues(two_sets, unit):
    plain = compare_populations(two_sets)
    scaled = [dataclasses.replace(p, eigenvalues=tuple(unit * v for v in p.eigenvalues)) for p in two_sets]
    result = compare_populations(scaled)
    np.testing.assert_allclose(result.members["mag_mean"] / unit, plain.members["mag_mean"], rtol=1e-9)
    np.testing.assert_allclose(result.distances / unit, plain.distances, rtol=1e-9)
    assert (result.members["imag_mean"] == 0).all()  # conjugate pairs, whatever rounding leaves of the sum
    assert not np.signbit(result.members["imag_mean"]).any()
