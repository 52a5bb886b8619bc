import numpy as np
import pytest

from analysis import follow_conditions
from analysis.conditions.means import condition_means, squared_speeds
from analysis.conditions.trajectories import MEAN
from analysis.errors import AnalysisError
from tests.planted.conditions import recording

STEPS, TRIALS, UNITS = 12, 48, 15


def rotated_members(members=6, noise=0.5, same=True, seed=0):
    """Return states that pass through a planted path in each of three conditions, each member in its own directions.

    If not the ``same``, every member has paths of its own.
    """
    rng = np.random.default_rng(seed)
    label = np.arange(TRIALS) % 3

    def paths():
        return rng.normal(size=(3, STEPS, 4)) * np.array([2.0, 1.5, 1.2, 0.3])

    shared, states = paths(), []
    for _ in range(members):
        axes = np.linalg.qr(rng.normal(size=(UNITS, 4)))[0].T
        path = (shared if same else paths()) @ axes
        states.append(path[label] + noise * rng.normal(size=(TRIALS, STEPS, UNITS)))
    return recording(states, sample=label, stage=np.tile(np.arange(STEPS) // 5, (TRIALS, 1))), shared


class TestAlignment:
    def test_members_that_take_one_path_in_other_directions_share_it(self):
        tree, shared = rotated_members()
        result = follow_conditions(tree, permutations=39)
        row = result.shared.loc["conditions"]
        assert row["agreement"] > 0.95
        assert row["agreement"] > row["chance_high"] + 0.2
        assert row["p"] == pytest.approx(1 / 40)
        assert result.aligned
        # Their mean is the path, but for its size and direction: distances between its states are those of the path.
        mean = result.lines.loc[MEAN, ["axis_1", "axis_2", "axis_3"]].to_numpy()
        planted = shared.reshape(-1, 4)
        planted = planted - planted.mean(axis=0)
        left, singular, _ = np.linalg.svd(planted, full_matrices=False)
        axes = (left * singular)[:, :3]
        found = np.corrcoef((mean @ mean.T).ravel(), (axes @ axes.T).ravel())[0, 1]
        assert found > 0.99

    def test_members_with_paths_of_their_own_are_not_averaged(self):
        tree, _ = rotated_members(same=False)
        result = follow_conditions(tree, permutations=39)
        row = result.shared.loc["conditions"]
        assert row["agreement"] < row["chance_high"] + 0.1
        assert not result.aligned
        assert MEAN not in result.axes.index.get_level_values("model_name")
        assert "too little for a mean: model-" in result.headline()

    def test_one_member_is_drawn_alone(self):
        tree, _ = rotated_members(members=1)
        result = follow_conditions(tree, permutations=19)
        assert not result.aligned
        assert result.shared.empty
        assert "n = 1 member)" in result.headline()
        assert "model-1 alone" in result.headline()

    def test_the_scale_of_a_member_is_taken_out_and_reported(self):
        tree, _ = rotated_members(members=3)
        scaled = tree.assign(hidden=tree["hidden"] * np.array([1.0, 7.0, 1.0])[:, None, None, None])
        before, after = (follow_conditions(one, permutations=19) for one in (tree, scaled))
        # States count in units of their spread.
        np.testing.assert_allclose(after.members, before.members)
        np.testing.assert_allclose(after.lines, before.lines)


class TestAxes:
    def test_axes_of_means_are_those_of_the_code_and_axes_of_states_those_of_the_noise(self):
        rng = np.random.default_rng(1)
        label = np.arange(60) % 2
        code = np.zeros((60, 6, 9))
        code[..., 0] = (2 * label - 1)[:, None]
        noise = rng.normal(size=code.shape) * np.array([0.1, 0.1, 2, 2, 2, 0.1, 0.1, 0.1, 0.1])
        tree = recording([code + noise], sample=label)
        shares = {
            pca: follow_conditions(tree, pca=pca, permutations=19).axes.groupby("model_name").sum().iloc[0]
            for pca in ("means", "states")
        }
        assert shares["means"]["of_means"] > 0.8
        assert shares["states"]["of_states"] > shares["means"]["of_states"]
        assert shares["states"]["of_means"] < shares["means"]["of_means"] - 0.1

    def test_every_condition_counts_once_however_many_trials_it_has(self):
        rng = np.random.default_rng(2)
        centres = np.eye(3)[:, None] * np.array([3.0, 2.0, 1.0])
        few = np.repeat([0, 1, 2], [4, 5, 60])
        even = np.repeat([0, 1, 2], 10)
        axes = []
        for label in (few, even):
            states = centres[label] + 1e-3 * rng.normal(size=(len(label), 2, 3))
            axes.append(
                follow_conditions(recording([states], sample=label), permutations=19).axes["of_means"]
            )
        np.testing.assert_allclose(*axes, atol=1e-2)

    def test_axes_point_the_same_way_whatever_the_sign_of_the_states(self):
        tree, _ = rotated_members(members=1)
        mirrored = tree.assign(hidden=-tree["hidden"])
        lines = [follow_conditions(one, permutations=19).lines["axis_1"] for one in (tree, mirrored)]
        np.testing.assert_allclose(*lines)


class TestSpeed:
    def test_is_without_the_bias_of_few_trials(self):
        rng = np.random.default_rng(3)
        velocity, found, plain = np.array([0.2, -0.15, 0.0, 0.0]), [], []
        for _ in range(200):
            states = np.arange(5)[None, :, None] * velocity + 0.3 * rng.normal(size=(8, 5, 4))
            given = states, np.ones((8, 5), bool), np.zeros(8, int), 1
            found.append(squared_speeds(*given).mean())
            means, _ = condition_means(*given)
            plain.append(np.sum(np.diff(means, axis=1) ** 2, axis=-1).mean())
        assert np.mean(found) == pytest.approx(velocity @ velocity, rel=0.1)
        # Eight trials of which both steps are noisy: 2 · 4 · 0.09 / 8 more.
        assert np.mean(plain) - np.mean(found) == pytest.approx(0.09, rel=0.1)

    def test_a_state_that_stands_still_has_none(self):
        rng = np.random.default_rng(4)
        label = np.arange(40) % 2
        still = np.repeat(rng.normal(size=(40, 1, 6)), 5, axis=1)
        result = follow_conditions(recording([still, 2 * still], sample=label), permutations=19)
        np.testing.assert_allclose(result.speed["mean"], 0, atol=1e-12)


def test_trials_that_end_early_are_left_out_where_too_few_are_left():
    rng = np.random.default_rng(5)
    label = np.arange(24) % 2
    number = np.where(np.arange(9) < np.where(np.arange(24) < 20, 7, 9)[:, None], 0, -1)
    tree = recording([rng.normal(size=(24, 9, 5)) + label[:, None, None]], sample=label, trial=number)
    result = follow_conditions(tree, label=("sample",), permutations=19)
    assert result.dimension["n"].tolist() == [24] * 7
    assert np.isfinite(result.lines.to_numpy()).all()


def test_several_labels_make_their_combinations_and_targets_the_first_sign():
    rng = np.random.default_rng(6)
    first, second = np.arange(32) % 2, np.arange(32) // 2 % 2
    tree = recording([rng.normal(size=(32, 3, 4))], first=first, second=second)
    result = follow_conditions(tree, label=("first", "second"), permutations=19)
    assert result.conditions.name == "first × second"
    assert result.conditions.values[2] == "first 1, second 0"
    np.testing.assert_array_equal(result.conditions.first, 2 * first + second)


def test_stages_are_marked_where_most_trials_start_them():
    tree, _ = rotated_members(members=1)
    assert follow_conditions(tree, label=("sample",), permutations=19).starts == {
        "stage 0": 0,
        "stage 1": 5,
        "stage 2": 10,
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label": ("choice",)}, r"label: must be one of .*sample.*; got 'choice'"),
        ({"label": ("sample", "sample")}, "label: must name different labels"),
        ({"label": ("rare",)}, "label: rare 1 has 3 trials; 2 folds need 4 of each class"),
        ({"components": 2}, "components: must be at least 3; got 2"),
        ({"permutations": 9}, "permutations: must be at least 19"),
        ({"model": 7}, "model: must be one of model-1; got 7"),
        (
            {"label": ("sample", "rare", "sample2"), "demix": True},
            "demix: splits states by one or two labels",
        ),
        ({"label": ("sample", "nested"), "demix": True}, "demix: .* there is none of sample 1, nested 0"),
    ],
)
def test_one_line_says_what_does_not_fit(options, message):
    rng = np.random.default_rng(7)
    label = np.arange(48) % 2
    events = {
        "sample": label,
        "sample2": np.arange(48) // 2 % 2,
        "rare": (np.arange(48) < 3).astype(int),
        "nested": np.where(label == 1, 1, np.arange(48) // 2 % 2),
    }
    if len(options.get("label", ())) == 3:
        events["rare"] = np.arange(48) // 4 % 2
    tree = recording([rng.normal(size=(48, 3, 5))], **events)
    with pytest.raises(AnalysisError, match=message):
        follow_conditions(tree, **options)
