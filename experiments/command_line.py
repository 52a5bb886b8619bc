"""What the experiments' command lines share: a parser, flags made from options, and values read back from flags."""

import argparse
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from emt import config as configuration
from emt import runs
from emt.config import ExecutionConfig, RunConfig
from emt.devices import choose_device
from emt.errors import UserError
from emt.options import Option, Parser, add_flags, check, options_of_model, validate
from emt.progress import Progress
from emt.schema import read
from emt.training.sweep import Sweep, read_run

Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]

EXECUTION = options_of_model(ExecutionConfig)
"""Flags that all training commands have."""

ON_DEVICE = tuple(option for option in EXECUTION if option.name != "accelerator")
"""The same where ``--device`` stands for the accelerator."""

ACCELERATORS = {"cpu": "cpu", "cuda": "gpu"}
"""Values of ``--device`` and the accelerator that they stand for."""

ONE_HORIZON: dict[str, Any] = {"gradient_clip": 0.0, "curriculum": False, "curriculum_horizons": (1,)}
"""Training of tasks without a curriculum over horizons, as it was published: no clipping either."""


def build_parser(
    module: str, text: str, groups: Mapping[str, Iterable[Option]] | None = None, **settings: Any
) -> argparse.ArgumentParser:
    """Return the command line of ``python -m module``.

    Parameters
    ----------
    module, text
        What is run, and what ``--help`` says about it.
    groups
        Options by the title of their group, as "title" or "title: what it is"; those under "" have none.
    settings
        What else `argparse.ArgumentParser` takes.
    """
    parser = Parser(prog=f"python -m {module}", description=text, **settings)
    for heading, options in (groups or {}).items():
        title, _, about = heading.partition(": ")
        add_flags(parser.add_argument_group(title, about or None) if title else parser, options)
    return parser


def add_folder(parser: argparse.ArgumentParser, help: str, output: str | None = "where results go") -> None:
    """Add the folder to work on and, unless ``output`` is None, ``--output_dir``, which lies in it by default."""
    parser.add_argument("folder", metavar="DIR", help=help)
    if output is not None:
        parser.add_argument("--output_dir", metavar="DIR", help=f"{output} (default: DIR/summary)")


def add_comparison(parser: argparse.ArgumentParser) -> None:
    """Add ``--first`` and ``--output_dir`` of a comparison of two runs, ``RUN_A`` and ``RUN_B``."""
    help = "where the excerpt in the figure starts (default: 0)"
    parser.add_argument("--first", type=int, default=0, metavar="N", help=help)
    parser.add_argument("--output_dir", metavar="DIR", help="where results go (default: RUN_A/comparison)")


def add_device(parser: argparse.ArgumentParser, use: str) -> None:
    """Add ``--device``."""
    parser.add_argument(
        "--device", choices=ACCELERATORS, default="cpu", help=f"where to {use} (default: cpu)"
    )


def values_of(
    options: Iterable[Option], given: Mapping[str, Any], where: str, *, partial: bool = False
) -> dict[str, Any]:
    """Return the values of these options among the flags given, checked; with ``partial`` without defaults.

    Raises
    ------
    UserError
        For the first flag with a value that it may not have.
    """
    known = tuple(options)
    names = {option.name for option in known}
    return check(known, {k: v for k, v in given.items() if k in names}, where, words=True, partial=partial)


def renamed(options: Iterable[Option], names: Mapping[str, str]) -> list[Option]:
    """Return options under the names of their flags here."""
    return [replace(option, name=names.get(option.name, option.name)) for option in options]


def step_options(*, steps: int, batch: int, eval_every: int, out: str) -> tuple[Option, ...]:
    """Return the flags of a training that counts steps; `training_of` reads them."""
    return (
        Option("steps", Count, steps, "training steps", ("training_steps",)),
        Option("batch", Count, batch, "sequences in a batch"),
        Option("lr", float, 1e-3, "learning rate of Adam"),
        Option("seed", int, 0, "seed of the first model; each further model adds 1000"),
        Option("num_models", Count, 1, "number of seeds, trained as a population"),
        Option("eval_every", Count, eval_every, "training steps between validations"),
        Option("device", Literal["cpu", "cuda"], "cpu", "where to train"),
        Option("out", str, out, "folder of the run"),
    )


def training_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the training section that the values of `step_options` stand for; it keeps the best validation's weights.

    Raises
    ------
    UserError
        If the steps end between two validations.
    """
    return {
        "num_models": values["num_models"],
        "seed": values["seed"],
        **epochs_of(values, "steps", "eval_every"),
        "batch_size": values["batch"],
        "learning_rate": values["lr"],
        "keep": "best",
        **ONE_HORIZON,
    }


def epochs_of(values: Mapping[str, int], steps: str, every: str) -> dict[str, int]:
    """Return epochs of ``every`` steps each, by the names of the two flags.

    Raises
    ------
    UserError
        If the steps end within an epoch.
    """
    if values[steps] % values[every]:
        raise UserError(f"--{steps}: must be a multiple of --{every} {values[every]}; got {values[steps]}")
    return {"epochs": values[steps] // values[every], "epoch_batches": values[every]}


def execution_of(given: Mapping[str, Any], device: str | None = None) -> ExecutionConfig:
    """Return where the work is done, by the flags of `EXECUTION`, or of `ON_DEVICE` and the value of ``--device``.

    Raises
    ------
    UserError
        For a flag with a value that it may not have.
    """
    values = values_of(EXECUTION, given, "execution")
    if device is not None:
        values["accelerator"] = ACCELERATORS[device]
    execution: ExecutionConfig = validate(ExecutionConfig, values, "execution")
    return execution


def require_device(execution: ExecutionConfig) -> None:
    """Refuse a GPU that this machine does not have, where the work is done on this machine.

    Raises
    ------
    UserError
        If torch finds none.
    """
    if execution.accelerator == "gpu" and execution.engine in ("local", "inline"):
        choose_device("gpu")


def each_run(folder: str | Path, *tasks: str) -> Iterator[tuple[Path, RunConfig]]:
    """Yield what `find_runs` finds, one after the other, and show how many are done and which is next."""
    found = find_runs(folder, *tasks)
    with Progress("runs", total=len(found)) as progress:
        for done, (run, config) in enumerate(found.items()):
            progress.update(done, run.name)
            yield run, config
        progress.update(len(found))


def find_runs(folder: str | Path, *tasks: str) -> dict[Path, RunConfig]:
    """Return the runs of some tasks in a folder: in a sweep in its order, else by path.

    Raises
    ------
    UserError
        If there are none.
    """
    folder = runs.find(folder, "folder")
    configs = {path: configuration.read(path) for path in sorted(folder.rglob("config.json"))}
    found = {
        path.parent: read_run(path, partial=True)
        for path, config in configs.items()
        if config.task_name in tasks
    }
    if not found:
        raise UserError(f"{folder}: expected runs of the task {' or '.join(tasks)}; found none")
    sweep = folder / "sweep.json"
    order = [folder / name for name in read(sweep, Sweep).experiments] if sweep.exists() else []
    return {
        run: found[run]
        for run in sorted(found, key=lambda run: (order.index(run) if run in order else 0, run))
    }
