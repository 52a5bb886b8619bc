"""The schema of effects of interventions, and their file."""

import json

import numpy as np
import pytest

from emt import effects
from emt.effects import TraceError


def test_they_survive_their_file(make_effects, tmp_path):
    found = make_effects()
    effects.save(found, tmp_path / "interventions" / "seq11.nc")
    assert effects.load(tmp_path / "interventions" / "seq11.nc").identical(found)
    assert [c.name for c in effects.conditions(found)] == found["condition"].values.tolist()


@pytest.mark.parametrize("name", effects.VARIABLES)
def test_a_variable_that_is_missing_is_named(make_effects, name):
    with pytest.raises(TraceError, match=f"here: expected the variable '{name}'; found "):
        effects.check(make_effects().drop_vars(name), "here")


def test_conditions_and_what_they_are_compared_with_are_named(make_effects):
    found = make_effects()
    about = effects.about(found)
    about["conditions"] = about["conditions"][::-1]
    with pytest.raises(TraceError, match="expected the coordinate 'condition' to name the conditions"):
        effects.check(found.assign_attrs(about=json.dumps(about)))
    about = effects.about(found)
    about["conditions"][1]["control"] = "nobody"
    with pytest.raises(TraceError, match="expected controls that are conditions; got 'nobody'"):
        effects.check(found.assign_attrs(about=json.dumps(about)))
    about["conditions"][1] = {"name": 3}
    with pytest.raises(TraceError, match=r"about.conditions"):
        effects.check(found.assign_attrs(about=json.dumps(about)))


def test_members_that_are_taken_apart_and_joined_are_what_they_were(make_effects):
    found = make_effects(3)
    parts = [effects.select(found, number) for number in (1, 3, 5)]
    assert parts[1]["member"].values.tolist() == [3]
    assert effects.about(parts[1])["seeds"] == [1]
    joined = effects.join(parts, fingerprint="abc")
    np.testing.assert_array_equal(joined["right"], found["right"])
    assert effects.about(joined) == effects.about(found) | {"fingerprint": "abc"}


def test_effects_know_what_they_came_from(make_effects, tmp_path):
    path = tmp_path / "seq11.nc"
    assert not effects.is_marked(path, length=11)
    effects.save(make_effects(), path)
    assert effects.is_marked(path, length=11)
    assert not effects.is_marked(path, length=12)
