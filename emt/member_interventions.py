"""Interventions on an experiment's members, as parts (`emt.member_parts`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any, ClassVar

from emt import effects
from emt.devices import choose_device
from emt.errors import renamed
from emt.member_parts import Missing, PartsWork

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
    """

    kinds: tuple[str, ...]
    trials: int

    folder_name = "interventions"
    file: ClassVar[ModuleType] = effects

    @property
    def options(self) -> tuple[Any, ...]:
        """What a part depends on beside the member and its trials."""
        return (self.kinds, self.trials)


def write_parts(share: tuple[InterventionWork, Missing]) -> None:
    """Run and write the parts of members, given by sequence length.

    Raises
    ------
    UserError
        If the model or the task has nothing of the kinds that are wanted.
    """
    from emt import record
    from emt.interventions.intervene import intervene

    job, missing = share
    work, device = job.work, choose_device(job.work.settings.accelerator)
    load = partial(record.load_members, work.experiment, work.config, device=device, step=work.step)
    for length, numbers in missing.items():
        first = load(numbers[:1])
        batch = first.task.test_batch(work.config.training.seed, length, job.horizon, job.trials)
        one = record.step_bytes(first, length) * batch.steps * batch.sequences
        for stack in _stacks(numbers, one):
            about = {"length": length, "parts": [job.hashes[n] for n in stack]}
            with renamed({"kinds": "interventions"}):
                found = intervene(load(stack), batch, about=about, kinds=job.kinds)
            job.save(found, length, stack)


def _stacks(numbers: Sequence[int], member_bytes: int) -> list[Sequence[int]]:
    members = max(1, STACK_BYTES // member_bytes)
    return [numbers[first : first + members] for first in range(0, len(numbers), members)]
