"""YAML is read as JSON that says the same, and nothing in it runs."""

import json

import pytest

from emt import config as configuration
from emt import yaml_file
from emt.errors import UserError

TEXT = """\
# A comment.
task: {name: variable_binding, seq_length: 3}
model:
  type: rnn
  hidden_dim: 7
training:
  learning_rate: 5e-3
  curriculum: false
  curriculum_horizons: [4, 6]
  stop_accuracy: null
"""


def test_it_is_the_configuration_that_json_gives(tmp_path):
    (tmp_path / "a.yaml").write_text(TEXT)
    found = configuration.read(tmp_path / "a.yaml")
    (tmp_path / "a.json").write_text(json.dumps(found.model_dump()))
    assert configuration.read(tmp_path / "a.json") == found
    assert (found.training.learning_rate, found.training.curriculum_horizons) == (5e-3, (4, 6))
    assert found.model == {"type": "rnn", "hidden_dim": 7}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("-.5", -0.5),
        ("12", 12),
        ("010", 10),
        ("1:30", "1:30"),
        ("yes", "yes"),
        ("off", "off"),
        ("'12'", "12"),
        ("~", None),
        ("true", True),
        (".nan", ".nan"),
        ("1e999", "1e999"),
        ("2026-12-01", "2026-12-01"),
    ],
)
def test_plain_words_are_those_of_yaml_1_2(text, value):
    assert json.loads(yaml_file.to_json(f"a: {text}", "x")) == {"a": value}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2", "line 1, column 1: several values of a"),
        ("a: &x 1\nb: *x", "line 2, column 4: expected no alias"),
        ("a: 1\nb: !!python/object/apply:os.getcwd []", "line 2, column 4: expected no tag; got .*os.getcwd"),
        ("a: [1, 2", "line 1, column 9: expected ',' or ']'"),
        ("a: 1\n  b: 2", "line 2, column 4: mapping values are not allowed here"),
        ("? [1]\n: 2", "line 1, column 1: expected names that are text"),
        ("a: \x00", "special characters are not allowed"),
        ("[" * 4000, "nested too deeply"),
    ],
)
def test_what_json_has_not_is_refused(text, message):
    with pytest.raises(UserError, match=f"^here.yaml: not valid YAML: .*{message}"):
        yaml_file.to_json(text, "here.yaml")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "learning_rate: 5e-3",
            "lerning_rate: 5e-3",
            r"lerning_rate: no such field; did .* \(.*a.yaml, line 7\)",
        ),
        (
            "curriculum: false",
            "curriculum: no",
            r"curriculum: must be a valid boolean; got no \(.*a.yaml, line 8\)",
        ),
        ("[4, 6]", "[6, 4]", r"curriculum_horizons: must be ascending numbers; got 6 4 \(.*a.yaml, line 9\)"),
    ],
)
def test_a_wrong_field_is_named_with_its_line(tmp_path, old, new, message):
    (tmp_path / "a.yaml").write_text(TEXT.replace(old, new))
    with pytest.raises(UserError, match=message):
        configuration.read(tmp_path / "a.yaml")
