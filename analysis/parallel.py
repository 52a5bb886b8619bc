"""Independent jobs on all cores, and long loops, with their progress on standard error (`emt.progress`)."""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

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
    """
    import joblib

    workers = min(joblib.cpu_count(), len(jobs)) if parallel else 1
    if workers > 1:
        # A worker whose parent is killed would wait for ever, and keep the arrays that both share in memory.
        watch = {"initializer": stopping.end_with, "initargs": (os.getpid(),)}
        run = joblib.Parallel(n_jobs=workers, return_as="generator", **watch)
        results = run(joblib.delayed(function)(job) for job in jobs)
    else:
        results = map(function, jobs)
    with Progress(description, len(jobs)) as progress:
        for done, result in enumerate(results, start=1):
            progress.update(done)
            yield result


def counted(items: Sequence[Job], description: str) -> Iterator[Job]:
    """Yield items of a loop that may take long, and count those that are done."""
    with Progress(description, len(items)) as progress:
        for done, item in enumerate(items, start=1):
            yield item
            progress.update(done)
