import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import cdist

from analysis.statistics import Jackknife, jackknife, pair_mean, trend


def distances(members, dims=3, seed=0):
    points = np.random.default_rng(seed).normal(size=(members, dims))
    return cdist(points, points)


def test_the_mean_over_pairs_without_a_member_is_that_of_the_others():
    matrix = distances(7)
    found = pair_mean(matrix)
    assert found.estimate == pytest.approx(matrix[np.triu_indices(7, 1)].mean())
    for left_out, value in enumerate(found.without):
        rest = np.delete(np.delete(matrix, left_out, 0), left_out, 1)
        assert value == pytest.approx(rest[np.triu_indices(6, 1)].mean())


def test_the_jackknife_of_a_mean_is_its_standard_error():
    values = np.random.default_rng(1).normal(size=9)
    found = jackknife(np.mean, values)
    assert found.error == pytest.approx(values.std(ddof=1) / 3)
    low, high = stats.t.interval(0.95, 8, values.mean(), values.std(ddof=1) / 3)
    interval = found.interval()
    assert (interval.low, interval.high, interval.n) == (pytest.approx(low), pytest.approx(high), 9)


def test_intervals_stay_within_the_range_of_the_statistic_and_two_members_have_none():
    assert pair_mean(distances(3, seed=2) ** 4).interval((0.0, np.inf)).low > 0
    assert np.isnan(pair_mean(distances(2)).interval().low)
    assert np.isnan(pair_mean(np.zeros((1, 1))).estimate)


def test_a_slope_is_that_of_least_squares_and_its_error_that_of_independent_settings():
    settings = [pair_mean(distances(members, seed=members)) for members in (5, 6, 8, 9)]
    at = np.array([1.0, 2.0, 4.0, 5.0])
    found = trend(settings, at)
    expected = stats.linregress(at, [one.estimate for one in settings])
    assert found.interval.estimate == pytest.approx(expected.slope)
    weights = (at - 3) / np.sum((at - 3) ** 2)
    squares = weights**2 * [one.error**2 for one in settings]
    df = squares.sum() ** 2 / np.sum(squares**2 / [4, 5, 7, 8])
    assert found.df == pytest.approx(df)
    assert found.p == pytest.approx(2 * stats.t.sf(abs(expected.slope) / np.sqrt(squares.sum()), df))


def test_two_settings_are_compared_as_by_welch():
    first, second = np.random.default_rng(3).normal(size=(2, 12))[:, :9]
    settings = [jackknife(np.mean, first), jackknife(np.mean, second)]
    welch = stats.ttest_ind(first, second, equal_var=False)
    assert trend(settings, [0, 1]).p == pytest.approx(welch.pvalue)
    paired = stats.ttest_rel(first, second)
    assert trend(settings, [0, 1], paired=True).p == pytest.approx(paired.pvalue)


def test_of_the_same_seeds_what_they_share_is_no_uncertainty():
    values = np.random.default_rng(4).normal(size=8)
    settings = [jackknife(np.mean, values + step) for step in range(3)]
    together, apart = trend(settings, range(3), paired=True), trend(settings, range(3))
    assert together.interval.high - together.interval.low < 1e-9
    assert apart.interval.high - apart.interval.low > 0.1


def test_pairs_taken_for_a_sample_find_differences_between_equal_settings_and_the_jackknife_does_not():
    """Points of two normal clouds: 20 members in each, level .05, 100 draws."""
    rng = np.random.default_rng(5)
    naive = left_out = 0
    for _ in range(100):
        sets = [cdist(points, points) for points in rng.normal(size=(2, 20, 2))]
        pairs = [matrix[np.triu_indices(20, 1)] for matrix in sets]
        naive += stats.ttest_ind(*pairs).pvalue <= 0.05
        left_out += trend([pair_mean(matrix) for matrix in sets], [0, 1]).p <= 0.05
    assert naive > 30
    assert left_out <= 12  # 99.9 % of draws at a true rate of .05


def test_a_statistic_that_is_undefined_without_a_member_has_no_error():
    assert np.isnan(Jackknife(1.0, np.array([1.0, np.nan, 2.0])).error)
