"""Conditions from a file: what is left out follows, and what is wrong is refused by place."""

import json
import re

import pytest

from emt.errors import UserError
from emt.interventions.condition import UNCHANGED, Condition, cut
from emt.interventions.conditions_file import read_conditions_file


def test_what_is_left_out_follows_from_the_edit(tmp_path):
    path = tmp_path / "conditions.json"
    given = [
        {"name": "half", "edit": "scale", "target": "queried", "amount": 0.5},
        {"name": "missed", "edit": "scale", "target": "queried", "at": "query", "control": "half"},
        {"name": "exchanged", "edit": "shuffle", "part": "memory", "after": 8},
    ]
    path.write_text(json.dumps(given), encoding="utf-8")
    assert read_conditions_file(path) == (
        UNCHANGED,
        cut(8),
        Condition("half", "scale", kind="writes", target="queried", amount=0.5, control="unchanged"),
        Condition("missed", "scale", kind="reads", target="queried", at="query", control="half"),
        Condition("exchanged", "shuffle", "memory", 8, cut(8).name),
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "at least 1 item"),
        ([{"name": "a"}], "[0].edit: expected a value; got none"),
        ([{"name": "a", "edit": "scale", "amuont": 0.5}], "[0].amuont: expected"),
        ([{"name": "a", "edit": "scale", "amount": "half"}], '[0].amount: expected a number; got "half"'),
        ([{"name": "a", "edit": "scale", "draws": 0}], "[0].draws: expected a number ≥ 1; got 0"),
        ([{"name": "a", "edit": "scale", "kind": "guess"}], "[0].kind: expected"),
        ({"name": "a"}, "expected a list"),
    ],
)
def test_what_is_wrong_is_refused_by_place_in_one_line(content, message, tmp_path):
    path = tmp_path / "conditions.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(UserError, match=re.escape(message)) as refused:
        read_conditions_file(path)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)
