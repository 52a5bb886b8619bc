"""Learning curves and test errors side by side."""

import dataclasses

import numpy as np
import pytest

from analysis.accuracy.learning import Learner, summarise_learning
from analysis.errors import AnalysisError


def learner(label="LSTM", panel="R = 20", errors=((90, 50, 10), (80, 60, 40)), test_errors=(9.0, 41.0)):
    return Learner(
        panel=panel,
        label=label,
        members=tuple(f"model-{i + 1}" for i in range(len(errors))),
        steps=np.array([500, 1000, 1500]),
        errors=np.array(errors, float),
        test_errors=np.array(test_errors),
    )


def test_a_curve_is_median_and_range_over_members():
    (curve,) = summarise_learning(
        [learner(errors=((90, 50, 10), (80, 60, 40), (70, 40, 12)), test_errors=(9, 41, 3))]
    ).curves
    assert curve.steps.tolist() == [500, 1000, 1500]
    assert curve.median.tolist() == [80, 50, 12]
    assert curve.low.tolist() == [70, 40, 10]
    assert curve.high.tolist() == [90, 60, 40]
    assert (curve.panel, curve.label, curve.n) == ("R = 20", "LSTM", 3)


def test_members_that_ended_early_leave_the_curve():
    (curve,) = summarise_learning([learner(errors=((90, np.nan, np.nan), (80, 60, np.nan)))]).curves
    assert curve.steps.tolist() == [500, 1000], "a step without any member is no step"
    assert curve.median.tolist() == [85, 60]


def test_errors_are_mean_spread_and_t_interval():
    errors = np.array([1.0, 2.0, 4.0, 6.0, 8.0])
    row = summarise_learning([learner(errors=np.ones((5, 3)), test_errors=errors)]).errors.loc[
        ("R = 20", "LSTM")
    ]
    assert tuple(row[["n", "mean", "median", "best", "worst"]]) == (5, 4.2, 4.0, 1.0, 8.0)
    assert row["std"] == pytest.approx(errors.std(ddof=1))
    # A logit of errors in percent, with the standard error over its slope m (100 - m) / 100.
    reach = 2.7764451 * errors.std(ddof=1) / np.sqrt(5) * 100 / (4.2 * 95.8)
    assert row["high"] == pytest.approx(100 / (1 + 95.8 / 4.2 * np.exp(-reach)))
    assert row["low"] == pytest.approx(100 / (1 + 95.8 / 4.2 * np.exp(reach)))
    far = summarise_learning([learner(test_errors=(0.0, 1.0))]).errors.iloc[0]
    assert 0 < far["low"] < 0.5 < far["high"] < 100, "no error is below zero"


def test_a_single_member_has_no_spread():
    row = summarise_learning([learner(errors=((90, 50, 10),), test_errors=(9.0,))]).errors.iloc[0]
    assert (row["n"], row["mean"]) == (1, 9)
    assert row[["std", "low", "high"]].isna().all()


def test_tables_have_a_row_for_each_population_and_each_member():
    summary = summarise_learning([learner(), learner("IRNN"), learner(panel="R = 50")])
    tables = summary.tables()
    assert tables["test_errors"].index.tolist() == [
        ("R = 20", "LSTM"),
        ("R = 20", "IRNN"),
        ("R = 50", "LSTM"),
    ]
    assert tables["test_errors_by_member"].loc[("R = 20", "IRNN", "model-2"), "test_error"] == 41


@pytest.mark.parametrize("learners", [[], [learner(), learner()]])
def test_what_cannot_be_told_apart_is_refused(learners):
    with pytest.raises(AnalysisError, match="expected populations of different panels and labels"):
        summarise_learning(learners)


def test_a_member_that_stands_twice_is_named():
    one = learner(errors=np.ones((2, 3)), test_errors=np.ones(2))
    with pytest.raises(AnalysisError, match=r"LSTM: expected each model once; got model-1 \(2 times\)$"):
        summarise_learning([dataclasses.replace(one, members=("model-1", "model-1"))])
