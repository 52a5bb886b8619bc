"""Engines of this machine: results, named failures, workers that die, places; and which chunks a shard does."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from emt import engine
from emt.config import ExecutionConfig
from emt.engine import local
from emt.errors import UserError

ENGINES = [ExecutionConfig(engine="inline"), ExecutionConfig(engine="local", num_workers=2)]


@pytest.fixture(autouse=True)
def _work_is_importable(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    monkeypatch.setattr(local, "find_gpus", list)


def kill_the_first(folder):
    """Kill the worker that writes its number into ``folder``, as soon as it has."""
    path = Path(folder) / "first.pid"

    def wait_and_kill():
        while not path.exists():
            time.sleep(0.01)
        os.kill(int(path.read_text()), signal.SIGKILL)

    threading.Thread(target=wait_and_kill, daemon=True).start()
    return path


@pytest.mark.parametrize("execution", ENGINES, ids=lambda e: e.engine)
def test_every_item_has_its_result_and_failures_are_named(execution, tmp_path):
    results = {r.item: r for r in engine.hand_out("engine_work:square", range(1, 7), execution, tmp_path)}
    assert {n: r.value for n, r in results.items()} == {1: 1, 2: 4, 3: None, 4: 16, 5: None, 6: 36}
    assert (results[3].failure, results[3].details) == ("three is refused", "")
    assert results[5].failure == "RuntimeError: five is a fault"
    assert "Traceback" in results[5].details


@pytest.mark.parametrize("execution", ENGINES, ids=lambda e: e.engine)
def test_ticks_go_on_while_work_does(execution, tmp_path):
    ticks = []

    def tick():
        ticks.append(1)
        if len(ticks) == 3:
            (tmp_path / "third").touch()

    [result] = engine.hand_out("engine_work:wait_for", [tmp_path / "third"], execution, tmp_path, tick)
    assert result.value == "seen", "work ends at the third tick, which comes while it goes on"


def test_no_items_start_nothing(tmp_path):
    assert engine.hand_out("no_such_module:f", [], ExecutionConfig(engine="slurm"), tmp_path) == []


def test_a_killed_worker_s_item_is_done_by_another(tmp_path):
    killed = kill_the_first(tmp_path)
    results = engine.run("engine_work:once_killed", [tmp_path], 2)
    assert [r.failure for r in results] == [""]
    assert results[0].value not in (int(killed.read_text()), os.getpid())


def test_an_item_that_kills_its_workers_is_a_named_failure_and_the_others_are_done():
    results = {r.item: r for r in engine.run("engine_work:killed_at_seven", [7, 8, 9], 1)}
    assert results[7].failure == "its worker process died (signal SIGKILL)"
    assert (results[8].value, results[9].value) == (8, 9)


def test_workers_have_one_thread_and_on_gpus_one_gpu_each():
    gpus = {r.value for r in engine.run("engine_work:place", range(6), 1, gpus=["2", "5", "GPU-7"])}
    assert gpus == {("2", "1"), ("5", "1"), ("GPU-7", "1")}
    assert {r.value for r in engine.run("engine_work:place", range(2), 2)} == {(None, "1")}
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


@pytest.mark.parametrize(
    ("visible", "torch", "expected"),
    [
        (None, "2.13.0", ["0", "1", "2"]),
        (None, "2.13.0+cpu", []),
        ("", "2.13.0", []),
        ("-1", "2.13.0", []),
        ("1,GPU-7", "2.13.0", ["1", "GPU-7"]),
    ],
)
def test_gpus_are_found_without_torch(visible, torch, expected, tmp_path, monkeypatch):
    monkeypatch.undo()
    listing = (
        "GPU 0: A (UUID: GPU-0)\nGPU 1: A (UUID: GPU-1)\n  MIG 1g (UUID: MIG-3)\nGPU 2: A (UUID: GPU-2)\n"
    )
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\ncat <<'END'\n{listing}END\n")
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(local, "version", lambda _: torch)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert local.find_gpus() == expected


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, (3, True)),
        ({"accelerator": "cpu", "num_workers": 7}, (7, False)),
        ({"engine": "inline"}, (1, True)),
        ({"engine": "slurm", "num_workers": 20}, (20, False)),
        ({"engine": "slurm", "num_workers": 20, "slurm_gpus": "1"}, (20, True)),
        ({"engine": "dask", "num_workers": 4}, (4, False)),
    ],
)
def test_capacity_counts_workers_and_knows_gpus(options, expected, monkeypatch):
    monkeypatch.setattr(local, "find_gpus", lambda: ["0", "1", "2"])
    assert engine.capacity(ExecutionConfig(**options)) == expected


@pytest.mark.parametrize("shard", ["0/3", "4/3", "/3", "3", "", "1/2/3", "-1/3"])
def test_shards_that_are_none_are_refused(shard):
    with pytest.raises(ValueError, match=r"shard: must be I/N with I from 1 to N, such as 3/20; got"):
        ExecutionConfig(shard=shard)


def test_shard_and_scheduler_belong_to_one_start_and_are_not_recorded():
    execution = ExecutionConfig(shard="3/20", scheduler="tcp://host:8786", slurm_partition="short")
    assert execution.part == (3, 20)
    assert not {"shard", "scheduler"} & set(execution.model_dump())
    assert execution.model_dump()["slurm_partition"] == "short"


@pytest.mark.parametrize("name", ["slurm_partition", "slurm_time", "slurm_memory", "slurm_gpus"])
@pytest.mark.parametrize("text", ["a\nrm", "a b", "$(x)", "a;b", "a\n"])
def test_nothing_slips_into_a_job_script(name, text):
    with pytest.raises(ValueError, match=name):
        ExecutionConfig(**{name: text})


@pytest.mark.parametrize("name", ["dask", "slurm"])
def test_without_the_extra_the_refusal_says_what_to_install(name, tmp_path, monkeypatch):
    for module in ("distributed", "cryptography"):
        monkeypatch.setitem(sys.modules, module, None)
    for module in ("dask", "slurm"):
        monkeypatch.delitem(sys.modules, f"emt.engine.{module}", raising=False)
    with pytest.raises(
        UserError, match=rf'engine: {name}: .* [a-z_]+; .*: pip install "emt-workbench\[cluster\]"'
    ):
        engine.hand_out("math:sqrt", [4], ExecutionConfig(engine=name), tmp_path)


def test_ctrl_c_stops_workers(tmp_path):
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from emt import engine\n"
        "if __name__ == '__main__':\n"
        "    try: engine.run('engine_work:once_killed', [sys.argv[2]], 1)\n"
        "    except KeyboardInterrupt: print('stopped')\n"
    )
    (tmp_path / "main.py").write_text(code)
    root = Path(__file__).parents[2]
    command = [sys.executable, str(tmp_path / "main.py"), str(Path(__file__).parent), str(tmp_path)]
    parent = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root)},
        start_new_session=True,
        # What runs in a shell's background ignores Ctrl-C, and so would all that it starts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not (tmp_path / "first.pid").exists():
        time.sleep(0.02)
    os.killpg(parent.pid, signal.SIGINT)
    assert parent.communicate(timeout=600)[0] == "stopped\n"
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "first.pid").read_text()), 0)
