"""Sweeps: populations that answer one question, trained as one piece of work, with one table of all members.

::

    <sweep>/
      sweep.json      {"format_version": 1, "question": …, "experiments": [their folders' names, in order]}
      members.csv     one row for each member of each experiment
      <experiment>/   a run directory (`emt.runs`)

Columns of ``members.csv``: ``experiment``, ``model``, the fields in which the experiments differ, ``seed``,
``learning_rate`` if one experiment has several, ``status`` ("unfinished" while it is), ``step``, ``horizon``,
``passed_step`` and ``train_acc`` of the done marker, and ``val_acc``, the last validation accuracy at the last horizon.
"""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from emt import config as configuration
from emt import files, runs
from emt.config import RunConfig
from emt.errors import UserError
from emt.models import MODELS
from emt.options import check, load, options_of, target_of
from emt.schema import Schema, read
from emt.tasks import TASKS
from emt.tasks.base import check_task
from emt.text import cell
from emt.training.population import decide, done_markers


class Sweep(Schema):
    """Content of a ``sweep.json``."""

    question: str
    experiments: list[str]


MARKER_COLUMNS = ("status", "step", "horizon", "passed_step", "train_acc")


def complete(config: RunConfig) -> RunConfig:
    """Return a configuration with all options of its task and its model.

    Raises
    ------
    UserError
        For an option that the task or the model has not, or a value that it refuses.
    """
    config = with_options(config)
    check_task(load(TASKS, config.task_name, "task")(**config.task_options()), config.task_name)
    return config


def with_options(config: RunConfig, *, partial: bool = False) -> RunConfig:
    """Return a configuration with all options of its task and its model, with ``partial`` those that it has, checked.

    Raises
    ------
    UserError
        For an option that the task or the model has not, or a value of another type.
    """
    task, model = (
        target_of(TASKS, config.task_name, "task"),
        target_of(MODELS, config.model_type, "model_type"),
    )
    task_options = check(options_of(task), config.task_options(), f"task {config.task_name}", partial=partial)
    model_options = check(
        options_of(model), config.model_options(), f"model {config.model_type}", partial=partial
    )
    sections = {
        "task": {"name": config.task_name, **task_options},
        "model": {"type": config.model_type, **model_options},
    }
    return config.model_copy(update=sections)


def read_run(path: Path, *, partial: bool = False) -> RunConfig:
    """Read a ``config.json``; see `with_options`.

    Raises
    ------
    UserError
        If the file is missing, or no configuration of a registered task and model; the message names it.
    """
    config = configuration.read(path)
    configuration.check_plugins(config, {"task": TASKS, "model_type": MODELS}, str(path))
    try:
        return with_options(config, partial=partial)
    except UserError as error:
        raise UserError(f"{path}: {error.in_flags()}") from None


def prepare(question: str, configs: Sequence[RunConfig], folder: Path) -> dict[Path, RunConfig]:
    """Write ``sweep.json``, or add the runs that it lacks; return those given, complete, by folder.

    So a sweep may be run in parts, and grow.

    Parameters
    ----------
    question
        Name of the sweep.
    configs
        Its runs; ``experiment_name`` in their metadata names their folders.
    folder
        Where these folders are made.

    Raises
    ------
    UserError
        For wrong configurations, names that are no folder names or not unique, and a folder with the sweep of
        another question.
    """
    names = [config.metadata.get("experiment_name", "") for config in configs]
    for name in names:
        if Path(name).name != name or not name or names.count(name) > 1:
            raise UserError(
                f"sweep {question}: expected folder names that differ in experiment_name; got {name!r}"
            )
    whole = {folder / name: complete(config) for name, config in zip(names, configs, strict=True)}
    sweep = {"format_version": 1, "question": question, "experiments": names}
    folder.mkdir(parents=True, exist_ok=True)
    decide(folder / "sweep.json", sweep)
    known = read(folder / "sweep.json", Sweep)
    if known.question != question:
        raise UserError(
            f"{folder} contains the sweep {known.question} (sweep.json); choose another folder",
            parameter="folder",
        )
    if new := [name for name in names if name not in known.experiments]:
        files.write_json(folder / "sweep.json", {**sweep, "experiments": [*known.experiments, *new]})
    return whole


def with_earlier(populations: Mapping[Path, RunConfig], folder: Path) -> dict[Path, RunConfig]:
    """Return runs together with those of the sweep's other parts that were begun, in the sweep's order."""
    runs_of = [folder / name for name in read(folder / "sweep.json", Sweep).experiments]
    return {
        run: populations[run] if run in populations else read_run(run / "config.json")
        for run in runs_of
        if run in populations or (run / "config.json").exists()
    }


def members(populations: Mapping[Path, RunConfig]) -> list[dict[str, Any]]:
    """Return the rows of ``members.csv``."""
    fields = {folder: configuration.fields(config) for folder, config in populations.items()}
    names = dict.fromkeys(name for values in fields.values() for name in values)
    differing = [name for name in names if len({repr(values.get(name)) for values in fields.values()}) > 1]
    compared = any(config.training.learning_rates for config in populations.values())
    rows = []
    for folder, config in populations.items():
        done = done_markers(config, folder)
        # Field names are flags of one command line, so they are unique without their section.
        own = {name.rpartition(".")[2]: fields[folder].get(name) for name in differing}
        members_of = zip(config.training.seeds(), config.training.rates(), strict=True)
        for number, (seed, rate) in enumerate(members_of, start=1):
            marker = done.get(number, {"status": "unfinished"})
            row = {"experiment": folder.name, "model": f"model-{number}", **own, "seed": seed}
            row |= {"learning_rate": rate} if compared or "learning_rate" in own else {}
            row |= {column: marker.get(column) for column in MARKER_COLUMNS}
            rows.append(row | {"val_acc": validation_accuracy(runs.model_folder(folder, number))})
    return rows


def validation_accuracy(folder: Path) -> float | None:
    """Return a member's last validation accuracy, None before the first."""
    path = folder / "training_curve.csv"
    if not path.exists():
        return None
    validated = [point.val_acc for point in files.read_curve(path) if point.is_validation]
    return validated[-1] if validated else None


def write_members(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write ``members.csv``; a tuple becomes words, None nothing."""
    text = io.StringIO()
    table = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(
        {k: cell(" ".join(map(str, v)) if isinstance(v, tuple) else v) for k, v in row.items()}
        for row in rows
    )
    files.write_text(path, text.getvalue())
