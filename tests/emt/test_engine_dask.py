"""The Dask engine on a real local cluster of processes."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from emt import engine, stopping
from emt.config import ExecutionConfig
from emt.errors import UserError
from emt.options import plugins

dask = pytest.importorskip("dask", reason="the extra 'cluster' is not installed")
distributed = pytest.importorskip("distributed", reason="the extra 'cluster' is not installed")

pytestmark = [
    pytest.mark.slow,
    # A cluster that is killed on purpose leaves sockets for the garbage collector.
    pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]


@pytest.fixture(autouse=True)
def _work_is_importable(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


@pytest.fixture
def scheduler(_work_is_importable):
    """Return the address of a scheduler with two worker processes of one thread each."""
    # Otherwise what waits at a worker that dies is blamed for it too.
    with (
        dask.config.set({"distributed.scheduler.worker-saturation": 1.0}),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
        ) as cluster,
    ):
        yield cluster.scheduler_address


def hand_out(function, items, scheduler, **options):
    return engine.hand_out(
        function, items, ExecutionConfig(engine="dask", scheduler=scheduler), Path("logs"), **options
    )


def kill(pid_file, number=signal.SIGKILL):
    while not pid_file.exists():
        time.sleep(0.01)
    os.kill(int(pid_file.read_text()), number)


def test_results_failures_and_ticks(scheduler):
    ticks = []
    results = {
        r.item: r
        for r in hand_out("engine_work:square", range(1, 7), scheduler, tick=lambda: ticks.append(1))
    }
    assert {n: r.value for n, r in results.items()} == {1: 1, 2: 4, 3: None, 4: 16, 5: None, 6: 36}
    assert results[3].failure == "three is refused"
    assert "Traceback" in results[5].details
    assert ticks


def test_workers_know_plugins_that_were_named(scheduler, tmp_path, monkeypatch):
    """The module lies in a folder that neither the workers nor their Python know."""
    (tmp_path / "lab_models.py").write_text(
        'MODELS = {"lab_rnn": "lab_models:LabRNN"}\n\nclass LabRNN: """A."""\n'
    )
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    monkeypatch.setattr(plugins, "_GIVEN", {})
    [unknown] = hand_out("engine_work:target_of_lab", ["lab_rnn"], scheduler)
    assert "must be one of rnn" in unknown.failure
    plugins.use(["lab_models"])
    [known] = hand_out("engine_work:target_of_lab", ["lab_rnn"], scheduler)
    assert known.value == "lab_models:LabRNN", known.failure


def test_a_killed_worker_s_item_is_done_by_another(scheduler, tmp_path):
    killer = threading.Thread(target=kill, args=(tmp_path / "first.pid",), daemon=True)
    killer.start()
    results = hand_out("engine_work:once_killed", [tmp_path], scheduler)
    assert [r.failure for r in results] == [""]
    assert results[0].value not in (int((tmp_path / "first.pid").read_text()), os.getpid(), 0)


def test_an_item_that_kills_its_workers_is_a_named_failure(scheduler):
    results = {r.item: r for r in hand_out("engine_work:killed_at_seven", [7, 8, 9], scheduler)}
    assert results[7].failure == "4 workers died while running it"
    assert (results[8].value, results[9].value) == (8, 9)


def test_a_worker_that_gets_sigterm_stops_its_item_and_another_resumes_it(scheduler, tmp_path):
    killer = threading.Thread(target=kill, args=(tmp_path / "first.pid", signal.SIGTERM), daemon=True)
    killer.start()
    results = hand_out("engine_work:until_stopped", [tmp_path], scheduler)
    assert (tmp_path / "saved").exists()
    assert [r.failure for r in results] == [""]
    assert results[0].value not in (int((tmp_path / "first.pid").read_text()), os.getpid(), 0)


def test_ctrl_c_is_a_request_to_the_workers(scheduler, tmp_path):
    sent = []

    def interrupt():
        if (tmp_path / "first.pid").exists() and not sent:
            sent.append(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(stopping.Stopped):
        hand_out("engine_work:until_stopped", [tmp_path] * 9, scheduler, tick=interrupt)
    assert (tmp_path / "saved").exists()
    results = hand_out("engine_work:square", [1, 2], scheduler)
    assert sorted(r.value for r in results) == [1, 4], "the request was for the first item alone"


def test_ctrl_c_frees_the_workers(scheduler, tmp_path):
    def interrupt():
        if (tmp_path / "first.pid").exists():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        hand_out("engine_work:once_killed", [tmp_path], scheduler, tick=interrupt)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "first.pid").read_text()), 0)
    assert len(hand_out("engine_work:place", range(4), scheduler)) == 4


def test_a_scheduler_that_goes_away_is_a_named_failure(tmp_path):
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=":0") as cluster:

        def close():
            if (tmp_path / "first.pid").exists():
                cluster.close()

        [result] = hand_out("engine_work:once_killed", [tmp_path], cluster.scheduler_address, tick=close)
    assert result.failure.startswith("lost with its scheduler")


def test_nobody_at_the_address():
    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
        with pytest.raises(
            UserError, match=r"expected a running Dask scheduler at tcp://127\.0\.0\.1:9; got"
        ):
            hand_out("math:sqrt", [4], "tcp://127.0.0.1:9")
        with pytest.raises(
            UserError, match="scheduler: expected a running Dask scheduler at nonsense:x; got"
        ):
            hand_out("math:sqrt", [4], "nonsense:x")
        with pytest.raises(UserError, match=r"scheduler at tls://127\.0\.0\.1:9; got TLS expects"):
            hand_out("math:sqrt", [4], "tls://127.0.0.1:9")
        # Whoever was not reached is nobody's default, which files are locked with.
        assert distributed.client._get_global_client() is None
        assert dask.config.get("scheduler", None) is None
    with pytest.raises(UserError, match="scheduler: expected the address of a running Dask scheduler"):
        hand_out("math:sqrt", [4], None)


def test_workers_of_several_threads_are_refused():
    with (
        distributed.LocalCluster(n_workers=1, threads_per_worker=3, dashboard_address=":0") as cluster,
        pytest.raises(UserError, match=r"workers of one thread each .* got one of 3"),
    ):
        hand_out("math:sqrt", [4], cluster.scheduler_address)


def test_an_item_stops_when_whoever_handed_it_out_is_killed(scheduler, tmp_path):
    code = (
        "import sys; from pathlib import Path; from emt import engine; from emt.config import ExecutionConfig\n"
        "at = ExecutionConfig(engine='dask', scheduler=sys.argv[1])\n"
        "engine.hand_out('engine_work:until_stopped', [sys.argv[2]], at, Path('logs'))"
    )
    path = os.pathsep.join(map(str, [Path(__file__).parents[2], Path(__file__).parent]))
    words = [sys.executable, "-c", code, scheduler, str(tmp_path)]
    owner = subprocess.Popen(words, env={**os.environ, "PYTHONPATH": path})
    kill(tmp_path / "first.pid", number=0)
    owner.kill()
    owner.wait()
    end = time.monotonic() + 120
    while not (tmp_path / "saved").exists():
        assert time.monotonic() < end, "its worker still has the item"
        time.sleep(0.05)
    results = hand_out("engine_work:square", [1, 2], scheduler)
    assert sorted(r.value for r in results) == [1, 4], "the request was for the first item alone"
