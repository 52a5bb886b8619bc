"""Train a whole population: prepare its folder, split it into chunks, hand them to an engine. Imports no torch."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from emt import config as configuration
from emt import engine, runs
from emt.config import RunConfig
from emt.options import UserError

LARGEST_CHUNK = 25
"""Members in one stack on a CPU; more do not make a step faster per member."""


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


@dataclass(frozen=True)
class Outcome:
    """How a population's training ended: each member's done marker, and what failed."""

    done: dict[int, dict[str, Any]]
    failures: list[engine.Result]


def prepare(config: RunConfig, experiment: Path) -> list[Chunk]:
    """Write ``config.json``, or check that the folder holds the same run, and return the chunks of members.

    The chunks are decided once and kept, so that a run continued with another number of workers has the same stacks and
    ends with the same bytes.

    Raises
    ------
    UserError
        If the folder holds a run with another configuration; the message names the fields that differ.
    """
    path = experiment / "config.json"
    if path.exists():
        differing = configuration.differences(configuration.read(path), config)
        if differing:
            raise UserError(
                f"--experiment_name: {experiment} holds a run with another configuration ({'; '.join(differing)}); "
                "choose another name to train anew"
            )
    elif any(experiment.glob("model-*")):
        raise UserError(f"--experiment_name: {experiment} holds models but no config.json; choose another name")
    else:
        runs.write_json(path, config.model_dump())
    plan_path = experiment / "population" / "chunks.json"
    if not plan_path.exists():
        runs.write_json(plan_path, split(config.training.num_models, config.execution.num_workers))
    return [Chunk(experiment, config, tuple(numbers)) for numbers in runs.read_json(plan_path)]


def split(members: int, workers: int) -> list[list[int]]:
    """Return model numbers 1 … members as chunks of nearly equal size, at least one for each worker."""
    size = min(LARGEST_CHUNK, -(-members // workers))
    return [part.tolist() for part in np.array_split(np.arange(1, members + 1), -(-members // size))]


def train(config: RunConfig, experiment: Path, tick: Callable[[list[Chunk]], None] = lambda chunks: None) -> Outcome:
    """Train all members that are not done yet.

    Parameters
    ----------
    config
        The run.
    experiment
        Its folder.
    tick
        Called about twice a second with the chunks.

    Raises
    ------
    UserError
        If the folder holds another run or another process works on it.
    """
    experiment.mkdir(parents=True, exist_ok=True)
    with runs.lock(experiment / "population" / "lock"):
        chunks = prepare(config, experiment)
        open_chunks = [c for c in chunks if not all(runs.is_done(experiment, n) for n in c.numbers)]
        work, workers = "emt.training.chunk:train_chunk", config.execution.num_workers
        results = engine.run(work, open_chunks, workers, lambda: tick(chunks))
    return Outcome(done_markers(config, experiment), [r for r in results if r.failure])


def done_markers(config: RunConfig, experiment: Path) -> dict[int, dict[str, Any]]:
    """Return the done markers of the members that have ended, by model number."""
    numbers = range(1, config.training.num_models + 1)
    return {n: runs.read_weights(runs.model_folder(experiment, n))[1] for n in numbers if runs.is_done(experiment, n)}
