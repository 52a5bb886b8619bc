"""`emt evaluate --dynamics`: fixed points and exponents in worker processes, each member named when it is done."""

from pathlib import Path
from typing import Any

from emt import dynamics_file, engine
from emt.commands.output import complain_at_length
from emt.errors import UserError
from emt.evaluation import Work
from emt.member_dynamics import DynamicsWork, join_parts, write_parts
from emt.progress import Progress


def search_dynamics(work: Work, moving: str, starts: int, workers: int, console: Any) -> None:
    """Write the dynamics of all members, but those that are there already.

    Raises
    ------
    UserError
        If a worker process fails; members that are done stay done.
    """
    job = DynamicsWork(work, moving, starts)
    missing = job.missing()
    if not missing:
        return
    told = _Told(job, missing, console)
    if told.paths:
        console.print(
            f"Fixed points and Lyapunov exponents of {len(told.paths)} members, {starts} starts each; after an "
            "interruption rerun the same command to resume"
        )
    with Progress("members", len(told.paths), console) as progress:
        results = engine.run(
            write_parts, share_out(job, missing, workers), workers, lambda: told.tell(progress)
        )
        told.tell(progress)
    for result in results:
        if result.failure:
            complain_at_length(result.details)
            raise UserError(f"{work.experiment}: fixed points and exponents: {result.failure}")
    join_parts(job, list(missing))


def share_out(
    job: DynamicsWork, missing: dict[int, tuple[int, ...]], workers: int
) -> list[tuple[DynamicsWork, dict[int, tuple[int, ...]]]]:
    """Return each worker's share of what is missing; no share is empty."""
    shares = [
        {length: numbers[i::workers] for length, numbers in missing.items() if numbers[i::workers]}
        for i in range(workers)
    ]
    return [(job, share) for share in shares if share]


class _Told:
    """Which members have been announced as done."""

    def __init__(self, job: DynamicsWork, missing: dict[int, tuple[int, ...]], console: Any) -> None:
        self.console = console
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
            self.console.print(f"model-{number}, length {length}: {dynamics_file.glance(path)}")
        progress.update(len(self.done))
