"""`emt evaluate --interventions`: what answers depend on, in worker processes."""

from typing import Any

from emt.commands.evaluate_parts import evaluate_parts
from emt.evaluation import Work
from emt.interventions.condition import Condition
from emt.interventions.kinds import KINDS
from emt.member_interventions import InterventionWork, write_parts


def intervene_members(
    work: Work,
    kinds: list[str],
    trials: int,
    conditions: tuple[Condition, ...],
    workers: int,
    console: Any,
) -> None:
    """Write the effects of interventions on all members, but those that are there already; see `evaluate_parts`.

    ``conditions`` are those of a file; without any those of ``kinds`` are made, or of all.
    """
    given = {condition.kind for condition in conditions}
    chosen = tuple(kind for kind in KINDS if kind in given) if conditions else tuple(kinds) or KINDS
    job = InterventionWork(work, chosen, trials, find_codes, conditions)
    evaluate_parts(job, write_parts, "effects of interventions", f"{trials} trials", workers, console)


def find_codes(recording: Any) -> Any:
    """Return the codes of the task's variables in recorded members (`emt.codes.Codes`).

    A member that is not finite has none, and costs the others nothing.
    """
    import numpy as np

    from analysis.variables.find import find_variables

    of_members = [n for n, v in recording.data_vars.items() if "member" in v.dims and v.dtype.kind == "f"]
    axes = {n: tuple(range(1, recording[n].ndim)) for n in of_members}
    finite = np.all([np.isfinite(recording[n].to_numpy()).all(axis=axes[n]) for n in of_members], axis=0)
    # States that do not vary hold nothing.
    kept = {n: recording[n].where(recording["member"].copy(data=finite), 0.0) for n in of_members}
    return find_variables(recording.assign(kept)).codes()
