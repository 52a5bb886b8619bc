"""Jobs on all cores."""

import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import rich.console

from analysis.errors import AnalysisError
from analysis.parallel import counted, run_parallel


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


def test_a_loop_counts_what_is_done(monkeypatch):
    seen = []
    monkeypatch.setattr("emt.progress.Progress.update", lambda self, done: seen.append((self.what, done)))
    assert list(counted("abc", "letters")) == ["a", "b", "c"]
    assert seen == [("letters", 1), ("letters", 2), ("letters", 3)]


def test_a_job_that_fails_says_why():
    with pytest.raises(ValueError, match=r"domain error|nonnegative"):
        list(run_parallel(math.sqrt, [4.0, -1.0], "roots"))


def killed_at_four(job):
    if job == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return job


def test_a_worker_that_is_killed_is_said_in_one_line(monkeypatch):
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "2")
    with pytest.raises(AnalysisError, match=r"^numbers: expected all worker processes to live; got one"):
        list(run_parallel(killed_at_four, range(9), "numbers"))
    # The next ones are new.
    assert list(run_parallel(killed_at_four, range(4), "numbers")) == [0, 1, 2, 3]


def hold(folder, shared, number):
    (folder / f"{os.getpid()}.pid").write_text(str(shared.sum()))
    time.sleep(600)


def test_nothing_stays_of_an_analysis_that_is_killed(tmp_path):
    """Its workers end, and the memory that they share, which joblib makes of arrays above a megabyte, is freed."""
    code = (
        "import sys; from functools import partial; from pathlib import Path; import numpy as np\n"
        "sys.path.insert(0, sys.argv[1])\n"
        "from analysis.parallel import run_parallel; from test_parallel import hold\n"
        "if __name__ == '__main__':\n"
        "    list(run_parallel(partial(hold, Path(sys.argv[2]), np.ones(2**18)), [1, 2], 'numbers'))\n"
    )
    (tmp_path / "main.py").write_text(code)
    words = [sys.executable, str(tmp_path / "main.py"), str(Path(__file__).parent), str(tmp_path)]
    # Its own folder for temporary files, so that what stays is what it left.
    (tmp_path / "shared").mkdir()
    environment = {**os.environ, "JOBLIB_TEMP_FOLDER": str(tmp_path / "shared"), "LOKY_MAX_CPU_COUNT": "2"}
    parent = subprocess.Popen(words, env=environment)
    while len(pids := [int(path.stem) for path in tmp_path.glob("*.pid")]) < 2:
        assert parent.poll() is None
        time.sleep(0.02)
    assert list((tmp_path / "shared").iterdir())
    parent.kill()
    parent.wait()
    left = time.monotonic() + 60
    while [pid for pid in pids if Path(f"/proc/{pid}").exists()] or list((tmp_path / "shared").iterdir()):
        assert time.monotonic() < left
        time.sleep(0.02)
