"""What `emt evaluate` works out member by member (`emt.member_parts`), in worker processes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from emt import engine
from emt.commands.output import complain_at_length
from emt.errors import UserError
from emt.member_parts import Missing, PartsWork
from emt.progress import Progress

Job = TypeVar("Job", bound=PartsWork)


def evaluate_parts(
    job: Job,
    write: Callable[[tuple[Job, Missing]], None],
    what: str,
    each: str,
    workers: int,
    console: Any,
    glance: Callable[[Path], str] | None = None,
) -> None:
    """Write what is missing, and the files of all members.

    Parameters
    ----------
    job, write
        What is wanted, and the function that a worker calls for its share of what is missing.
    what, each
        What messages call the results, and how much there is of each member.
    workers, console
        Number of processes; where the work is announced.
    glance
        What is said of a member's part when it is done; without it nothing.

    Raises
    ------
    UserError
        If a worker process fails; members that are done stay done.
    """
    missing = job.missing()
    if not missing:
        return
    told = _Told(job, missing, console, glance)
    if told.paths:
        console.print(
            f"{what[0].upper()}{what[1:]} of {len(told.paths)} members, {each} each; after an interruption rerun "
            "the same command to resume"
        )
    with Progress("members", len(told.paths), console) as progress:
        shares = share_out(job, missing, workers)
        results = engine.run(write, shares, workers, lambda: told.tell(progress))
        told.tell(progress)
    for result in results:
        if result.failure:
            complain_at_length(result.details)
            raise UserError(f"{job.work.experiment}: {what}: {result.failure}")
    job.join(list(missing))


def share_out(job: Job, missing: Missing, workers: int) -> list[tuple[Job, Missing]]:
    """Return each worker's share of what is missing; no share is empty."""
    shares = [
        {length: numbers[i::workers] for length, numbers in missing.items() if numbers[i::workers]}
        for i in range(workers)
    ]
    return [(job, share) for share in shares if share]


class _Told:
    """Which members have been announced as done."""

    def __init__(
        self, job: PartsWork, missing: Missing, console: Any, glance: Callable[[Path], str] | None
    ) -> None:
        self.console, self.glance = console, glance
        self.paths = {
            job.part_path(length, n): (n, length) for length, numbers in missing.items() for n in numbers
        }
        # A damaged file is written again.
        self.done: set[Path] = {path for path in self.paths if path.exists()}

    def tell(self, progress: Progress) -> None:
        """Print a line for each member that is done since the last call."""
        for path in sorted(path for path in self.paths.keys() - self.done if path.exists()):
            number, length = self.paths[path]
            self.done.add(path)
            if self.glance is not None:
                self.console.print(f"model-{number}, length {length}: {self.glance(path)}")
        progress.update(len(self.done))
