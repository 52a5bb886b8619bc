import numpy as np
import pytest

from analysis.statistics.over_time import chance_over_time


def scores(shared, own, members=20, steps=30, relabellings=99, seed=0):
    """Return scores of which a part is the same in all members, as where they see the same trials."""
    rng = np.random.default_rng(seed)
    drawn = shared * rng.normal(size=(1 + relabellings, 1, steps)) + own * rng.normal(
        size=(1 + relabellings, members, steps)
    )
    return drawn[0], drawn[1:]


class TestLevel:
    @pytest.mark.parametrize(("shared", "own"), [(0, 1), (1, 0.3)])
    def test_finds_nothing_in_one_draw_of_twenty(self, shared, own):
        drawn = [
            chance_over_time(*scores(shared, own, members=8, steps=6, seed=seed)).found.any()
            for seed in range(200)
        ]
        # At most 17 of 200 in 98.8 % of suites at a true level of .05.
        assert sum(drawn) <= 17

    def test_members_alone_find_what_trials_have_by_accident(self):
        drawn = [chance_over_time(*scores(1, 0.3, members=8, steps=6, seed=seed)) for seed in range(50)]
        assert np.mean([(test.p_members <= 0.05).any() for test in drawn]) > 0.8
        assert np.mean([(test.p_trials <= 0.05).any() for test in drawn]) < 0.2


def test_finds_what_is_there_and_where():
    observed, null = scores(0.2, 0.3)
    observed[:, 10:15] += 2
    test = chance_over_time(observed, null)
    assert np.flatnonzero(test.found).tolist() == [10, 11, 12, 13, 14]
    clusters = test.clusters[test.clusters["p"] <= 0.05].set_index("over")
    assert clusters.loc["trials", ["first", "last"]].tolist() == [10, 14]


def test_p_is_never_below_what_relabellings_allow():
    observed, null = scores(0, 1, relabellings=19)
    test = chance_over_time(observed + 50, null)
    np.testing.assert_allclose(test.p_trials, 1 / 20)
    # 2^20 flips are not enumerated: the observed one and 9999 others.
    np.testing.assert_allclose(test.p_members, 1 / (1 + 9999), rtol=1e-3)


def test_four_members_have_no_p_of_their_own():
    observed, null = scores(0, 1, members=4)
    test = chance_over_time(observed + 50, null)
    assert np.isnan(test.p_members).all()
    assert test.smallest_p_members == 1 / 16
    assert test.found.all()


def test_one_step_is_the_test_of_that_step():
    observed, null = scores(0.5, 0.5, members=7, steps=1, relabellings=199)
    observed += 0.4
    test = chance_over_time(observed, null)
    means = np.append(observed.mean(), null.mean(axis=(1, 2)))
    assert test.p_trials[0] == pytest.approx(np.mean(means >= means[0]))
    differences = observed[:, 0] - null.mean(axis=0)[:, 0]
    signs = np.where(np.arange(2**7)[:, None] >> np.arange(7) & 1, -1.0, 1.0)
    assert test.p_members[0] == pytest.approx(np.mean((signs @ differences) >= differences.sum() - 1e-9))
