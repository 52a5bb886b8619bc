"""What an evaluation works on and leaves beside its figures, and how it knows what is current.

Each model has an entry with the hash of what it came from; all models together have recorded runs and, on
request, portraits of their dynamics (`emt.dynamics_file`).
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from emt import files, runs
from emt.config import RunConfig
from emt.devices import choose_device
from emt.errors import UserError, renamed

TEST_SEQUENCES = 256
"""Held-out sequences of each length in the accuracy sample."""

TRACE_SEQUENCES, TRACE_HORIZON = 32, 32
"""Trials and output steps of a recorded run."""


@dataclass(frozen=True)
class Settings:
    """What an evaluation depends on beside weights and configuration."""

    seq_lengths: tuple[int, ...]
    test_horizon: int
    accelerator: str
    figures: bool


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
    """Return the hash of everything a model's evaluation depends on."""
    weights = runs.checkpoint_hash(runs.model_folder(work.experiment, number), work.step)
    parts = [weights, asdict(work.settings), work.config.task, work.config.model, runs.FORMAT_VERSION]
    return files.sha256(json.dumps(parts, sort_keys=True, default=str).encode())


def is_current(work: Work, number: int) -> bool:
    """Whether a model was evaluated already with these weights and settings."""
    try:
        return bool(files.read_json(entry_path(work, number))["fingerprint"] == fingerprint(work, number))
    except (UserError, KeyError, TypeError):
        return False


def trace_batch(work: Work, task: Any, length: int) -> Any:
    """Return the trials of a recorded run."""
    horizon = min(TRACE_HORIZON, work.settings.test_horizon)
    return task.test_batch(work.config.training.seed, length, horizon, TRACE_SEQUENCES)


def write_dynamics(job: tuple[Work, str]) -> None:
    """Write the portraits of all models, but those that are there already."""
    from emt import dynamics_file, record
    from emt.dynamics.describe import describe, held_contents

    work, moving = job
    mark = portrait_mark(work)
    device = choose_device(work.settings.accelerator)
    loaded = record.load_members(work.experiment, work.config, work.numbers, device, work.step)
    with renamed({"moving": "dynamics"}):
        held = held_contents(loaded.model, moving)
    for length in work.settings.seq_lengths:
        path = work.folder / "dynamics" / f"seq{length}.nc"
        if not dynamics_file.is_marked(path, fingerprint=mark, held=held):
            batch = trace_batch(work, loaded.task, length)
            with renamed({"loaded": "dynamics"}):
                found = describe(loaded, batch, {"length": length, "fingerprint": mark}, held)
            dynamics_file.save(found, path)


def portrait_mark(work: Work) -> str:
    """Return the hash of everything that the portraits of all models depend on."""
    weights = [runs.checkpoint_hash(runs.model_folder(work.experiment, n), work.step) for n in work.numbers]
    horizon = min(TRACE_HORIZON, work.settings.test_horizon)
    parts = [
        weights,
        horizon,
        work.config.training.seed,
        work.config.task,
        work.config.model,
        runs.FORMAT_VERSION,
    ]
    return files.sha256(json.dumps(parts, sort_keys=True, default=str).encode())


def forget(work: Work) -> list[Path]:
    """Remove recorded runs that were not written now, and portraits that are not of these models; return them."""
    from emt import dynamics_file

    written = {f"seq{length}.nc" for length in work.settings.seq_lengths}
    old = [path for path in sorted((work.folder / "traces").glob("seq*.nc")) if path.name not in written]
    portraits, mark = sorted((work.folder / "dynamics").glob("seq*.nc")), portrait_mark(work)
    old += [path for path in portraits if not dynamics_file.is_marked(path, fingerprint=mark)]
    for path in old:
        path.unlink()
    return old
