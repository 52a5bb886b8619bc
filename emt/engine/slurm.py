"""The engine that asks SLURM for jobs of one Dask worker each, and for new ones when they end early."""

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import cryptography  # noqa: F401 - what dask makes keys with, and finds missing too late
import dask
import distributed
from distributed.utils import get_ip, get_ip_interface

from emt import stopping
from emt.config import ExecutionConfig
from emt.engine.base import Function, Result, Tick, nothing
from emt.engine.dask import hand_out
from emt.errors import UserError

with stopping.kept_handlers():
    # On import it installs a handler for Ctrl-C that exits at once.
    from dask_jobqueue import SLURMCluster
    from dask_jobqueue.slurm import SLURMJob

SETTINGS = {
    # A job that reaches its time limit counts as a failure of its chunk, though the chunk is resumed in the next job.
    "distributed.scheduler.allowed-failures": 20,
    # What waits at a worker that dies is counted as a failure too: let nothing wait there.
    "distributed.scheduler.worker-saturation": 1.0,
    # Chunks take long: ask for one job for each at once.
    "distributed.scheduler.unknown-task-duration": "1h",
}

LOST_JOBS = 3
"""Jobs in a row that may end before their worker has come up."""

LOOK_S = 5.0
"""Seconds between two looks at the queue."""


def run(
    function: Function, items: Sequence[Any], execution: ExecutionConfig, logs: Path, tick: Tick = nothing
) -> list[Result]:
    """Call ``function(item)`` for each item in SLURM jobs.

    Parameters
    ----------
    function, items, tick
        As for any engine.
    execution
        At most ``num_workers`` jobs at a time; what a job asks for.
    logs
        Folder for the job script and what jobs print.

    Raises
    ------
    UserError
        If there is no SLURM here, or jobs end as soon as they begin.
    """
    with dask.config.set(SETTINGS), open_cluster(execution, logs) as cluster:
        script = logs / "job.sh"
        script.write_text(cluster.job_script(), encoding="utf-8")
        if not shutil.which("sbatch"):
            raise UserError(
                f"expected SLURM on this machine; found no sbatch (what it would be given: {script})",
                parameter="engine",
            )
        cluster.adapt(minimum_jobs=0, maximum_jobs=min(execution.num_workers, len(items)))
        with distributed.Client(cluster, set_as_default=False) as client:
            return hand_out(client, function, items, _JobWatch(cluster, logs, tick))


def open_cluster(execution: ExecutionConfig, logs: Path) -> SLURMCluster:
    """Return a cluster whose jobs hold one worker of one thread each; none is submitted yet.

    What is not among our options (account, modules) comes from dask-jobqueue's own
    configuration file, or from the environment variables of ``sbatch`` (``SBATCH_ACCOUNT``, …).

    Raises
    ------
    UserError
        If this machine has no such network interface.
    """
    logs.mkdir(parents=True, exist_ok=True)
    return SLURMCluster(
        job_cls=_QuotedJob,  # type: ignore[arg-type]  # the package annotates a class as its instance
        python=shlex.quote(sys.executable),
        cores=1,
        processes=1,
        memory=execution.slurm_memory,
        walltime=execution.slurm_time,
        queue=execution.slurm_partition,
        job_name="emt",
        job_extra_directives=[f"--gres=gpu:{execution.slurm_gpus}"] if execution.slurm_gpus else [],
        log_directory=str(logs),
        # A dashboard would be a second port, without keys; the scheduler's health page stays on this machine.
        scheduler_options={"dashboard": False, "dashboard_address": "127.0.0.1:0", **_listen(execution)},
        interface=execution.slurm_interface,
        # Whoever reaches a scheduler can run code on its workers; keys are made for this run, for its owner's eyes.
        security=True,
        shared_temp_directory=str(logs),
    )


def _listen(execution: ExecutionConfig) -> dict[str, str]:
    """Return where the scheduler listens, one interface: left to itself it would take all."""
    interface = execution.slurm_interface or dask.config.get("jobqueue.slurm.interface", None)
    try:
        return {"host": get_ip_interface(interface) if interface else get_ip()}
    except ValueError as error:
        raise UserError(str(error), parameter="slurm_interface") from None


class _QuotedJob(SLURMJob):
    """A job whose paths are quoted: a run's folder may have any name, and the job script is shell text."""

    def __init__(self, *arguments: Any, log_directory: str, security: Any, **settings: Any) -> None:
        super().__init__(*arguments, log_directory=log_directory, security=security, **settings)
        for path in filter(None, security.get_tls_config_for_role("worker").values()):
            self._command_template = self._command_template.replace(f" {path}", f" {shlex.quote(path)}")
        # As options of sbatch, where a percent sign begins a pattern; a line of the script ends at a space.
        stem = log_directory.replace("%", "%%") + f"/{self.job_name}-%J"
        self.submit_command = (
            f"{self.submit_command} -e {shlex.quote(stem + '.err')} -o {shlex.quote(stem + '.out')}"
        )
        lines = str(self.job_header).split("\n")
        self.job_header = "\n".join(
            line for line in lines if not line.startswith(("#SBATCH -e ", "#SBATCH -o "))
        )


class _JobWatch:
    """A tick that notices jobs which end before their worker has come up; the cluster would wait for them for ever.

    They are replaced; when several in a row end like that, the next would too.
    """

    def __init__(self, cluster: SLURMCluster, logs: Path, tick: Tick) -> None:
        self.cluster, self.logs, self.tick = cluster, logs, tick
        self.looked, self.lost = time.monotonic(), 0
        self.arrived: set[str] = set()

    def __call__(self) -> None:
        self.tick()
        if time.monotonic() - self.looked >= LOOK_S:
            self.look()
            self.looked = time.monotonic()

    def look(self) -> None:
        """Compare the jobs asked for with SLURM's queue and with the workers that have come up."""
        up = {str(worker["name"]) for worker in self.cluster.scheduler_info["workers"].values()}
        jobs = {name: job.job_id for name, job in list(self.cluster.workers.items()) if job.job_id}
        arrived = {job for name, job in jobs.items() if str(name) in up}
        if arrived - self.arrived:
            self.lost = 0
        self.arrived |= arrived
        gone = set(jobs.values()) - self.arrived - _queue(jobs.values())
        self.lost += len(gone)
        if self.lost >= LOST_JOBS:
            log = self.logs / f"emt-{max(gone, key=int)}.err"
            raise UserError(
                f"{self.lost} SLURM jobs in a row ended before their worker came up; see {log}",
                parameter="engine",
            )
        if gone:
            self.cluster.sync(self.cluster.scale_down, [name for name, job in jobs.items() if job in gone])


def _queue(jobs: Iterable[str]) -> set[str]:
    """Return which jobs wait or run: all of them where SLURM does not answer."""
    command = ["squeue", "--noheader", "--format=%A", f"--user={os.getuid()}"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return set(jobs if answer.returncode else answer.stdout.split())
