"""Train one of the paper's models on bAbI's stories in one stream, several seeds at once as a population.

Writes a run directory that `emt evaluate` and `emt analyze` read. Rerun the same command to resume an
interrupted run.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

from emt.commands.output import say
from emt.commands.script import run_script
from emt.config import RunConfig, TrainingConfig, metadata
from emt.models import MODELS
from emt.options import Option, Parser, check, options_of, summary_of, target_of, validate
from emt.streams import Split
from emt.tasks import TASKS
from emt.tasks.catbabi import CatBabi
from emt.text import shell_path
from experiments.command_line import (
    ON_DEVICE,
    build_parser,
    execution_of,
    renamed,
    require_device,
    step_options,
    training_of,
    values_of,
)
from experiments.training import train_in_view

MODEL_TYPES = {"fwm": "fwm", "lstm": "stacked_lstm", "fw": "fw", "txl": "transformer_xl", "mnm": "mnm"}
"""The paper's models by their short names."""

VARIANTS = {"10k": "en-valid-10k", "1k": "en-valid"}

TASK_FLAGS = ("data", "mode", "segment", "tasks", "paper_sets", "derived_files")
"""Options of the task that are flags of the same name here."""

MOST_NAMED = 6
"""Missing files that are named; of more, the rest is counted."""

RENAMED = {"variant": "rule"}
"""Options of models whose flag has another name here."""


TRAINING = (
    *step_options(steps=7_000, batch=32, eval_every=250, out="runs/catbabi"),
    Option("clip", float, 0.0, "largest gradient norm of a model; 0: no clipping"),
    Option("warmup", int, 0, "steps over which the learning rate rises in a line"),
)


def main(arguments: list[str] | None = None) -> int:
    """Parse, train, report; return the exit code."""
    config, folder = parse(sys.argv[1:] if arguments is None else arguments)
    require_device(config.execution)
    return train(config, folder)


def parse(arguments: list[str]) -> tuple[RunConfig, Path]:
    """Return the run that a command line describes, everything checked, and its folder.

    Raises
    ------
    UserError
        For the first flag that is wrong, or where the data are not to be found.
    """
    first = Parser(add_help=False)
    first.add_argument("--model", choices=MODEL_TYPES, default="fwm")
    model = first.parse_known_args(arguments)[0].model
    given = vars(parser(model).parse_args(arguments))
    return build_config(model, given), Path(values_of(TRAINING, given, "training")["out"])


def parser(model: str) -> argparse.ArgumentParser:
    """Return the command line for a model."""
    groups = {
        "stories": [o for o in options_of(TASKS["catbabi"]) if o.name in TASK_FLAGS],
        f"model {model}: {summary_of(_target(model))}": model_flags(model),
        "training": TRAINING,
        "execution": ON_DEVICE,
    }
    result = build_parser("experiments.catbabi.train", __doc__, groups)
    add = result.add_argument
    add(
        "--model",
        choices=MODEL_TYPES,
        default="fwm",
        help="which (default: fwm); --model NAME --help shows its flags",
    )
    add(
        "--variant",
        choices=VARIANTS,
        default="10k",
        help="questions per task, 10,000 or 1,000 (default: 10k)",
    )
    return result


def model_flags(model: str) -> list[Option]:
    """Return the options of a model under the names of their flags."""
    return renamed(options_of(_target(model)), RENAMED)


def build_config(model: str, given: Mapping[str, Any]) -> RunConfig:
    """Return the run that the flags describe; see `parse`."""
    values = values_of(TRAINING, given, "training")
    stories = values_of(
        [o for o in options_of(TASKS["catbabi"]) if o.name in TASK_FLAGS], given, "task catbabi"
    )
    options = values_of(model_flags(model), given, f"model {model}")
    own_names = {flag: option for option, flag in RENAMED.items()}
    task = check(options_of(TASKS["catbabi"]), stories, "task catbabi")
    training = training_of(values) | {"gradient_clip": values["clip"], "warmup_steps": values["warmup"]}
    config = RunConfig(
        metadata=metadata(Path(values["out"]).name, "experiments.catbabi.train"),
        task={"name": "catbabi", **task, "folder": VARIANTS[given["variant"]]},
        model={"type": MODEL_TYPES[model], **{own_names.get(k, k): v for k, v in options.items()}},
        training=validate(TrainingConfig, training | {"validation_batches": 1}, "training"),
        execution=execution_of(given, values["device"]),
    )
    return with_whole_validation(config)


def _target(model: str) -> str:
    return target_of(MODELS, MODEL_TYPES[model], "model")


def with_whole_validation(config: RunConfig) -> RunConfig:
    """Return a configuration that validates on the whole split."""
    batches = count_batches(CatBabi(**config.task_options()), "validation", config.training.batch_size)
    return config.model_copy(
        update={"training": config.training.model_copy(update={"validation_batches": batches})}
    )


def count_batches(task: CatBabi, split: Split, size: int) -> int:
    """Return after how many batches a split that ends has ended."""
    step = 0
    while task.batch([0], split, step, task.segment, size).sequences:
        step += 1
    return step


def train(config: RunConfig, folder: Path) -> int:
    """Train with a live display and report how it ended."""
    missing = CatBabi(**config.task_options()).missing
    if missing:
        named = ", ".join(missing[:MOST_NAMED]) + (
            f" and {len(missing) - MOST_NAMED} more" if missing[MOST_NAMED:] else ""
        )
        say(f"Not in {config.task['data']}, trained without: {named}")
    outcome = train_in_view(config, folder)
    if outcome.done:
        accuracies = [marker["val_acc"] for marker in outcome.done.values() if marker["val_acc"] is not None]
        best = f", median of their best validations {median(accuracies):.4f}" if accuracies else ""
        say(f"{len(outcome.done)} of {config.training.num_models} models done{best}")
        say(f"Next: python -m experiments.catbabi.evaluate {shell_path(folder)}")
    return 1 if outcome.failures else 0


if __name__ == "__main__":
    sys.exit(run_script("train", main))
