"""Train all populations of a question as one piece of work, on any engine, and write one table of all members.

Rerun the same command to resume an interrupted sweep.
"""

import argparse
import importlib
import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from types import ModuleType
from typing import Any

from emt import config as configuration
from emt import locks, runs
from emt.commands import sweep_file
from emt.commands.in_view import train_in_view
from emt.commands.length import TRAINING_STEPS, in_epochs
from emt.commands.output import complain, complain_at_length, open_console, say
from emt.config import ExecutionConfig, RunConfig, TrainingConfig
from emt.errors import UserError, renamed
from emt.files import check_folder
from emt.options import Option, Parser, add_flags, check, load, options_of_model, plugins, validate
from emt.tasks import TASKS

SIZES = (
    *(
        replace(option, default=None)
        for option in options_of_model(TrainingConfig)
        if option.name in ("num_models", "epochs", "epoch_batches")
    ),
    TRAINING_STEPS,
)
"""What may be made smaller for a trial."""

RUNS = Option("runs", tuple[str, ...], (), "populations to train, by name (default: all)")
"""A part of a sweep; the others may follow in the same folder."""


def main(arguments: list[str] | None = None) -> int:
    """Parse, train, report; return the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    several = next((word for word in words if "/" in word and word in questions()), None)
    if several is not None:
        # An experiment with several sweeps has a command line of its own, with flags of its own.
        experiment, _, question = several.partition("/")
        words[words.index(several)] = question
        code: int = importlib.import_module(f"experiments.{experiment}.sweep").main(words)
        return code
    own = [word for word in words if sweep_file.is_named(word)]
    given = vars(parser(own).parse_args(words))
    plugins.use(given["plugins"])
    question = given["question"]
    name, configs = sweep_file.read(question) if question in own else (question, read(question))
    return run(name, part_of(configs, given, RUNS, name_of), given)


def parser(own: Sequence[str] = ()) -> argparse.ArgumentParser:
    """Return the command line; ``own`` are sweeps in files of the user's."""
    text = (
        "a Python file of yours with CONFIGS, a tuple of RunConfig, or with SWEEPS, such tuples by name "
        "(my_sweep.py:NAME); or a folder below experiments/, and in it the sweep; of those with a slash, QUESTION "
        "--help shows more flags"
    )
    result = build_parser("emt sweep", __doc__, [*questions(), *own], text)
    plugins.add_flag(result.add_argument)
    return result


def build_parser(
    prog: str,
    description: str | None,
    choices: Collection[str],
    text: str,
    groups: Mapping[str, Iterable[Option]] | None = None,
) -> argparse.ArgumentParser:
    """Return the command line of sweeps.

    Parameters
    ----------
    prog, description
        What is run, and what ``--help`` says about it.
    choices, text
        The questions, and what they are.
    groups
        Further options, by the title of their group; "part of it": in the place of `RUNS` alone.
    """
    result = Parser(prog=prog, description=description)
    result.add_argument("question", choices=choices, metavar="QUESTION", help=f"{text}: {', '.join(choices)}")
    where = "folder in which to create it (default: $EXPERIMENT_OUTPUT_DIR, else here)"
    result.add_argument("--output_dir", metavar="DIR", help=where)
    groups = {"part of it": (RUNS,), **(groups or {})}
    smaller = {
        "a smaller trial (default: as in the configs)": SIZES,
        "execution": options_of_model(ExecutionConfig),
    }
    for title, options in {**groups, **smaller}.items():
        add_flags(result.add_argument_group(title), options)
    help = "measure what training costs, say it for each population, and train nothing"
    result.add_argument("--cost", action="store_true", help=help)
    return result


def questions() -> list[str]:
    """Return all sweeps: folders with one sweep, ``CONFIGS``, and FOLDER/NAME for each of a folder's ``SWEEPS``."""
    import experiments

    files = sorted(file for folder in experiments.__path__ for file in Path(folder).glob("*/configs.py"))
    found: list[str] = []
    for file in files:
        name = file.parent.name
        text = file.read_text(encoding="utf-8")
        if "\nCONFIGS" in text:
            found.append(name)
        elif "\nSWEEPS" in text:
            found += [f"{name}/{sweep}" for sweep in _configs_of(name).SWEEPS]
    return found


def read(question: str) -> tuple[RunConfig, ...]:
    """Return the configurations of a question."""
    name, _, sweep = question.partition("/")
    configs: tuple[RunConfig, ...] = _configs_of(name).SWEEPS[sweep] if sweep else _configs_of(name).CONFIGS
    return configs


def _configs_of(name: str) -> ModuleType:
    return importlib.import_module(f"experiments.{name}.configs")


def run(name: str, configs: Iterable[RunConfig], given: Mapping[str, Any]) -> int:
    """Train a sweep's populations as small and where the flags say, or say what it costs; return the exit code."""
    from emt.training import sweep

    smaller, execution = run_settings(given)
    folder = folder_of(name, given)
    ready = [with_overrides(config, smaller, execution) for config in configs]
    if given["cost"]:
        for config in ready:
            say(cost_of(config), flush=True)
        return 0
    with locks.writing_into(folder, shared=execution.part[1] > 1):
        with renamed({"folder": "output_dir"}):
            populations = sweep.prepare(name, ready, folder)
        return train(populations, execution, folder)


def folder_of(name: str, given: Mapping[str, Any]) -> Path:
    """Return where a sweep's populations are written."""
    return check_folder(Path(given.get("output_dir") or runs.default_folder()), "output_dir") / name


def name_of(config: RunConfig) -> str:
    """Return what a run is called."""
    return str(config.metadata["experiment_name"])


def part_of(
    configs: Sequence[RunConfig], given: Mapping[str, Any], choice: Option, of: Callable[[RunConfig], Any]
) -> list[RunConfig]:
    """Return the runs that a flag chooses, all without it; the others may follow in the same folder.

    Parameters
    ----------
    configs
        The sweep's runs.
    given
        The flags given.
    choice
        The flag: several values.
    of
        What each run is chosen by.

    Raises
    ------
    UserError
        For a value that no run has.
    """
    wanted = check((choice,), given_options(given, (choice,)), "the sweep", words=True)[choice.name]
    known = list(dict.fromkeys(map(of, configs)))
    if unknown := [value for value in wanted if value not in known]:
        names = (" ".join(map(str, values)) for values in (known, unknown))
        raise UserError("must be some of {}; got {}".format(*names), parameter=choice.name)
    return [config for config in configs if not wanted or of(config) in wanted]


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
    sizes = dict(smaller)
    if (steps := sizes.pop(TRAINING_STEPS.name, None)) is not None:
        task = load(TASKS, config.task_name, "task")(**config.task_options())
        sizes |= in_epochs(steps, sizes, config.training.epoch_batches or task.epoch_batches)
    training = validate(TrainingConfig, {**config.training.model_dump(), **sizes}, name)
    metadata = configuration.metadata(name, "experiments/sweep.py")
    return config.model_copy(update={"metadata": metadata, "training": training, "execution": execution})


def train(populations: Mapping[Path, RunConfig], execution: ExecutionConfig, output: Path) -> int:
    """Train with a live display and report how it ended."""
    from emt.training import sweep

    console = open_console()
    count = sum(config.training.num_models for config in populations.values())
    first = f"Training {count} models in {output}, populations: {len(populations)}"
    failures = train_in_view(populations, execution, console, first, flag="output_dir")
    rows = sweep.members(sweep.with_earlier(populations, output))
    sweep.write_members(rows, output / "members.csv")
    for name in populations:
        console.print(describe(name.name, [row for row in rows if row["experiment"] == name.name]))
    console.print(f"All members: {output / 'members.csv'}")
    for failure in failures:
        complain_at_length(failure.details)
        complain(f"sweep: {failure.item.experiment.name}: {failure.item}: {failure.failure}")
    return 1 if failures else 0


def cost_of(config: RunConfig) -> str:
    """Return in a line what training a population costs, measured on a few steps; curricula start with cheap ones."""
    from emt.training.cost import measure_cost

    count, cost = config.training.num_models, measure_cost(config)
    minutes = count * cost.steps * cost.seconds / 60
    return (
        f"{config.metadata['experiment_name']}: {1000 * cost.seconds:.1f} ms of CPU time a member-step; at most "
        f"{minutes:.2g} minutes ({count} members, {cost.steps} steps)"
    )


def describe(name: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return one population's outcome as one line."""
    done = [row for row in rows if row["status"] != "unfinished"]
    diverged = sum(row["status"] == "diverged" for row in done)
    figures = [row["val_acc"] for row in done if row["val_acc"] is not None]
    text = f"{name}: {len(done)} of {len(rows)} models done"
    text += f", {diverged} diverged" if diverged else ""
    return text + (f", median validation accuracy {median(figures):.4f}" if figures else "")
