"""Errors name the parameter in Python and the flag on a command line."""

import pickle
import re
from pathlib import Path

import pytest

from emt.errors import TraceError, UserError, renamed


def test_an_error_names_its_parameter_and_a_command_line_its_flag():
    error = UserError("must be 0 or more; got -1", parameter="trials")
    assert str(error) == "trials: must be 0 or more; got -1"
    assert error.in_flags() == "--trials: must be 0 or more; got -1"
    whole = UserError("config.json: expected a configuration")
    assert str(whole) == whole.in_flags() == "config.json: expected a configuration"


def test_an_error_comes_back_whole_from_another_process():
    error = pickle.loads(pickle.dumps(TraceError("expected it; got none", parameter="path")))
    assert type(error) is TraceError
    assert error.in_flags() == "--path: expected it; got none"


@pytest.mark.parametrize(("inner", "outer"), [("limit", "memory_limit"), ("points", "points"), (None, None)])
def test_a_caller_gives_the_parameter_its_own_name(inner, outer):
    with pytest.raises(UserError) as caught, renamed({"limit": "memory_limit"}):
        raise UserError("expected less", parameter=inner)
    assert caught.value.parameter == outer


def test_only_errors_of_users_are_renamed():
    with pytest.raises(KeyError), renamed({"limit": "memory_limit"}):
        raise KeyError("limit")


def test_libraries_leave_flags_to_command_lines():
    root, starts_with_flag = Path(__file__).parents[2], re.compile(r"""Error\(\s*f?["']--""")
    files = [path for package in ("emt", "analysis") for path in (root / package).rglob("*.py")]
    named = [path for path in files if starts_with_flag.search(path.read_text(encoding="utf-8"))]
    assert {path.parent for path in named} == {root / "emt" / "commands"}
