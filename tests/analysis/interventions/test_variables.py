"""Exchanged variables over members: planted shares, controls and directions are told as they are."""

import numpy as np
import pytest

from analysis import summarise_interventions
from analysis.figures.interventions import summary as figures


def test_planted_exchanges_are_told_beside_their_controls(make_variable_effects):
    """Set 38 of 40, swap 30, random 4 plus the place: over six members 6.5; two tests of a slot at each step."""
    result = summarise_interventions(make_variable_effects(6))
    assert result.variables.index.unique("after").tolist() == [3, 5, 7]
    row = result.variables.loc[5, "set", "slot 2"]
    expected = {"n": 6, "interchange": 0.95, "ceiling": 39 / 40, "random": 6.5 / 40, "wrong_slot": 0.0}
    assert row[list(expected)].to_dict() == pytest.approx(expected)
    assert row["effect"] == pytest.approx(31.5 / 40)
    assert (row["p"], row["p_holm"]) == pytest.approx((2 / 2**6, 2 * 2 / 2**6))
    swap = result.variables.loc[5, "swap", "slot 2"]
    assert (swap["interchange"], swap["effect"]) == pytest.approx((0.75, 23.5 / 40))
    rest = result.variables.loc[5, "swap", "all but variables"]
    assert rest["kept"] == 1
    assert np.isnan(rest["interchange"])
    assert np.isnan(rest["random"])


def test_directions_are_told_as_they_are(make_variable_effects):
    """Columns e and 0.6 e + 0.8 f: singular values √1.6 and √0.4 each, condition number 2."""
    codes = summarise_interventions(make_variable_effects(3)).codes
    assert codes["condition_number"].to_list() == pytest.approx([2] * 3)
    assert codes["slot_cosine"].to_list() == pytest.approx([0.6] * 3)
    # Each unit's block of two slots and two bits has one bit alone: of rank one.
    assert codes["unit_share"].to_list() == pytest.approx([1] * 3)
    # With one factor for each slot: the Gram matrix of slots is 2 (1, 0.6; 0.6, 1), its values 3.2 and 0.8.
    assert codes["scalar_share"].to_list() == pytest.approx([0.8] * 3)


def test_a_member_without_directions_is_left_out_and_named(make_variable_effects):
    effects = make_variable_effects(7)
    effects["basis"][2] = np.nan
    for name in ("right", "counterfactual_right", "kept_right"):
        effects[name][2] = np.nan
    result = summarise_interventions(effects)
    assert result.variables.loc[5, "set", "slot 2"]["n"] == 6
    assert "left out, without directions of variables: model-5" in result.headline()
    assert np.isnan(result.codes.loc["model-5", "condition_number"])


def test_the_headline_tells_the_middle_step_and_refuses_a_p_of_few(make_variable_effects):
    text = summarise_interventions(make_variable_effects(6)).headline()
    assert text.startswith("slot 2 exchanged after 5 steps: 95.0 % (")
    assert "answer a set value" in text
    assert "in random directions 16.2 %: 78.8 points (" in text
    assert "p = 0.031 (Holm 0.062)" in text
    assert "everything else swapped 100.0 % stay right" in text
    assert "condition number of Ψ 2 to 2, |cosine| of a bit in two slots 0.60" in text
    assert "too few for a p" in summarise_interventions(make_variable_effects(5)).headline()
    assert "trials of one network" in summarise_interventions(make_variable_effects(1)).headline()


def test_no_directions_at_all_are_said(make_variable_effects):
    effects = make_variable_effects(2)
    for name in ("right", "counterfactual_right", "kept_right", "basis"):
        effects[name][:] = np.nan
    result = summarise_interventions(effects)
    assert "variables were not exchanged: no member has directions of them" in result.headline()
    assert len(dict(figures.draw(result))) == 1


def test_the_figure_shows_exchanges_and_controls(make_variable_effects, layout_faults):
    drawn = dict(figures.draw(summarise_interventions(make_variable_effects(6))))
    assert list(drawn) == ["interventions_variables"]
    lines = {line.get_label(): line.get_ydata() for line in drawn["interventions_variables"].axes[0].lines}
    expected = {"set": 0.95, "swap": 0.75, "set, random directions": 6.5 / 40, "wrong slot": 0.0}
    for label, value in expected.items():
        np.testing.assert_allclose(lines[label], value, err_msg=label)
    np.testing.assert_allclose(lines["right, nothing exchanged"], 39 / 40)
    assert not [fault for figure in drawn.values() for fault in layout_faults(figure)]
