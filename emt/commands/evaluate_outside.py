"""`emt evaluate --outside`: outputs on trials other than those that were trained on, in a worker process."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from emt import engine
from emt.commands.output import complain_at_length
from emt.commands.working_memory import explained_allocations, member_blocks
from emt.config import RunConfig
from emt.devices import choose_device
from emt.errors import UserError, renamed
from emt.evaluation import TRACE_HORIZON, Work
from emt.options import Option, check, load, options_of, target_of
from emt.progress import Progress
from emt.streams import stream
from emt.tasks import TASKS
from emt.tasks.base import Batch

BESIDE = (
    Option("input_noise", Annotated[float, Field(ge=0)], 0.0, "SD of normal noise on inputs"),
    Option("horizon", Annotated[int, Field(ge=1)], TRACE_HORIZON, "output steps"),
)
"""What may be other than in training beside the options of a task."""

BESIDE_NAMES = tuple(option.name for option in BESIDE)


@dataclass(frozen=True)
class Outside:
    """Trials that differ from those that were trained on.

    Attributes
    ----------
    words
        What differs, as it was given, by name.
    task
        The task with these options.
    input_noise
        Standard deviation of normal noise on inputs.
    horizon
        Output steps.
    """

    words: Mapping[str, str]
    task: Any
    input_noise: float
    horizon: int

    @property
    def length(self) -> int:
        """The longest sequence length of the task."""
        return int(max(self.task.lengths))

    def batch(self, seed: int, size: int) -> Batch:
        """Return held-out trials, one member wide; noise leaves targets as they are."""
        batch: Batch = self.task.test_batch(seed, self.length, self.horizon, size)
        if not self.input_noise:
            return batch
        noise = stream("outside_noise", seed, "test", 0).standard_normal(batch.inputs.shape, np.float32)
        inputs = (batch.inputs + np.float32(self.input_noise) * noise).astype(np.float32)
        return replace(batch, inputs=inputs, answers=batch.targets)


def find_outside(config: RunConfig, words: Sequence[str]) -> Outside:
    """Return the trials that words NAME=VALUE describe; of several values NAME=VALUE,VALUE.

    Raises
    ------
    UserError
        If a word is none, the task has no such option, or networks cannot be run on these trials.
    """
    wrong = [word for word in words if not all(word.partition("="))]
    if wrong:
        raise UserError(f"expected NAME=VALUE, as in steps=150; got {wrong[0]!r}", parameter="outside")
    given = {name: value for name, _, value in (word.partition("=") for word in words)}
    own = options_of(target_of(TASKS, config.task_name, "task"))
    names = {option.name for option in own} | set(BESIDE_NAMES)
    if unknown := [name for name in given if name not in names]:
        raise UserError(
            f"must be options of the task or {', '.join(BESIDE_NAMES)}; got {unknown[0]!r} (the task has: "
            f"{', '.join(option.name for option in own) or 'none'})",
            parameter="outside",
        )
    values = {name: value.split(",") for name, value in given.items()}
    with renamed({name: f"outside {name}" for name in names}):
        of_task = {name: value for name, value in values.items() if name not in BESIDE_NAMES}
        mine = check(own, of_task, "task", words=True, partial=True)
        beside = check(BESIDE, {n: v for n, v in values.items() if n in BESIDE_NAMES}, "outside", words=True)
        build = load(TASKS, config.task_name, "task")
        trained, task = build(**config.task_options()), build(**{**config.task_options(), **mine})
    outside = Outside(given, task, beside["input_noise"], beside["horizon"])
    _check(trained, outside)
    return outside


def _check(trained: Any, outside: Outside) -> None:
    """Refuse trials that networks cannot be run on."""
    sizes = [(task.input_channels, task.output_channels) for task in (trained, outside.task)]
    if sizes[0] != sizes[1]:
        (inputs, outputs), (other_inputs, other_outputs) = sizes
        raise UserError(
            f"must leave the networks' {inputs} inputs and {outputs} outputs; got {other_inputs} and {other_outputs}",
            parameter="outside",
        )
    batch = outside.task.test_batch(0, outside.length, outside.horizon, 1)
    fixed = batch.environment is None and np.issubdtype(batch.inputs.dtype, np.floating)
    if outside.input_noise and not fixed:
        raise UserError(
            "input_noise: expected a task whose inputs are numbers, and do not follow from actions",
            parameter="outside",
        )


def write_outside(work: Work, outside: Outside, console: Any) -> None:
    """Record outputs of all models on the trials in a worker process.

    Raises
    ------
    UserError
        If it fails.
    """
    console.print(
        f"Recording outputs on other trials: {', '.join(f'{n} = {v}' for n, v in outside.words.items())}"
    )
    with Progress("recording on other trials", console=console):
        (result,) = engine.run(record_outside, [(work, outside)], 1)
    if result.failure:
        complain_at_length(result.details)
        raise UserError(f"{work.experiment}: outputs on other trials: {result.failure}")


def record_outside(item: tuple[Work, Outside]) -> None:
    """Record outputs, some models at a time in memory; the file is outside/seqL.nc."""
    from emt import record, trace

    work, outside = item
    batch = outside.batch(work.config.training.seed, work.settings.trace_sequences)
    load_numbers = partial(
        record.load_members,
        work.experiment,
        work.config,
        device=choose_device(work.settings.accelerator),
        step=work.step,
    )
    size = (
        work.settings.trace_sequences
        * batch.steps
        * record.step_bytes(load_numbers(work.numbers[:1]), outside.length)
    )
    text = {"name": work.config.task_name, **{k: str(v) for k, v in work.config.task_options().items()}}
    labels = {"task": text | {n: v for n, v in outside.words.items() if n not in BESIDE_NAMES}}

    def pieces() -> Any:
        for numbers in member_blocks(work.numbers, size):
            loaded = load_numbers(numbers)
            there = replace(loaded, task=outside.task, labels={**loaded.labels, **labels})
            yield record.record_outputs(there, batch, outside.length, outside.words)

    seeds = [work.config.training.seeds()[number - 1] for number in work.numbers]
    with explained_allocations():
        trace.save_members(pieces(), work.numbers, seeds, work.folder / "outside" / f"seq{outside.length}.nc")
