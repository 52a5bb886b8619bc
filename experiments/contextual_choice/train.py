"""Train DND-LSTM agents on contextual choice, several seeds at once as a population.

Writes a run directory that `emt evaluate`, `emt analyze` and experiments.contextual_choice.report read. Rerun
the same command to resume an interrupted run.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from emt.commands.output import say
from emt.commands.script import run_script
from emt.config import RunConfig, TrainingConfig, metadata
from emt.models import MODELS
from emt.options import Option, load, options_of, options_of_model, validate
from emt.tasks import TASKS
from emt.text import shell_path
from experiments.command_line import EXECUTION, ONE_HORIZON, build_parser, execution_of, values_of
from experiments.contextual_choice.results import last_returns, returns_of
from experiments.training import train_in_view

TASK, MODEL, OUT = "contextual_choice", "dnd_lstm", "runs/dnd"

DEFAULTS: dict[str, Any] = {
    "num_models": 1,
    "epochs": 20,
    "batch_size": 1,
    "learning_rate": 5e-4,
    "gradient_clip": 0.0,
}
"""Where training differs from that of other tasks: an epoch is one episode, a batch one trial."""


def training_options() -> tuple[Option, ...]:
    """Return the training flags; a curriculum over horizons makes no sense here, and an epoch is an episode."""
    left_out = ("epoch_batches", "validation_batches", "keep", "stop_accuracy")
    return tuple(
        replace(option, default=DEFAULTS.get(option.name, option.default))
        for option in options_of_model(TrainingConfig)
        if not option.name.startswith("curriculum") and option.name not in left_out
    )


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    groups = {
        "": (Option("out", str, OUT, "folder of the run"),),
        "task": options_of(TASKS[TASK]),
        "model": options_of(MODELS[MODEL]),
        "training": training_options(),
        "execution": EXECUTION,
    }
    return build_parser("experiments.contextual_choice.train", __doc__, groups)


def build_config(options: argparse.Namespace) -> RunConfig:
    """Return the run that the flags describe; everything checked.

    Raises
    ------
    UserError
        For a flag with a value that it may not have.
    """
    given = vars(options)
    task = values_of(options_of(TASKS[TASK]), given, f"task {TASK}")
    episode = load(TASKS, TASK, "task")(**task).epoch_batches
    training = ONE_HORIZON | values_of(training_options(), given, "training")
    training |= {"epoch_batches": episode, "validation_batches": episode}
    return RunConfig(
        metadata=metadata(_folder(options).name, "experiments.contextual_choice.train"),
        task={"name": TASK, **task},
        model={"type": MODEL, **values_of(options_of(MODELS[MODEL]), given, f"model {MODEL}")},
        training=validate(TrainingConfig, training, "training"),
        execution=execution_of(given),
    )


def _folder(options: argparse.Namespace) -> Path:
    return Path(vars(options).get("out", OUT))


def main(arguments: list[str] | None = None) -> int:
    """Parse, train, report; return the exit code."""
    options = parser().parse_args(arguments)
    return train(build_config(options), _folder(options))


def train(config: RunConfig, folder: Path) -> int:
    """Train with a live display, then say what the agents got."""
    outcome = train_in_view(config, folder)
    returns = returns_of(folder, config, sorted(outcome.done))
    if not returns.empty:
        interval = last_returns(returns)
        spread = f" ({interval.low:.2f} to {interval.high:.2f})" if interval.n > 1 else ""
        steps = config.task["steps"]
        say(f"Return in the last epochs: {interval.estimate:.2f}{spread} of {steps}, n = {interval.n} agents")
        say(f"Next: python -m experiments.contextual_choice.report {shell_path(folder)}")
    return 1 if outcome.failures else 0


if __name__ == "__main__":
    sys.exit(run_script("train", main))
