"""The benchmark of analyze.py's commands, on few members."""

import json
import re

import pytest

from emt.errors import UserError
from experiments.benchmarks import analyses as commands


@pytest.mark.slow
def test_each_command_runs_and_is_timed(tmp_path, capsys):
    names = ["eigenvalue", "embedding", "persistence", "compare", "report"]
    assert commands.main(["--members", "4", "--out", str(tmp_path), "--commands", *names]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("4 members in each set, ")
    timed = dict(re.fullmatch(r"(\S.*?) +(\d+\.\d+) +\d+\.\d+ +\d+", line).groups() for line in lines[2:-1])
    assert re.fullmatch(r"  size of the page +\d\.\d", lines[-1])
    assert list(timed) == [
        "eigenvalue",
        "embedding",
        "persistence",
        "persistence, one additional member",
        "compare, two sets",
        "report",
    ]
    assert min(map(float, timed.values())) > 0
    made = {path.name for path in (tmp_path / "first").glob("*_analysis")}
    assert made == {"eigenvalue_analysis", "embedding_analysis", "persistence_analysis"}


def test_too_few_members_are_refused():
    with pytest.raises(UserError, match="--members: expected at least 4; got 3"):
        commands.main(["--members", "3"])


@pytest.mark.parametrize("number", ["0", "12"])
def test_spectra_that_are_no_whole_number_of_variables_are_refused(number):
    with pytest.raises(UserError, match=f"--eigenvalues: must be a multiple of 8; got {number}"):
        commands.main(["--eigenvalues", number])


def test_planted_spectra_have_the_size_asked_for(tmp_path):
    for size in (64, 80):
        summary = json.loads(commands.plant(tmp_path, 2, size).read_text())
        assert [len(entry["eigenvalues_rnn_seq8"]) for entry in summary["metrics"]] == [size, size]
