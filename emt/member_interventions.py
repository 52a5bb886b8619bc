"""Interventions on an experiment's members: run some members at a time, kept as they come, and joined.

Each member has a part, ``interventions/parts/seqL_model-K_HASH.nc``; the hash says what it came from. When
all are there they become one file, ``interventions/seqL.nc``. So an evaluation that was interrupted works
out only what is not there yet.
"""

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from emt import effects, files, runs
from emt.config import code_of_run
from emt.devices import choose_device
from emt.errors import renamed
from emt.evaluation import TRACE_HORIZON, Work, portrait_mark
from emt.identity import hash_of

STACK_BYTES = 2**28
"""Members are run together whose states and logs take so many bytes on all trials."""

_PART = re.compile(r"seq[0-9]+_model-[0-9]+_[0-9a-f]{16}\.nc")


@dataclass(frozen=True)
class InterventionWork:
    """Members on which interventions are wanted.

    Attributes
    ----------
    work
        The members.
    kinds
        Kinds of conditions (`emt.interventions.conditions.KINDS`).
    trials
        Trials of each length.
    """

    work: Work
    kinds: tuple[str, ...]
    trials: int

    @cached_property
    def hashes(self) -> dict[int, str]:
        """Of all that a member's part depends on, by model number."""
        work = self.work
        shared = (
            *(self.horizon, work.config.training.seed, work.config.task, work.config.model),
            *(runs.FORMAT_VERSION, effects.FORMAT_VERSION, self.kinds, self.trials, code_of_run(work.config)),
        )
        folders = {n: runs.model_folder(work.experiment, n) for n in work.numbers}
        return {
            n: hash_of([runs.checkpoint_hash(folder, work.step), *shared]) for n, folder in folders.items()
        }

    @property
    def horizon(self) -> int:
        """Output steps of a trial."""
        return min(TRACE_HORIZON, self.work.settings.test_horizon)

    @cached_property
    def marks(self) -> dict[str, Any]:
        """What the file of all members says of itself where it is of these."""
        return {"fingerprint": portrait_mark(self.work), "parts": list(self.hashes.values())}

    @property
    def parts_folder(self) -> Path:
        """Where parts are until all are there."""
        return self.work.folder / "interventions" / "parts"

    def whole_path(self, length: int) -> Path:
        """File of all members."""
        return self.work.folder / "interventions" / f"seq{length}.nc"

    def part_path(self, length: int, number: int) -> Path:
        """File of one member's part."""
        return self.parts_folder / f"seq{length}_model-{number}_{self.hashes[number][:16]}.nc"

    def missing(self) -> dict[int, tuple[int, ...]]:
        """Return which members lack a part, by sequence length; not at lengths whose file of all members is there."""
        lengths = [
            length
            for length in self.work.settings.seq_lengths
            if not effects.is_marked(self.whole_path(length), **self.marks)
        ]
        return {
            length: tuple(
                n
                for n in self.work.numbers
                if not effects.is_marked(self.part_path(length, n), parts=[self.hashes[n]])
            )
            for length in lengths
        }


def write_parts(share: tuple[InterventionWork, dict[int, tuple[int, ...]]]) -> None:
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
        if not numbers:
            continue
        first = load(numbers[:1])
        batch = first.task.test_batch(work.config.training.seed, length, job.horizon, job.trials)
        one = record.step_bytes(first, length) * batch.steps * batch.sequences
        for stack in _stacks(numbers, one):
            about = {"length": length, "parts": [job.hashes[n] for n in stack]}
            with renamed({"kinds": "interventions"}):
                found = intervene(load(stack), batch, about=about, kinds=job.kinds)
            for number in stack:
                effects.save(effects.select(found, number), job.part_path(length, number))


def _stacks(numbers: Sequence[int], member_bytes: int) -> list[Sequence[int]]:
    members = max(1, STACK_BYTES // member_bytes)
    return [numbers[first : first + members] for first in range(0, len(numbers), members)]


def join_parts(job: InterventionWork, lengths: Sequence[int]) -> None:
    """Write the files of all members at these lengths, and remove the parts."""
    for length in lengths:
        parts = [effects.load(job.part_path(length, n)) for n in job.work.numbers]
        effects.save(effects.join(parts, **job.marks), job.whole_path(length))
    for path in sorted(job.parts_folder.glob("seq*.nc")):
        if _PART.fullmatch(path.name) and files.is_plain(path, job.parts_folder):
            path.unlink()
    with contextlib.suppress(OSError):
        job.parts_folder.rmdir()
