"""Independent jobs on all cores, with a progress bar where someone watches."""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from emt import stopping

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
        Says what the progress bar counts.
    parallel
        False runs everything here: starting processes takes a second or two.
    """
    import joblib
    from rich.console import Console
    from rich.progress import track

    workers = min(joblib.cpu_count(), len(jobs)) if parallel else 1
    if workers > 1:
        # A worker whose parent is killed would wait for ever, and keep the arrays that both share in memory.
        watch = {"initializer": stopping.end_with, "initargs": (os.getpid(),)}
        run = joblib.Parallel(n_jobs=workers, return_as="generator", **watch)
        results = run(joblib.delayed(function)(job) for job in jobs)
    else:
        results = map(function, jobs)
    console = Console(stderr=True)
    yield from track(
        results, description, len(jobs), console=console, disable=not console.is_terminal, transient=True
    )
