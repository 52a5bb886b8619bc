"""Train one of the paper's models on bAbI's stories in one stream, several seeds at once as a population.

Writes a run directory that evaluate_multiple.py and analyze.py read. A run that was interrupted continues with the same
command.
"""

import argparse
import shlex
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from emt.commands.script import run_script
from emt.config import ExecutionConfig, RunConfig, TrainingConfig, metadata
from emt.devices import choose_device
from emt.errors import UserError
from emt.models import MODELS
from emt.options import Option, Parser, add_flags, check, options_of, summary_of, target_of, validate
from emt.streams import Split
from emt.tasks import TASKS
from emt.tasks.catbabi import CatBabi
from experiments.training import train_in_view

MODEL_TYPES = {"fwm": "fwm", "lstm": "stacked_lstm", "fw": "fw"}
"""The paper's models by their short names."""

VARIANTS = {"10k": "en-valid-10k", "1k": "en-valid"}

TASK_FLAGS = ("data", "mode", "segment", "tasks", "paper_sets", "derived_files")
"""Options of the task that are flags of the same name here."""

MOST_NAMED = 6
"""Missing files that are named; of more, the rest is counted."""

RENAMED = {"variant": "rule"}
"""Options of models whose flag has another name here."""


def main(arguments: list[str] | None = None) -> int:
    """Parse, train, report; return the exit code."""
    config, folder = parse(sys.argv[1:] if arguments is None else arguments)
    if config.execution.accelerator == "gpu":
        choose_device("gpu")
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
    return build_config(model, given), Path(given["out"])


def parser(model: str) -> argparse.ArgumentParser:
    """Return the command line for a model."""
    result = Parser(
        prog="experiments.catbabi.train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = result.add_argument
    add("--model", choices=MODEL_TYPES, default="fwm", help="which (default: fwm); --model NAME --help shows its flags")
    task = options_of(TASKS["catbabi"])
    add("--variant", choices=VARIANTS, default="10k", help="questions per task, 10,000 or 1,000 (default: 10k)")
    add_flags(result.add_argument_group("stories"), [o for o in task if o.name in TASK_FLAGS])
    add_flags(result.add_argument_group(f"model {model}", summary_of(_target(model))), model_flags(model))
    group = result.add_argument_group("training")
    for flag, default, text in (
        ("steps", 7_000, "training steps"),
        ("batch", 32, "rows of stories"),
        ("eval_every", 250, "training steps between validations"),
        ("seed", 0, "seed of the first model; each further model adds 1000"),
        ("num_models", 1, "number of seeds, trained as a population"),
        ("num_workers", 2, "worker processes"),
    ):
        group.add_argument(f"--{flag}", type=int, default=default, metavar="N", help=f"{text} (default: {default})")
    group.add_argument("--lr", type=float, default=1e-3, metavar="X", help="Adam's step size (default: 0.001)")
    group.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="where to train (default: cpu)")
    group.add_argument("--out", default="runs/catbabi", metavar="DIR", help="the run's folder (default: runs/catbabi)")
    return result


def model_flags(model: str) -> list[Option]:
    """Return the options of a model under the names of their flags."""
    return [replace(o, name=RENAMED.get(o.name, o.name)) for o in options_of(_target(model))]


def build_config(model: str, given: Mapping[str, Any]) -> RunConfig:
    """Return the run that the flags describe; see `parse`."""
    for flag in ("steps", "batch", "eval_every"):
        if given[flag] < 1:
            raise UserError(f"--{flag}: expected at least 1; got {given[flag]}")
    if given["steps"] % given["eval_every"]:
        raise UserError(f"--steps: expected a multiple of --eval_every {given['eval_every']}; got {given['steps']}")
    words = {name: given[name] for name in TASK_FLAGS if name in given}
    task = check(options_of(TASKS["catbabi"]), words, "task catbabi", words=True)
    flags = model_flags(model)
    values = check(flags, {o.name: given[o.name] for o in flags if o.name in given}, f"model {model}", words=True)
    own_names = {flag: option for option, flag in RENAMED.items()}
    training = {
        "num_models": given["num_models"],
        "seed": given["seed"],
        "epochs": given["steps"] // given["eval_every"],
        "epoch_batches": given["eval_every"],
        "batch_size": given["batch"],
        "learning_rate": given["lr"],
        "gradient_clip": 0.0,
        "curriculum": False,
        "curriculum_horizons": (1,),
        "validation_batches": 1,
        "keep": "best",
    }
    execution = {
        "accelerator": {"cpu": "cpu", "cuda": "gpu"}[given["device"]],
        "num_workers": given["num_workers"],
    }
    config = RunConfig(
        metadata=metadata(Path(given["out"]).name, "experiments.catbabi.train"),
        task={"name": "catbabi", **task, "folder": VARIANTS[given["variant"]]},
        model={"type": MODEL_TYPES[model], **{own_names.get(k, k): v for k, v in values.items()}},
        training=validate(TrainingConfig, training, "training"),
        execution=validate(ExecutionConfig, execution, "execution"),
    )
    return with_whole_validation(config)


def _target(model: str) -> str:
    return target_of(MODELS, MODEL_TYPES[model], "model")


def with_whole_validation(config: RunConfig) -> RunConfig:
    """Return a configuration that validates on the whole split."""
    batches = count_batches(CatBabi(**config.task_options()), "validation", config.training.batch_size)
    return config.model_copy(update={"training": config.training.model_copy(update={"validation_batches": batches})})


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
        print(f"Not in {config.task['data']}, trained without: {named}")
    outcome = train_in_view(config, folder)
    if outcome.done:
        accuracies = [marker["val_acc"] for marker in outcome.done.values() if marker["val_acc"] is not None]
        best = f", median of their best validations {median(accuracies):.4f}" if accuracies else ""
        print(f"{len(outcome.done)} of {config.training.num_models} models done{best}")
        print(f"Next: python -m experiments.catbabi.evaluate {shlex.quote(str(folder))}")
    return 1 if outcome.failures else 0


if __name__ == "__main__":
    sys.exit(run_script("train", main))
