"""Jobs on all cores."""

import math

import pytest

from analysis.parallel import run_parallel


@pytest.mark.parametrize("parallel", [False, True])
def test_results_come_in_the_order_of_the_jobs(parallel):
    jobs = list(range(9))
    assert list(run_parallel(math.sqrt, jobs, "roots", parallel)) == [math.sqrt(job) for job in jobs]


def test_a_job_that_fails_says_why():
    with pytest.raises(ValueError, match=r"domain error|nonnegative"):
        list(run_parallel(math.sqrt, [4.0, -1.0], "roots"))
