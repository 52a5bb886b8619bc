"""Accuracy by kind of trial."""

import dataclasses

import numpy as np
import pytest

from analysis.accuracy.groups import Answered, summarise_groups
from analysis.errors import AnalysisError


def answered(label="FWM", members=3, groups=(1, 3, 20), right=None):
    right = (
        np.random.default_rng(0).uniform(0.2, 1, (members, len(groups)))
        if right is None
        else np.asarray(right)
    )
    right.setflags(write=False)
    return Answered(label, tuple(f"model-{i + 1}" for i in range(members)), groups, right)


def test_means_are_over_members_group_by_group():
    one = answered()
    table = summarise_groups([one]).accuracies.loc["FWM"]
    assert list(table.index) == [1, 3, 20]
    np.testing.assert_allclose(table["mean"], 100 * one.right.mean(axis=0))
    np.testing.assert_allclose(table["std"], 100 * one.right.std(axis=0, ddof=1))
    assert (table["n"] == 3).all()
    assert ((table["low"] < table["mean"]) & (table["mean"] < table["high"])).all()


def test_a_member_that_was_not_asked_does_not_count():
    right = [[0.5, np.nan], [1.0, 0.25]]
    table = summarise_groups([answered(members=2, groups=(1, 2), right=right)]).accuracies.loc["FWM"]
    assert table["n"].tolist() == [2, 1]
    assert table["mean"].tolist() == [75.0, 25.0]
    assert np.isnan(table["low"][2]), "one member has no interval"
    assert table["high"][1] <= 100


def test_populations_stand_side_by_side_in_the_order_given():
    summary = summarise_groups([answered(), answered("LSTM", 2, (1, 2))])
    assert summary.labels == ["FWM", "LSTM"]
    assert summary.groups == [1, 2, 3, 20]
    assert len(summary.tables()["accuracy_by_group_and_member"]) == 9 + 4


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(AnalysisError, match="expected populations of different labels; got"):
        summarise_groups([answered(), answered()])
    with pytest.raises(AnalysisError, match=r"got \[\]"):
        summarise_groups([])


def test_a_member_that_stands_twice_is_named():
    twice = dataclasses.replace(answered(), members=("a", "b", "a"))
    with pytest.raises(AnalysisError, match=r"^FWM: expected each model once; got a \(2 times\)$"):
        summarise_groups([twice])
