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
