"""The SLURM engine: its job script anywhere, and a real one-node SLURM where one is installed.

On Debian: ``apt-get install slurm-wlm munge``; the fixture starts its own daemons in a temporary folder.
"""

import importlib.util
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest

from emt import engine
from emt.config import ExecutionConfig
from emt.errors import UserError

if not all(map(importlib.util.find_spec, ("dask_jobqueue", "cryptography"))):
    pytest.skip("the extra 'cluster' is not installed", allow_module_level=True)

DAEMONS = ("munged", "slurmctld", "slurmd")
ROOT = Path(__file__).parents[2]

CONF = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser=root
SlurmdUser=root
AuthInfo=socket={folder}/munge.socket
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
SchedulerParameters=sched_interval=1
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 CoresPerSocket=2 RealMemory=4000
PartitionName=short Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


@pytest.fixture(scope="module")
def slurm():
    """Run a one-node SLURM of two CPUs; yield its folder."""
    missing = [name for name in DAEMONS if not shutil.which(name)]
    if missing or os.geteuid():
        pytest.skip(
            f"needs {' '.join(missing)} (apt-get install slurm-wlm munge)" if missing else "needs root"
        )
    # Sockets have short names only.
    with tempfile.TemporaryDirectory(prefix="slurm") as name, pytest.MonkeyPatch.context() as patch:
        folder = Path(name)
        (folder / "munge.key").write_bytes(os.urandom(1024))
        (folder / "munge.key").chmod(0o400)
        (folder / "state").mkdir()
        conf = folder / "slurm.conf"
        conf.write_text(
            CONF.format(folder=folder, host=socket.gethostname().partition(".")[0], ports=free_ports(2))
        )
        patch.setenv("SLURM_CONF", str(conf))
        munge = [f"--{k}={folder}/munge.{k[:-5]}" for k in ("key-file", "log-file", "pid-file", "seed-file")]
        try:
            run("munged", "--force", f"--socket={folder}/munge.socket", *munge)
            run("slurmctld", "-f", conf)
            run("slurmd", "-f", conf)
            wait_until(lambda: "idle" in run("sinfo", "--noheader", "--format=%T"))
            yield folder
        finally:
            for daemon in ("slurmd", "slurmctld", "munge"):
                stop(folder / f"{daemon}.pid")


def run(*command):
    return subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True).stdout


def wait_until(fact):
    end = time.monotonic() + 600
    while not fact():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def stop(pid_file):
    if pid_file.exists():
        os.kill(int(pid_file.read_text()), signal.SIGTERM)
        wait_until(lambda: not pid_file.exists())


@pytest.fixture
def jobs_find_work(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}{os.pathsep}{Path(__file__).parent}")


@pytest.mark.parametrize("module", ["emt.engine.slurm", "dask_jobqueue"])
def test_the_engine_leaves_ctrl_c_to_the_run(module):
    code = f"import signal, {module}; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    # Control: the package that it stands on does not.
    assert done.stdout.strip() == str(module == "emt.engine.slurm")


def test_the_job_script_asks_for_what_the_flags_say(tmp_path):
    from emt.engine.slurm import open_cluster

    execution = ExecutionConfig(
        engine="slurm",
        slurm_partition="gpu-short",
        slurm_time="1-02:00:00",
        slurm_memory="6GB",
        slurm_gpus="a100:1",
    )
    with open_cluster(execution, tmp_path) as cluster:
        lines = cluster.job_script().splitlines()
    assert lines[0] == "#!/usr/bin/env bash"
    directives = [line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH")]
    assert directives == [
        "-J emt",
        "-p gpu-short",
        "-n 1",
        "--cpus-per-task=1",
        "--mem=6G",
        "-t 1-02:00:00",
        "--gres=gpu:a100:1",
    ]
    assert re.search(r"dask_worker tls://\S+ .*--nthreads 1 .*--tls-key ", lines[-1])


def test_the_job_script_leaves_out_what_was_not_asked_for(tmp_path):
    from emt.engine.slurm import open_cluster

    with open_cluster(ExecutionConfig(engine="slurm"), tmp_path) as cluster:
        text = cluster.job_script()
    assert "--gres" not in text
    assert "-p " not in text
    assert "#SBATCH -t 4:00:00" in text


def test_a_folder_may_have_any_name_and_none_is_run_as_a_command(tmp_path):
    from emt.engine.slurm import open_cluster

    logs = tmp_path / "x$(touch ran)`touch ran`; touch ran 'a' \"b\" %J [v2] &"
    with open_cluster(ExecutionConfig(engine="slurm"), logs) as cluster:
        job, script = cluster._dummy_job, cluster.job_script()
    assert not [line for line in script.splitlines() if line.startswith("#SBATCH") and str(logs) in line]
    # The shell reads the worker's command as one would read it after printf: a list of words.
    words = subprocess.run(
        ["bash", "-c", f"printf '%s\\n' {script.rstrip().splitlines()[-1]}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    assert sys.executable in words
    assert sum(word.startswith(f"{logs}/") for word in words) == 3
    percent = str(logs).replace("%", "%%")
    assert shlex.split(job.submit_command) == [
        "sbatch",
        "-e",
        f"{percent}/emt-%J.err",
        "-o",
        f"{percent}/emt-%J.out",
    ]
    assert not (tmp_path / "ran").exists()


def test_keys_of_a_cluster_are_for_its_owner_only_and_go_with_it(tmp_path):
    from emt.engine.slurm import open_cluster

    with open_cluster(ExecutionConfig(engine="slurm"), tmp_path):
        keys = list(tmp_path.glob(".dask-jobqueue.worker.*"))
        assert keys
        assert {p.stat().st_mode & 0o777 for p in keys} == {0o600}


def listening():
    """Return the addresses that this process and its children listen at, but those that come and go elsewhere."""
    import psutil

    found = psutil.Process().net_connections("inet")
    return {(c.laddr.ip, c.laddr.port) for c in found if c.status == psutil.CONN_LISTEN}


@pytest.mark.parametrize("interface", [None, "lo"])
def test_a_scheduler_listens_on_one_interface_only(interface, tmp_path):
    from distributed.utils import get_ip

    from emt.engine.slurm import open_cluster

    before = listening()
    with open_cluster(ExecutionConfig(engine="slurm", slurm_interface=interface), tmp_path) as cluster:
        addresses = {ip for ip, _ in listening() - before}
        script = cluster.job_script()
    assert addresses == {"127.0.0.1"} | ({get_ip()} if interface is None else set())
    assert ("--interface lo" in script) == (interface == "lo")


def test_an_interface_that_does_not_exist_is_refused(tmp_path):
    from emt.engine.slurm import open_cluster

    with pytest.raises(UserError, match="slurm_interface: 'ib7' is not a valid network interface"):
        open_cluster(ExecutionConfig(engine="slurm", slurm_interface="ib7"), tmp_path)


def test_without_slurm_the_refusal_shows_the_job_script(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"expected SLURM on this machine; found no sbatch .*logs/job\.sh"):
        engine.hand_out("math:sqrt", [4], ExecutionConfig(engine="slurm"), tmp_path / "logs")
    assert "#SBATCH -J emt" in (tmp_path / "logs" / "job.sh").read_text()


@pytest.mark.slow
@pytest.mark.slurm
@pytest.mark.usefixtures("slurm", "jobs_find_work")
def test_results_and_failures_come_back_from_jobs(tmp_path):
    execution = ExecutionConfig(engine="slurm", num_workers=2, slurm_memory="1GB", slurm_partition="short")
    results = {r.item: r for r in engine.hand_out("engine_work:square", range(1, 7), execution, tmp_path)}
    assert {n: r.value for n, r in results.items()} == {1: 1, 2: 4, 3: None, 4: 16, 5: None, 6: 36}
    assert results[3].failure == "three is refused"
    wait_until(lambda: not run("squeue", "--noheader"))


@pytest.mark.slow
@pytest.mark.slurm
@pytest.mark.usefixtures("slurm", "jobs_find_work")
def test_two_workers_are_two_jobs_at_a_time(tmp_path):
    seen = []
    execution = ExecutionConfig(engine="slurm", num_workers=2, slurm_memory="1GB")
    engine.hand_out(
        "time:sleep",
        [4.0, 4.1, 4.2, 4.3],
        execution,
        tmp_path,
        lambda: seen.append(run("squeue", "--noheader", "--states=RUNNING", "--format=%A").count("\n")),
    )
    assert max(seen) == 2


@pytest.mark.slow
@pytest.mark.slurm
@pytest.mark.usefixtures("slurm", "jobs_find_work")
def test_a_cancelled_job_is_replaced_and_its_item_done(tmp_path):
    def cancel():
        while not (tmp_path / "first.pid").exists():
            time.sleep(0.05)
        run("scancel", "--signal=KILL", "--full", *run("squeue", "--noheader", "--format=%A").split())

    threading.Thread(target=cancel, daemon=True).start()
    execution = ExecutionConfig(engine="slurm", num_workers=1, slurm_memory="1GB")
    [result] = engine.hand_out("engine_work:once_killed", [tmp_path], execution, tmp_path)
    assert result.failure == ""
    assert result.value not in (0, int((tmp_path / "first.pid").read_text()))


@pytest.mark.slow
@pytest.mark.slurm
@pytest.mark.usefixtures("slurm", "jobs_find_work")
def test_jobs_that_fail_at_once_are_given_up(tmp_path):
    import dask

    execution = ExecutionConfig(engine="slurm", num_workers=2, slurm_memory="1GB")
    broken = {"jobqueue.slurm.job-script-prologue": ["echo no such module >&2; exit 1"]}
    with (
        dask.config.set(broken),
        pytest.raises(UserError, match=r"4 SLURM jobs .* ended .*; see \S+\.err") as refusal,
    ):
        engine.hand_out("engine_work:square", [1, 2, 4], execution, tmp_path)
    assert Path(str(refusal.value).split()[-1]).read_text() == "no such module\n"
    wait_until(lambda: not run("squeue", "--noheader"))


@pytest.mark.slow
@pytest.mark.slurm
@pytest.mark.usefixtures("slurm", "jobs_find_work")
def test_one_job_that_fails_at_once_is_replaced(tmp_path):
    import dask

    execution = ExecutionConfig(engine="slurm", num_workers=1, slurm_memory="1GB")
    broken_once = {"jobqueue.slurm.job-script-prologue": [f"mkdir {tmp_path}/seen && exit 1"]}
    with dask.config.set(broken_once):
        [result] = engine.hand_out("engine_work:square", [6], execution, tmp_path)
    assert result.value == 36


@pytest.mark.slow
@pytest.mark.slurm
@pytest.mark.usefixtures("slurm", "jobs_find_work")
def test_an_array_job_of_shards_trains_a_whole_population(tmp_path):
    train = (
        "train_multiple.py --experiment_name a --seq_length 3 --input_dim 4 --hidden_dim 8 --num_models 5 --epochs 1 "
        f"--epoch_batches 20 --output_dir {tmp_path} --num_workers 1 --shard $SLURM_ARRAY_TASK_ID/2"
    )
    command = f"cd {ROOT} && {sys.executable} {train}"
    array = ["--array=1-2", f"--output={tmp_path}/%a.out"]
    run("sbatch", *array, f"--wrap={command}")
    wait_until(lambda: not run("squeue", "--noheader"))
    text = "".join((tmp_path / f"{i}.out").read_text() for i in (1, 2))
    assert len(list(tmp_path.glob("a/model-*/checkpoint/done.json"))) == 5, text
