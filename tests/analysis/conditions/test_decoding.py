import numpy as np
import pytest

import emt
from analysis import decode_label
from analysis.conditions.folds import relabelled
from analysis.conditions.trials import find_trials
from analysis.errors import AnalysisError
from tests.planted.conditions import recording, turning_code


def decoded(states, label, **options):
    return decode_label(recording(states, sample=label), label="sample", **{"permutations": 39, **options})


class TestCodesOverTime:
    def test_a_code_that_stays_is_read_at_all_steps(self):
        result = decoded(*turning_code(0), matrix=True)
        assert result.times["found"].all()
        assert result.matrix.mean(axis=0).min() > 0.7

    def test_a_code_that_turns_by_a_half_turn_is_read_the_wrong_way_round(self):
        result = decoded(*turning_code(180), matrix=True)
        mean = result.matrix.mean(axis=0)
        assert np.diag(mean).min() > 0.7
        assert mean[0, -1] < 0.3
        # At a quarter turn the axis says nothing of the class.
        assert mean[0, 4] == pytest.approx(0.5, abs=0.12)
        assert "reads" in result.headline()

    def test_the_diagonal_of_the_matrix_is_the_score_over_time(self):
        result = decoded(*turning_code(90), matrix=True)
        diagonal = np.diagonal(result.matrix, axis1=1, axis2=2)
        np.testing.assert_allclose(diagonal.ravel(), result.members["score"], atol=1e-12)


class TestChance:
    def test_a_label_without_meaning_is_not_found_though_all_members_agree_on_it(self):
        rng = np.random.default_rng(5)
        shared = rng.normal(size=(60, 8, 12))
        # Rotations of one state with noise, as members that see the same trials are.
        states = [
            shared @ np.linalg.qr(rng.normal(size=(12, 12)))[0] + 0.3 * rng.normal(size=shared.shape)
            for _ in range(12)
        ]
        results = [decoded(states, rng.permutation(np.arange(60) % 2)) for _ in range(5)]
        assert sum(bool(result.found) for result in results) <= 1
        over_members = [(result.times["p_members"] <= 0.05).any() for result in results]
        assert sum(over_members) >= 4

    def test_a_guess_has_one_over_the_classes_though_one_class_is_rare(self):
        rng = np.random.default_rng(0)
        label = (np.arange(80) % 5 == 0).astype(int)
        result = decoded([rng.normal(size=(80, 4, 10)) for _ in range(8)], label)
        np.testing.assert_allclose(result.times["chance"], 0.5, atol=0.03)
        assert result.times["mean"].mean() == pytest.approx(0.5, abs=0.06)

    def test_folds_of_whole_blocks_do_not_read_a_drift(self):
        """States drift slowly and labels come in runs: folds by trial find the drift, folds by block nothing."""
        found = {"": 0, "block": 0}
        for seed in range(5):
            rng = np.random.default_rng(seed)
            drift = np.cumsum(rng.normal(size=(80, 1, 15)), axis=0)
            blocks = np.arange(80) // 5
            label = rng.permutation(np.arange(16) % 2)[blocks]
            states = [drift + 0.1 * rng.normal(size=(80, 1, 15)) for _ in range(6)]
            tree = recording(states, sample=label, block=blocks)
            for unit in found:
                result = decode_label(tree, label="sample", blocks=unit, folds=4, permutations=39)
                found[unit] += bool(result.found)
        assert found[""] >= 4
        assert found["block"] <= 1

    def test_trials_that_repeat_without_noise_share_a_fold(self):
        rng = np.random.default_rng(2)
        once = rng.normal(size=(20, 3, 6))
        label = np.arange(20) % 2
        tree = recording([np.tile(once, (4, 1, 1))] * 2, sample=np.tile(label, 4))
        result = decode_label(tree, label="sample", permutations=39)
        # Twenty states of noise cannot be told by their copies.
        assert result.times["mean"].max() < 0.85


class TestAcross:
    """Two variables: a code that is the same in both levels of the second, or one of its own in each."""

    @staticmethod
    def of_code(own):
        rng = np.random.default_rng(4)
        first, second = (np.tile(levels, 20) for levels in ([0, 0, 1, 1], [0, 1, 0, 1]))
        axes = np.linalg.qr(rng.normal(size=(12, 3)))[0].T
        axis = axes[second] if own else axes[np.zeros(80, int)]
        code = 3 * (2 * first - 1)[:, None] * axis + 3 * (2 * second - 1)[:, None] * axes[2]
        states = [code[:, None] + rng.normal(size=(80, 1, 12)) for _ in range(6)]
        tree = recording(states, first=first, second=second)
        return [
            float(decode_label(tree, label="first", across=across, permutations=39).times["mean"].iloc[0])
            for across in ("", "second")
        ]

    def test_a_shared_axis_generalises(self):
        within, across = self.of_code(own=False)
        assert within > 0.95
        assert across > 0.95

    def test_axes_of_their_own_do_not(self):
        within, across = self.of_code(own=True)
        assert within > 0.95
        assert across == pytest.approx(0.5, abs=0.2)

    def test_within_asks_for_more_than_another_label_explains(self):
        rng = np.random.default_rng(6)
        cue = np.arange(80) % 2
        label = np.where(rng.random(80) < 0.9, cue, 1 - cue)
        states = [2 * (2 * cue - 1)[:, None, None] + rng.normal(size=(80, 3, 5)) for _ in range(6)]
        tree = recording(states, cue=cue, label=label)
        assert decode_label(tree, label="label", folds=3, permutations=39).found
        assert not decode_label(tree, label="label", within="cue", folds=3, permutations=39).found


class TestRegression:
    def test_reads_numbers(self):
        rng = np.random.default_rng(0)
        delay = rng.integers(12, 21, size=90)
        axis = rng.normal(size=8)
        states = [delay[:, None, None] * axis + 0.5 * rng.normal(size=(90, 2, 8)) for _ in range(6)]
        tree = recording(states, delay=delay)
        result = decode_label(tree, label="delay", score="r2", folds=3, permutations=39)
        assert result.times["mean"].min() > 0.95
        assert result.times["found"].all()
        # Of numbers without meaning it is below zero, so that zero is not chance.
        assert (result.times["chance"] < -0.02).all()


def test_labels_that_move_are_read_at_each_step():
    rng = np.random.default_rng(0)
    targets = np.where(rng.random((60, 6, 1)) < 0.5, -1.0, 1.0)
    axis = rng.normal(size=5)
    run = emt.from_arrays(
        [targets * axis + 0.5 * rng.normal(size=(60, 6, 5)) for _ in range(6)], targets=targets
    )
    result = decode_label(run.recording, label="target:0", folds=3, permutations=39)
    assert result.times["mean"].min() > 0.9
    assert result.labels.values == ("negative", "positive")


@pytest.fixture(scope="module")
def tree():
    rng = np.random.default_rng(0)
    label = np.arange(30) % 3
    phase = np.stack([np.arange(4) // 2] * 30)
    return recording([rng.normal(size=(30, 4, 5))], sample=label, phase=phase)


class TestStreams:
    """Trials that follow one another in a batch item are cut out, start together and share a fold."""

    def test_a_label_of_trials_in_a_stream_is_read(self):
        rng = np.random.default_rng(0)
        label = rng.integers(0, 2, size=(12, 5))
        lengths = np.tile([3, 4, 3, 4, 3], (12, 1))
        numbers = np.stack([np.repeat(np.arange(5), row) for row in lengths])
        classes = np.take_along_axis(label, numbers, axis=1)
        axis = rng.normal(size=6)
        states = [2 * (2 * classes - 1)[..., None] * axis + rng.normal(size=(12, 17, 6)) for _ in range(6)]
        result = decode_label(
            recording(states, sample=classes, trial=numbers), label="sample", permutations=39
        )
        # At the fourth step too few trials are left for each fold.
        assert result.times["n"].tolist() == [60, 60, 60]
        assert result.times["found"].all()
        assert "60 trials" in result.design

    def test_streams_change_places_with_those_of_the_same_levels_in_turn(self):
        units, levels = np.repeat(np.arange(6), 2), np.tile([0, 1, 1, 0, 0, 1], 2)
        for order in relabelled(units, levels[:, None], 30, seed=0):
            np.testing.assert_array_equal(levels[order], levels)
            # Trials of a stream stay together.
            np.testing.assert_array_equal(order[1::2], order[::2] + 1)

    def test_trials_are_cut_where_the_number_changes(self):
        tree = recording([np.zeros((2, 6, 1))], trial=np.array([[4, 4, 4, 7, 7, 7], [0, 1, 1, 1, 1, 1]]))
        trials = find_trials(tree)
        assert trials.rows.tolist() == [0, 0, 1, 1]
        assert trials.present.sum(axis=1).tolist() == [3, 3, 1, 5]
        assert trials.steps[3].tolist() == [1, 2, 3, 4, 5]
        ended = find_trials(recording([np.zeros((1, 5, 1))], trial=np.array([[0, 0, 0, -1, -1]])))
        assert ended.present.tolist() == [[True, True, True]]
        assert find_trials(recording([np.zeros((2, 6, 1))])).steps.tolist() == [list(range(6))] * 2


class TestRefusals:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"label": "choice"}, r"label: must be one of .*sample.*; got 'choice'"),
            ({"label": "sample", "folds": 6}, "sample 0 has 10 trials; 6 folds need 12 of each class"),
            ({"label": "phase"}, "at: must say which value of a trial counts"),
            ({"label": "phase", "at": "9"}, "at: must be first, last or a step from 0 to 3"),
            (
                {"label": "phase", "at": "first"},
                "label: must have at least two different values; 'phase' has 1",
            ),
            ({"label": "sample", "across": "choice"}, "across: must be one of"),
            ({"label": "sample", "blocks": "choice"}, "blocks: must be an event"),
            ({"label": "sample", "permutations": 9}, "permutations: must be at least 19"),
            ({"label": "sample", "probe_noise": -1.0}, "probe_noise: must be a number ≥ 0"),
        ],
    )
    def test_one_line_says_what(self, tree, options, message):
        with pytest.raises(AnalysisError, match=message):
            decode_label(tree, **options)

    def test_without_a_label_the_task_has_one_or_a_line_says_so(self, tree):
        assert decode_label(tree, permutations=39).labels.name == "sample"
        with pytest.raises(
            AnalysisError, match="label: must name what trials differ in; this recording has phase, sample"
        ):
            decode_label(tree.assign(sample=0 * tree["sample"]))

    def test_one_network_says_that_it_is_one(self, tree):
        result = decode_label(tree, label="sample", permutations=39)
        assert "n = 1 member, p over members needs more of them" in result.headline()
