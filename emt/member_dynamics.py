"""Fixed points and exponents of an experiment's members: worked out member by member, kept as they come, and joined.

Each member has a part, ``dynamics/parts/seqL_model-K_HASH.nc``; the hash says what it came from. When all are
there they become one file, ``dynamics/seqL.nc``. So an evaluation that was interrupted, or that of a population
which has grown, works out only what is not there yet.
"""

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import xarray as xr

from emt import dynamics_file, files, runs
from emt.config import code_of_run
from emt.devices import choose_device
from emt.errors import TraceError, renamed
from emt.evaluation import TRACE_HORIZON, Work, portrait_mark, trace_batch
from emt.identity import hash_of

STACK_NUMBERS, STACK_MEMBERS = 128, 16
"""Small members are searched together, as a stack whose states have at most so many numbers, or of so many members:
that takes hardly longer than one of them alone."""

_PART = re.compile(r"seq[0-9]+_model-[0-9]+_[0-9a-f]{16}\.nc")


@dataclass(frozen=True)
class DynamicsWork:
    """Members whose dynamics are wanted.

    Attributes
    ----------
    work
        The members.
    moving
        "moving", or "whole" where contents of memories belong to the state.
    starts
        Searches of each member.
    """

    work: Work
    moving: str
    starts: int

    @cached_property
    def hashes(self) -> dict[int, str]:
        """Of all that a member's part depends on, by model number."""
        work = self.work
        shared = (
            *(min(TRACE_HORIZON, work.settings.test_horizon), work.config.training.seed, work.config.task),
            *(work.config.model, runs.FORMAT_VERSION, dynamics_file.FORMAT_VERSION, self.moving, self.starts),
            code_of_run(work.config),
        )
        folders = {n: runs.model_folder(work.experiment, n) for n in work.numbers}
        return {
            n: hash_of([runs.checkpoint_hash(folder, work.step), *shared]) for n, folder in folders.items()
        }

    @cached_property
    def marks(self) -> dict[str, Any]:
        """What the file of all members says of itself where it is of these."""
        return {"fingerprint": portrait_mark(self.work), "parts": list(self.hashes.values())}

    @property
    def parts_folder(self) -> Path:
        """Where parts are until all are there."""
        return self.work.folder / "dynamics" / "parts"

    def whole_path(self, length: int) -> Path:
        """File of all members."""
        return self.work.folder / "dynamics" / f"seq{length}.nc"

    def part_path(self, length: int, number: int) -> Path:
        """File of one member's part."""
        return self.parts_folder / f"seq{length}_model-{number}_{self.hashes[number][:16]}.nc"

    def has_part(self, length: int, number: int) -> bool:
        """Whether a member's part is there and whole."""
        return dynamics_file.is_marked(self.part_path(length, number), parts=[self.hashes[number]])

    def missing(self) -> dict[int, tuple[int, ...]]:
        """Return which members lack a part, by sequence length; not at lengths whose file of all members is there."""
        lengths = [
            length
            for length in self.work.settings.seq_lengths
            if not dynamics_file.is_marked(self.whole_path(length), **self.marks)
        ]
        known = {length: joined_before(self, length)[1] for length in lengths}
        return {
            length: tuple(
                number
                for number in self.work.numbers
                if number not in known[length] and not self.has_part(length, number)
            )
            for length in lengths
        }


def joined_before(job: DynamicsWork, length: int) -> tuple[xr.Dataset, set[int]]:
    """Return the file of all members of an earlier evaluation, and the numbers of those whose parts it still holds."""
    try:
        whole = dynamics_file.load(job.whole_path(length))
    except TraceError:
        return xr.Dataset(), set()
    hashes = dynamics_file.about(whole).get("parts", [])
    made = dict(zip(whole["member"].values.tolist(), hashes, strict=False))
    return whole, {n for n in made if job.hashes.get(n) == made[n]}


def write_parts(share: tuple[DynamicsWork, dict[int, tuple[int, ...]]]) -> None:
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
                found = describe(load(stack), batch, about, held, job.starts)
                for number in stack:
                    dynamics_file.save(dynamics_file.select(found, number), job.part_path(length, number))


def stacks(numbers: Sequence[int], size: int) -> list[Sequence[int]]:
    """Return the members that are searched together, given how many numbers the state of one has."""
    members = max(1, min(STACK_MEMBERS, STACK_NUMBERS // size))
    return [numbers[first : first + members] for first in range(0, len(numbers), members)]


def join_parts(job: DynamicsWork, lengths: Sequence[int]) -> None:
    """Write the files of all members at these lengths, and remove the parts."""
    for length in lengths:
        whole, known = joined_before(job, length)
        parts = [
            dynamics_file.select(whole, n) if n in known else dynamics_file.load(job.part_path(length, n))
            for n in job.work.numbers
        ]
        dynamics_file.save(dynamics_file.join(parts, **job.marks), job.whole_path(length))
    for path in sorted(job.parts_folder.glob("seq*.nc")):
        if _PART.fullmatch(path.name) and files.is_plain(path, job.parts_folder):
            path.unlink()
    with contextlib.suppress(OSError):
        job.parts_folder.rmdir()
