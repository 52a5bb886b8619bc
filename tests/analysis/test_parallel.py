"""Jobs on all cores."""

import math

import pytest
import rich.console

from analysis.parallel import run_parallel


@pytest.mark.parametrize("parallel", [False, True])
def test_results_come_in_the_order_of_the_jobs(parallel):
    jobs = list(range(9))
    assert list(run_parallel(math.sqrt, jobs, "roots", parallel)) == [math.sqrt(job) for job in jobs]


@pytest.mark.parametrize("parallel", [False, True])
def test_who_watches_a_terminal_sees_progress(parallel, monkeypatch, capsys):
    for terminal in (False, True):
        monkeypatch.setattr(rich.console.Console, "is_terminal", terminal)
        assert list(run_parallel(math.sqrt, [4.0], "roots", parallel)) == [2.0]
        assert ("roots" in capsys.readouterr().err) == terminal


def test_a_job_that_fails_says_why():
    with pytest.raises(ValueError, match=r"domain error|nonnegative"):
        list(run_parallel(math.sqrt, [4.0, -1.0], "roots"))
