"""Commands of `emt analyze`: what they take, where results go."""

import ast
from pathlib import Path

import pytest

from analysis import COMMANDS
from analysis.command import SEVERAL, SUBJECTS, Command, by_name
from emt.commands.subjects import READERS
from emt.errors import RegistrationError

ROOT = Path(__file__).parents[2]
GOOD = {"name": "loops", "function": "analysis.states.loops:find_loops", "takes": "recording"}


def file_of(module):
    return (ROOT / module.replace(".", "/")).with_suffix(".py")


def test_a_command_knows_its_folder_its_figures_and_whether_it_takes_several_summaries():
    command = Command(**GOOD)
    assert (command.folder, command.figures) == ("loops_analysis", "analysis.figures.states.loops")
    assert not command.several
    assert Command(**GOOD | {"takes": "recordings", "results": "found"}).several
    assert Command(**GOOD | {"results": "found"}).folder == "found"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"takes": "trace"}, "command 'loops': expected takes to be one of population, .*; got 'trace'"),
        (
            {"function": "analysis.states.loops"},
            "\"analysis.room.module:function\"; got 'analysis.states.loops'",
        ),
        ({"function": "mine.loops:find"}, "\"analysis.room.module:function\"; got 'mine.loops:find'"),
    ],
)
def test_a_wrong_registry_line_says_what_is_expected(change, message):
    with pytest.raises(RegistrationError, match=f"^analysis/__init__.py: .*{message}$"):
        Command(**GOOD | change)


@pytest.mark.parametrize("change", [{"results": "other"}, {"name": "other", "results": "loops_analysis"}])
def test_neither_names_nor_folders_of_commands_may_be_equal(change):
    first = Command(**GOOD)
    assert list(by_name([first, Command(**GOOD | {"name": "other"})])) == ["loops", "other"]
    with pytest.raises(RegistrationError, match=r"'(loops|other)' .* and 'loops' .* clash"):
        by_name([first, Command(**GOOD | change)])


def test_analyze_reads_every_subject():
    assert READERS.keys() == SUBJECTS.keys() > set(SEVERAL)


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_every_command_has_its_function_and_draws_or_writes_pages(command):
    module, _, name = command.function.partition(":")
    tree = ast.parse(file_of(module).read_text(encoding="utf-8"))
    [function] = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name]
    assert len(function.args.args) == 1, "an analysis takes its subject and keyword-only options"
    pages = any(isinstance(node, ast.FunctionDef) and node.name == "pages" for node in ast.walk(tree))
    assert pages == (command.takes == "experiments") != file_of(command.figures).exists()
