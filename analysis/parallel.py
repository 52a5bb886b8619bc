"""Independent jobs on all cores, and long loops, with their progress on standard error (`emt.progress`)."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from analysis.errors import AnalysisError
from emt import stopping
from emt.progress import Progress

Job = TypeVar("Job")
Result = TypeVar("Result")


def run_parallel(
    function: Callable[[Job], Result], jobs: Sequence[Job], description: str, parallel: bool = True
) -> Iterator[Result]:
    """Yield ``function(job)`` for each job, in their order.

    Parameters
    ----------
    function
        A function that can be pickled; where it raises, so does this.
    jobs
        What it is given.
    description
        Says what is counted.
    parallel
        False runs everything here: starting processes takes a second or two.

    Raises
    ------
    AnalysisError
        If a process dies, which the kernel kills where memory is short.
    """
    import joblib

    workers = min(joblib.cpu_count(), len(jobs)) if parallel else 1
    if workers > 1:
        # A worker whose parent is killed would wait for ever, and keep the arrays that both share in memory.
        watch = {"initializer": stopping.end_with, "initargs": (os.getpid(),)}
        run = joblib.Parallel(n_jobs=workers, return_as="generator", **watch)
        results = _watched(run(joblib.delayed(function)(job) for job in jobs), description)
    else:
        results = map(function, jobs)
    with Progress(description, len(jobs)) as progress:
        for done, result in enumerate(results, start=1):
            progress.update(done)
            yield result


def _watched(results: Iterator[Result], description: str) -> Iterator[Result]:
    try:
        yield from results
    except BrokenProcessPool:
        why = (
            "expected all worker processes to live; got one that was killed, perhaps because memory is short"
        )
        raise AnalysisError(f"{description}: {why}; rerun the same command") from None


def counted(items: Sequence[Job], description: str) -> Iterator[Job]:
    """Yield items of a loop that may take long, and count those that are done."""
    with Progress(description, len(items)) as progress:
        for done, item in enumerate(items, start=1):
            yield item
            progress.update(done)
