"""Similarities of the writes of a memory to each other."""

import json

import numpy as np
import pytest

from analysis.memory.write_similarity import compare_writes


def test_a_linear_memory_is_compared_by_the_cosine(make_recording):
    recording = make_recording(members=2, trials=3)
    recording["memory/fast/write_value"].values[..., 4] *= 30
    similarity = compare_writes(recording, "fast", np.zeros((3, 11), np.int64))
    assert similarity.measure == "cosine"
    assert similarity.model_names == ("model-1", "model-3")
    np.testing.assert_allclose(similarity.keys, np.stack([np.eye(11)] * 2), atol=1e-6)
    values = recording["memory/fast/write_value"].values[:, 0]
    unit = values / np.linalg.norm(values, axis=-1, keepdims=True)
    np.testing.assert_allclose(similarity.values, unit @ np.swapaxes(unit, 1, 2), atol=1e-5)


def test_writes_are_sorted_by_class_and_then_by_time(make_recording):
    recording = make_recording(members=1, trials=2)
    classes = np.array([[2, 0, 1, 0, 2, 1, 0, 0, 1, 2, 2]] * 2)
    plain, by_class = (compare_writes(recording, "fast", c) for c in (np.zeros_like(classes), classes))
    order = np.argsort(classes[0], kind="stable")
    assert by_class.classes.tolist() == sorted(classes[0])
    np.testing.assert_array_equal(by_class.values[0], plain.values[0][np.ix_(order, order)])


def test_steps_that_do_not_write_are_left_out(make_recording):
    recording = make_recording(members=2)
    recording["memory/fast/write_key"].values[1, 0, 3] = np.nan
    classes = np.broadcast_to(np.arange(11), (20, 11))
    assert compare_writes(recording, "fast", classes).classes.tolist() == [0, 1, 2, *range(4, 11)]


@pytest.mark.parametrize(("kind", "order"), [("l1", 1), ("l2", 2)])
def test_a_dictionary_is_compared_as_its_rule_says(make_recording, kind, order):
    recording = make_recording(members=1)
    about = json.loads(recording.attrs["about"])
    about["memories"]["fast"] = {"kind": "dictionary", "reads": "before", "similarity": kind}
    recording.attrs["about"] = json.dumps(about)
    similarity = compare_writes(recording, "fast", np.zeros((20, 11), np.int64))
    assert similarity.measure == f"−{kind} distance"
    keys = recording["memory/fast/write_key"].values[0, 0].astype(float)
    distance = np.linalg.norm(keys[:, None] - keys + 1e-6, ord=order, axis=-1)
    np.testing.assert_allclose(similarity.keys[0], -distance, atol=1e-6)
