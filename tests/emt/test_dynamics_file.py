"""The portrait's schema and its file."""

import json
import re

import numpy as np
import pytest

from emt import dynamics_file
from emt.dynamics_file import TraceError


@pytest.fixture
def whole(make_portrait):
    return make_portrait()


def test_it_survives_its_file(whole, tmp_path):
    path = tmp_path / "dynamics" / "seq5.nc"
    dynamics_file.save(whole, path)
    assert dynamics_file.load(path).identical(whole)
    assert [p.name for p in path.parent.iterdir()] == ["seq5.nc"]


def test_one_without_points_survives_too(make_portrait, tmp_path):
    dynamics_file.save(make_portrait(points=0), tmp_path / "seq5.nc")
    assert dynamics_file.load(tmp_path / "seq5.nc").sizes["point"] == 0


@pytest.mark.parametrize("name", dynamics_file.VARIABLES)
def test_a_variable_that_lacks_or_has_other_axes_is_named(whole, name):
    with pytest.raises(TraceError, match=f"here: expected the variable '{name}'; found "):
        dynamics_file.check(whole.drop_vars(name), "here")
    turned = whole.assign({name: (("other", *whole[name].dims), whole[name].values[None])})
    with pytest.raises(TraceError, match=rf"expected '{name}' with axes \(.*\); got \('other'"):
        dynamics_file.check(turned)


def test_what_is_no_portrait_is_refused(whole, tmp_path):
    path = tmp_path / "seq5.nc"
    with pytest.raises(TraceError, match=re.escape(f"no such file: {path} (portrait)")):
        dynamics_file.load(path)
    path.write_bytes(b"broken")
    with pytest.raises(TraceError, match=r"seq5\.nc: expected a whole NetCDF file"):
        dynamics_file.load(path)
    with pytest.raises(TraceError, match="expected an attribute 'about'"):
        dynamics_file.check(whole.drop_attrs())
    later = whole.assign_attrs(about=json.dumps(dynamics_file.about(whole) | {"format_version": 3}))
    with pytest.raises(TraceError, match="expected format version 2; got 3"):
        dynamics_file.check(later)


def test_a_portrait_knows_what_it_came_from(whole, tmp_path):
    path = tmp_path / "seq5.nc"
    assert not dynamics_file.is_marked(path, fingerprint="abc")
    dynamics_file.save(whole, path)
    assert not dynamics_file.is_marked(path, fingerprint="abc")
    marked = whole.assign_attrs(about=json.dumps(dynamics_file.about(whole) | {"fingerprint": "abc"}))
    dynamics_file.save(marked, path)
    assert dynamics_file.is_marked(path, fingerprint="abc")
    assert not dynamics_file.is_marked(path, fingerprint="abd")
    assert np.array_equal(dynamics_file.load(path)["owner"], whole["owner"])


def test_members_have_a_number_each(whole):
    numbers = whole["member"].values
    with pytest.raises(
        TraceError, match=rf"expected each model once; got model-{numbers[0]} \({len(numbers)} times\)"
    ):
        dynamics_file.check(whole.assign_coords(member=np.full_like(numbers, numbers[0])))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"searches": -1}, "about.searches: expected a number ≥ 0; got -1"),
        ({"fixed_speed": "small"}, 'about.fixed_speed: expected a number; got "small"'),
        ({"merge_distance": None}, "about.merge_distance: expected a number; got null"),
        ({"model": []}, r"about.model: expected an object; got \[\]"),
    ],
)
def test_what_it_says_of_itself_is_checked(whole, wrong, message):
    said = whole.assign_attrs(about=json.dumps(dynamics_file.about(whole) | wrong))
    with pytest.raises(TraceError, match=f"^portrait: {message}$"):
        dynamics_file.check(said)


def test_points_belong_to_members_and_drives_have_names(whole):
    owners = whole["owner"].values.copy()
    owners[-1] = 99
    with pytest.raises(TraceError, match=r"expected members of \[.*\] in 'owner'; got \[99\]"):
        dynamics_file.check(whole.assign(owner=("point", owners)))
    with pytest.raises(TraceError, match=r"expected the coordinate 'drive' to be \['recorded', 'silence'\]"):
        dynamics_file.check(whole.assign_coords(drive=["silence", "recorded"]))


@pytest.mark.parametrize("numbers", [[0, 1, 2], [-1, 2, 3], [1.0, 2.0, 3.0]])
def test_members_are_numbered_from_one(whole, numbers):
    with pytest.raises(TraceError, match="expected integers from 1 in the coordinate 'member'; got "):
        dynamics_file.check(whole.assign_coords(member=numbers))
