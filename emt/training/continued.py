"""Where an interrupted run continues, in words: which models are done, and after which step the others were saved."""

import json
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path
from typing import Annotated

from pydantic import Field

from emt import config as configuration
from emt import files, runs, tensor_file
from emt.config import RunConfig
from emt.errors import UserError
from emt.options import load
from emt.schema import Count, Positive, Schema, checked
from emt.tasks import TASKS
from emt.training.epochs import Epochs
from emt.training.population import Chunk
from emt.training.progress import CourseStatus


class Saved(Schema):
    """What the text of a resume state says, as far as it is told."""

    step: Count
    numbers: Annotated[list[Positive], Field(min_length=1)]
    course: CourseStatus = CourseStatus()


def where_it_continues(config: RunConfig, experiment: Path) -> str:
    """Return where a run continues that was begun before; nothing for a new one.

    Parameters
    ----------
    config
        The run, with all options.
    experiment
        Its folder.

    Returns
    -------
    str
        Such as "models 1 to 3 are done; models 4 to 6 continue after step 2,400 of 4,000 (epoch 13 of 20) at
        horizons 20 to 40; models 7 and 8 start at step 0".
    """
    plan, begun = experiment / "population" / "chunks.json", experiment / "config.json"
    try:
        if not plan.exists() or configuration.differences(configuration.read(begun), config):
            return ""
        numbers = checked(files.read_json(plan), list[list[int]], plan)
    except UserError:
        # Training reads the same files, and says what is wrong with them.
        return ""
    chunks = [Chunk(experiment, config, tuple(n)) for n in numbers if n]
    done = [n for chunk in chunks for n in chunk.numbers if runs.is_done(experiment, n)]
    states = [(chunk, _saved(chunk, done)) for chunk in chunks if not set(chunk.numbers) <= set(done)]
    if not done and not any(about for _, about in states):
        return ""
    parts = [f"{named(done)} {'is' if len(done) == 1 else 'are'} done"] if done else []
    parts += [_place(config, about) for _, about in states if about]
    fresh = [n for chunk, about in states if not about for n in chunk.numbers if n not in done]
    parts += [f"{named(fresh)} start{'s' if len(fresh) == 1 else ''} at step 0"] if fresh else []
    return "; ".join(parts)


def _saved(chunk: Chunk, done: Iterable[int]) -> Saved | None:
    """Return what a chunk's resume state says of itself; None where it has none that training would take."""
    try:
        text = tensor_file.text_of(chunk.state_path)
        about: Saved = checked(json.loads(text or "{}"), Saved, chunk.state_path)
    except (OSError, ValueError):
        return None
    return about if set(chunk.numbers) - set(about.numbers) <= set(done) else None


def _place(config: RunConfig, about: Saved) -> str:
    task = load(TASKS, config.task_name, "task")(**config.task_options())
    training, epochs = config.training, Epochs(config.training, task)
    text = f"{named(about.numbers)} continue{'s' if len(about.numbers) == 1 else ''} after step {about.step:,} of "
    text += f"{epochs.end(training.epochs):,} (epoch {epochs.done(about.step) + 1} of {training.epochs})"
    at = about.course.at
    horizons = sorted({at[str(n)][0] for n in about.numbers if str(n) in at})
    if not horizons or not training.curriculum or len(training.curriculum_horizons) == 1:
        return text
    several = f"horizons {horizons[0]} to {horizons[-1]}"
    return f"{text} at {f'horizon {horizons[0]}' if len(horizons) == 1 else several}"


def named(numbers: Iterable[int]) -> str:
    """Return models by their numbers.

    >>> named([1, 2, 3, 5]), named([7]), named([7, 8])
    ('models 1 to 3 and 5', 'model 7', 'models 7 and 8')
    """
    rows = [
        [n for _, n in row]
        for _, row in groupby(enumerate(sorted(numbers)), lambda place: place[1] - place[0])
    ]
    texts = [text for row in rows for text in ([f"{row[0]} to {row[-1]}"] if len(row) > 2 else map(str, row))]
    count = sum(map(len, rows))
    return f"model{'s' if count > 1 else ''} {' and '.join(filter(None, [', '.join(texts[:-1]), texts[-1]]))}"
