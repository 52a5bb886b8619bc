"""Train all populations of a question as one piece of work, on any engine, and write one table of all members.

Rerun the same command to resume an interrupted sweep.
"""

import argparse
import importlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

from emt import config as configuration
from emt import engine, runs
from emt.config import ExecutionConfig, RunConfig, TrainingConfig
from emt.errors import renamed
from emt.files import check_folder
from emt.options import Parser, add_flags, check, options_of_model, validate

SIZES = tuple(
    replace(option, default=None)
    for option in options_of_model(TrainingConfig)
    if option.name in ("num_models", "epochs", "epoch_batches")
)
"""What may be made smaller for a trial."""


def main(arguments: list[str] | None = None) -> int:
    """Parse, train, report; return the exit code."""
    from emt.training import sweep

    given = vars(parser().parse_args(arguments))
    question = given["question"]
    output = check_folder(Path(given.get("output_dir") or runs.default_folder()), "output_dir") / question
    smaller, execution = run_settings(given)
    configs = [with_overrides(config, smaller, execution) for config in read(question)]
    with renamed({"folder": "output_dir"}):
        populations = sweep.prepare(question, configs, output)
    return train(populations, execution, output)


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = Parser(
        prog="emt sweep",
        description=__doc__,
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("question", choices=questions(), help="folder below experiments/")
    parser.add_argument(
        "--output_dir", metavar="DIR", help="folder in which to create it (default: $EXPERIMENT_OUTPUT_DIR, else here)"
    )
    add_flags(parser.add_argument_group("a smaller trial (default: as in the configs)"), SIZES)
    add_flags(parser.add_argument_group("execution"), options_of_model(ExecutionConfig))
    return parser


def questions() -> list[str]:
    """Return the folders whose configurations are one sweep, ``CONFIGS``."""
    import experiments

    files = (file for folder in experiments.__path__ for file in Path(folder).glob("*/configs.py"))
    return sorted(path.parent.name for path in files if "\nCONFIGS" in path.read_text(encoding="utf-8"))


def read(question: str) -> tuple[RunConfig, ...]:
    """Return the configurations of a question."""
    configs: tuple[RunConfig, ...] = importlib.import_module(f"experiments.{question}.configs").CONFIGS
    return configs


def given_options(given: Mapping[str, Any], options: Sequence[Any]) -> dict[str, Any]:
    """Return what was given of these options."""
    return {o.name: given[o.name] for o in options if o.name in given}


def run_settings(given: Mapping[str, Any]) -> tuple[dict[str, Any], ExecutionConfig]:
    """Return what the flags make smaller, and where the work is done."""
    options = options_of_model(ExecutionConfig)
    execution = validate(
        ExecutionConfig, check(options, given_options(given, options), "execution", words=True), "execution"
    )
    return check(SIZES, given_options(given, SIZES), "training", words=True, partial=True), execution


def with_overrides(config: RunConfig, smaller: Mapping[str, Any], execution: ExecutionConfig) -> RunConfig:
    """Return a configuration as it is run now."""
    name = config.metadata.get("experiment_name", "")
    training = config.training.model_copy(update=dict(smaller))
    metadata = configuration.metadata(name, "experiments/sweep.py")
    return config.model_copy(update={"metadata": metadata, "training": training, "execution": execution})


def train(populations: Mapping[Path, RunConfig], execution: ExecutionConfig, output: Path) -> int:
    """Train with a live display and report how it ended."""
    from rich.console import Console

    from emt.training import population, sweep
    from emt.training.progress import Display

    console = Console(highlight=False, soft_wrap=True)
    count = sum(config.training.num_models for config in populations.values())
    console.print(f"Training {count} models in {output}, populations: {len(populations)}")
    stops = [config.training.stop_accuracy for config in populations.values()]
    with (
        Display(console, count, engine.capacity(execution)[0], max(filter(None, stops), default=None)) as display,
        renamed({"experiment": "output_dir"}),
    ):
        failures = population.train_all(populations, execution, display.show)
    rows = sweep.members(populations)
    sweep.write_members(rows, output / "members.csv")
    for name in populations:
        console.print(describe(name.name, [row for row in rows if row["experiment"] == name.name]))
    console.print(f"All members: {output / 'members.csv'}")
    for failure in failures:
        print(failure.details or "", end="", file=sys.stderr)
        print(f"sweep: {failure.item.experiment.name}: {failure.item}: {failure.failure}", file=sys.stderr)
    return 1 if failures else 0


def describe(name: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return one population's outcome as one line."""
    done = [row for row in rows if row["status"] != "unfinished"]
    diverged = sum(row["status"] == "diverged" for row in done)
    figures = [row["val_acc"] for row in done if row["val_acc"] is not None]
    text = f"{name}: {len(done)} of {len(rows)} models done"
    text += f", {diverged} diverged" if diverged else ""
    return text + (f", median validation accuracy {median(figures):.4f}" if figures else "")
