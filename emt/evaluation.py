"""What an evaluation works on and leaves beside its figures, and how it knows what is current.

Each model has an entry with the hash of what it came from; all models together have recorded runs and, on
request, portraits of their dynamics (`emt.dynamics_file`) and effects of interventions (`emt.effects`).
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from emt import files, runs
from emt.config import RunConfig, code_of_run
from emt.errors import UserError
from emt.files import is_plain
from emt.identity import hash_of
from emt.schema import Schema, read

TEST_SEQUENCES = 256
"""Held-out sequences of each length in the accuracy sample, where the task does not say how many."""

TRACE_SEQUENCES, TRACE_HORIZON = 32, 32
"""Trials and output steps of a recorded run."""


def test_sequences(task: Any) -> int:
    """Return how many held-out sequences a task is tested on; one with so many worlds says how many."""
    return int(getattr(task, "test_sequences", TEST_SEQUENCES))


@dataclass(frozen=True)
class Settings:
    """What an evaluation depends on beside weights and configuration; recorded runs have ``trace_sequences`` trials."""

    seq_lengths: tuple[int, ...]
    test_horizon: int
    accelerator: str
    figures: bool
    trace_sequences: int = TRACE_SEQUENCES


class MemberFile(Schema):
    """Content of a model's ``results/metrics.json``."""

    fingerprint: str
    sha256: str
    entry: dict[str, Any]


@dataclass(frozen=True)
class Work:
    """A share of the models, which ``workers`` processes have one each of; ``step`` is None for the last weights."""

    experiment: Path
    config: RunConfig
    settings: Settings
    numbers: tuple[int, ...]
    step: int | None = None
    workers: int = 1

    @property
    def folder(self) -> Path:
        """Where results go."""
        return self.experiment if self.step is None else self.experiment / "checkpoints" / f"step-{self.step}"


def entry_path(work: Work, number: int) -> Path:
    """File of one model's entry, and of the hash of what it was computed from."""
    return runs.model_folder(work.folder, number) / "results" / "metrics.json"


def fingerprint(work: Work, number: int) -> str:
    """Return the hash of everything a model's evaluation depends on, this code included."""
    weights = runs.checkpoint_hash(runs.model_folder(work.experiment, number), work.step)
    parts = [weights, asdict(work.settings), work.config.task, work.config.model, runs.FORMAT_VERSION]
    return hash_of([*parts, code_of_run(work.config, "analysis")])


def is_current(work: Work, number: int) -> bool:
    """Whether a model was evaluated already with these weights and settings, and its entry is whole."""
    try:
        held = read(entry_path(work, number), MemberFile)
        return held.fingerprint == fingerprint(work, number) and held.sha256 == hash_of(held.entry)
    except UserError:
        return False


def write_entry(work: Work, number: int, entry: Mapping[str, Any]) -> None:
    """Write a model's entry, with hashes of what it was computed from and of itself."""
    plain = files.plain(entry)
    content = {"fingerprint": fingerprint(work, number), "sha256": hash_of(plain), "entry": plain}
    files.write_json(entry_path(work, number), content)


def trace_batch(work: Work, task: Any, length: int) -> Any:
    """Return the trials of a recorded run."""
    horizon = min(TRACE_HORIZON, work.settings.test_horizon)
    return task.test_batch(work.config.training.seed, length, horizon, work.settings.trace_sequences)


def portrait_mark(work: Work) -> str:
    """Return the hash of the models, and of the trials, that portraits are of."""
    weights = [runs.checkpoint_hash(runs.model_folder(work.experiment, n), work.step) for n in work.numbers]
    horizon = min(TRACE_HORIZON, work.settings.test_horizon)
    config, trials = work.config, work.settings.trace_sequences
    return hash_of(
        [weights, horizon, trials, config.training.seed, config.task, config.model, runs.FORMAT_VERSION]
    )


def forget(work: Work, outside: Collection[int] = ()) -> list[Path]:
    """Remove recorded runs that were not written now, and what is not of these models; return them.

    ``outside`` are the lengths of the trials outside of training that were recorded now.
    """
    from emt import dynamics_file, effects

    old = []
    for folder, lengths in (("traces", work.settings.seq_lengths), ("outside", outside)):
        written = {f"seq{length}.nc" for length in lengths}
        old += [path for path in _recordings(work.folder / folder) if path.name not in written]
    mark = portrait_mark(work)
    for folder, kind in (("dynamics", dynamics_file), ("interventions", effects)):
        found = _recordings(work.folder / folder)
        old += [path for path in found if not kind.is_marked(path, fingerprint=mark)]
    for path in old:
        path.unlink()
    return old


def _recordings(folder: Path) -> list[Path]:
    """Return the files that an evaluation writes into a folder, and no others that lie there."""
    paths = sorted(folder.glob("seq*.nc"))
    return [path for path in paths if re.fullmatch(r"seq[0-9]+\.nc", path.name) and is_plain(path, folder)]
