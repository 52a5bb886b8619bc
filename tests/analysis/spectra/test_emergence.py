"""Planted trainings: who reaches what, when, and how sure that is."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from analysis.errors import AnalysisError
from analysis.figures.spectra.emergence import draw, plot_measure
from analysis.spectra.emergence import follow_training

STEPS = (0, 10, 30, 70, 150)


@pytest.fixture
def train(make_population):
    """Return a function that makes checkpoints of members whose accuracy and spectrum come at given positions."""

    def make(accurate, spectral):
        population = make_population(len(accurate))
        return {
            step: dataclasses.replace(
                population, scalars=scalars(population.names, place, accurate, spectral)
            )
            for place, step in enumerate(STEPS)
        }

    def scalars(names, place, accurate, spectral):
        learnt, there = (place >= np.array(x) for x in (accurate, spectral))
        columns = {"accuracy": np.where(learnt, 1.0, 0.6), "spectral_error_deg": np.where(there, 1.0, 80.0)}
        return pd.DataFrame(columns, index=pd.Index(names, name="model_name"))

    return make


def test_each_member_crosses_at_its_first_checkpoint_above_the_bar(train):
    found = follow_training(train([1, 2, 9], [2, 2, 3]))
    assert found.crossings["accuracy_step"].tolist()[:2] == [10, 30]
    assert np.isnan(found.crossings["accuracy_step"].iloc[2])
    assert found.crossings["spectrum_step"].tolist() == [30, 30, 70]
    assert found.crossings["lag"].tolist()[:2] == [20, 0]
    assert (found.lag.estimate, found.lag.n) == (10, 2)
    assert "of n = 3 members 2 reach accuracy 0.99 and 3 a spectral error of 5°" in found.headline()


def test_a_lag_that_all_members_share_is_sure_and_one_of_either_sign_is_not(train):
    later = follow_training(train([1] * 8, [2, 3, 2, 3, 3, 2, 2, 3]))
    assert later.test.p == pytest.approx(2 / 2**8)
    assert later.lag.low > 0
    assert "steps later than accuracy" in later.headline()
    either = follow_training(train([1, 2] * 4, [2, 1] * 4))
    assert either.test.p == 1
    assert either.lag.low < 0 < either.lag.high
    assert "the spectrum appears at the same step as accuracy" in either.headline()


def with_intervals(checkpoints, width):
    """Return checkpoints whose accuracies have 95 % intervals over sequences of this width."""
    return {
        step: dataclasses.replace(
            p,
            scalars=p.scalars.assign(
                accuracy_low=p.scalars["accuracy"] - width / 2,
                accuracy_high=lambda x: x["accuracy"] + width / 2,
            ),
        )
        for step, p in checkpoints.items()
    }


def test_a_lag_that_other_test_sequences_could_turn_is_not_found(train):
    """All members cross the bar of .99 by .01 at once, two checkpoints before the spectrum."""
    checkpoints = train([1] * 8, [3] * 8)
    sure, unsure = (follow_training(with_intervals(checkpoints, width)) for width in (1e-3, 1.5))
    assert sure.test.members.p == unsure.test.members.p == 2 / 2**8
    assert sure.test.trials.p == sure.test.p == 2 / 200
    assert "p = 0.01, the larger of 0.01 over trials and 0.0078 over members" in sure.headline()
    assert unsure.test.trials.p == unsure.test.p > 0.5
    document = unsure.documents()["emergence_lag"]
    assert (document["p"], document["p_trials"]) == (unsure.test.p, unsure.test.trials.p)
    assert follow_training(checkpoints).test.trials is None


def test_without_a_lag_there_is_no_p_over_trials_either(train):
    none = follow_training(with_intervals(train([9] * 6, [1] * 6), 1e-3))
    assert np.isnan(none.test.trials.p)
    same = follow_training(with_intervals(train([2] * 6, [2] * 6), 1e-3))
    assert same.test.trials.p == 1


def test_members_that_were_not_measured_at_a_step_are_named(train):
    checkpoints = train([1] * 4, [2, 3, 2, 3])
    assert "undefined" not in follow_training(checkpoints).headline()
    checkpoints[30].scalars.loc["model-2", "accuracy"] = np.nan
    found = follow_training(checkpoints)
    assert "(accuracy or spectral error at some step undefined for 1 of 4: model-2)" in found.headline()


def test_means_are_over_members_at_each_step(train):
    means = follow_training(train([1, 2, 2, 4], [0, 0, 9, 9])).means
    assert means.loc[("accuracy", 10), "mean"] == pytest.approx((1 + 3 * 0.6) / 4)
    assert (means["n"] == 4).all()
    assert (means["low"] <= means["mean"]).all()


def test_who_never_learns_leaves_no_lag(train):
    found = follow_training(train([9, 9], [1, 1]))
    assert found.lag.n == 0
    assert "lag" not in found.headline()


def test_checkpoints_must_hold_the_same_members_and_a_theory(train):
    checkpoints = train([1, 1, 1], [1, 1, 1])
    with pytest.raises(AnalysisError, match="at least two evaluated checkpoints; got 1"):
        follow_training({0: checkpoints[0]})
    one = checkpoints[10]
    fewer = dataclasses.replace(one, names=one.names[:2], scalars=one.scalars[:2])
    with pytest.raises(AnalysisError, match="step 10: expected the members of the first checkpoint; model-3"):
        follow_training(checkpoints | {10: fewer})
    with pytest.raises(AnalysisError, match="no linear operator"):
        follow_training({step: dataclasses.replace(p, theory=None) for step, p in checkpoints.items()})
    with pytest.raises(AnalysisError, match=r"^accuracy_bar: must be a share above 0, at most 1; got 1.2"):
        follow_training(checkpoints, accuracy_bar=1.2)
    with pytest.raises(
        AnalysisError, match=r"^error_bar: must be an angle between 0 and 180 degrees; got 180"
    ):
        follow_training(checkpoints, error_bar=180.0)


def test_the_figure_shows_members_mean_bar_and_crossing(train):
    found = follow_training(train([1, 2, 2], [2, 3, 3]))
    [(name, figure)] = draw(found)
    assert name == "emergence"
    assert "n = 3 members" in figure.get_suptitle()
    ax = plot_measure(found, "accuracy")
    assert len(ax.lines) == 3 + 1 + 2
    assert ax.lines[-1].get_xdata()[0] == 30
    few = follow_training(train([9, 2, 9], [1, 1, 1]))
    assert len(plot_measure(few, "accuracy").lines) == 3 + 1 + 1
