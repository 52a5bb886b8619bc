"""What the experiments' own training commands share: train a population in view, say what failed, find what to test."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emt import files, runs
from emt.commands import in_view
from emt.commands.output import complain, complain_at_length, open_console
from emt.config import RunConfig
from emt.errors import UserError
from emt.schema import Schema, read

if TYPE_CHECKING:
    from emt.training.population import Outcome


def train_in_view(config: RunConfig, folder: Path) -> "Outcome":
    """Train what is not done yet of a population with a live display, and name the models that diverged or failed.

    Failures go to standard error.

    Raises
    ------
    UserError
        As `emt.training.population.train`; the folder is that of the flag ``--out``.
    """
    from emt.training import population

    console, members = open_console(), config.training.num_models
    first = f"Training {members} models ({config.model_type} on {config.task_name}) in {folder}"
    failures = in_view.train_in_view({folder: config}, config.execution, console, first, flag="out")
    outcome = population.Outcome(population.done_markers(config, folder), failures)
    diverged = [f"model-{n}" for n, marker in outcome.done.items() if marker["status"] == "diverged"]
    if diverged:
        console.print(f"{len(diverged)} of {members} models diverged: {', '.join(diverged)}")
    for failure in outcome.failures:
        complain_at_length(failure.details or "")
        complain(f"train: {failure.item}: {failure.failure}")
    return outcome


def untested(folder: Path, done: Mapping[int, Mapping[str, Any]]) -> list[int]:
    """Return the members whose test.json is not there or was made from other weights than their done marker's."""
    return [number for number, marker in done.items() if _tested_weights(folder, number) != marker["sha256"]]


def validation_errors(curve: Path) -> dict[int, float]:
    """Return the validation errors of a training curve, in percent, by training step."""
    return {point.step: 100 * (1 - point.val_acc) for point in files.read_curve(curve) if point.is_validation}


def _tested_weights(folder: Path, number: int) -> str | None:
    try:
        return str(read_test(runs.model_folder(folder, number), Tested)["weights_sha256"])
    except UserError:
        return None


class Tested(Schema):
    """What every member's test.json says."""

    weights_sha256: str


def read_test(folder: Path, kind: type[Schema]) -> dict[str, Any]:
    """Return the content of a folder's test.json.

    Raises
    ------
    UserError
        If it is missing, or is not of the ``kind``.
    """
    content: dict[str, Any] = read(folder / "test.json", kind).model_dump()
    return content
