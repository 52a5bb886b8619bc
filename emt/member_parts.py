"""Results of an experiment's members that are worked out member by member, kept as they come, and joined.

Each member has a part, ``FOLDER/parts/seqL_model-K_HASH.nc``; the hash says what it came from. When all are there
they become one file, ``FOLDER/seqL.nc``. So an evaluation that was interrupted, or that of a population which has
grown, works out only what is not there yet.
"""

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import xarray as xr

from emt import files, runs
from emt.config import code_of_run
from emt.errors import TraceError
from emt.evaluation import TRACE_HORIZON, Work, portrait_mark
from emt.identity import hash_of

Missing = dict[int, tuple[int, ...]]
"""Model numbers by sequence length."""

_PART = re.compile(r"seq[0-9]+_model-[0-9]+_[0-9a-f]{16}\.nc")


@dataclass(frozen=True)
class PartsWork:
    """Members of which results of one kind are wanted; fields of a subclass are what results depend on beside them.

    Attributes
    ----------
    work
        The members.
    folder_name
        Folder of the files, in that of the evaluation.
    file
        The module of the files' format, such as `emt.dynamics_file`.
    """

    work: Work

    folder_name: ClassVar[str]
    file: ClassVar[ModuleType]

    @property
    def options(self) -> tuple[Any, ...]:
        """What a part depends on beside the member and its trials."""
        raise NotImplementedError

    @property
    def horizon(self) -> int:
        """Output steps of a trial."""
        return min(TRACE_HORIZON, self.work.settings.test_horizon)

    @cached_property
    def hashes(self) -> dict[int, str]:
        """Of all that a member's part depends on, by model number."""
        work, config = self.work, self.work.config
        shared = (
            *(self.horizon, config.training.seed, config.task, config.model, runs.FORMAT_VERSION),
            *(self.file.FORMAT_VERSION, *self.options, code_of_run(config)),
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
        return self.work.folder / self.folder_name / "parts"

    def whole_path(self, length: int) -> Path:
        """File of all members."""
        return self.work.folder / self.folder_name / f"seq{length}.nc"

    def part_path(self, length: int, number: int) -> Path:
        """File of one member's part."""
        return self.parts_folder / f"seq{length}_model-{number}_{self.hashes[number][:16]}.nc"

    def has_part(self, length: int, number: int) -> bool:
        """Whether a member's part is there and whole."""
        found: bool = self.file.is_marked(self.part_path(length, number), parts=[self.hashes[number]])
        return found

    def missing(self) -> Missing:
        """Return which members lack a part, by sequence length; not at lengths whose file of all members is there."""
        lengths = [
            length
            for length in self.work.settings.seq_lengths
            if not self.file.is_marked(self.whole_path(length), **self.marks)
        ]
        known = {length: self._joined_before(length)[1] for length in lengths}
        return {
            length: tuple(
                number
                for number in self.work.numbers
                if number not in known[length] and not self.has_part(length, number)
            )
            for length in lengths
        }

    def save(self, found: xr.Dataset, length: int, numbers: Sequence[int]) -> None:
        """Write the parts of members whose results these are."""
        for number in numbers:
            self.file.save(self.file.select(found, number), self.part_path(length, number))

    def join(self, lengths: Sequence[int]) -> None:
        """Write the files of all members at these lengths, and remove the parts."""
        for length in lengths:
            whole, known = self._joined_before(length)
            parts = [
                self.file.select(whole, n) if n in known else self.file.load(self.part_path(length, n))
                for n in self.work.numbers
            ]
            self.file.save(self.file.join(parts, **self.marks), self.whole_path(length))
        for path in sorted(self.parts_folder.glob("seq*.nc")):
            if _PART.fullmatch(path.name) and files.is_plain(path, self.parts_folder):
                path.unlink()
        with contextlib.suppress(OSError):
            self.parts_folder.rmdir()

    def _joined_before(self, length: int) -> tuple[xr.Dataset, set[int]]:
        """Return the file of all members of an earlier evaluation, and of whom it holds the part still."""
        try:
            whole = self.file.load(self.whole_path(length))
        except TraceError:
            return xr.Dataset(), set()
        hashes = self.file.about(whole).get("parts", [])
        made = dict(zip(whole["member"].values.tolist(), hashes, strict=False))
        return whole, {n for n in made if self.hashes.get(n) == made[n]}
