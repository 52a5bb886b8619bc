import numpy as np
import pytest
from scipy import stats

from analysis import compare_conditions
from analysis.conditions.agreement import compare_model, features, noise_ceiling
from analysis.conditions.dissimilarities import (
    cell_means,
    dissimilarities,
    doubly_centred,
    second_moment,
    whitening,
)
from analysis.conditions.model_matrices import read_matrix
from analysis.errors import AnalysisError
from tests.planted.conditions import recording


def design(trials, conditions, folds):
    """Return classes and folds of so many trials of each condition, evenly."""
    return np.repeat(np.arange(conditions), trials), np.tile(np.arange(trials) % folds, conditions)


class TestCrossnobis:
    def test_is_the_mean_of_products_of_different_folds(self):
        rng = np.random.default_rng(0)
        classes, folds = design(9, 3, 3)
        states = rng.normal(size=(27, 5)) + classes[:, None]
        means = cell_means(states, 3 * classes + folds, 9).reshape(3, 3, 5)
        white = whitening(states - means[classes, folds], 27 - 9)
        precision = white @ white.T
        pairs = [
            (means[i, k] - means[j, k]) @ precision @ (means[i, m] - means[j, m]) / 5
            for i in range(3)
            for j in range(3)
            for k in range(3)
            for m in range(3)
            if k != m
        ]
        expected = np.mean(np.reshape(pairs, (3, 3, 6)), axis=-1)
        found = dissimilarities(second_moment(states, classes, folds, 3, "residuals"), "crossnobis")
        np.testing.assert_allclose(found, expected, atol=1e-12)

    def test_the_precision_is_that_of_scikit_learns_shrinkage(self):
        from sklearn.covariance import LedoitWolf

        residuals = np.random.default_rng(1).normal(size=(30, 6)) * np.arange(1, 7)
        white = whitening(residuals, 30)
        expected = LedoitWolf(assume_centered=True).fit(residuals).precision_
        np.testing.assert_allclose(white @ white.T, expected, rtol=1e-9)

    def test_is_zero_on_average_where_conditions_do_not_differ(self):
        """Without bias, but not so with the precision of deviations from the means of conditions."""
        rng = np.random.default_rng(2)
        classes, folds = design(8, 4, 2)
        found, biased = [], []
        for _ in range(300):
            states = rng.normal(size=(32, 30))
            moment = second_moment(states, classes, folds, 4, "residuals")
            found.append(dissimilarities(moment, "crossnobis")[np.triu_indices(4, 1)].mean())
            # Whitened before, by what condition means leave, and then as it is.
            white = states @ whitening(states - cell_means(states, classes, 4)[classes], 28)
            moment = second_moment(white, classes, folds, 4, "identity")
            biased.append(dissimilarities(moment, "crossnobis")[np.triu_indices(4, 1)].mean())
        error = np.std(found) / np.sqrt(300)
        assert abs(np.mean(found)) < 3 * error
        assert np.mean(biased) > 8 * error

    def test_says_what_is_there_whatever_the_number_of_trials(self):
        rng = np.random.default_rng(3)
        counts = [4, 40, 40]
        classes = np.repeat(np.arange(3), counts)
        folds = np.concatenate([np.arange(n) % 2 for n in counts])
        shift = np.zeros((3, 12))
        shift[2, 0] = 2.0
        found, plain = [], []
        for _ in range(200):
            states = shift[classes] + rng.normal(size=(84, 12))
            moment = second_moment(states, classes, folds, 3, "identity")
            found.append(dissimilarities(moment, "crossnobis"))
            means = cell_means(states, classes, 3)
            plain.append(np.sum((means[0] - means[1]) ** 2) / 12)
        mean = np.mean(found, axis=0)
        assert mean[0, 1] == pytest.approx(0, abs=0.03)
        assert mean[1, 2] == pytest.approx(4 / 12, abs=0.03)
        assert np.mean(plain) > 0.2

    def test_agrees_with_rsatoolbox(self):
        rsatoolbox = pytest.importorskip("rsatoolbox")
        rng = np.random.default_rng(4)
        classes, folds = design(6, 4, 3)
        states = rng.normal(size=(24, 5)) + rng.normal(size=(4, 5))[classes]
        means = cell_means(states, 3 * classes + folds, 12)
        white = whitening(states - means[3 * classes + folds], 12)
        data = rsatoolbox.data.Dataset(states, obs_descriptors={"condition": classes, "fold": folds})
        expected = rsatoolbox.rdm.calc_rdm(
            data, "crossnobis", descriptor="condition", noise=white @ white.T, cv_descriptor="fold"
        )
        found = dissimilarities(second_moment(states, classes, folds, 4, "residuals"), "crossnobis")
        np.testing.assert_allclose(found, expected.get_matrices()[0], atol=1e-12)


def test_correlations_do_not_see_how_strong_patterns_are():
    patterns = np.random.default_rng(5).normal(size=(4, 9))
    patterns -= patterns.mean(axis=0)
    weak = patterns * 0.2
    found = [dissimilarities(one @ one.T, "correlation") for one in (patterns, weak)]
    np.testing.assert_allclose(found[0], found[1], atol=1e-12)
    expected = 1 - patterns[0] @ patterns[1] / np.linalg.norm(patterns[0]) / np.linalg.norm(patterns[1])
    assert found[0][0, 1] == pytest.approx(expected)
    negative = dissimilarities(np.diag([1.0, -1.0, 1.0]), "correlation")
    assert np.isnan(negative[1, [0, 2]]).all()
    assert np.isfinite(negative[0, 2])


class TestCoefficients:
    def test_the_cosine_is_that_of_centred_gram_matrices(self):
        rng = np.random.default_rng(6)
        patterns = rng.normal(size=(2, 5, 7))
        grams = patterns @ patterns.swapaxes(1, 2)
        matrices = dissimilarities(grams, "crossnobis")
        centred = doubly_centred(grams).reshape(2, -1)
        expected = centred[0] @ centred[1] / np.prod(np.linalg.norm(centred, axis=1))
        one, other = features(matrices, "cosine")
        assert one @ other == pytest.approx(expected)

    def test_rho_a_is_the_rank_correlation_without_ties(self):
        rng = np.random.default_rng(7)
        matrices = rng.normal(size=(2, 6, 6))
        matrices += matrices.swapaxes(1, 2)
        upper = [matrix[np.triu_indices(6, 1)] for matrix in matrices]
        one, other = features(matrices, "rho-a")
        assert one @ other == pytest.approx(stats.spearmanr(*upper).statistic)

    def test_only_rho_a_of_unrelated_matrices_is_zero(self):
        rng = np.random.default_rng(8)
        patterns = rng.normal(size=(400, 8, 12))
        matrices = dissimilarities(patterns @ patterns.swapaxes(1, 2), "crossnobis")
        mean = {
            name: np.mean(np.sum(features(matrices[::2], name) * features(matrices[1::2], name), axis=-1))
            for name in ("cosine", "rho-a")
        }
        assert mean["rho-a"] == pytest.approx(0, abs=0.04)
        assert mean["cosine"] > 0.2

    @pytest.mark.parametrize("coefficient", ["cosine", "rho-a"])
    def test_the_true_matrix_lies_at_the_ceiling(self, coefficient):
        rng = np.random.default_rng(9)
        true = rng.normal(size=(8, 20))
        true = dissimilarities(true @ true.T, "crossnobis")[None]
        noise = rng.normal(size=(12, 8, 8)) * 8
        members = true + noise + noise.swapaxes(1, 2)
        lower, upper = noise_ceiling(members, coefficient)
        own = np.mean(features(members, coefficient) @ features(true, coefficient)[0])
        assert lower - 0.05 < own < upper + 0.02
        unrelated = noise_ceiling(noise + noise.swapaxes(1, 2), coefficient)
        assert unrelated[0] < lower - 0.2

    def test_a_model_with_few_different_relabellings_has_no_p(self):
        rng = np.random.default_rng(10)
        pairs = np.kron(np.eye(2), np.ones((2, 2)))
        members = 1 - pairs + 0.01 * rng.normal(size=(8, 4, 4))
        found = compare_model(members + members.swapaxes(1, 2), 1 - pairs, "cosine", 0)
        assert found.different == 3
        assert np.isnan(found.test.p)
        assert found.test.trials.smallest_p == pytest.approx(1 / 3)


def planted(same=True, members=6, trials=60, seed=0):
    """Return a recording whose members tell six items in two groups; or items alike, in states they have in common."""
    rng = np.random.default_rng(seed)
    item = np.arange(trials) % 6
    group = item // 3
    shared = 0.7 * rng.normal(size=(trials, 2, 10))
    if same:
        patterns = np.eye(10)[item] * 0.8 + np.where(group[:, None] == 1, 2.6, 0.0) * np.eye(10)[9]
        shared = shared + patterns[:, None]
    states = [
        shared @ np.linalg.qr(rng.normal(size=(10, 10)))[0] + 0.3 * rng.normal(size=shared.shape)
        for _ in range(members)
    ]
    return recording(states, item=item, group=group, random=np.array([0, 1, 2, 0, 1, 2])[item])


class TestModels:
    def test_the_planted_model_is_found_and_another_is_not(self):
        result = compare_conditions(
            planted(), label=("item",), model=("group", "random"), times=(1,), permutations=39
        )
        rows = result.models.loc[1]
        # Of the ten ways to part six items in halves it is the best.
        assert rows.loc["group", "coefficient"] > rows.loc["group", "chance"] + 0.3
        assert rows.loc["group", "smallest_p"] == pytest.approx(0.1)
        assert rows.loc["random", "coefficient"] < rows.loc["random", "null_95"]
        assert rows.loc["random", "coefficient"] < rows.loc["group", "lower"] <= rows.loc["group", "upper"]
        assert result.distances.loc[1, "found"].sum() >= 6
        assert "no p: 0.1 is the smallest attainable" in result.headline()

    def test_pairs_that_do_not_differ_are_not_found_though_members_share_their_states(self):
        found, over_members = 0, 0
        for seed in range(4):
            table = compare_conditions(
                planted(same=False, members=8, seed=seed), label=("item",), times=(0,), permutations=39
            ).distances
            found += bool(table["found"].any())
            over_members += bool((table["p_members"] <= 0.05).any())
        assert found <= 1
        assert over_members >= 3

    def test_of_few_members_p_is_empty(self):
        result = compare_conditions(planted(members=2), label=("item",), times=(1,), permutations=19)
        assert result.distances["p_members"].isna().all()
        assert result.models["p"].isna().all()

    def test_a_file_is_a_model_in_any_order_of_its_rows(self, tmp_path):
        path = tmp_path / "groups.csv"
        order = [4, 0, 2, 5, 1, 3]
        rows = [",".join(["", *map(str, order)])]
        rows += [",".join([str(i), *(str(int(i // 3 != j // 3)) for j in order)]) for i in order[::-1]]
        path.write_text("\n".join(rows))
        result = compare_conditions(
            planted(), label=("item",), model=("group", str(path)), times=(1,), permutations=19
        )
        table = result.models.loc[1]
        np.testing.assert_allclose(*table[["coefficient", "p_conditions"]].to_numpy())
        assert list(table.index) == ["group", "groups"]

    def test_differences_of_numbers_are_a_model(self):
        result = compare_conditions(
            planted(), label=("item",), model=("item:difference",), times=(1,), permutations=19
        )
        assert result.names == ("item:difference",)

    def test_without_a_label_as_many_as_make_three_conditions(self):
        rng = np.random.default_rng(11)
        first, second = np.arange(48) % 2, np.arange(48) // 2 % 2
        tree = recording([rng.normal(size=(48, 2, 5))], first=first, second=second)
        assert compare_conditions(tree, permutations=19).conditions.name == "first × second"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a row and a column for each of a, b; got columns none, rows none"),
        (",a\na,0", "expected a row and a column for each of a, b; got columns a, rows a"),
        (",a,b\na,0,x\nb,1,0", "expected numbers; could not convert string to float: 'x'"),
        (",a,b\na,0\nb,1,0", "groups.csv: expected"),
        (",a,b\na,0,nan\nb,1,0", "expected a finite number in each of 2 columns and rows"),
        (",a,b\na,0,2\nb,1,0", "expected a symmetric matrix"),
    ],
)
def test_a_file_that_is_no_matrix_is_refused(text, message, tmp_path):
    path = tmp_path / "groups.csv"
    path.write_text(text)
    with pytest.raises(AnalysisError, match=f"model: .*{message}"):
        read_matrix(path, ["a", "b"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label": ("group",)}, "label: must make 3 to 200 conditions; group makes 2"),
        ({"label": ("choice",)}, "label: must be one of"),
        ({"label": ("item",), "model": ("choice",)}, "model: must be one of"),
        (
            {"label": ("random",), "model": ("item",)},
            "model: must have one value in each condition; 'item' has",
        ),
        ({"label": ("item",), "model": ("none.csv",)}, "model: no such file: none.csv"),
        ({"label": ("item",), "times": (7,)}, "times: must be steps .*got 7"),
        ({"label": ("item",), "folds": 9}, "folds: item 0 has 10 trials; 9 folds need 18"),
        ({"label": ("item",), "permutations": 3}, "permutations: must be at least 19"),
        ({"label": ("item",), "probe_noise": -1.0}, "probe_noise: must be a number ≥ 0"),
    ],
)
def test_one_line_says_what_does_not_fit(options, message):
    with pytest.raises(AnalysisError, match=message):
        compare_conditions(planted(members=1), **options)
