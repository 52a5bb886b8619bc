from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.distance import cdist

import emt
from analysis import Networks, measure_degeneracy
from analysis.errors import AnalysisError
from analysis.statistics import pair_mean
from emt.commands.known_systems.recordings import plant_answers

TARGETS = np.ones((30, 10, 1))


def answering(wrong, seeds=(), **options):
    """Return networks that answer wrongly at given shares of the steps, each at places of its own."""
    outputs = np.ones((len(wrong), *TARGETS.shape))
    flat = outputs.reshape(len(wrong), -1)
    for place, (own, share) in enumerate(zip(flat, wrong, strict=True)):
        own[
            np.random.default_rng((len(wrong), place)).permutation(flat.shape[1])[
                : round(share * flat.shape[1])
            ]
        ] = -1
    recording = plant_answers(outputs, TARGETS)
    about = recording.attrs["about"]
    recording.attrs["about"] = about[:-1] + f', "seeds": {list(seeds)}}}'
    return Networks(recording, options=options)


def settings(**options):
    """Return three settings of six networks each; the wider, the fewer wrong answers."""
    rng = np.random.default_rng(0)
    return {
        f"width {width}": answering(
            share * rng.uniform(0.8, 1.2, 6), hidden_dim=width, type="rnn", bias=True, **options
        )
        for width, share in ((16, 0.2), (32, 0.1), (64, 0.05))
    }


def test_a_trend_is_found_over_the_one_number_that_settings_differ_in():
    result = measure_degeneracy(settings(epochs=3))
    assert result.setting == "hidden_dim"
    slope = result.trends.loc["disagreement"]
    assert slope["per"] == "doubling"
    assert slope["high"] < 0
    assert slope["p"] < 0.001
    assert slope["p"] <= slope["p_holm"]
    rows = result.settings.xs("disagreement", level="measure")
    assert rows["setting"].tolist() == [16, 32, 64]
    assert (np.diff(rows["estimate"]) < 0).all()
    assert slope["slope"] == pytest.approx((rows["estimate"].iloc[2] - rows["estimate"].iloc[0]) / 2)
    assert "hidden_dim: disagreement -0." in result.headline()
    assert "width 16 (n = 6): accuracy 0.80" in result.headline()
    alike = {name: answering([0.1] * 6, hidden_dim=width) for name, width in (("a", 16), ("b", 32))}
    assert not measure_degeneracy(alike).trends.loc["disagreement", "p"] < 0.05


def test_the_scale_of_a_trend_follows_the_values_or_is_given():
    penalties = {n: answering([0.1, 0.2, 0.3], l2=x) for n, x in (("a", 0.0), ("b", 1e-4), ("c", 1e-3))}
    assert measure_degeneracy(penalties).trends["per"].unique().tolist() == ["setting"]
    assert measure_degeneracy(penalties, scale="linear").trends["per"].unique().tolist() == ["unit"]
    with pytest.raises(AnalysisError, match="must be linear or order for values that are not all positive"):
        measure_degeneracy(penalties, scale="log2")


def test_seeds_that_all_settings_share_are_left_out_of_all_at_once():
    wrong = [0.1, 0.2, 0.3, 0.4]
    same = {n: answering(wrong, seeds=(1, 2, 3, 4), size=size) for n, size in (("a", 1), ("b", 2))}
    row = measure_degeneracy(same).trends.loc["disagreement"]
    assert bool(row["paired"])
    assert (row["low"], row["high"]) == (pytest.approx(0, abs=1e-12), pytest.approx(0, abs=1e-12))
    other = same | {"b": answering(wrong, seeds=(5, 6, 7, 8), size=2)}
    row = measure_degeneracy(other).trends.loc["disagreement"]
    assert not row["paired"]
    assert row["high"] > 0.05


def test_answers_are_those_on_other_trials_where_these_are_recorded():
    inside, outside = answering([0.0, 0.0, 0.0]), answering([0.1, 0.2, 0.4])
    result = measure_degeneracy({"x": replace(inside, outside=outside.recording)})
    assert result.members["accuracy"].tolist() == pytest.approx([0.9, 0.8, 0.6])
    assert measure_degeneracy({"x": inside}).members["accuracy"].tolist() == [1.0, 1.0, 1.0]
    others = replace(inside, outside=answering([0.1, 0.2]).recording)
    with pytest.raises(AnalysisError, match="recorded of other members"):
        measure_degeneracy({"x": others})


def test_distances_of_dynamics_are_said_not_to_be_resolved_where_half_of_them_is_floor():
    noise = np.random.default_rng(1).normal(size=(4, 12, 8, 3))
    result = measure_degeneracy({"noise": Networks(emt.from_arrays(noise).recording)})
    row = result.settings.loc[("noise", "dmdc")]
    assert not row["resolved"]
    assert row["floor"] > row["estimate"] / 2
    assert ": not resolved]" in result.headline()
    assert "no symmetry of units is known for the model 'own'" in result.headline()
    assert "No comparison of answers" in result.remark
    assert row["estimate"] == pytest.approx(result.pairs["dmdc"].mean())


def test_levels_go_together_where_distances_do():
    """Dynamics and answers of networks that lie on a line: rank correlation of their distances."""
    at = np.linspace(0, 1, 8)
    inputs = np.random.default_rng(2).normal(size=(20, 12, 1))
    states = np.zeros((8, 20, 12, 1))
    for step in range(1, 12):
        states[:, :, step] = (0.1 + 0.8 * at)[:, None, None] * states[:, :, step - 1] + inputs[:, step]
    recording = emt.from_arrays(list(states), inputs=inputs).recording
    wrong = np.where(np.arange(300) < (200 * at[:, None]).round(), -1.0, 1.0).reshape(8, 30, 10, 1)
    result = measure_degeneracy({"line": Networks(recording, plant_answers(wrong, TARGETS))})
    row = result.levels.loc[("line", "disagreement", "dmdc")]
    expected = pair_mean(cdist(at[:, None], at[:, None])).estimate * 0.8
    assert result.settings.loc[("line", "dmdc"), "estimate"] == pytest.approx(expected, abs=0.02)
    assert row["rank_correlation"] > 0.95
    assert row["p"] <= 0.001
    shuffled = replace(
        Networks(recording), outside=plant_answers(wrong[np.random.default_rng(3).permutation(8)], TARGETS)
    )
    assert measure_degeneracy({"line": shuffled}).levels.loc[("line", "disagreement", "dmdc"), "p"] > 0.05


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"setting": "pulse_rate"},
            "must be a number that all settings have, such as hidden_dim; got 'pulse_rate'",
        ),
        ({"components": 0}, "must be at least 1; got 0"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(AnalysisError, match=message):
        measure_degeneracy(settings(), **options)


def test_one_member_is_refused():
    with pytest.raises(AnalysisError, match="x: expected at least two members; got 1"):
        measure_degeneracy({"x": answering([0.1])})
