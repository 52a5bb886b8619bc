"""Recordings whose trials are not the same, or not in one order, are not compared state by state."""

import numpy as np
import pytest
import xarray as xr

from analysis.errors import AnalysisError
from analysis.states.same_trials import check_same_trials


@pytest.fixture
def recording(make_recording):
    return make_recording(members=3, trials=5)


def permuted(recording, *names):
    """Return the recording with trials of these variables in another order."""
    order = [2, 0, 1, 4, 3]
    return recording.assign({name: recording[name].isel(batch=order) for name in names})


def blank(recording, *names):
    return recording.assign({name: xr.zeros_like(recording[name]) for name in names})


def test_the_same_trials_pass(recording):
    assert check_same_trials({"a": recording, "b": recording}) == ""


def test_two_texts_with_inputs_of_no_channels_are_told_apart(recording):
    text = recording.assign(
        inputs=xr.Variable(("batch", "time", "none"), np.zeros((5, recording.sizes["time"], 0)))
    )
    with pytest.raises(AnalysisError, match=r"token of 'a' and 'b' differ \(other values\)"):
        check_same_trials({"a": text, "b": permuted(text, "token")})
    with pytest.raises(AnalysisError, match=r"token of 'a' and 'b' differ \(only one of them has it\)"):
        check_same_trials({"a": text, "b": xr.DataTree(text.to_dataset().drop_vars("token"))})
    assert check_same_trials({"a": text, "b": text}) == ""


@pytest.mark.parametrize("name", ["targets", "group"])
def test_trials_in_another_order_that_were_shown_the_same_are_told_apart_by_their_labels(recording, name):
    labels = np.arange(5)[:, None] * np.ones((1, recording.sizes["time"]), dtype=int)
    same = blank(recording, "inputs", "token", "targets").assign(group=xr.Variable(("batch", "time"), labels))
    if name == "targets":
        targets = np.random.default_rng(0).normal(size=same["targets"].shape)
        same = same.assign(targets=xr.Variable(same["targets"].dims, targets))
    with pytest.raises(AnalysisError, match=f"{name} of 'a' and 'b' differ"):
        check_same_trials({"a": same, "b": permuted(same, name)})


def test_another_task_on_the_same_trials_is_compared_and_said(recording):
    """Trials that were shown different things are in one order if these are: their labels may be those of two tasks."""
    other = recording.assign(targets=recording["targets"] + 1)
    assert (
        check_same_trials({"a": recording, "b": other})
        == "The same inputs have other targets in b than in a."
    )
