"""The engine that asks SLURM for jobs of one Dask worker each, and for new ones when they end early."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cryptography  # noqa: F401 - what dask makes keys with, and finds missing too late
import dask
import distributed
from dask_jobqueue import SLURMCluster

from emt.config import ExecutionConfig
from emt.engine.base import Function, Result, Tick, nothing
from emt.engine.dask import hand_out
from emt.options import UserError

SETTINGS = {
    # A job that reaches its time limit counts as a failure of its chunk, though the chunk goes on in the next job.
    "distributed.scheduler.allowed-failures": 20,
    # What waits at a worker that dies is counted as a failure too: let nothing wait there.
    "distributed.scheduler.worker-saturation": 1.0,
    # Chunks take long: ask for one job for each at once.
    "distributed.scheduler.unknown-task-duration": "1h",
}


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
        If there is no SLURM here.
    """
    with dask.config.set(SETTINGS), open_cluster(execution, logs) as cluster:
        script = logs / "job.sh"
        script.write_text(cluster.job_script(), encoding="utf-8")
        if not shutil.which("sbatch"):
            raise UserError(
                f"--engine slurm: expected SLURM on this machine; found no sbatch (what it would be given: {script})"
            )
        cluster.adapt(minimum_jobs=0, maximum_jobs=min(execution.num_workers, len(items)))
        with distributed.Client(cluster) as client:
            return hand_out(client, function, items, tick)


def open_cluster(execution: ExecutionConfig, logs: Path) -> SLURMCluster:
    """Return a cluster whose jobs hold one worker of one thread each; none is submitted yet.

    What is not among our options (account, modules, network interface) comes from dask-jobqueue's own configuration
    file, or from the environment variables of ``sbatch`` (``SBATCH_ACCOUNT``, …).
    """
    logs.mkdir(parents=True, exist_ok=True)
    return SLURMCluster(
        cores=1,
        processes=1,
        memory=execution.slurm_memory,
        walltime=execution.slurm_time,
        queue=execution.slurm_partition,
        job_name="emt",
        job_extra_directives=[f"--gres=gpu:{execution.slurm_gpus}"] if execution.slurm_gpus else [],
        log_directory=str(logs),
        scheduler_options={"dashboard_address": ":0"},
        # Whoever reaches a scheduler can run code on its workers; keys are made for this run, for its owner's eyes.
        security=True,
        shared_temp_directory=str(logs),
    )
