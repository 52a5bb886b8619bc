"""A population's chunks are decided once; every engine ends with the same bytes; nobody works twice at one thing."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from emt import engine, files, locks, stopping
from emt.config import ExecutionConfig
from emt.errors import UserError
from emt.identity import code_of
from emt.training import journal, population
from emt.training.population import prepare, split, train

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

ROOT = Path(__file__).parents[3]
INLINE = ExecutionConfig(engine="inline", accelerator="cpu")


@pytest.fixture
def config(make_config):
    """Return a run of five members that all engines cut in two: 1 to 3 and 4 to 5."""
    return make_config(num_models=5, epoch_batches=25)


def at(config, **execution):
    return config.model_copy(update={"execution": ExecutionConfig(accelerator="cpu", **execution)})


def weights(folder):
    return {p.parts[-3]: p.read_bytes() for p in folder.glob("model-*/checkpoint/weights.safetensors")}


@pytest.fixture
def whole(config, tmp_path):
    """Train with one process, in the two chunks that others will make; return the folder."""
    folder = tmp_path / "whole"
    prepare(at(config, num_workers=2), folder)
    assert train(at(config, engine="inline"), folder).failures == []
    return folder


def start(config, folder, **execution):
    """Start a process that trains, as another machine would."""
    text = config.model_dump_json()
    code = (
        "import sys; from pathlib import Path; from emt import config; from emt.training import population\n"
        "run = config.parse(sys.argv[1], 'test')\n"
        "run = run.model_copy(update={'execution': config.ExecutionConfig(**eval(sys.argv[3]))})\n"
        "outcome = population.train(run, Path(sys.argv[2]))\n"
        "sys.exit('; '.join(f'{f.item}: {f.failure}' for f in outcome.failures) or 0)"
    )
    execution |= {"engine": "inline", "accelerator": "cpu"}
    command = [sys.executable, "-c", code, text, str(folder), repr(execution)]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)


def started(config, folder, numbers, **execution):
    """Start a process and wait until it works on the chunk of these models."""
    process = start(config, folder, **execution)
    lock = folder / "population" / f"models-{numbers}.lock"
    while not (lock.exists() and f"process {process.pid} " in lock.read_text()):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    return process


@pytest.mark.parametrize(
    ("members", "parts", "largest", "sizes"),
    [
        (50, 20, 25, [3] * 10 + [2] * 10),
        (130, 3, 25, [22] * 4 + [21] * 2),
        (3, 20, 25, [1, 1, 1]),
        (1000, 1, 500, [500, 500]),
        (20, 1, 25, [20]),
    ],
)
def test_there_is_a_chunk_for_every_part_and_rounds_are_full(members, parts, largest, sizes):
    assert [len(part) for part in split(members, parts, largest)] == sizes


def test_shards_have_each_chunk_once(config, tmp_path):
    seen = []
    for index in (1, 2, 3):
        execution = {"shard": f"{index}/3", "num_workers": 1}
        seen += prepare(at(config, **execution), tmp_path)[index - 1 :: 3]
    assert [c.numbers for c in seen] == [(1, 2), (3, 4), (5,)]


def test_of_several_processes_one_decides(tmp_path):
    code = (
        "import sys; from pathlib import Path; from emt.training.population import decide\n"
        "print([decide(Path(sys.argv[1], f'{i}.json'), sys.argv[2]) for i in range(150)])"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    processes = [
        subprocess.Popen([*command, name], cwd=ROOT, stdout=subprocess.PIPE, text=True) for name in "abcd"
    ]
    answers = {p.communicate()[0] for p in processes}
    assert len(answers) == 1
    assert [json.loads((tmp_path / f"{i}.json").read_text()) for i in range(150)] == eval(answers.pop())
    assert len(list(tmp_path.iterdir())) == 150, "proposals that lost are gone"


@pytest.mark.slow
def test_two_shards_at_once_end_with_the_bytes_of_one_run(config, whole, tmp_path):
    folder = tmp_path / "shards"
    processes = [start(config, folder, num_workers=1, shard=f"{i}/2") for i in (1, 2)]
    assert [p.communicate()[1] for p in processes] == ["", ""]
    assert weights(folder) == weights(whole)
    assert files.read_json(folder / "population" / "chunks.json") == [[1, 2, 3], [4, 5]]
    assert files.read_json(folder / "config.json")["execution"].get("shard") is None


@pytest.mark.slow
def test_who_comes_second_is_told_who_holds_it(make_config, tmp_path):
    config = make_config(num_models=5, epochs=500)
    first = started(config, tmp_path, "1-3", num_workers=1, shard="1/2")
    again = start(config, tmp_path, num_workers=1, shard="1/2")
    assert (
        f"models 1 to 3: {tmp_path}/population: in use by process {first.pid} on " in again.communicate()[1]
    )
    full = start(config, tmp_path, num_workers=1)
    expected = f"{tmp_path}/population: in use by several processes, the latest process "
    assert expected in full.communicate()[1]
    first.kill()
    first.communicate()
    full = started(config, tmp_path, "1-3", num_workers=1)
    with pytest.raises(UserError, match=f"in use by process {full.pid} on "):
        train(at(config, engine="inline", shard="2/2"), tmp_path)
    full.kill()
    full.communicate()


def test_a_shard_with_nothing_to_do_is_done(config, tmp_path):
    prepare(at(config, num_workers=2), tmp_path)
    outcome = train(at(config, engine="inline", shard="3/3"), tmp_path)
    assert (outcome.done, outcome.failures) == ({}, [])


@pytest.mark.slow
def test_what_is_left_of_a_chunk_by_a_kill_at_its_end_is_deleted(config, whole):
    [first, second] = prepare(config, whole)
    for chunk in (first, second):
        chunk.state_path.write_bytes(b"state")
        chunk.lock_path.write_text("process 1 on a machine")
    with locks.lock(second.lock_path):
        assert train(config, whole).failures == []
        assert second.state_path.exists(), "another process is at its end"
    assert not first.state_path.exists()
    left = {path.name for path in whole.glob("population/*")}
    assert left == {
        "chunks.json",
        first.status_path.name,
        second.status_path.name,
        second.state_path.name,
    }


def test_local_workers_of_which_one_is_killed_end_with_the_same_bytes(config, whole, tmp_path):
    folder = tmp_path / "local"
    kill_who_holds(folder / "population" / "models-1-3.lock")
    outcome = train(at(config, num_workers=2), folder)
    assert outcome.failures == []
    assert weights(folder) == weights(whole)


@pytest.mark.slow
def test_dask_workers_of_which_one_is_killed_end_with_the_same_bytes(config, whole, tmp_path):
    distributed = pytest.importorskip("distributed", reason="the extra 'cluster' is not installed")
    folder = tmp_path / "dask"
    kill_who_holds(folder / "population" / "models-1-3.lock")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:
        outcome = train(at(config, engine="dask", scheduler=cluster.scheduler_address), folder)
    assert outcome.failures == []
    assert weights(folder) == weights(whole)


def kill_who_holds(lock):
    """Kill the worker that holds a chunk, once it trains."""

    def kill():
        while not lock.with_suffix(".status.json").exists():
            time.sleep(0.01)
        os.kill(int(lock.read_text().split()[1]), signal.SIGKILL)

    threading.Thread(target=kill, daemon=True).start()


@pytest.mark.parametrize("interrupted", [False, True])
def test_what_is_removed_while_it_trains_is_written_again(make_config, tmp_path, monkeypatch, interrupted):
    config, removed = make_config(num_models=1, hidden_dim=6, epoch_batches=3), {}
    work = population.engine.hand_out

    def remove_and_work(*arguments):
        for path in (tmp_path / "config.json", tmp_path / "population" / "chunks.json"):
            removed[path] = path.read_bytes()
            path.unlink()
        if interrupted:
            raise KeyboardInterrupt
        return work(*arguments)

    monkeypatch.setattr(population.engine, "hand_out", remove_and_work)
    with pytest.raises(KeyboardInterrupt) if interrupted else contextlib.nullcontext():
        train(at(config, engine="inline"), tmp_path)
    assert len(removed) == 2
    assert {path: path.read_bytes() for path in removed} == removed


def test_several_populations_are_one_piece_of_work(make_config, tmp_path):
    populations = {
        tmp_path / f"h{h}": make_config(num_models=2, hidden_dim=h, epoch_batches=10) for h in (6, 9)
    }
    seen = set()
    failures = population.train_all(
        populations, INLINE, lambda chunks: seen.update(c.experiment.name for c in chunks)
    )
    assert failures == []
    for folder, config in populations.items():
        assert sorted(population.done_markers(config, folder)) == [1, 2]
    assert seen <= {"h6", "h9"}


OTHER = {"torch_version": "1.0", "emt_source": "0123456789abcdef"}


def begun(config, folder, code):
    """Leave a run whose first chunk is in the middle, begun by this code; empty: by a version that recorded none."""
    prepare(at(config, num_workers=2), folder)
    with contextlib.suppress(KeyboardInterrupt), stopping.deferred():
        stopping.request()
        train(at(config, engine="inline", num_workers=2), folder)
    content = files.read_json(folder / "config.json")
    content["metadata"] = {k: v for k, v in content["metadata"].items() if k not in code_of("emt")} | code
    files.write_json(folder / "config.json", content)


@pytest.mark.parametrize("shard", [None, "2/2"])
def test_other_code_resumes_a_run_only_where_that_is_allowed(config, tmp_path, shard):
    begun(config, tmp_path, OTHER)
    expected = "was begun by other code \\(torch_version 1.0 → .*, emt_source 0123456789abcdef → .*--allow_other_code"
    with pytest.raises(UserError, match=expected):
        train(at(config, engine="inline", shard=shard), tmp_path)
    assert train(at(config, engine="inline", shard=shard, allow_other_code=True), tmp_path).failures == []
    assert not files.read_json(tmp_path / "config.json")["execution"].get("allow_other_code")
    train(at(config, engine="inline", allow_other_code=True), tmp_path)
    assert train(at(config, engine="inline"), tmp_path).failures == [], "a finished run needs no code"


def test_a_run_that_recorded_no_code_is_resumed(config, tmp_path):
    begun(config, tmp_path, {})
    assert train(at(config, engine="inline"), tmp_path).failures == []


def test_the_log_says_which_code_resumed(config, tmp_path, monkeypatch):
    began = code_of("emt")
    begun(config, tmp_path, began)
    assert "emt_source " + began["emt_source"] in (tmp_path / "model-1" / "training.log").read_text()
    monkeypatch.setattr(journal, "code_of_run", lambda config: began | {"numpy_version": "9.9"})
    train(at(config, engine="inline"), tmp_path)
    expected = f"resumed after an interruption by other code: numpy_version {began['numpy_version']} → 9.9"
    assert expected in (tmp_path / "model-1" / "training.log").read_text()


def test_a_worker_of_another_installation_refuses_its_chunk(config, tmp_path, monkeypatch):
    [chunk, _] = prepare(at(config, num_workers=2), tmp_path)
    monkeypatch.setattr(population.configuration, "code_of_run", lambda config: OTHER)
    [result] = engine.hand_out("emt.training.chunk:train_chunk", [chunk], INLINE, tmp_path)
    assert "was begun by other code" in result.failure
