"""Contents of memories: components, classes, spectrum."""

import dataclasses

import numpy as np
import pytest

from analysis.errors import AnalysisError
from analysis.memory.contents import analyse_memory
from analysis.memory.relabelling import NONE
from analysis.memory.separation import class_separation, component_auc


def test_classes_that_matter_separate_and_others_do_not():
    rng = np.random.default_rng(0)
    classes = np.repeat([0, 4, 7], 40)
    noise = rng.normal(size=(120, 5))
    shifted = noise + 9 * np.eye(5)[classes % 5]
    assert class_separation(shifted, classes) > 0.8
    assert abs(np.mean([class_separation(noise, rng.permutation(classes)) for _ in range(50)])) < 0.01
    assert class_separation(np.eye(5)[classes % 5], classes) == pytest.approx(1)


def test_points_without_a_class_do_not_count():
    points, classes = np.array([[0.0], [0.1], [5.0], [5.1], [99.0]]), np.array([0, 0, 1, 1, NONE])
    assert class_separation(points, classes) == class_separation(points[:4], classes[:4])


@pytest.mark.parametrize("classes", [[0, 0, 0], [0, 1, 2], [NONE] * 3])
def test_separation_needs_two_classes_and_points_to_spare(classes):
    assert np.isnan(class_separation(np.arange(3.0)[:, None], np.array(classes)))
    assert np.isnan(class_separation(np.zeros((4, 1)), np.array([0, 0, 1, 1])))


def test_values_that_carry_the_digit_are_told_apart_by_token(make_recording):
    recording = make_recording(trials=30)
    values = recording["memory/fast/write_value"].values
    values[:] = np.random.default_rng(2).normal(size=(37, 5))[recording["token"].values]
    separation = analyse_memory(recording, color_by="token").memories[0].separation
    assert (separation > 0.99).all()
    assert (
        analyse_memory(recording, color_by="trial").memories[0].separation < 0.5
    ).sum() == 0  # one trial: undefined
    assert (
        np.abs(analyse_memory(make_recording(trials=30), color_by="token").memories[0].separation) < 0.1
    ).all()


def test_values_are_those_written(make_recording):
    recording = make_recording(trials=6)
    recording["memory/fast/write_key"].values[:, 2, 4] = np.nan
    held = analyse_memory(recording, color_by="step").memories[0]
    assert [points.shape for points in held.coordinates] == [(65, 5)] * 3
    assert np.bincount(held.classes[0]).tolist() == [6, 6, 6, 6, 5, 6, 6, 6, 6, 6, 6]
    np.testing.assert_allclose([ratio.sum() for ratio in held.variance_ratio], 1)
    assert held.model_names == ("model-1", "model-3", "model-5")


def test_matrices_are_those_after_each_step(make_recording):
    recording = make_recording(members=2, trials=7)
    held = analyse_memory(recording, contents="matrices", color_by="step").memories[0]
    assert held.coordinates[0].shape == (77, 10)
    assert held.classes[0].tolist() == list(range(11)) * 7
    assert held.trials == 7


def test_rank_grows_with_each_write_of_a_new_key(make_recording):
    recording = make_recording(members=2, decay=1.0)
    values = recording["memory/fast/write_value"].values
    values[:] = np.eye(5)[np.arange(11) % 5]
    spectrum = analyse_memory(recording).memories[0].spectrum["mean"]
    np.testing.assert_allclose(spectrum["effective_rank"][:5], [1, 2, 3, 4, 5], rtol=1e-6)
    np.testing.assert_allclose(spectrum["singular_value_5"][[3, 4]], [0, 0.5], atol=1e-6)
    np.testing.assert_allclose(
        spectrum["singular_value_1"][10], 0.5 * 3**0.5, rtol=1e-6
    )  # keys 0, 5, 10: same value


def test_an_empty_memory_has_no_rank_and_no_separation(make_recording):
    analysis = analyse_memory(make_recording(strength=0.0), contents="matrices")
    assert (analysis.memories[0].spectrum["mean"] == 0).all()
    assert "an undefined share" in analysis.headline()


def test_long_recordings_are_replayed_at_some_steps_and_large_ones_in_some_trials(
    make_recording, monkeypatch
):
    monkeypatch.setattr("analysis.memory.contents.LARGEST_STEPS", 5)
    monkeypatch.setattr("analysis.memory.contents.LARGEST_SAMPLE", 5 * 65 * 3 + 1)
    held = analyse_memory(make_recording(members=2), contents="matrices").memories[0]
    assert held.spectrum.loc["effective_rank"].index.tolist() == [0, 2, 5, 8, 10]
    assert held.trials == 3
    assert held.coordinates[0].shape[0] == 15


def test_the_first_event_of_the_task_colours(make_recording):
    assert analyse_memory(make_recording(members=1)).color_by == "written"
    recording = make_recording(members=1).copy()
    for event in ("written", "asked", "token", "trial"):
        del recording[event]
    assert analyse_memory(recording).color_by == "step"
    with pytest.raises(AnalysisError, match=r"^color_by: must be one of step; got 'token'$"):
        analyse_memory(recording, color_by="token")


def test_too_few_contents_are_refused(make_recording):
    recording = make_recording(members=1)
    recording["memory/fast/write_key"].values[:] = np.nan
    with pytest.raises(AnalysisError, match="expected at least two contents; values has 0"):
        analyse_memory(recording)


def test_results_are_tables_arrays_and_a_sentence(make_recording):
    analysis = analyse_memory(make_recording(memories=("a", "b")), memory="b")
    tables = analysis.tables()
    assert tables["memory_contents"].index.tolist() == [("b", f"model-{k}") for k in (1, 3, 5)]
    assert tables["memory_separation"].loc["b", "members"] == 3
    assert tables["memory_spectrum"].index.names == ["memory", "quantity", "step"]
    arrays = analysis.arrays()
    assert set(arrays) == {
        *(f"memory_b_model-{k}_values" for k in (1, 3, 5)),
        "memory_b_keys_similarity",
        "memory_b_values_similarity",
    }
    assert arrays["memory_b_model-1_values"].shape == (220, 6)
    assert analysis.headline().startswith("memory b: 'written' explains ")
    assert "members: 3, trials: 20" in analysis.headline()


def test_nothing_is_written_to_the_recording(make_recording):
    recording = make_recording()
    before = recording.copy(deep=True)
    analyse_memory(recording, contents="matrices")
    assert before.identical(recording)


def test_a_line_that_tells_classes_apart_has_an_auc_of_one_and_shuffled_classes_a_half():
    rng = np.random.default_rng(0)
    classes = np.repeat([3, 8], [40, 60])
    positions = np.where(classes == 3, -2.0, 2.0) + rng.uniform(-1, 1, 100)
    assert component_auc(positions, classes) == 1
    assert component_auc(-positions, classes) == 1
    assert np.mean([component_auc(positions, rng.permutation(classes)) for _ in range(50)]) < 0.56
    assert component_auc(np.zeros(100), classes) == 0.5
    pairs = (positions[classes == 8, None] + 1.5 * rng.normal(size=(60, 1)) > positions[classes == 3]).mean()
    assert 0.5 < pairs < 1


def test_the_auc_is_the_share_of_pairs_in_order_averaged_over_classes():
    rng = np.random.default_rng(1)
    positions, classes = rng.integers(0, 9, 30).astype(float), rng.integers(0, 3, 30)
    shares = []
    for kind in range(3):
        inside, outside = positions[classes == kind, None], positions[classes != kind]
        share = (inside > outside).mean() + 0.5 * (inside == outside).mean()
        shares.append(max(share, 1 - share))
    assert component_auc(positions, classes) == pytest.approx(np.mean(shares))
    with_none = np.append(classes, NONE), np.append(positions, 99.0)
    assert component_auc(with_none[1], with_none[0]) == pytest.approx(np.mean(shares))
    assert np.isnan(component_auc(positions, np.zeros(30, np.int64)))


def test_members_without_a_number_are_counted_and_named_and_left_out_of_medians(make_recording):
    analysis = analyse_memory(make_recording(trials=9), color_by="token")
    held = analysis.memories[0]
    partly = dataclasses.replace(
        held, auc=np.array([0.6, np.nan, 0.8]), separation=np.array([np.nan, 0.1, 0.2])
    )
    some = dataclasses.replace(analysis, memories=(partly,))
    assert some.tables()["memory_separation"].loc[held.memory, "auc_median"] == pytest.approx(0.7)
    assert "AUC 0.70 (median; shuffled" in some.headline()
    assert "undefined for 1 of 3: model-3;" in some.headline()
    assert "undefined for 1 of 3: model-1);" in some.headline()
    assert "undefined" not in analysis.headline()
    none = dataclasses.replace(analysis, memories=(dataclasses.replace(held, auc=np.full(3, np.nan)),))
    assert "the AUC of its classes along PC 1 is undefined for all members" in none.headline()


def test_positions_that_differ_by_rounding_tell_no_classes_apart():
    """All points are in one place but for noise of 1e-9, which happens to go with the class."""
    classes = np.repeat([0, 1], 15)
    positions = np.append(0.7 + 1e-9 * classes, 0.7)
    assert component_auc(positions, np.append(classes, NONE)) == 0.5
    assert component_auc(positions + 1e-3 * np.append(classes, 0), np.append(classes, NONE)) == 1.0


def test_values_that_hold_the_class_on_their_first_component_have_an_auc_of_one(make_recording):
    recording = make_recording(trials=30)
    classes = recording["written"].values % 2
    values = recording["memory/fast/write_value"].values
    values[:] = np.random.default_rng(2).normal(size=values.shape)
    values[..., 0] += 20 * classes
    recording["written"].values[:] = classes
    analysis = analyse_memory(recording)
    assert (analysis.memories[0].auc > 0.99).all()
    assert (analysis.memories[0].shuffled_auc < 0.65).all()


def test_what_is_recalled_is_counted_by_magnitude_in_a_linear_memory_and_by_sign_beside_it(make_recording):
    analysis = analyse_memory(make_recording(strength=-0.5))
    table = analysis.tables()["memory_contents"]
    assert (table[["recalled", "recalled_magnitude"]] == 1).all(axis=None)
    assert (table["recalled_sign"] == 0).all()
    assert (
        "recalled in 100.0 % (100.0 to 100.0 %) of queries by magnitude, by sign in 0.0 %; "
        in analysis.headline()
    )
    assert "by sign" not in analyse_memory(make_recording()).headline()


def test_how_often_the_right_item_is_recalled_is_said(make_recording):
    right, shuffled = (analyse_memory(make_recording(shuffled=s)) for s in (False, True))
    assert (right.memories[0].recalled > 0.9).all()
    assert (shuffled.memories[0].recalled < 0.5).all()
    assert "the queried item is recalled in " in right.headline()
    assert "is recalled in" not in analyse_memory(make_recording(asked=False)).headline()


@pytest.mark.parametrize("keys", [5, 6, 7])
def test_weights_that_a_memory_is_added_to_have_spectra_of_their_own(trace_of, keys):
    rng, shape, values = np.random.default_rng(0), (2, 3, 4), 5
    arrays = {
        "write_key": (keys,),
        "write_value": (values,),
        "read_query": (1, keys),
        "read_value": (1, values),
    }
    memory = {name: rng.normal(size=(*shape, *rest)) for name, rest in arrays.items()}
    memory |= {
        f"write_{name}": np.full(shape, x) for name, x in (("strength", 0.5), ("erase", 0.0), ("keep", 1.0))
    }
    base = rng.normal(size=(2, values, keys))
    plain = trace_of({"m": {**memory, "rule": {"kind": "linear", "reads": "before"}}}, {}, {})
    layer = trace_of({"m": {**memory, "base": base, "rule": {"kind": "linear", "reads": "before"}}}, {}, {})
    spectrum = analyse_memory(layer, color_by="step").memories[0].spectrum["mean"]
    assert not any(
        n.startswith("weights") for n, _ in analyse_memory(plain, color_by="step").memories[0].spectrum.index
    )
    weights = base[:, None, None] + 0.5 * np.einsum(
        "mbtv,mbtk->mbtvk", memory["write_value"], memory["write_key"]
    ).cumsum(2)
    largest = np.linalg.svd(weights, compute_uv=False)[..., 0].mean(axis=(0, 1))
    np.testing.assert_allclose(spectrum["weights_singular_value_1"], largest)
    assert ("weights_spectral_radius" in spectrum.index.unique("quantity")) == (keys <= 6)
    if keys <= 6:
        radius = np.abs(np.linalg.eigvals(weights[..., :values])).max(axis=-1).mean(axis=(0, 1))
        np.testing.assert_allclose(spectrum["weights_spectral_radius"], radius)
