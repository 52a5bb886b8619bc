"""Train populations with a live display: how all command lines that train do it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emt import engine
from emt.config import ExecutionConfig, RunConfig
from emt.errors import renamed


def train_in_view(
    populations: Mapping[Path, RunConfig],
    execution: ExecutionConfig,
    console: Any,
    first: str,
    *,
    flag: str,
    hint: str = "",
) -> list[engine.Result]:
    """Train what is not done yet, say where it continues, and send curves where that is asked for; return what failed.

    Parameters
    ----------
    populations
        Runs by folder.
    execution
        Where to work, and where curves go.
    console
        Where it is shown.
    first
        What is said before.
    flag
        Flag that chooses the folder, for messages.
    hint
        How to wait less.

    Raises
    ------
    UserError
        As `emt.training.population.train_all` and `emt.training.tracking.send`.
    """
    from emt.training import population, tracking
    from emt.training.continued import where_it_continues
    from emt.training.progress import Display

    if "wandb" in execution.loggers:
        tracking.require()
    console.print(first)
    for folder, config in populations.items():
        if begun := where_it_continues(config, folder):
            console.print(f"Resuming{'' if len(populations) == 1 else f' {folder.name}'}: {begun}")
    count = sum(config.training.num_models for config in populations.values())
    stops = [config.training.stop_accuracy for config in populations.values()]
    workers = engine.capacity(execution)[0]
    with (
        Display(console, count, workers, max(filter(None, stops), default=None), hint) as display,
        renamed({"experiment": flag}),
    ):
        failures = population.train_all(populations, execution, display.show)
    if "wandb" in execution.loggers:
        sent = sum(tracking.send(config, folder) for folder, config in populations.items())
        console.print(f"Sent to Weights & Biases: {sent} models")
    return failures
