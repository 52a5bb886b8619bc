"""Train a whole population: prepare its folder, split it into chunks, hand them to an engine. Imports no torch."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emt import config as configuration
from emt import engine, files, locks, runs
from emt.config import ExecutionConfig, RunConfig
from emt.errors import UserError
from emt.identity import changes
from emt.schema import checked, refusal

LARGEST_CHUNK = 25
"""Members in one stack on a CPU; more do not make a step faster per member."""

LARGEST_GPU_CHUNK = 500
"""Members in one stack on a GPU, where many fill it; not measured."""


@dataclass(frozen=True)
class Chunk:
    """A range of members of one experiment."""

    experiment: Path
    config: RunConfig
    numbers: tuple[int, ...]

    def __str__(self) -> str:
        return f"models {self.numbers[0]} to {self.numbers[-1]}"

    @property
    def state_path(self) -> Path:
        """File of this chunk's resume state."""
        return self.experiment / "population" / f"models-{self.numbers[0]}-{self.numbers[-1]}.safetensors"

    @property
    def status_path(self) -> Path:
        """File that says where this chunk stands, rewritten about twice a second."""
        return self.state_path.with_suffix(".status.json")

    @property
    def lock_path(self) -> Path:
        """File that whoever works on this chunk holds."""
        return self.state_path.with_suffix(".lock")

    @property
    def failed_path(self) -> Path:
        """File that is there once this chunk has failed, until it is started anew."""
        return self.state_path.with_suffix(".failed")


Tick = Callable[[list[Chunk]], None]


@dataclass(frozen=True)
class Outcome:
    """How a population's training ended: each member's done marker, and what failed."""

    done: dict[int, dict[str, Any]]
    failures: list[engine.Result]


def prepare(config: RunConfig, experiment: Path, siblings: int = 1) -> list[Chunk]:
    """Write ``config.json``, or check that the folder holds the same run, and return the chunks of members.

    The chunks are decided once and saved, so that a run resumed with another number of workers has the same
    stacks and a byte-identical result.

    Parameters
    ----------
    config
        The run.
    experiment
        Its folder.
    siblings
        How many populations the workers are shared among, this one included.

    Raises
    ------
    UserError
        If the folder holds a run with another configuration; the message names the fields that differ.
    """
    path, holds_models = experiment / "config.json", any(experiment.glob("model-*"))
    if holds_models and not path.exists():
        raise UserError(
            f"{experiment} contains models but no config.json; choose another name", parameter="experiment"
        )
    decide(
        path,
        config.model_copy(
            update={"metadata": config.metadata | configuration.recorded_code(config)}
        ).model_dump(),
    )
    differing = configuration.differences(configuration.read(path), config)
    if differing:
        raise UserError(
            f"{experiment} contains a run with another configuration ({'; '.join(differing)}); "
            "choose another name for a new run",
            parameter="experiment",
        )
    workers, on_gpu = engine.capacity(config.execution)
    parts = -(-workers * config.execution.part[1] // siblings)
    proposal = split(config.training.num_models, parts, LARGEST_GPU_CHUNK if on_gpu else LARGEST_CHUNK)
    path = experiment / "population" / "chunks.json"
    plan = checked(decide(path, proposal), list[list[int]], path)
    if [n for numbers in plan for n in numbers] != list(
        range(1, config.training.num_models + 1)
    ) or [] in plan:
        expected = f"lists of the models 1 to {config.training.num_models}, each model once and in order"
        raise refusal(path, (), expected, plan)
    return [Chunk(experiment.absolute(), config, tuple(numbers)) for numbers in plan]


def check_code(experiment: Path, config: RunConfig) -> None:
    """Check that this code, plug-ins included, is the one that began a run, as far as the run records it.

    Raises
    ------
    UserError
        If it is not, and ``allow_other_code`` is not set.
    """
    path = experiment / "config.json"
    now = configuration.code_of_run(config)
    other = changes(configuration.read(path).metadata, now) if path.exists() else ""
    if other and not config.execution.allow_other_code:
        raise UserError(
            f"{experiment} was begun by other code ({other}); resume it with that code, or with --allow_other_code",
            parameter="experiment",
        )


def decide(path: Path, proposal: Any) -> Any:
    """Write what is decided once, unless it has been, and return what holds; of several processes one decides."""
    if not path.exists():
        with contextlib.suppress(FileExistsError), files.writing(path, new=True) as file:
            file.write(files.to_json(proposal))
    return files.read_json(path)


@contextlib.contextmanager
def kept(*paths: Path) -> Iterator[None]:
    """Write files again that somebody removed meanwhile: without them a run can neither be resumed nor evaluated."""
    contents = {path: path.read_bytes() for path in paths}
    try:
        yield
    finally:
        for path, content in contents.items():
            if not path.exists():
                files.write_bytes(path, content)


def split(members: int, parts: int, largest: int = LARGEST_CHUNK) -> list[list[int]]:
    """Return model numbers 1 … members in chunks of nearly equal size: a multiple of ``parts``, if members suffice."""
    rounds = -(-members // (largest * parts))
    return [part.tolist() for part in np.array_split(np.arange(1, members + 1), min(members, rounds * parts))]


def train(config: RunConfig, experiment: Path, tick: Tick = lambda chunks: None) -> Outcome:
    """Train all members of one population that are not done yet; see `train_all`."""
    failures = train_all({experiment: config}, config.execution, tick)
    return Outcome(done_markers(config, experiment), failures)


def train_all(
    populations: Mapping[Path, RunConfig], execution: ExecutionConfig, tick: Tick = lambda chunks: None
) -> list[engine.Result]:
    """Train all members of all populations that are not done yet, and return what failed.

    A process holds its populations alone, except for shards: these share them, and each holds the chunk it
    works on. A chunk that another process holds is a failure that names the holder.

    Parameters
    ----------
    populations
        Runs by folder.
    execution
        Where to work, and which part of the work to do: shard I of N does every N-th chunk, from the I-th.
    tick
        Called about twice a second with the chunks of this process.

    Raises
    ------
    UserError
        If a folder holds another run or another process works on it.
    """
    index, count = execution.part
    with contextlib.ExitStack() as held:
        chunks: list[Chunk] = []
        for experiment, config in populations.items():
            held.enter_context(locks.lock(experiment / "population" / "lock", shared=count > 1))
            locks.remove_leftovers(experiment)
            own = config.model_copy(update={"execution": execution})
            chunks += prepare(own, experiment, len(populations))
            held.enter_context(kept(experiment / "config.json", experiment / "population" / "chunks.json"))
        mine = chunks[index - 1 :: count]
        waiting = [chunk for chunk in mine if not _is_done(chunk)]
        for experiment, config in {chunk.experiment: chunk.config for chunk in waiting}.items():
            check_code(experiment, config)
        for chunk in waiting:
            chunk.failed_path.unlink(missing_ok=True)
        logs = Path(os.path.commonpath([c.absolute() for c in populations])) / "slurm_logs"
        work = "emt.training.chunk:train_chunk"
        results = engine.hand_out(work, waiting, execution, logs, lambda: tick(mine))
    return [r for r in results if r.failure]


def _is_done(chunk: Chunk) -> bool:
    """Whether all members of a chunk are done; what a process leaves that is killed just then is deleted."""
    if not all(runs.is_done(chunk.experiment, number) for number in chunk.numbers):
        return False
    if locks.remove_if_free(chunk.lock_path):
        chunk.state_path.unlink(missing_ok=True)
    return True


def done_markers(config: RunConfig, experiment: Path) -> dict[int, dict[str, Any]]:
    """Return the done markers of the members that have ended, by model number."""
    done = [n for n in range(1, config.training.num_models + 1) if runs.is_done(experiment, n)]
    markers = {n: runs.read_marker(runs.model_folder(experiment, n)) for n in done}
    for number, marker in markers.items():
        checked(marker, runs.TrainedMarker, runs.marker_path(runs.model_folder(experiment, number)))
    return markers
