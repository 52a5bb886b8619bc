"""Summaries are checked where they are read: one line says file, place, what was expected and what stands there."""

import copy
import json

import pytest

from emt import runs
from emt.errors import UserError

NUMBERS = "a pair [re, im] of finite numbers up to 1e+60"


@pytest.fixture
def refusal(tmp_path, make_summary):
    """Return a function that changes a place of a summary and returns how the file is then refused."""
    content, path = make_summary(4, lengths=[8]), tmp_path / "evaluation_summary.json"

    def refuse(place, value):
        changed = copy.deepcopy(content)
        *way, last = place
        at = changed
        for part in way:
            at = at[part]
        at[last] = value
        path.write_text(json.dumps(changed))
        lines = []
        for compact in (True, False):
            with pytest.raises(UserError) as caught:
                runs.read_summary(path, compact=compact)
            lines.append(str(caught.value))
        assert lines[0] == lines[1]
        assert lines[0].isprintable(), "not one line"
        assert lines[0].startswith(f"{path}: ")
        return lines[0].removeprefix(f"{path}: ")

    return refuse


SPECTRUM = "eigenvalues_rnn_seq8"


@pytest.mark.parametrize(
    "pair", [["x", 1], [0.5, 0.5, 7], [0.5], "0.5", ["0.5", 0.5], [True, 0.5], None, 0.5, {}]
)
def test_an_eigenvalue_is_a_pair_of_numbers(refusal, pair):
    line = refusal(("metrics", 3, SPECTRUM, 2), pair)
    assert line == f"metrics[3].{SPECTRUM}[2]: expected {NUMBERS}; got {json.dumps(pair)}"


@pytest.mark.parametrize("number", [float("nan"), float("inf"), 1e308, -1e61])
def test_an_eigenvalue_is_finite_and_of_a_size_that_a_network_can_have(refusal, number):
    line = refusal(("metrics", 0, SPECTRUM, 1), [number, 0.0])
    assert line.startswith(f"metrics[0].{SPECTRUM}[1]: expected {NUMBERS}; got [")


@pytest.mark.parametrize(
    ("place", "value", "line"),
    [
        (("metrics", 1, "accuracy"), 7, "metrics[1].accuracy: expected a number ≤ 1; got 7"),
        (("metrics", 1, "accuracy"), "0.5", 'metrics[1].accuracy: expected a number; got "0.5"'),
        (("metrics", 1, "accuracy"), True, "metrics[1].accuracy: expected a number; got true"),
        (
            ("metrics", 1, "missing_modes_seq8"),
            -1,
            "metrics[1].missing_modes_seq8: expected a number ≥ 0; got -1",
        ),
        (("metrics", 1, "other"), 1e200, "metrics[1].other: expected a number ≤ 1e+150; got 1e+200"),
        (("metrics", 1, SPECTRUM), 3, f"metrics[1].{SPECTRUM}: expected a list of pairs [re, im]; got 3"),
        (
            ("metrics", 1, "model_name"),
            "a\x1b[31m",
            r'metrics[1].model_name: expected a name of 1 to 200 plain characters; got "a\u001b[31m"',
        ),
        (("evaluation_config",), 3, "evaluation_config: expected an object; got 3"),
        (
            ("evaluation_config",),
            {"evaluation": {"test_horizon": "9"}},
            'evaluation_config.evaluation.test_horizon: expected an integer; got "9"',
        ),
        (("failed",), [{"error": "x"}], "failed[0].model_name: expected a value; got none"),
        (("timestamp",), {}, "timestamp: expected text; got {}"),
        (("metrics", 1, "accuracy"), 10**400, "not valid JSON: an integer of 401 digits"),
        (("metrics", 1, SPECTRUM, 0), [10**400, 0], "not valid JSON: an integer of 401 digits"),
        (("metrics", 1, "a"), "\ud800", "not valid JSON: half a surrogate pair, which is no character"),
        (("metrics", 1, "\udc00"), 1, "not valid JSON: half a surrogate pair, which is no character"),
        (
            ("metrics", 1, "a"),
            json.loads("[" * 70 + "]" * 70),
            "not valid JSON: lists or objects nested too deeply",
        ),
    ],
)
def test_everything_else_is_of_its_type_and_in_its_range(refusal, place, value, line):
    assert refusal(place, value) == line


def test_numbers_that_are_not_finite_are_unknown(tmp_path, make_summary):
    content, path = make_summary(2, lengths=[8]), tmp_path / "evaluation_summary.json"
    content["metrics"][0] |= {"accuracy": float("nan"), "spectral_error_deg_seq8": float("inf")}
    path.write_text(json.dumps(content))
    entry = next(
        e
        for e in runs.read_summary(path)["metrics"]
        if e["model_name"] == content["metrics"][0]["model_name"]
    )
    assert entry["accuracy"] is None
    assert entry["spectral_error_deg_seq8"] is None


def test_an_object_has_each_name_once(tmp_path):
    path = tmp_path / "evaluation_summary.json"
    entry = '{"model_name": "model-1", "accuracy": 0.5, "accuracy": 0.75}'
    path.write_text(f'{{"metrics": [{entry}]}}')
    with pytest.raises(UserError, match=r"an object has several values of accuracy \(2 times\)"):
        runs.read_summary(path, compact=True)
