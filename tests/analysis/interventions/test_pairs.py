"""Pairs of members: causal similarity beside distances of states."""

import numpy as np
import pytest
from planted.codes import pair_effects

from analysis import summarise_interventions
from analysis.figures.interventions import summary as figures


@pytest.fixture(scope="module")
def effects():
    return pair_effects()


def test_rotations_carry_over_all_and_are_no_distance_apart(effects):
    result = summarise_interventions(effects)
    pair = result.pairs.table.loc["model-1", "model-2"]
    assert (pair["variables"], pair["map"]) == (1, 1)
    assert pair["variables_control"] == pytest.approx(0.5, abs=0.05)
    assert pair["cka"] == pytest.approx(0, abs=1e-3)
    other = result.pairs.table.loc["model-1", "model-3"]
    assert abs(other["variables"] - other["variables_control"]) < 0.15
    assert other["cka"] > 0.5
    assert result.arrays()["interventions_carried_map"].shape == (3, 3)


def test_what_is_lost_goes_with_the_distance_of_states(effects):
    """One near pair of three that also loses least: of the three orders of members one third agree as well."""
    rows = summarise_interventions(effects).pairs.agreement
    assert rows.index.unique("route").tolist() == ["variables", "map"]
    assert (rows.xs("variables", level="route")["rank_correlation"] > 0.4).all()
    assert (rows["n"] == 3).all()
    assert rows["p"].isna().all()


def test_the_headline_says_both(effects):
    text = summarise_interventions(effects).headline()
    assert "all variables from another member after 5 steps: through each one's own directions " in text
    assert "by a linear map of states" in text
    assert (
        "rank correlation of what is lost through each one's own directions and distance of states: cka "
        in text
    )
    assert "too few for a p" in text


def test_a_member_without_directions_takes_part_in_no_pair(effects):
    broken = effects.copy(deep=True)
    broken["counterfactual_right"][2] = np.nan
    result = summarise_interventions(broken)
    assert (result.pairs.agreement["n"] == 2).all()
    assert "too few pairs" in result.headline()
    broken["counterfactual_right"][:] = np.nan
    assert "nothing was put into other members" in summarise_interventions(broken).headline()


def test_two_figures_show_all_pairs(effects, layout_faults):
    drawn = dict(figures.draw(summarise_interventions(effects)))
    assert [name for name in drawn if "pairs" in name] == [
        "interventions_pairs_variables",
        "interventions_pairs_map",
    ]
    shown = drawn["interventions_pairs_variables"].axes[0].images[0].get_array()
    np.testing.assert_array_equal(shown[:2, :2], 1)
    assert not [fault for figure in drawn.values() for fault in layout_faults(figure)]
