"""Train a population: many members of one model on one task, seeds seed, seed + 1000, …, as one stacked model.

Writes a run directory that `emt evaluate` and `emt analyze` read. Rerun the same command to resume an
interrupted run.
"""

import argparse
import re
import sys
from contextlib import nullcontext
from pathlib import Path
from statistics import median
from typing import Any

from emt import config as configuration
from emt import runs
from emt.commands.in_view import train_in_view
from emt.commands.length import TRAINING_STEPS, in_epochs
from emt.commands.output import complain, complain_at_length, open_console
from emt.commands.script import program, shell_command
from emt.config import ExecutionConfig, RunConfig, TrainingConfig
from emt.devices import choose_device
from emt.errors import UserError
from emt.files import check_folder
from emt.models import MODELS
from emt.options import (
    Option,
    Parser,
    add_flags,
    check,
    load,
    names_text,
    options_of,
    options_of_model,
    plugins,
    summary_of,
    target_of,
    validate,
)
from emt.tasks import TASKS
from emt.tasks.base import check_task
from emt.text import shell_path

DEFAULT_TASK, DEFAULT_MODEL = "variable_binding", "rnn"

REGISTRIES = {"task": TASKS, "model_type": MODELS}

STOP_HINT = "--stop_accuracy 0.99 stops each model once it reaches that accuracy."


def main(arguments: list[str] | None = None) -> int:
    """Parse, train, report; return the exit code."""
    return train(*parse(sys.argv[1:] if arguments is None else arguments))


def parse(arguments: list[str]) -> tuple[RunConfig, Path]:
    """Return the run that a command line describes and its folder.

    Raises
    ------
    UserError
        For the first flag or field that is wrong.
    """
    plugins.from_words(arguments)
    first, base = first_pass(arguments)
    task, model = target_of(TASKS, first.task, "task"), target_of(MODELS, first.model_type, "model_type")
    given = vars(second_pass(task, model, first, base).parse_args(arguments))
    with configuration.located(Path(first.config), overridden=given) if base else nullcontext():
        config = build_config(given, task, model, base)
    folder = given.get("output_dir") or str(runs.default_folder())
    name = given.get("experiment_name") or (base.metadata.get("experiment_name") if base else None)
    if not name:
        raise UserError("--experiment_name: must be a name for the run's folder; got none")
    check_name(name)
    output = check_folder(Path(folder), "output_dir") / name
    return config.model_copy(update={"metadata": configuration.metadata(name, "train_multiple.py")}), output


def check_name(name: str) -> None:
    """Refuse what is no name of a run's folder.

    Raises
    ------
    UserError
    """
    if Path(name).name != name or name in (".", ".."):
        raise UserError(f"--experiment_name: must be a plain folder name; got {name!r}")
    if re.search("[\x00\ud800-\udfff]", name):
        raise UserError(f"--experiment_name: must be text in UTF-8; got {name!r}")


def first_pass(arguments: list[str]) -> tuple[argparse.Namespace, RunConfig | None]:
    """Find which task and model the other flags belong to, and the configuration file they stand on."""
    parser = Parser(add_help=False)
    for flag in ("--task", "--model_type", "--config", "--experiment_name", "--output_dir"):
        parser.add_argument(flag)
    first, _ = parser.parse_known_args(arguments)
    base = configuration.read(Path(first.config)) if first.config else None
    if base:
        configuration.check_plugins(base, REGISTRIES, first.config)
    first.task = first.task or (base.task_name if base else DEFAULT_TASK)
    first.model_type = first.model_type or (base.model_type if base else DEFAULT_MODEL)
    _check_begun(first)
    return first, base


def _check_begun(first: argparse.Namespace) -> None:
    """Say which plug-ins to name if the folder holds a run of the same task and model, and they are of plug-ins."""
    asked = {"task": first.task, "model_type": first.model_type}
    if all(name in plugins.names(REGISTRIES[kind], kind) for kind, name in asked.items()):
        return
    path = Path(first.output_dir or runs.default_folder()) / (first.experiment_name or "") / "config.json"
    if path.is_file():
        begun = configuration.read(path)
        if {"task": begun.task_name, "model_type": begun.model_type} == asked:
            configuration.check_plugins(begun, REGISTRIES, str(path))


def second_pass(
    task: str, model: str, first: argparse.Namespace, base: RunConfig | None
) -> argparse.ArgumentParser:
    """Return the parser with all flags of the chosen task and model."""
    parser = Parser(
        prog=program("train"),
        description=__doc__,
        argument_default=argparse.SUPPRESS,
    )
    parser.elsewhere = _others_with
    run = parser.add_argument_group("run")
    run.add_argument(
        "--experiment_name", metavar="NAME", required=base is None, help="name of the run's folder"
    )
    run.add_argument(
        "--output_dir",
        metavar="DIR",
        help="folder in which to create it (default: $EXPERIMENT_OUTPUT_DIR, else here)",
    )
    run.add_argument(
        "--config",
        metavar="FILE",
        help="a config.json to start from, or the same as .yaml; flags on the command line override it",
    )
    plugins.add_flag(run.add_argument)
    for flag, registry, default in (("--task", TASKS, DEFAULT_TASK), ("--model_type", MODELS, DEFAULT_MODEL)):
        known = plugins.names(registry, flag.removeprefix("--"))
        names = names_text({name: summary_of(target) for name, target in known.items()})
        text = f"default: {default}; {flag} NAME --help shows its flags\n{names}".replace("%", "%%")
        run.add_argument(flag, choices=known, metavar="NAME", help=text)
    add_flags(
        parser.add_argument_group(f"task {first.task}", summary_of(task)),
        options_of(task),
        required=base is None,
    )
    add_flags(parser.add_argument_group(f"model {first.model_type}", summary_of(model)), options_of(model))
    add_flags(parser.add_argument_group("training"), (TRAINING_STEPS, *options_of_model(TrainingConfig)))
    add_flags(parser.add_argument_group("execution"), options_of_model(ExecutionConfig))
    return parser


def _others_with(flag: str) -> str:
    """Return, as the end of a message, which tasks or models have a flag; nothing where none has."""
    if flag == "--steps":
        return f"; did you mean --{TRAINING_STEPS.name}? --steps is the length of a trial of some tasks"
    for kind, registry in REGISTRIES.items():
        targets = plugins.names(registry, kind).items()
        named = [
            name for name, target in targets if flag[2:] in {option.name for option in options_of(target)}
        ]
        if named:
            return f"; --{kind} {' or '.join(filter(None, [', '.join(named[:-1]), named[-1]]))} has it"
    return ""


def build_config(given: dict[str, Any], task: str, model: str, base: RunConfig | None) -> RunConfig:
    """Return the configuration of the flags given, on top of the one they stand on; everything checked."""

    def given_options(options: tuple[Any, ...]) -> dict[str, Any]:
        return {o.name: given[o.name] for o in options if o.name in given}

    places = ((TASKS, "task", task), (MODELS, "model_type", model))
    task_name, model_name = ({v: k for k, v in plugins.names(r, kind).items()}[t] for r, kind, t in places)
    task_base = base.task_options() if base and base.task_name == task_name else {}
    model_base = base.model_options() if base and base.model_type == model_name else {}
    task_values = merge(options_of(task), task_base, given_options(options_of(task)), f"task {task_name}")
    model_values = merge(
        options_of(model), model_base, given_options(options_of(model)), f"model {model_name}"
    )
    made = load(TASKS, task_name, "task")(**task_values)
    check_task(made, task_name)
    sections: dict[str, Any] = {}
    for section, kind in (("training", TrainingConfig), ("execution", ExecutionConfig)):
        values = getattr(base, section).model_dump() if base else {}
        options = options_of_model(kind)
        words = check(options, given_options(options), section, words=True, partial=True)
        if section == "training" and TRAINING_STEPS.name in given:
            (steps,) = check(
                (TRAINING_STEPS,), given_options((TRAINING_STEPS,)), section, words=True
            ).values()
            words |= in_epochs(steps, words, values.get("epoch_batches") or made.epoch_batches)
        sections[section] = validate(kind, values | words, section)
    return RunConfig(
        task={"name": task_name, **task_values}, model={"type": model_name, **model_values}, **sections
    )


def merge(
    options: tuple[Option, ...], base: dict[str, Any], words: dict[str, Any], where: str
) -> dict[str, Any]:
    """Return all options: the words of the command line over those of the configuration file over the defaults."""
    return check(options, base | check(options, words, where, words=True, partial=True), where)


def train(config: RunConfig, experiment: Path) -> int:
    """Train with a live display and report how it ended."""
    from emt.training import population

    if config.execution.accelerator == "gpu" and config.execution.engine in ("local", "inline"):
        choose_device("gpu")
    console, members = open_console(), config.training.num_models
    first = f"Training {members} models ({config.model_type} on {config.task_name}) in {experiment}"
    failures = train_in_view(
        {experiment: config}, config.execution, console, first, flag="experiment_name", hint=STOP_HINT
    )
    outcome = population.Outcome(population.done_markers(config, experiment), failures)
    for status in ("finished", "stopped early", "diverged"):
        numbers = [n for n, marker in outcome.done.items() if marker["status"] == status]
        if numbers:
            named = f": {', '.join(f'model-{n}' for n in numbers)}" if status == "diverged" else ""
            console.print(f"{len(numbers)} of {members} models {status}{named}")
    passed = [marker["passed_step"] for marker in outcome.done.values() if marker.get("passed_step")]
    if passed:
        reached = f"Batch accuracy above {config.training.curriculum_threshold:g} at the last horizon"
        console.print(
            f"{reached}: {len(passed)} of {members} models, median step {median(passed):.0f}, last {max(passed)}"
        )
    for failure in outcome.failures:
        complain_at_length(failure.details)
        complain(f"{program('train')}: {failure.item}: {failure.failure}")
    if outcome.failures:
        return 1
    unfinished = members - len(outcome.done)
    if unfinished and config.execution.part[1] == 1:
        raise UserError(
            f"{experiment}: {unfinished} of {members} models are not done; rerun the same command to resume"
        )
    if unfinished:
        console.print(f"{unfinished} of {members} models belong to other shards")
        return 0
    modules = configuration.recorded_code(config).get("plugins", "")
    further = f" {plugins.FLAG} {modules}" if modules else ""
    console.print(f"Next: {shell_command('evaluate')} --models_dir {shell_path(experiment)}{further}")
    return 0
