"""`emt evaluate --interventions`: what answers depend on, in worker processes."""

from typing import Any

from emt import engine
from emt.commands.output import complain_at_length
from emt.errors import UserError
from emt.evaluation import Work
from emt.interventions.kinds import KINDS
from emt.member_interventions import InterventionWork, join_parts, write_parts
from emt.progress import Progress


def intervene_members(work: Work, kinds: list[str], trials: int, workers: int, console: Any) -> None:
    """Write the effects of interventions on all members, but those that are there already.

    Raises
    ------
    UserError
        If a worker process fails; members that are done stay done.
    """
    job = InterventionWork(work, tuple(kinds) or KINDS, trials)
    missing = job.missing()
    if not missing:
        return
    paths = [job.part_path(length, n) for length, numbers in missing.items() for n in numbers]
    if paths:
        console.print(f"Interventions on {len(paths)} members, {trials} trials each")
    with Progress("members", len(paths), console) as progress:
        results = engine.run(
            write_parts,
            _share_out(job, missing, workers),
            workers,
            lambda: progress.update(sum(path.exists() for path in paths)),
        )
    for result in results:
        if result.failure:
            complain_at_length(result.details)
            raise UserError(f"{work.experiment}: interventions: {result.failure}")
    join_parts(job, list(missing))


def _share_out(
    job: InterventionWork, missing: dict[int, tuple[int, ...]], workers: int
) -> list[tuple[InterventionWork, dict[int, tuple[int, ...]]]]:
    """Return each worker's share of what is missing; no share is empty."""
    shares = [
        {length: numbers[i::workers] for length, numbers in missing.items() if numbers[i::workers]}
        for i in range(workers)
    ]
    return [(job, share) for share in shares if share]
