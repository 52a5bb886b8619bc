"""Fixed points and exponents of an experiment's members, as parts (`emt.member_parts`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any, ClassVar

from emt import dynamics_file
from emt.devices import choose_device
from emt.errors import renamed
from emt.evaluation import trace_batch
from emt.member_parts import Missing, PartsWork

STACK_NUMBERS, STACK_MEMBERS = 128, 16
"""Small members are searched together, as a stack whose states have at most so many numbers, or of so many members:
that takes hardly longer than one of them alone."""


@dataclass(frozen=True)
class DynamicsWork(PartsWork):
    """Members whose dynamics are wanted.

    Attributes
    ----------
    moving
        "moving", or "whole" where contents of memories belong to the state.
    starts
        Searches of each member.
    """

    moving: str
    starts: int

    folder_name = "dynamics"
    file: ClassVar[ModuleType] = dynamics_file

    @property
    def options(self) -> tuple[Any, ...]:
        """What a part depends on beside the member and its trials."""
        return (self.moving, self.starts)


def write_parts(share: tuple[DynamicsWork, Missing]) -> None:
    """Work out and write the parts of members, given by sequence length.

    Raises
    ------
    UserError
        If the state of these members is too large, or should move as a whole and not all of it has derivatives.
    """
    from emt import record
    from emt.dynamics.describe import describe, held_contents, state_size

    job, missing = share
    work, device = job.work, choose_device(job.work.settings.accelerator)
    load = partial(record.load_members, work.experiment, work.config, device=device, step=work.step)
    for length, numbers in missing.items():
        with renamed({"moving": "dynamics", "loaded": "dynamics"}):
            first = load(numbers[:1])
            held = held_contents(first.model, job.moving)
            batch = trace_batch(work, first.task, length)
            for stack in stacks(numbers, state_size(first.model, held)):
                about = {"length": length, "moving": job.moving, "parts": [job.hashes[n] for n in stack]}
                job.save(describe(load(stack), batch, about, held, job.starts), length, stack)


def stacks(numbers: Sequence[int], size: int) -> list[Sequence[int]]:
    """Return the members that are searched together, given how many numbers the state of one has."""
    members = max(1, min(STACK_MEMBERS, STACK_NUMBERS // size))
    return [numbers[first : first + members] for first in range(0, len(numbers), members)]
