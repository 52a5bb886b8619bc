"""What the experiment writes beside the run directory's own files: log.csv and test.json of each model.

``log.csv`` has a row for each ``--print_freq`` steps: means since the last row of training loss, of recall and of norms
(of gradients, of weights, and of what sequences wrote into entries of high plasticity and into others; of plasticities
that are learnt the mean), and the figures of a validation that was made at that step. ``test.json`` has loss, token
accuracy and recall on held-out strings. Both say what is best with memory (``optimal_…``) and from a step's own input
alone (``no_memory_…``).
"""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emt import files, locks, runs
from emt.commands.output import say
from emt.config import RunConfig
from emt.files import CurvePoint
from emt.options import load
from emt.schema import Count, Share
from emt.tasks import TASKS
from emt.tasks.character_sets import Known, Level
from experiments.training import Tested, read_test, untested

TEST_STRINGS = 2048

EXPLODED = 1.5
"""A training loss, averaged over 50 steps, of more than this many times that of guessing is an explosion."""

Levels = Mapping[Known, Level | None]


def levels_of(config: RunConfig) -> Levels:
    """Return what is best in a run's task: with memory, and from what a step of its model sees."""
    return load(TASKS, config.task_name, "task")(**config.task_options()).levels()


def known_without_memory(config: RunConfig) -> Known:
    """Return what a step of a run's model sees."""
    return "last_two" if config.model.get("input_mode") == "last_two" else "last_one"


def level_figures(config: RunConfig) -> dict[str, float | None]:
    """Return the levels as columns."""
    levels = levels_of(config)
    named = {"optimal": levels["prefix"], "no_memory": levels[known_without_memory(config)]}
    return {
        f"{name}_{figure}": None if level is None else getattr(level, figure)
        for name, level in named.items()
        for figure in ("loss", "accuracy", "recall", "most_recall")
    }


def describe_levels(config: RunConfig) -> Iterator[str]:
    """Yield the levels as lines."""
    names = {
        "prefix": "Best with memory",
        "last_one": "Best from the last character",
        "last_two": "… from the last two",
    }
    for known, level in levels_of(config).items():
        if level is None:
            yield f"{names[known]}: unknown for a text"
            continue
        recall = (
            "" if np.isnan(level.recall) else f", recall {level.recall:.4f} (at most {level.most_recall:.4f})"
        )
        yield f"{names[known]}: loss {level.loss:.4f}, token accuracy {level.accuracy:.4f}{recall}"


def write_results(folder: Path, config: RunConfig) -> dict[int, dict[str, Any]]:
    """Test the models that have ended and write their files; those with current files are left alone.

    Returns
    -------
    results
        The content of each model's test.json, by model number.
    """
    from emt.training.population import done_markers

    with locks.writing_into(folder):
        done, levels = done_markers(config, folder), level_figures(config)
        if numbers := untested(folder, done):
            _test(folder, config, numbers, done, levels)
        every = int(config.metadata.get("print_freq", 1))
        for number in done:
            model = runs.model_folder(folder, number)
            norms = files.read_norms(model / "norms.csv")
            files.write_text(model / "log.csv", log_text(curve_of(folder, number), norms, levels, every))
        return {number: read_test(runs.model_folder(folder, number), CharactersTest) for number in done}


class CharactersTest(Tested):
    """Content of a model's test.json."""

    test_loss: float | None
    test_accuracy: Share | None
    test_recall: Share | None
    seed: Count


def _test(
    folder: Path,
    config: RunConfig,
    numbers: list[int],
    done: Mapping[int, Mapping[str, Any]],
    levels: Mapping[str, Any],
) -> None:
    from emt.training.heldout import measure_members

    batches = -(-TEST_STRINGS // config.training.batch_size)
    everything = config.model_copy(update={"task": {**config.task, "judge": "all"}})
    losses, recalls = measure_members(folder, config, numbers, batches)
    _, accuracies = measure_members(folder, everything, numbers, batches)
    for number, loss, recall, accuracy in zip(numbers, losses, recalls, accuracies, strict=True):
        marker = done[number]
        result = {
            "test_loss": float(loss),
            "test_accuracy": float(accuracy),
            "test_recall": float(recall),
            **levels,
            "seed": marker["seed"],
            "steps": marker["step"],
            "status": marker["status"],
            "exploded_step": exploded_step(folder, config, number, marker),
            "weights_sha256": marker["sha256"],
        }
        files.write_json(runs.model_folder(folder, number) / "test.json", result)


def exploded_step(folder: Path, config: RunConfig, number: int, marker: Mapping[str, Any]) -> int | None:
    """Return the first step whose training loss was an explosion, None for a member that never exploded.

    A member whose loss or gradient was not finite exploded at the last at its last step.
    """
    guessing = np.log(load(TASKS, config.task_name, "task")(**config.task_options()).output_channels)
    for point in curve_of(folder, number):
        if point.is_training and not point.train_loss <= EXPLODED * guessing:
            return point.step
    return int(marker["step"]) if marker["status"] == "diverged" else None


def curve_of(folder: Path, number: int) -> list[CurvePoint]:
    """Return a member's training curve."""
    return files.read_curve(runs.model_folder(folder, number) / "training_curve.csv")


def log_text(
    curve: Sequence[CurvePoint],
    norms: Mapping[int, Mapping[str, float]],
    levels: Mapping[str, float | None],
    every: int,
) -> str:
    """Return a training curve, and norms by step, as log.csv: a row for each multiple of ``every`` steps."""
    shown = {name: value for name, value in levels.items() if name.endswith(("loss", "_recall"))}
    constants = ["" if value is None or np.isnan(value) else f"{value:.6f}" for value in shown.values()]
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    named = tuple(dict.fromkeys(name for row in norms.values() for name in row))
    rows.writerow(["step", "train_loss", "train_recall", "val_loss", "val_recall", *shown, *named])
    validated = {point.step: (point.val_loss, point.val_acc) for point in curve if point.is_validation}
    points: list[tuple[float, ...]] = []
    for point in (point for point in curve if point.is_training):
        own = norms.get(point.step, {})
        points.append((point.train_loss, point.train_acc, *(own.get(name, np.nan) for name in named)))
        if point.step % every == 0:
            loss, recall, *rest = np.mean(points, axis=0)
            figures = map(files.cell, validated.get(point.step, (np.nan, np.nan)))
            means = (f"{loss:.6f}", f"{recall:.6f}")
            rows.writerow([point.step, *means, *figures, *constants, *map(files.cell, rest)])
            points = []
    return text.getvalue()


def report(results: Mapping[int, Mapping[str, Any]]) -> None:
    """Print a line for each member, and for a population mean and interval of its recall."""
    from analysis.statistics import mean_interval

    for number, result in results.items():
        text = f"model-{number}: recall {result['test_recall']:.4f}, token accuracy {result['test_accuracy']:.4f}"
        loss = result["test_loss"]
        text += ", loss not finite" if loss is None else f", loss {loss:.4f}"
        if result["status"] == "diverged":
            text += f"; diverged after step {result['steps']}, tested with its last finite weights"
        if result["exploded_step"] is not None:
            text += f"; loss exploded by step {result['exploded_step']}"
        say(text)
    if len(results) > 1:
        interval = mean_interval([result["test_recall"] for result in results.values()], bounds=(0.0, 1.0))
        reach = f"{interval.low:.4f} to {interval.high:.4f}"
        say(f"Mean recall {interval.estimate:.4f} (95 % interval {reach}), n = {interval.n} models")
