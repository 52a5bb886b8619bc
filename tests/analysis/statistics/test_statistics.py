"""Intervals, tests and corrections for small samples."""

import copy
import math

import numpy as np
import pytest
from scipy import special, stats

from analysis.errors import AnalysisError
from analysis.statistics import (
    N_RESAMPLES,
    UNBOUNDED,
    Interval,
    benjamini_hochberg,
    bootstrap_interval,
    chance_test,
    cliffs_delta,
    cohens_d,
    energy_test,
    hedges_g,
    holm,
    levels,
    mantel_test,
    mean_difference,
    mean_interval,
    mean_text,
    monte_carlo_test,
    number_text,
    paired_distance_test,
    permutation_test,
    pooled_std,
    proportion_interval,
    rank_correlation,
    ranks,
    sign_flip_test,
    standard_deviation,
)


def normal(size, mean=0.0, seed=0):
    return np.random.default_rng(seed).normal(mean, 1.0, size)


def between(points):
    return np.abs(np.subtract.outer(points, points))


def test_ranks_of_equal_numbers_are_equal_whatever_their_last_digits():
    """0.1 + 0.2 exceeds 0.3 by 5.6e-17."""
    assert ranks([0.3, 0.1 + 0.2, 0.1]).tolist() == [2.5, 2.5, 1.0]
    np.testing.assert_array_equal(stats.rankdata([0.3, 0.1 + 0.2, 0.1]), [2, 3, 1])
    values = normal(40)
    np.testing.assert_array_equal(ranks(values), stats.rankdata(values))
    assert ranks([1.0, 1.0 + 2e-9, 3.0]).tolist() == [1.5, 1.5, 3.0]  # 1e-9 of the largest are 3e-9
    assert ranks([1.0, 1.0 + 4e-9, 3.0]).tolist() == [1.0, 2.0, 3.0]
    assert ranks([2.0, -math.inf, math.inf, math.inf]).tolist() == [2.0, 1.0, 3.5, 3.5]
    assert ranks([]).size == 0
    with pytest.raises(ValueError, match="expected numbers that have an order; got NaN"):
        levels([1.0, math.nan])


@pytest.mark.parametrize("scale", [5e-324, 1e-300, 1.0, 1e308])
def test_ranks_do_not_depend_on_the_scale_nor_on_edges(scale):
    rng = np.random.default_rng(1)
    edges = np.repeat(np.arange(1, 8) / 8, 5) * (1 + 1e-12 * rng.normal(size=35))  # about edges of a grid
    values = scale * edges if scale > 1e-300 else scale * np.repeat(np.arange(1, 8), 5)
    np.testing.assert_array_equal(ranks(values), np.repeat(3 + 5 * np.arange(7), 5))
    rows = ranks(np.stack([values, values[::-1]]))
    np.testing.assert_array_equal(rows[1], rows[0][::-1])


def test_rank_correlation_is_scipys_where_nothing_is_tied_by_rounding():
    a, b = normal(30).round(1), normal(30, seed=1).round(1)  # with ties
    assert rank_correlation(a, b) == pytest.approx(stats.spearmanr(a, b)[0])
    assert rank_correlation(a, a + 1e-13 * normal(30, seed=2)) == pytest.approx(1.0)
    assert math.isnan(rank_correlation(a, np.full(30, 0.1) + 1e-16))
    assert math.isnan(rank_correlation(a, np.append(b[1:], np.nan)))
    assert math.isnan(rank_correlation([], []))


def test_effects_of_samples_that_are_equal_up_to_rounding_are_none():
    """The same seven numbers added up in another order: neither sample has the larger ones."""
    values, turned = normal(7), normal(7) / 3 * 3 + 1e-15
    assert cliffs_delta(values, turned) == 0.0
    assert np.sign(np.subtract.outer(turned, values)).mean() != 0.0
    assert cliffs_delta(values, values + 1e-6) > 0


def distances_with(value):
    distances = between(np.arange(16.0))
    distances[0, 1] = distances[1, 0] = value
    return distances


UNDEFINED = {
    "energy": lambda x: energy_test(distances_with(x), 8),
    "distances of pairs": lambda x: paired_distance_test(distances_with(x)),
    "simulations": lambda x: monte_carlo_test(1.0, [0.5] * 98 + [x]),
    "observed": lambda x: monte_carlo_test(x, [0.5] * 99),
    "statistic": lambda x: permutation_test(
        normal(5), normal(6), lambda a, b, axis: np.where(a.max(axis) > 0.5, x, a.max(axis))
    ),
}


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("name", UNDEFINED)
def test_a_statistic_that_is_undefined_has_no_p(name, value):
    """Compared with a number NaN is always smaller, so that a test that only counts would give p = 0."""
    test = UNDEFINED[name](value)
    assert math.isnan(test.p)
    assert math.isnan(test.smallest_p)
    assert test.undefined > 0
    assert str(test) == f"no p: the statistic is undefined in {test.undefined} of its values"
    defined = UNDEFINED[name](0.25)
    assert 1 / N_RESAMPLES <= defined.p <= 1
    assert defined.undefined == 0


def test_matrices_with_unknown_distances_have_no_p():
    matrix = between(normal(6))
    test = mantel_test(distances_with(np.nan)[:6, :6], matrix)
    assert math.isnan(test.p)
    assert test.undefined == 1
    assert math.isnan(test.smallest_p)


def test_matrices_that_agree_up_to_rounding_agree():
    corners = np.stack(np.meshgrid(*3 * ([0.0, 1.0],)), axis=-1).reshape(-1, 3)
    turned = corners @ np.linalg.qr(normal((3, 3)))[0]
    distances = [np.linalg.norm(x[:, None] - x, axis=-1) for x in (corners, turned)]
    assert mantel_test(*distances).statistic == pytest.approx(1.0)
    upper = np.triu_indices(8, 1)
    assert stats.spearmanr(*(d[upper] for d in distances))[0] < 0.99  # ranks without ties


SCALED = {
    "difference": lambda s: permutation_test(s * np.array([1, 1.5, 1, 1]), s * np.array([1, 1, 1, 1.7])),
    "pairs": lambda s: sign_flip_test(s * normal(9, mean=0.3)),
    "energy": lambda s: energy_test(s * between(normal(9)), 4),
    "distances of pairs": lambda s: paired_distance_test(s * between(normal(18))),
    "matrices": lambda s: mantel_test(s * between(normal(7)), between(normal(7, seed=1))),
    "simulations": lambda s: monte_carlo_test(s * 1.7, s * np.abs(normal(199))),
}


@pytest.mark.parametrize("scale", [2.0**-1060, 2.0**1020])
@pytest.mark.parametrize("name", SCALED)
def test_tests_do_not_depend_on_the_scale(name, scale):
    """The scales are powers of two, which change no digit, near the ends of the range: squares and sums overflow."""
    test, expected = SCALED[name](scale), SCALED[name](1.0)
    assert test.p == pytest.approx(expected.p, abs=1e-12)
    assert 1 / N_RESAMPLES <= test.p <= 1


@pytest.mark.parametrize("scale", [2.0**-900, 2.0**1020])
def test_standard_deviations_do_not_depend_on_the_scale(scale):
    values = np.append(normal(6), np.nan)
    for ddof in (0, 1):
        assert standard_deviation(scale * values, ddof) == pytest.approx(scale * np.nanstd(values, ddof=ddof))
    assert math.isnan(standard_deviation([2.0]))
    assert standard_deviation([2.0], ddof=0) == 0


def test_numbers_in_text_have_no_negative_zero_and_no_hundred_digits():
    assert [number_text(x, 1) for x in (-0.04, -0.06, 0.04, 999999.04)] == ["0.0", "-0.1", "0.0", "999999.0"]
    assert [number_text(x, 2) for x in (-3.21e200, 1e6, math.nan, math.inf)] == [
        "-3.21e+200",
        "1e+06",
        "nan",
        "inf",
    ]
    assert mean_text(Interval(-0.001, -0.02, -0.004, 3), 2, " m") == "0.00 m (-0.02 to 0.00)"


@pytest.mark.parametrize("scale", [2.0**-900, 2.0**1020])
def test_effects_and_intervals_do_not_depend_on_the_scale(scale):
    a, b = normal(5), normal(7, mean=0.5, seed=1)
    for effect in (cohens_d, hedges_g, cliffs_delta):
        assert effect(scale * a, scale * b) == pytest.approx(effect(a, b))
    for interval in (mean_interval, lambda x: bootstrap_interval(np.median, x)):
        far, near = interval(scale * b), interval(b)
        np.testing.assert_allclose([far.low / scale, far.high / scale], [near.low, near.high], rtol=1e-9)


def test_intervals_of_bounded_values_are_those_on_the_scale_without_ends():
    """By the delta method: log(m) ± t s/m, log(b - m) ± t s/(b - m), logit(p) ± t s/(p (1 - p)), s = sd/√n."""
    values = [0.1, 0.9, 0.8, 0.95]
    m, s, t = np.mean(values), np.std(values, ddof=1) / 2, stats.t.ppf(0.975, 3)
    free = mean_interval(values)
    assert free.low < m < 1 < free.high  # beyond the range of a share
    expected = {
        (0.0, math.inf): np.exp(np.log(m) + t * s / m * np.array([-1, 1])),
        (-math.inf, 1.0): 1 - np.exp(np.log(1 - m) + t * s / (1 - m) * np.array([1, -1])),
        (0.0, 1.0): special.expit(special.logit(m) + t * s / (m * (1 - m)) * np.array([-1, 1])),
    }
    for bounds, ends in expected.items():
        interval = mean_interval(values, bounds=bounds)
        np.testing.assert_allclose((interval.low, interval.high), ends, rtol=1e-12)
        assert interval.estimate == free.estimate
    degrees = mean_interval(180 * np.array(values), bounds=(0.0, 180.0))
    np.testing.assert_allclose((degrees.low, degrees.high), 180 * expected[0.0, 1.0], rtol=1e-12)


BOUNDED = {
    "radius": ((0.0, math.inf), lambda rng, n: rng.lognormal(0, 2, n)),
    "share": ((0.0, 1.0), lambda rng, n: rng.beta(20, 0.3, n)),
    "reconstruction": ((-math.inf, 1.0), lambda rng, n: 1 - rng.exponential(3, n)),
    "angle": ((-math.pi, math.pi), lambda rng, n: rng.choice([-3.1, 3.1], n)),
    "count": ((0.0, math.inf), lambda rng, n: rng.poisson(0.3, n)),
}


@pytest.mark.parametrize("name", BOUNDED)
def test_intervals_stay_within_the_range_and_reach_its_end_only_where_all_values_do(name):
    bounds, draw = BOUNDED[name]
    rng, free_leaves = np.random.default_rng(0), 0
    for _ in range(200):
        sample = draw(rng, int(rng.integers(2, 9)))
        interval, free = mean_interval(sample, bounds=bounds), mean_interval(sample)
        assert bounds[0] <= interval.low <= interval.estimate <= interval.high <= bounds[1]
        assert np.ptp(sample) == 0 or interval.low < interval.high
        free_leaves += free.low < bounds[0] or free.high > bounds[1]
    assert free_leaves > 20  # the ordinary interval does leave it


def test_intervals_far_from_the_ends_are_the_ordinary_ones():
    values = 5 + 0.001 * normal(6)
    free, bounded = mean_interval(values), mean_interval(values, bounds=(0.0, 9.0))
    np.testing.assert_allclose((bounded.low, bounded.high), (free.low, free.high), rtol=1e-6)
    constant = mean_interval([1.0, 1.0, 1.0], bounds=(0.0, 1.0))
    assert (constant.low, constant.high) == (1.0, 1.0)
    extreme = mean_interval([0.0, 1.7e308], bounds=(0.0, math.inf))
    assert 0 <= extreme.low < extreme.estimate < extreme.high


def test_values_beyond_their_range_are_refused_and_rounding_errors_are_not():
    with pytest.raises(AnalysisError, match=r"^expected values from 0 to 1; got 1\.2$"):
        mean_interval([0.5, 1.2], bounds=(0.0, 1.0))
    assert mean_interval([0.5, 1 + 1e-13], bounds=(0.0, 1.0)).high <= 1
    for bounds in ((0.0, 1.0), (-math.inf, 1.0)):
        interval = mean_interval(
            np.append(np.ones(30), 1 - 2.0**-53), bounds=bounds
        )  # the mean rounds to the end
        assert 1 - 1e-15 < interval.low <= interval.high <= 1


@pytest.mark.slow
def test_intervals_of_skewed_values_cover_what_ordinary_ones_do_not():
    """Exponential values, n = 5, mean 1: 93.4 % against 88.2 % of 4,000 draws; normal ones far from zero: 95 % both."""
    draws = np.random.default_rng(0)

    def coverage(bounds, draw, mean):
        found = [mean_interval(draw(5), bounds=bounds) for _ in range(2000)]
        return np.mean([one.low <= mean <= one.high for one in found])

    positive = (0.0, math.inf)
    assert coverage(UNBOUNDED, draws.standard_exponential, 1.0) < 0.905
    assert coverage(positive, draws.standard_exponential, 1.0) > 0.915
    assert 0.935 < coverage(positive, lambda n: draws.normal(5, 1, n), 5.0) < 0.967


def test_mean_interval_is_students():
    values = normal(7)
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(0.9)
    interval = mean_interval(np.append(values, np.nan), 0.9)
    np.testing.assert_allclose((interval.low, interval.high), expected)
    assert interval.n == 7


@pytest.mark.parametrize("values", [[], [2.5]])
def test_an_interval_needs_two_values(values):
    interval = mean_interval(values)
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)
    assert interval.n == len(values)


@pytest.mark.parametrize(("k", "n"), [(0, 5), (3, 7), (32, 32)])
def test_proportion_interval_is_wilsons(k, n):
    expected = stats.binomtest(k, n).proportion_ci(0.9, method="wilson")
    interval = proportion_interval(k / n, n, 0.9)
    np.testing.assert_allclose((interval.low, interval.high), expected, atol=1e-12)
    assert (interval.estimate, interval.n) == (k / n, n)
    assert math.isnan(proportion_interval(math.nan, n).low)
    assert math.isnan(proportion_interval(0.5, 0).high)


def test_bootstrap_interval_finds_a_shift_and_none_where_there_is_none():
    shifted = bootstrap_interval(mean_difference, normal(11), normal(13, mean=2.0, seed=1))
    equal = bootstrap_interval(mean_difference, normal(11), normal(13, seed=1))
    assert 0 < shifted.low < shifted.estimate < shifted.high
    assert equal.low < 0 < equal.high


def bca(statistic, samples, seed):
    return stats.bootstrap(
        samples, statistic, n_resamples=N_RESAMPLES, method="BCa", random_state=np.random.default_rng(seed)
    ).confidence_interval


@pytest.mark.parametrize("sizes", [(5,), (17,), (5, 4), (60, 41)])
def test_means_of_counted_resamples_are_those_that_scipy_draws(sizes):
    """The mean of a resample is that of the values weighted by how often each was drawn.

    Sums of multiples of 1/64 are exact, whatever their order, so scipy sees ties with the estimate, too.
    """
    samples = [(64 * normal(n, seed=n)).round() / 64 for n in sizes]
    statistic = np.mean if len(sizes) == 1 else mean_difference
    got, slow = bootstrap_interval(statistic, *samples, seed=3), bca(statistic, samples, 3)
    assert (got.low, got.high) == pytest.approx(tuple(slow), rel=1e-12, abs=1e-12)
    assert bootstrap_interval(statistic, *samples, seed=4).low != pytest.approx(slow.low, rel=1e-6)


def test_resamples_that_hold_each_value_once_are_ties_whatever_the_order_of_the_sum():
    """5! / 5⁵ = 3.8 % of the resamples of five values have the estimate's mean; 0.1 has no exact sum."""
    x = (64 * normal(5, seed=5)).round() / 64
    exact, rounded = (bootstrap_interval(np.mean, values, seed=3) for values in (x, x + 0.1))
    assert (rounded.low - 0.1, rounded.high - 0.1) == pytest.approx((exact.low, exact.high), abs=1e-12)
    low, high = bca(np.mean, [x + 0.1], 3)
    assert abs(low - rounded.low) + abs(high - rounded.high) > 1e-6, "scipy's ties are ties without this"


def test_bootstrap_interval_depends_on_its_seed_only():
    first, again, other = (
        bootstrap_interval(mean_difference, normal(5), normal(4, seed=1), seed=s) for s in (3, 3, 4)
    )
    assert first == again
    assert first != other


def test_bootstrap_interval_of_degenerate_samples():
    constant = bootstrap_interval(mean_difference, [1.0, 1.0], [3.0, 3.0, 3.0])
    assert (constant.low, constant.high) == (2.0, 2.0)
    half = bootstrap_interval(mean_difference, [1.0, 1.0], [3.0, 4.0, 6.0])
    assert 2.0 <= half.low < half.high <= 5.0
    single = bootstrap_interval(mean_difference, [1.0], [3.0, 4.0])
    assert single.estimate == 2.5
    assert math.isnan(single.low)
    assert math.isnan(bootstrap_interval(mean_difference, [], [3.0]).estimate)


def test_exact_permutation_test_agrees_with_scipy():
    a, b = normal(6), normal(4, mean=1.0, seed=1)
    ours, theirs = permutation_test(a, b), stats.permutation_test((a, b), mean_difference, vectorized=True)
    assert ours.exact
    assert ours.p == pytest.approx(theirs.pvalue)
    assert ours.statistic == pytest.approx(theirs.statistic)


@pytest.mark.parametrize("sizes", [(5, 4), (30, 21)])  # enumerated and drawn
def test_differences_of_all_relabellings_are_those_of_one_by_one(sizes):
    a, b = normal(sizes[0], mean=1e6), normal(sizes[1], mean=1e6 + 0.2, seed=1)

    def slow(a, b, axis):
        return np.mean(b, axis=axis) - np.mean(a, axis=axis)

    fast, one_by_one = permutation_test(a, b, seed=2), permutation_test(a, b, slow, seed=2)
    assert fast.statistic == pytest.approx(one_by_one.statistic, abs=1e-9)
    assert (fast.p, fast.exact) == (one_by_one.p, one_by_one.exact)
    assert 0.01 < fast.p < 0.99


def test_permutation_test_of_identical_samples():
    assert permutation_test(normal(5), normal(5)).p == 1.0
    assert permutation_test([0.1] * 4, [0.1] * 5).p == 1.0  # means that differ by rounding


def test_the_smallest_attainable_p_is_the_answer_where_it_exceeds_the_level():
    apart = [0.0, 1.0, 2.0], [7.0, 8.0, 9.0]
    small, asked = permutation_test(*apart), permutation_test(*apart, level=0.1)
    assert math.isnan(small.p)
    assert asked.p == asked.smallest_p == small.smallest_p == pytest.approx(0.1)  # 2 of 20 splits
    assert str(small) == "too few for a p: 0.1 is the smallest attainable"
    assert str(asked) == "p = 0.1"
    # One tenth less the rounding of a subtraction is the same level.
    assert 1 - 0.9 < 0.1
    assert permutation_test(*apart, level=1 - 0.9).p == pytest.approx(0.1)
    assert math.isnan(permutation_test(*apart, level=0.1 - 1e-6).p)
    assert str(permutation_test([], [2.0])) == "no p"
    assert small.n == 6
    many = permutation_test(normal(16), normal(17, mean=9.0, seed=1))
    assert not many.exact
    assert many.p == many.smallest_p == pytest.approx(2 / (N_RESAMPLES + 1))
    assert permutation_test([1.0], [2.0]).smallest_p == 1.0
    assert math.isnan(permutation_test([], [2.0]).p)


def test_permutation_test_keeps_its_level():
    rng = np.random.default_rng(0)
    rejected = [permutation_test(rng.normal(size=5), rng.normal(size=4)).p <= 0.05 for _ in range(300)]
    assert 0.01 < np.mean(rejected) < 0.09


TESTS = {
    "difference": lambda rng: permutation_test(rng.normal(size=10), rng.normal(size=10)),
    "skewed": lambda rng: permutation_test(rng.lognormal(size=10), rng.lognormal(size=10)),
    "pairs": lambda rng: sign_flip_test(rng.normal(size=10)),
    "energy": lambda rng: energy_test(between(rng.normal(size=20)), 10),
    "distances of pairs": lambda rng: paired_distance_test(between(rng.normal(size=20))),
    "matrices": lambda rng: mantel_test(between(rng.normal(size=10)), between(rng.normal(size=10))),
    "simulations": lambda rng: monte_carlo_test(rng.normal(), rng.normal(size=199)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", TESTS)
def test_ten_members_of_one_kind_are_told_apart_in_one_of_twenty_populations(name):
    rng = np.random.default_rng(20)
    rejected = np.mean([TESTS[name](rng).p <= 0.05 for _ in range(1000)])
    assert 0.036 <= rejected <= 0.064


def agreement(rng, members=20, trials=60, shared=1.0, effect=0.0, relabellings=99):
    """Return by member how a label of either sign agrees with states, and the same for relabelled trials.

    States are one signal that all members share, in the same trials, plus noise of each; the label is drawn
    anew.
    """
    label = rng.choice([-1.0, 1.0], trials)
    states = effect * label + shared * rng.normal(size=trials) + 0.3 * rng.normal(size=(members, trials))
    relabelled = [states @ rng.permutation(label) / trials for _ in range(relabellings)]
    return states @ label / trials, np.array(relabelled)


def test_members_that_share_trials_are_no_sample_against_chance():
    """A label that means nothing is found by sign flips in 40 % of 400 draws, by both tests in 5 %."""
    rng = np.random.default_rng(0)
    found = [chance_test(*agreement(rng)) for _ in range(400)]
    joint = sum(test.p <= 0.05 for test in found)
    alone = sum(test.members.p <= 0.05 for test in found)
    low, high = stats.binom.interval(0.95, 400, 0.05)
    assert low <= joint <= high
    assert alone > 5 * high


def test_members_with_noise_of_their_own_keep_the_level_too_and_an_effect_is_found():
    rng = np.random.default_rng(1)
    independent = [chance_test(*agreement(rng, shared=0.0)).p <= 0.05 for _ in range(200)]
    assert np.mean(independent) <= stats.binom.ppf(0.99, 200, 0.05) / 200
    assert np.mean([chance_test(*agreement(rng, effect=0.5)).p <= 0.05 for _ in range(50)]) > 0.8


def test_both_p_values_stand_beside_the_larger_one():
    observed, relabelled = agreement(np.random.default_rng(2), effect=1.0)
    test = chance_test(observed, relabelled)
    assert test.trials.statistic == pytest.approx(observed.mean())
    assert test.trials.p == test.p == pytest.approx(1 / 100)
    assert test.members.statistic == pytest.approx(np.mean(observed - relabelled.mean(axis=0)))
    assert str(test) == f"p = 0.01, the larger of 0.01 over trials and {test.members.p:.2g} over members"
    assert test.row() == {"p": test.p, "p_trials": test.trials.p, "p_members": test.members.p}
    own = chance_test(observed, relabelled, shared=False)
    assert own.trials is None
    assert own.p == test.members.p
    assert str(own) == f"p = {own.p:.2g} over members"


def test_relabellings_that_change_nothing_and_members_that_are_too_few_give_no_p():
    observed, relabelled = agreement(np.random.default_rng(2), effect=1.0)
    same = chance_test(observed, np.tile(observed, (99, 1)) + 1e-15, different=1)
    assert same.trials.smallest_p == 1
    assert math.isnan(same.p)
    four = chance_test(observed, relabelled, different=4)
    assert four.trials.smallest_p == 0.25
    assert math.isnan(four.p)
    few = chance_test(observed[:4], relabelled[:, :4])
    assert few.members.smallest_p == 1 / 16
    assert math.isnan(few.p)
    assert str(few) == "p = 0.01 over trials, too few for a p: 0.062 is the smallest attainable over members"
    five = chance_test(observed[:5], relabelled[:, :5])
    assert five.members.p == 1 / 32


def test_what_is_undefined_for_a_member_or_under_a_relabelling_is_left_out():
    observed, relabelled = agreement(np.random.default_rng(2), members=7, effect=1.0)
    expected = chance_test(observed[1:], relabelled[3:, 1:])
    observed[0], relabelled[:3, 2] = np.nan, np.nan
    assert chance_test(observed, relabelled) == expected
    assert math.isnan(chance_test(np.full(7, np.nan), relabelled).p)
    assert math.isnan(chance_test(observed, np.full((99, 7), np.nan)).p)


def test_sign_flips_find_what_seeds_hide():
    seeds, shift = 5 * normal(9), 0.5 + 0.1 * normal(9, seed=1)
    test = sign_flip_test(shift)
    assert test.exact
    assert test.p == test.smallest_p == pytest.approx(2 / 2**9)
    assert permutation_test(seeds, seeds + shift).p > 0.5
    assert sign_flip_test(normal(9)).p > 0.05
    result = stats.permutation_test((normal(9),), lambda x, axis: x.mean(axis), permutation_type="samples")
    assert sign_flip_test(normal(9)).p == pytest.approx(result.pvalue)
    assert math.isnan(sign_flip_test(shift[:5]).p)  # 2 / 32
    assert not sign_flip_test(normal(14)).exact
    assert math.isnan(sign_flip_test([np.nan]).statistic)


@pytest.mark.parametrize("n", [5, 12])
def test_matrices_that_agree_and_matrices_that_do_not(n):
    distances = between(normal(n))
    agree, other = mantel_test(distances, distances**2), mantel_test(distances, between(normal(n, seed=3)))
    assert agree.statistic == pytest.approx(1.0)
    assert agree.p < 0.05 < other.p
    upper = np.triu_indices(n, 1)
    expected = stats.spearmanr(distances[upper], between(normal(n, seed=3))[upper])[0]
    assert other.statistic == pytest.approx(expected)
    assert agree.exact == (n == 5)
    assert math.isnan(mantel_test(np.zeros((n, n)), distances).p)


def test_simulations_that_are_too_few_give_no_p():
    assert monte_carlo_test(9.0, np.zeros(199)).p == pytest.approx(1 / 200)
    assert monte_carlo_test(0.0, np.zeros(199)).p == 1.0
    few = monte_carlo_test(9.0, np.zeros(9))
    assert math.isnan(few.p)
    assert few.smallest_p == pytest.approx(0.1)


def test_energy_statistic_is_the_one_of_scipy():
    a, b = normal(6), normal(4, mean=1.0, seed=1)
    result = energy_test(between(np.concatenate([a, b])), 6)
    assert result.statistic == pytest.approx(stats.energy_distance(a, b) ** 2)


@pytest.mark.parametrize("sizes", [(4, 5), (20, 17)])
def test_energy_test_finds_a_shift_and_none_where_there_is_none(sizes):
    a, b = normal(sizes[0]), normal(sizes[1], seed=1)
    shifted, equal = (energy_test(between(np.concatenate([a, other])), len(a)) for other in (b + 9, b))
    assert shifted.p == shifted.smallest_p < 0.02
    assert equal.p > 0.05
    assert shifted.exact == (sizes == (4, 5))


def test_energy_test_counts_mirrored_splits():
    apart = energy_test(between([0.0, 0.1, 0.2, 5.0, 5.1, 5.2]), 3, level=0.1)
    assert apart.p == apart.smallest_p == pytest.approx(2 / 20)
    assert energy_test(np.zeros((7, 7)), 2).p == 1.0
    assert math.isnan(energy_test(np.zeros((5, 5)), 5).p)


@pytest.mark.parametrize("n", [9, 15])
def test_distances_of_pairs_find_what_seeds_hide(n):
    seeds, shift = 5 * normal(n), 0.5 + 0.1 * normal(n, seed=1)
    distances = between(np.concatenate([seeds, seeds + shift]))
    assert energy_test(distances, n).p > 0.5
    test = paired_distance_test(distances)
    assert test.statistic == pytest.approx(shift.mean() ** 2)
    assert (test.p, test.exact) == (test.smallest_p, n == 9)


def test_on_a_line_distances_of_pairs_say_what_their_differences_say():
    a, b = 5 * normal(9), 5 * normal(9, seed=1)
    found, expected = paired_distance_test(between(np.concatenate([a, b]))), sign_flip_test(b - a)
    assert (found.p, found.smallest_p, found.n) == pytest.approx((expected.p, expected.smallest_p, 9))
    assert found.p > 0.05
    assert math.isnan(paired_distance_test(np.zeros((0, 0))).p)
    assert math.isnan(paired_distance_test(between(np.arange(10.0))).p)  # 2 / 32


def test_effect_sizes():
    a, b = np.array([1.0, 2.0, 3.0]), np.array([3.0, 4.0, 5.0, 6.0])
    assert cohens_d(a, b) == pytest.approx(2.5 / pooled_std(a, b))
    assert hedges_g(a, b) == pytest.approx(cohens_d(a, b) * (1 - 3 / (4 * 7 - 9)))
    assert cliffs_delta(a, b) == pytest.approx(11 / 12)
    assert cliffs_delta(a, a) == cohens_d(a, a) == 0.0
    assert cohens_d([1.0, 1.0], [2.0, 2.0]) == math.inf
    assert cohens_d([0.1] * 3, [0.1] * 2) == 0.0
    assert math.isnan(cohens_d([1.0], [2.0]))
    assert math.isnan(cliffs_delta([], [2.0]))


def test_corrections_for_many_tests():
    p = [0.01, 0.04, math.nan, 0.03, 0.005]
    np.testing.assert_allclose(holm(p), [0.03, 0.06, math.nan, 0.06, 0.02])
    np.testing.assert_allclose(benjamini_hochberg(p), [0.02, 0.04, math.nan, 0.04, 0.02])
    np.testing.assert_allclose(holm([0.6, 0.7]), [1.0, 1.0])
    assert holm([]).size == 0


def test_inputs_are_left_alone():
    a, b, p = normal(4), normal(3, seed=1), np.array([0.2, 0.01])
    distances = between(a)
    before = copy.deepcopy((a, b, p, distances))
    permutation_test(a, b)
    bootstrap_interval(mean_difference, a, b)
    holm(p)
    benjamini_hochberg(p)
    energy_test(distances, 2)
    np.testing.assert_equal((a, b, p, distances), before)


@pytest.mark.slow
def test_bootstrap_intervals_of_few_values_cover_less_than_they_aim_at():
    draws = np.random.default_rng(0)

    def coverage(interval, n):
        found = [interval(draws.standard_normal(n)) for _ in range(300)]
        return np.mean([one.low <= 0 <= one.high for one in found])

    assert 0.82 < coverage(lambda values: bootstrap_interval(np.mean, values), 5) < 0.91
    assert 0.88 < coverage(lambda values: bootstrap_interval(np.mean, values), 20) < 0.965
    assert 0.92 < coverage(mean_interval, 5) < 0.98
