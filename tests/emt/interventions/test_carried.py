"""What passes between members: all between networks that are rotations of each other, nothing from an unrelated one."""

import re
from dataclasses import replace

import numpy as np
import pytest
from planted.codes import batch_of, mean, pair_effects, planted

from emt.errors import UserError
from emt.interventions.carried import held_by, join_held
from emt.interventions.condition import Condition
from emt.interventions.intervene import intervene


@pytest.fixture(scope="module")
def pairs():
    return pair_effects()


@pytest.mark.parametrize("name", ["all variables of model-{}", "the state of model-{}, mapped"])
def test_rotations_of_each_other_carry_over_all(pairs, name):
    for number in (1, 2):
        assert (mean(pairs, name.format(number))[:2] == 1).all()
        # Of a trial that is none of theirs as many bits agree as by chance.
        control = mean(pairs, f"{name.format(number)}, of another trial")[:2]
        np.testing.assert_allclose(control, 0.5, atol=0.05)


@pytest.mark.parametrize("name", ["all variables of model-{}", "the state of model-{}, mapped"])
def test_an_unrelated_network_carries_over_no_more_than_its_control(pairs, name):
    for number, members in ((3, [1, 2]), (1, [3]), (2, [3])):
        carried, control = (
            mean(pairs.sel(member=members), name.format(number) + end) for end in ("", ", of another trial")
        )
        assert (np.abs(carried - control) < 0.15).all(), (number, carried, control)


def test_states_that_were_exchanged_are_kept(pairs):
    assert pairs["held"].dims == ("member", "trial", "state")
    assert pairs.sizes["trial"] == 100
    # Of rotations the distances between states are the same.
    first, second = (np.linalg.norm(np.diff(pairs["held"].values[k], axis=0), axis=1) for k in (0, 1))
    np.testing.assert_allclose(first, second, rtol=1e-5)


def test_parts_are_joined_in_order():
    loaded, codes = planted("orthogonal", 2)
    batch = batch_of(6)
    held = held_by(loaded, batch, batch, codes)
    joined = join_held([replace(held, numbers=(4, 7)), held])
    assert joined.numbers == (4, 7, 1, 2)
    assert joined.place(7) == 1
    np.testing.assert_array_equal(joined.states[1], joined.states[3])
    with pytest.raises(UserError, match="expected one of model-4, model-7, model-1, model-2; got model-3"):
        joined.place(3)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (Condition("a", "set", "all", 5, kind="members"), "edit must be one of swap; got 'set'"),
        (
            Condition("a", "swap", "all", 5, kind="members", target="own", source="model-9"),
            "source must be one of model-1, model-2; got 'model-9'",
        ),
        (
            Condition("a", "swap", "slot 1", 5, kind="members", target="own"),
            "part must be one of all; got 'slot 1'",
        ),
    ],
)
def test_pairs_that_cannot_be_are_refused_in_one_line(condition, message):
    loaded, codes = planted("orthogonal")
    batch = batch_of(6)
    held = held_by(loaded, batch, batch, codes)
    with pytest.raises(UserError, match=re.escape(f"'a': {message}")):
        intervene(loaded, batch, [condition], codes=codes, partners=held)
    with pytest.raises(UserError, match="members: expected what other members hold"):
        intervene(loaded, batch, [condition], codes=codes)
