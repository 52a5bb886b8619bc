"""The benchmark of analyze.py's commands, on few members."""

import re

import pytest

from emt.errors import UserError
from experiments.benchmarks import analyses as commands


@pytest.mark.slow
def test_each_command_runs_and_is_timed(tmp_path, capsys):
    assert commands.main(["--members", "4", "--out", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("4 members in each set, ")
    timed = dict(re.fullmatch(r"(\S.*?) +(\d+\.\d+) +\d+\.\d+", line).groups() for line in lines[2:])
    assert list(timed) == [
        "eigenvalue",
        "embedding",
        "persistence",
        "persistence, one additional member",
        "compare, two sets",
    ]
    assert min(map(float, timed.values())) > 0
    made = {path.name for path in (tmp_path / "first").glob("*_analysis")}
    assert made == {"eigenvalue_analysis", "embedding_analysis", "persistence_analysis"}


def test_too_few_members_are_refused():
    with pytest.raises(UserError, match="--members: expected at least 4; got 3"):
        commands.main(["--members", "3"])
