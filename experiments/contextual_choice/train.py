"""Train DND-LSTM agents on contextual choice, several seeds at once as a population.

Writes a run directory that evaluate_multiple.py, analyze.py and experiments.contextual_choice.report read. Rerun the
same command to resume an interrupted run.
"""

import argparse
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from emt.commands.script import run_script
from emt.config import ExecutionConfig, RunConfig, TrainingConfig, metadata
from emt.models import MODELS
from emt.options import Option, Parser, add_flags, check, load, options_of, options_of_model, validate
from emt.tasks import TASKS
from experiments.contextual_choice.results import last_returns, returns_of
from experiments.training import train_in_view

TASK, MODEL = "contextual_choice", "dnd_lstm"

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
    parser = Parser(
        prog="experiments.contextual_choice.train",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--out", default="runs/dnd", metavar="DIR", help="the run's folder (default: runs/dnd)")
    groups = {
        "task": options_of(TASKS[TASK]),
        "model": options_of(MODELS[MODEL]),
        "training": training_options(),
        "execution": options_of_model(ExecutionConfig),
    }
    for name, options in groups.items():
        add_flags(parser.add_argument_group(name), options)
    return parser


def build_config(options: argparse.Namespace) -> RunConfig:
    """Return the run that the flags describe; everything checked.

    Raises
    ------
    UserError
        For a flag with a value that it may not have.
    """

    def given_options(known: tuple[Option, ...], where: str) -> dict[str, Any]:
        return check(known, {k: v for k, v in vars(options).items() if k in {o.name for o in known}}, where, words=True)

    task = given_options(options_of(TASKS[TASK]), f"task {TASK}")
    episode = load(TASKS, TASK, "task")(**task).epoch_batches
    training = given_options(training_options(), "training") | {
        "curriculum": False,
        "curriculum_horizons": (1,),
        "epoch_batches": episode,
        "validation_batches": episode,
    }
    return RunConfig(
        metadata=metadata(Path(options.out).name, "experiments.contextual_choice.train"),
        task={"name": TASK, **task},
        model={"type": MODEL, **given_options(options_of(MODELS[MODEL]), f"model {MODEL}")},
        training=validate(TrainingConfig, training, "training"),
        execution=validate(ExecutionConfig, given_options(options_of_model(ExecutionConfig), "execution"), "execution"),
    )


def main(arguments: list[str] | None = None) -> int:
    """Parse, train, report; return the exit code."""
    options = parser().parse_args(arguments)
    return train(build_config(options), Path(options.out))


def train(config: RunConfig, folder: Path) -> int:
    """Train with a live display, then say what the agents got."""
    outcome = train_in_view(config, folder)
    returns = returns_of(folder, config, sorted(outcome.done))
    if not returns.empty:
        interval = last_returns(returns)
        spread = f" ({interval.low:.2f} to {interval.high:.2f})" if interval.n > 1 else ""
        steps = config.task["steps"]
        print(f"Return in the last epochs: {interval.estimate:.2f}{spread} of {steps}, n = {interval.n} agents")
        print(f"Next: python -m experiments.contextual_choice.report {shlex.quote(str(folder))}")
    return 1 if outcome.failures else 0


if __name__ == "__main__":
    sys.exit(run_script("train", main))
