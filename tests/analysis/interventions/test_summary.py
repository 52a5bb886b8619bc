"""Effects over members: planted ones are found, and no p is given that members are too few for."""

import json

import numpy as np
import pandas as pd
import pytest

from analysis import summarise_interventions
from analysis.figures.interventions import summary as figures
from analysis.figures.interventions.prediction import panels
from analysis.interventions.prediction import r_squared
from emt import effects as effects_file


def test_a_planted_effect_is_found_and_no_other(make_effects):
    """36 of 40 are right; without memory 4 plus the place: over six members 6.5 of 40, 29.5 less."""
    result = summarise_interventions(make_effects(6))
    row = result.population.loc["shuffle memory after 2"]
    assert row["accuracy"] == pytest.approx(6.5 / 40)
    assert row["effect"] == pytest.approx(29.5 / 40)
    assert row["control_accuracy"] == pytest.approx(0.9)
    assert row["p"] == pytest.approx(2 / 2**6)
    # Nine conditions have a p.
    assert row["p_holm"] == pytest.approx(9 * 2 / 2**6)
    moving = result.population.loc["shuffle moving after 2"]
    # An exchange that helps has a negative effect: 36 plus the place, at most 40.
    assert moving["effect"] == pytest.approx(-np.mean([0, 1, 2, 3, 4, 4]) / 40)
    assert np.isnan(result.population.loc["cut after 2", "effect"])
    assert result.states.index.unique("part").tolist() == ["moving", "memory", "all"]


def test_without_an_effect_the_interval_holds_zero(make_effects):
    effects = make_effects(8)
    rng = np.random.default_rng(0)
    effects["right"][:] = rng.random(effects["right"].shape) < 0.5
    rows = summarise_interventions(effects).population.dropna(subset="effect")
    covered = (rows["effect_low"] < 0) & (rows["effect_high"] > 0)
    assert covered.mean() > 0.8
    assert rows["p_holm"].min() > 0.05


def test_five_members_have_no_p_and_the_headline_says_so(make_effects):
    result = summarise_interventions(make_effects(5))
    assert result.population["p"].isna().all()
    assert "too few for a p: 0.062 is the smallest attainable" in result.headline()
    assert "p = " in summarise_interventions(make_effects(6)).headline()


def test_one_member_has_an_interval_over_its_trials(make_effects):
    result = summarise_interventions(make_effects(1))
    row = result.population.loc["shuffle memory after 3"]
    # Wilson's interval of 4 of 40.
    assert (row["low"], row["high"]) == pytest.approx((0.0396, 0.2305), abs=1e-3)
    assert "trials of one network" in result.headline()


def test_a_member_that_is_undefined_is_left_out_and_named(make_effects):
    effects = make_effects(7)
    effects["right"][2] = np.nan
    result = summarise_interventions(effects)
    assert result.population.loc["shuffle memory after 2", "n"] == 6
    assert "accuracy undefined for 1 of 7: model-5" in result.headline()
    assert result.population.loc["shuffle memory after 2", "p"] == pytest.approx(2 / 2**6)


def test_figures_show_what_was_planted(make_effects, layout_faults):
    result = summarise_interventions(make_effects(6))
    drawn = dict(figures.draw(result))
    assert list(drawn) == ["interventions_states", "interventions_parts"]
    lines = {line.get_label(): line.get_ydata() for line in drawn["interventions_states"].axes[0].lines}
    np.testing.assert_allclose(lines["memory"], 6.5 / 40)
    np.testing.assert_allclose(lines["unchanged"], 0.9)
    assert not [fault for figure in drawn.values() for fault in layout_faults(figure)]


def test_planted_writes_are_what_answers_depend_on(make_write_effects):
    """Without the queried write 4 plus the place of 40 are right, with another's missing 38: 31.5 less."""
    result = summarise_interventions(make_write_effects(6))
    row = result.population.loc["without queried"]
    assert row["accuracy"] == pytest.approx(6.5 / 40)
    assert row["effect"] == pytest.approx(31.5 / 40)
    # Three conditions on writes have a control; those on doses are corrected among themselves.
    assert row["p_holm"] == pytest.approx(3 * 2 / 2**6) or row["p_holm"] == pytest.approx(2 * 2 / 2**6)
    assert result.population.loc["queried x 0.5", "p_holm"] == pytest.approx(2 / 2**6)
    # Swapped values count as answers of the source: 39 against 1 of 40.
    swap = result.population.loc["queried with the value of another answer"]
    assert (swap["effect"], swap["counterfactual_right"]) == pytest.approx((38 / 40, 39 / 40))
    assert result.worth == pytest.approx(1.0)


def test_doses_and_single_writes_are_as_planted(make_write_effects):
    result = summarise_interventions(make_write_effects(6))
    doses = result.doses["accuracy"]
    assert doses["queried"].to_dict() == pytest.approx({0.0: 6.5 / 40, 0.5: 22.5 / 40, 1.0: 38 / 40})
    assert doses["other"].to_dict() == pytest.approx({0.0: 0.95, 0.5: 0.95, 1.0: 0.95})
    # Of both items half of the first 38 queries and half of the first 6.5.
    assert result.single["accuracy"].groupby("steps_before").mean().to_dict() == pytest.approx(
        {1: 0.95, 2: 6.5 / 40}
    )
    assert result.single["queries"].to_list() == [20, 20, 20, 20]


def test_predictions_are_as_good_as_planted(make_write_effects):
    """The query's reads cost 0.9 of all, m, the estimate says 0.5: R² = 1 - Σ(0.1 m)² / Σ(m - mean)²."""
    found = make_write_effects(6)
    result = summarise_interventions(found)
    rows = result.prediction
    assert rows["bias"].to_list() == pytest.approx([0.9] * 6, abs=1e-5)
    assert rows["linear_bias"].to_list() == pytest.approx([0.5] * 6, abs=1e-5)
    places = np.arange(40) / 40
    total = np.concatenate([10 * (1 + places), 1 + places])
    for column, missed in (("r2", 0.1), ("linear_r2", 0.5)):
        expected = 1 - np.square(missed * total).sum() / np.square(total - total.mean()).sum()
        assert rows[column].to_list() == pytest.approx([expected] * 6, abs=1e-5)
    assert rows["measured"].to_list() == pytest.approx([-10 * (1 + places.mean())] * 6, abs=1e-4)
    assert np.isnan(result.norm_effect)
    # Negative control: estimates of other queries predict nothing.
    points = result.points.xs("model-1")
    shuffled = points["predicted"].sample(frac=1, random_state=0).to_numpy()
    assert r_squared(pd.Series(shuffled), points["measured"].reset_index(drop=True)) < 0.2


def test_the_step_that_is_tested_was_chosen_beforehand_and_the_others_are_a_curve(make_effects):
    """Three parts at one step: p is corrected for three tests, not for all steps."""
    found = make_effects(10)
    about = effects_file.about(found)
    for condition in about["conditions"]:
        condition["kind"] = "states" if condition["after"] == 2 else "curve"
    result = summarise_interventions(found.assign_attrs(about=json.dumps(about)))
    rows = result.population
    assert rows.loc["shuffle memory after 2", "p_holm"] == pytest.approx(3 * 2 / 2**10)
    assert rows.loc["shuffle memory after 3", "p_holm"] == pytest.approx(6 * 2 / 2**10)
    assert result.headline().startswith("after 2 steps")
    assert result.states.index.unique("after").tolist() == [1, 2, 3]


def test_a_control_that_does_not_match_is_said(make_write_effects):
    """Lags of the control one standard deviation off: 2 ± 1 beside 1 ± 1."""
    found = make_write_effects(6)
    found["lag"][:] = 1 + np.where(np.arange(40) % 2, 1.0, -1.0)
    same = summarise_interventions(found)
    assert same.population.loc["without queried", "mismatch"] == 0
    assert "standard deviations off" not in same.headline()
    assert np.isnan(same.population.loc["unchanged", "mismatch"])
    found["lag"].loc[{"condition": "without other"}] += 1
    result = summarise_interventions(found)
    assert result.population.loc["without queried", "mismatch"] == pytest.approx(1.0)
    assert "the control's writes are 1.0 standard deviations off in lag or size" in result.headline()


def test_conditions_of_ones_own_are_told_one_by_one(make_write_effects):
    found = make_write_effects(6)
    renamed = {"without queried": "mine", "without other": "theirs"}
    about = effects_file.about(found)
    for condition in about["conditions"]:
        condition["name"] = renamed.get(condition["name"], condition["name"])
        condition["control"] = renamed.get(condition.get("control", ""), condition.get("control", ""))
    names = [renamed.get(name, name) for name in found["condition"].values.tolist()]
    text = summarise_interventions(
        found.assign_coords(condition=names).assign_attrs(about=json.dumps(about))
    ).headline()
    assert "theirs: 95.0 % (95.0 to 95.0) are right (unchanged: 95.0 %)" in text
    assert "are right (theirs: 95.0 %), p = 0.031 (Holm " in text


def test_a_headline_says_what_was_removed_and_refuses_a_p_of_few(make_write_effects):
    text = summarise_interventions(make_write_effects(6)).headline()
    assert text.startswith("without the queried item's write 16.2 % (")
    assert "are right, without another's 95.0 %: 78.8 points (" in text
    assert "p = 0.031 (Holm " in text
    assert "97.5 % answer a swapped value (control 2.5 %)" in text
    assert (
        "too few for a p: 0.062 is the smallest" in summarise_interventions(make_write_effects(5)).headline()
    )
    assert "trials of one network" in summarise_interventions(make_write_effects(1)).headline()


def test_figures_of_writes_show_what_was_planted(make_write_effects, layout_faults):
    drawn = dict(figures.draw(summarise_interventions(make_write_effects(6))))
    assert list(drawn) == [f"interventions_{name}" for name in ("writes", "dose", "map", "prediction")]
    lines = {line.get_label(): line.get_ydata() for line in drawn["interventions_dose"].axes[0].lines}
    np.testing.assert_allclose(lines["queried item"], [6.5 / 40, 22.5 / 40, 0.95])
    shown = drawn["interventions_map"].axes[0].images[0].get_array()
    np.testing.assert_allclose(shown.mean(axis=0), [6.5 / 40, 0.95])
    assert not [fault for figure in drawn.values() for fault in layout_faults(figure)]


def test_what_no_trial_has_is_left_out_of_figures(make_write_effects):
    """Where no trial has another item, conditions on others have no place, and their strengths no line."""
    found = make_write_effects()
    others = [c.name for c in effects_file.conditions(found) if c.name.startswith(("without other", "other"))]
    unknown = found["condition"].isin(others)
    scores = {n: found[n].where(~unknown) for n in ("right", "counterfactual_right", "margin")}
    drawn = dict(figures.draw(summarise_interventions(found.assign(scores))))
    ticks = [label.get_text() for label in drawn["interventions_writes"].axes[0].get_xticklabels()]
    assert ticks == ["unchanged", "without\nqueried", "without\nany", "value\nswapped"]
    labels = [line.get_label() for line in drawn["interventions_dose"].axes[0].lines]
    assert "queried item" in labels
    assert "other item" not in labels


def test_a_prediction_that_is_known_for_no_removal_of_a_kind_has_no_panel(make_write_effects):
    found = make_write_effects()
    names = [condition.name for condition in effects_file.conditions(found)]
    titles = []
    for unknown in ([], ["without other, at the query"], ["without other", "without queried"]):
        margin = found["margin"].values.copy()
        margin[:, [names.index(name) for name in unknown]] = np.nan
        result = summarise_interventions(found.assign(margin=(found["margin"].dims, margin)))
        titles.append(list(panels(result)))
        assert ("interventions_prediction" in dict(figures.draw(result))) == bool(titles[-1])
    assert titles == [["queried item's write", "another item's write"], ["queried item's write"], []]
