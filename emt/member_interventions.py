"""Interventions on an experiment's members, as parts (`emt.member_parts`)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import ModuleType
from typing import Any, ClassVar

import xarray as xr

from emt import effects, runs
from emt.codes import Codes
from emt.config import code_of_run
from emt.devices import choose_device
from emt.errors import UserError, renamed
from emt.evaluation import portrait_mark
from emt.interventions.condition import Condition
from emt.interventions.kinds import FITTED, KINDS, OF_VARIABLES
from emt.member_parts import Missing, PartsWork
from emt.options import load
from emt.tasks import TASKS
from emt.tasks.base import Batch, Task

FindCodes = Callable[[xr.DataTree], Codes]

STACK_BYTES = 2**28
"""Members are run together whose states and logs take so many bytes on all trials."""


@dataclass(frozen=True)
class InterventionWork(PartsWork):
    """Members on which interventions are wanted.

    Attributes
    ----------
    kinds
        Kinds of conditions (`emt.interventions.conditions.KINDS`).
    trials
        Trials of each length.
    conditions
        What is changed, where that is not what the model and the task have of ``kinds``.
    find_codes
        What finds the directions of variables from a run's trace; without it variables are not exchanged.
    """

    kinds: tuple[str, ...]
    trials: int
    find_codes: FindCodes | None = None
    conditions: tuple[Condition, ...] = ()

    folder_name = "interventions"
    file: ClassVar[ModuleType] = effects

    @property
    def options(self) -> tuple[Any, ...]:
        """What a part depends on beside the member and its trials."""
        work = self.work
        code = code_of_run(work.config, "analysis") if set(OF_VARIABLES) & set(self.kinds) else ""
        # What passes between members depends on all of them.
        others = portrait_mark(work) if "members" in self.kinds else ""
        given = (condition.describe() for condition in self.conditions)
        return (self.kinds, self.trials, code, others, *given, *self._player)

    @property
    def _player(self) -> tuple[str, ...]:
        """The weights of the member whose actions all see, where inputs depend on actions."""
        if load(TASKS, self.work.config.task_name, "task").loss != "advantage":
            return ()
        folder = runs.model_folder(self.work.experiment, self.work.numbers[0])
        return (runs.checkpoint_hash(folder, self.work.step),)


def write_parts(share: tuple[InterventionWork, Missing]) -> None:
    """Run and write the parts of members, given by sequence length.

    Raises
    ------
    UserError
        If the model or the task has nothing of the kinds that are wanted.
    """
    from emt import record
    from emt.acting import played_by
    from emt.interventions.carried import held_by, join_held
    from emt.interventions.intervene import intervene

    job, missing = share
    work, device = job.work, choose_device(job.work.settings.accelerator)
    load_stack = partial(record.load_members, work.experiment, work.config, device=device, step=work.step)
    for length, numbers in missing.items():
        first = load_stack(numbers[:1])
        batch, fitted = _batches(job, first.task, length)
        if batch.environment is not None:
            # What members do in the same trials compares: they are run on what the first of them did.
            batch = played_by(load_stack(work.numbers[:1]).model, batch)
        find = partial(_codes_of, job, fitted, length)
        one = record.step_bytes(first, length) * batch.steps * batch.sequences
        partners = None
        if "members" in job.kinds and fitted is not None:
            everyone = (load_stack(stack) for stack in _stacks(work.numbers, one))
            pairs = ((members, find(members)) for members in everyone)
            partners = join_held(
                [held_by(members, batch, fitted, c) for members, c in pairs if c is not None]
            )
        for stack in _stacks(numbers, one):
            about = {"length": length, "parts": [job.hashes[n] for n in stack]}
            members, given = load_stack(stack), job.conditions or None
            with renamed({"kinds": "interventions", "conditions": "intervention_file"}):
                found = intervene(
                    members, batch, given, about, kinds=job.kinds, codes=find(members), partners=partners
                )
            job.save(found, length, stack)


def _codes_of(job: InterventionWork, fitted: Batch | None, length: int, members: Any) -> Codes | None:
    """Return the codes of members, None where no variables are exchanged."""
    from emt import record

    if fitted is None or job.find_codes is None:
        return None
    return replace(job.find_codes(record.record(members, fitted, length)), fitted=0)


def _batches(job: InterventionWork, task: Task, length: int) -> tuple[Batch, Batch | None]:
    """Return the trials, and others that directions of variables are found from, None where that is not wanted.

    Raises
    ------
    UserError
        If variables are asked for by name, and the task's are not defined.
    """
    draw = partial(task.test_batch, job.work.config.training.seed, length, job.horizon)
    wanted = [kind for kind in job.kinds if kind in OF_VARIABLES]
    if not wanted or job.find_codes is None:
        return draw(job.trials), None
    if task.operator(length) is None:
        if job.kinds != KINDS:
            raise UserError(
                f"{wanted[0]}: the task has no linear operator, so its variables are not defined; states would do",
                parameter="interventions",
            )
        return draw(job.trials), None
    # The first of many trials need not be those of a smaller batch.
    both = draw(FITTED + job.trials)
    return both.part(slice(FITTED, None)), both.part(slice(FITTED))


def _stacks(numbers: Sequence[int], member_bytes: int) -> list[Sequence[int]]:
    members = max(1, STACK_BYTES // member_bytes)
    return [numbers[first : first + members] for first in range(0, len(numbers), members)]
