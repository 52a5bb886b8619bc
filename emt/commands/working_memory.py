"""How much memory evaluation and analysis take: what is recorded at a time, what is kept, and whether it fits."""

import os
import resource
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from emt.errors import UserError
from emt.evaluation import TRACE_HORIZON, Work, test_sequences

PIECE_BYTES = 2**28
"""Outputs, states and memory logs that are recorded at a time."""

KEPT_BYTES = 2**26
"""States of the accuracy sample that a model's figures are made from."""

COPIES = 4
"""How often a piece is in memory at its peak: the log, its trace, and what the forward pass works with."""

KEPT_COPIES = 8
"""Likewise for the states that are kept: figures are computed in float64."""

OUTPUT_COPIES = 8
"""Likewise for inputs, outputs and targets of all sequences."""

READ_COPIES = 2
"""How often a recorded run is in memory while it is analysed: as read, and its states in float64."""

PROCESS_BYTES = 400 * 2**20
"""A process with torch and matplotlib, before it records."""


def sequence_blocks(sequence_bytes: int, sequences: int) -> list[slice]:
    """Return the held-out sequences as the blocks that are recorded at a time."""
    size = max(1, PIECE_BYTES // sequence_bytes)
    return [slice(first, min(first + size, sequences)) for first in range(0, sequences, size)]


def member_blocks(numbers: Sequence[int], member_bytes: int) -> list[tuple[int, ...]]:
    """Return model numbers as the blocks that are recorded at a time."""
    size = max(1, PIECE_BYTES // member_bytes)
    return [tuple(numbers[first : first + size]) for first in range(0, len(numbers), size)]


def kept_sequences(work: Work, loaded: Any) -> int:
    """Return of how many held-out sequences of each length the states are kept: the first ones, at least one."""
    weight = loaded.model.like
    zero = loaded.model.zero_state(weight.new_zeros(len(loaded.numbers), 1))
    units = next(iter(zero.values()))[0, 0].numel()
    steps = max(count_steps(work, loaded.task, length) for length in work.settings.seq_lengths)
    sequence_bytes = weight.element_size() * units * steps * len(work.settings.seq_lengths)
    return max(1, min(test_sequences(loaded.task), KEPT_BYTES // sequence_bytes))


def count_steps(work: Work, task: Any, length: int, most: int | None = None) -> int:
    """Return the steps of a held-out sequence without making it; of the horizon at most ``most`` steps count."""
    horizon = work.settings.test_horizon if most is None else min(most, work.settings.test_horizon)
    one, two = (task.test_batch(work.config.training.seed, length, steps, 1).steps for steps in (1, 2))
    return int(one + (two - one) * (horizon - 1))


class Needs(NamedTuple):
    """Bytes that an evaluation needs.

    Attributes
    ----------
    sample
        Of memory, for the accuracy sample of one model.
    trace
        Of memory, for the recorded runs of all models.
    files
        Of disk, for the recorded runs.
    """

    sample: int
    trace: int
    files: int


def estimate(work: Work, loaded: Any) -> Needs:
    """Return what the evaluation of these models needs, ``loaded`` being one of them."""
    from emt import record

    task, kept = loaded.task, KEPT_COPIES * KEPT_BYTES if work.settings.figures else KEPT_BYTES
    sequences = test_sequences(task)
    channels = 4 * (task.output_channels + task.input_channels)
    pieces, outputs, members = [0], 0, []
    for length in work.settings.seq_lengths:
        step, steps = record.step_bytes(loaded, length), count_steps(work, task, length)
        pieces.append(_piece(step * steps, sequences))
        outputs += OUTPUT_COPIES * channels * steps * sequences
        traced = count_steps(work, task, length, TRACE_HORIZON) * work.settings.trace_sequences
        members.append(step * traced)
    trace = max(_piece(member, len(work.numbers)) for member in members)
    states = COPIES * max(pieces)
    sample = states + min(kept, KEPT_COPIES * max(pieces)) + outputs
    return Needs(sample, COPIES * trace, sum(members) * len(work.numbers) * work.workers)


def _piece(one: int, number: int) -> int:
    """Return the bytes of the largest piece that is recorded at a time."""
    return max(one, min(PIECE_BYTES, one * number))


def check_fits(work: Work, loaded: Any) -> None:
    """Refuse an evaluation that needs more memory, or more disk, than is free.

    Parameters
    ----------
    work
        A worker's share of the models.
    loaded
        One of them.

    Raises
    ------
    UserError
        Naming the option to change.
    """
    free, needed = free_memory(), _needed(work, loaded)
    if needed > free:
        option, way_out = _way_out(work, loaded, free)
        message = (
            f"the evaluation needs about {_size(needed)} of memory, and {_size(free)} are free; {way_out}"
        )
        raise UserError(message, parameter=option)
    room, files = shutil.disk_usage(work.experiment).free, estimate(work, loaded).files
    if files > room:
        message = (
            f"recorded runs of {len(work.numbers) * work.workers} models need about {_size(files)} of disk"
        )
        raise UserError(
            f"{message}, and {_size(room)} are free in {work.experiment}", parameter="model_pattern"
        )


def check_readable(path: Path, parameter: str) -> None:
    """Refuse to analyse a recorded run that does not fit into the memory that is free.

    Raises
    ------
    UserError
        Under the option ``parameter``, which named the run; the message says how to have a smaller one.
    """
    free, needed = free_memory(), READ_COPIES * path.stat().st_size
    if needed > free:
        message = f"an analysis of {path} needs about {_size(needed)} of memory, and {_size(free)} are free"
        raise UserError(f"{message}; {FEWER_MODELS}", parameter=parameter)


FEWER_MODELS = "evaluate fewer models (--model_pattern of `emt evaluate`)"


@contextmanager
def explained_allocations(
    way_out: str = "choose a smaller horizon, or fewer processes with --num_workers",
    parameter: str = "test_horizon",
) -> Iterator[None]:
    """Let memory that runs out all the same be a `UserError` that names the options to change."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        words = str(error).lower()
        if (
            not isinstance(error, MemoryError)
            and "out of memory" not in words
            and "can't allocate" not in words
        ):
            raise
        raise UserError(f"memory ran out; {way_out}", parameter=parameter) from None


def _needed(work: Work, loaded: Any) -> int:
    needs = estimate(work, loaded)
    return max(work.workers * (PROCESS_BYTES + needs.sample), PROCESS_BYTES + needs.trace)


def _way_out(work: Work, loaded: Any, free: int) -> tuple[str, str]:
    """Return the option to change, and what would fit."""
    for workers in range(work.workers - 1, 0, -1):
        if _needed(replace(work, workers=workers), loaded) <= free:
            return "num_workers", f"{workers} would fit"
    horizon = work.settings.test_horizon
    while horizon > 1:
        horizon //= 2
        if _needed(replace(work, settings=replace(work.settings, test_horizon=horizon)), loaded) <= free:
            return "test_horizon", f"{horizon} would fit"
    return "seq_length", "choose fewer or shorter lengths"


def free_memory() -> int:
    """Return the bytes of memory that this process may still take: of the machine, its control group and its limits."""
    return min([*_free_on_machine(), *_free_in_group(), *_free_in_limits()], default=2**62)


def _free_on_machine() -> list[int]:
    lines = _words("/proc/meminfo")
    if "MemAvailable:" in lines:
        return [1024 * int(lines[lines.index("MemAvailable:") + 1])]
    names = ("SC_AVPHYS_PAGES", "SC_PAGE_SIZE")
    return [os.sysconf(names[0]) * os.sysconf(names[1])] if set(names) <= set(os.sysconf_names) else []


def _free_in_group() -> list[int]:
    """Version 2 of control groups, seen from inside a container."""
    most, taken = (_words(f"/sys/fs/cgroup/memory.{name}") for name in ("max", "current"))
    return [int(most[0]) - int(taken[0])] if most and taken and most[0].isdigit() else []


def _free_in_limits() -> list[int]:
    most, taken = resource.getrlimit(resource.RLIMIT_AS)[0], _words("/proc/self/statm")
    return [most - int(taken[0]) * resource.getpagesize()] if most != resource.RLIM_INFINITY and taken else []


def _words(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="ascii").split()
    except OSError:
        return []


def _size(size: int) -> str:
    return f"{size / 1e9:.3g} GB"
