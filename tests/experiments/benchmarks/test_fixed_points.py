"""The benchmark of searches for fixed points, on a small network."""

import re

import pytest

from emt.errors import UserError
from experiments.benchmarks import fixed_points


@pytest.mark.slow
def test_each_search_is_timed_and_compared(capsys):
    words = "--units 4 --starts 6 --scipy_starts 2 --steps 2 --turns 1"
    assert fixed_points.main(words.split()) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = [re.split(r"\s{2,}", line.strip()) for line in lines[2:]]
    assert [row[-7] for row in rows] == ["emt.fixed_points", "gradient descent on q", "scipy.optimize.root"]
    assert [row[-6] for row in rows] == ["6", "6", "2"]
    assert rows[0][-4] == "1.0"
    # An untrained GRU rests in one state, and scipy agrees.
    assert [(rows[k][-3], rows[k][-1]) for k in (0, 2)] == [("1.00", "1")] * 2


def test_sizes_below_one_are_refused():
    with pytest.raises(UserError, match=r"--units, --starts, .*: must be at least 1"):
        fixed_points.main(["--starts", "0"])
