"""`emt evaluate --interventions`: what answers depend on, in worker processes."""

from typing import Any

from emt.commands.evaluate_parts import evaluate_parts
from emt.evaluation import Work
from emt.interventions.kinds import KINDS
from emt.member_interventions import InterventionWork, write_parts


def intervene_members(work: Work, kinds: list[str], trials: int, workers: int, console: Any) -> None:
    """Write the effects of interventions on all members, but those that are there already; see `evaluate_parts`."""
    job = InterventionWork(work, tuple(kinds) or KINDS, trials, find_codes)
    evaluate_parts(job, write_parts, "effects of interventions", f"{trials} trials", workers, console)


def find_codes(recording: Any) -> Any:
    """Return the codes of the task's variables in recorded members (`emt.codes.Codes`)."""
    from analysis.variables.find import find_variables

    return find_variables(recording).codes()
