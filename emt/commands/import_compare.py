"""The numbers of an imported experiment beside those that the earlier code reported of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from emt import runs
from emt.commands.output import complain, say
from emt.config import RunConfig
from emt.errors import UserError
from emt.options import load

CLOSE = 1e-6
"""Difference of a recomputed number that single precision explains."""


def compare(folder: Path, target: Path, config: RunConfig, sources: Sequence[Any]) -> None:
    """Say how far the numbers of an earlier summary are from those of the imported weights."""
    from analysis.evaluation.reproduced import differences_from_summary
    from emt.tasks import TASKS

    if not (folder / "evaluation_summary.json").exists():
        return
    try:
        entries = {entry["model_name"]: entry for entry in runs.read_summary(folder)["metrics"]}
    except UserError as error:
        say(f"Not compared with its own summary: {error}")
        return
    task = load(TASKS, config.task_name, "task")(**config.task_options())
    largest: dict[str, tuple[float, str]] = {}
    compared = [s for s in sources if f"model-{s.number}" in entries and runs.is_done(target, s.number)]
    for source in compared:
        name = f"model-{source.number}"
        lengths = entries[name].get("seq_lengths") or []
        operators = {length: task.operator(length) for length in lengths}
        recurrent = runs.read_weights(runs.model_folder(target, source.number))[0]["rnn.weight_hh_l0"]
        for key, value in differences_from_summary(entries[name], recurrent.astype(float), operators).items():
            largest[key] = max(largest.get(key, (0.0, name)), (value, name))
    if largest:
        shown = ", ".join(f"{key} within {value:.1e}" for key, (value, _) in largest.items())
        say(f"Compared with its own summary, {len(compared)} models: {shown}")
    for key, (value, name) in largest.items():
        if value > CLOSE:
            complain(
                f"emt import: {name}: {key} differs by {value:.1e} from its own summary, which is of other weights"
            )
