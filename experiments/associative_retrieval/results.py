"""What the experiment writes beside the run directory's own files.

::

    <run>/test.json                  mean loss and accuracy on the test rows over the models tested so far
    <run>/model-k/test.json          a model's own, with its seed and how many of the rows occur in training
    <run>/model-k/log.csv            its validations
    <run>/model-k/model.safetensors  its weights of the best validation
"""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from emt import files, locks, runs
from emt.config import RunConfig
from emt.files import CurvePoint
from emt.options import load
from emt.schema import Count, Share
from emt.tasks import TASKS
from experiments.training import Tested, read_test, untested

TEST_ROWS = 20_000
"""Rows a model is tested on where its data are a stream; of a file, all test rows."""

LOG_COLUMNS = ("step", "train_loss", "val_loss", "val_acc")


def write_results(folder: Path, config: RunConfig) -> dict[int, dict[str, Any]]:
    """Test the models that have ended and write their three files and the run's; current ones are left alone.

    Returns
    -------
    results
        The content of each model's test.json, by model number.
    """
    from emt.training.population import done_markers

    with locks.writing_into(folder):
        done = done_markers(config, folder)
        if open_numbers := untested(folder, done):
            _test(folder, config, open_numbers, done)
        for number in done:
            model = runs.model_folder(folder, number)
            files.write_text(model / "log.csv", log_text(files.read_curve(model / "training_curve.csv")))
            files.write_bytes(
                model / "model.safetensors", (model / "checkpoint" / "weights.safetensors").read_bytes()
            )
        results = {n: read_test(runs.model_folder(folder, n), RetrievalTest) for n in done}
        if results:
            means = {
                name: _mean([result[name] for result in results.values()])
                for name in ("test_loss", "test_acc")
            }
            files.write_json(
                folder / "test.json", means | {"models": [f"model-{number}" for number in results]}
            )
        return results


class RetrievalTest(Tested):
    """Content of a model's test.json."""

    test_loss: float | None
    test_acc: Share | None
    test_rows: Count
    test_rows_in_train: Count
    seed: Count


def _mean(values: Sequence[float | None]) -> float:
    """Return the mean of what is defined; a diverged model has no loss."""
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined else math.nan


def _test(folder: Path, config: RunConfig, numbers: list[int], done: dict[int, dict[str, Any]]) -> None:
    from emt.training.heldout import measure_members

    task = load(TASKS, config.task_name, "task")(**config.task_options())
    size = config.training.batch_size
    rows = TEST_ROWS if task.data is None else len(task.data.rows["test"])
    batches = -(-rows // size)
    losses, accuracies = measure_members(folder, config, numbers, batches)
    for number, loss, accuracy in zip(numbers, losses, accuracies, strict=True):
        marker = done[number]
        repeated, tested = task.count_repeated(marker["seed"], marker["step"], size, batches)
        result = {
            "test_loss": float(loss),
            "test_acc": float(accuracy),
            "test_rows": tested,
            "test_rows_in_train": repeated,
            "seed": marker["seed"],
            "steps": marker["step"],
            "status": marker["status"],
            "best_step": marker.get("best_step"),
            "weights_sha256": marker["sha256"],
        }
        files.write_json(runs.model_folder(folder, number) / "test.json", result)


def log_text(curve: Sequence[CurvePoint]) -> str:
    """Return a training curve's validations as log.csv; ``train_loss`` is the mean over the last training steps."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(LOG_COLUMNS)
    train_loss = math.nan
    for point in curve:
        train_loss = point.train_loss if point.is_training else train_loss
        if point.is_validation:
            figures = (train_loss, point.val_loss, point.val_acc)
            rows.writerow([point.step, *("" if math.isnan(v) else f"{v:.6f}" for v in figures)])
    return text.getvalue()
