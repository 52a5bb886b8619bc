"""Train EtherealRNN or a plain RNN to name the next character, several seeds at once as a population.

Writes a run directory that `emt evaluate`, `emt analyze` and experiments.ethereal.summary read, with log.csv
and test.json in the folder of each model. Rerun the same command to resume an interrupted run.
"""

import argparse
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from emt import config as configuration
from emt import runs
from emt.commands.output import say
from emt.commands.script import run_script
from emt.config import RunConfig, TrainingConfig, metadata
from emt.errors import UserError, install_hint
from emt.models import MODELS
from emt.options import Option, Parser, check, load, options_of, summary_of, target_of, validate
from emt.tasks import TASKS
from emt.text import shell_path
from experiments.command_line import (
    EXECUTION,
    Count,
    Natural,
    build_parser,
    epochs_of,
    execution_of,
    require_device,
    values_of,
)
from experiments.ethereal.results import describe_levels, report, write_results
from experiments.ethereal.settings import (
    DATASET,
    FLAGS,
    MODEL_TYPES,
    Setting,
    setting_of,
    task_of,
    training_of,
)
from experiments.training import train_in_view

UPDATERS = ("dfa", "backprop", "bptt")
CURVE_EVERY = 50
"""Steps that a point of the training curve averages over (`emt.training.journal`)."""

SET_BY_OTHERS = ("updater", "eta")
"""Options of the models that have no flag of their own here."""

DATA = (
    Option("dataset", str, DATASET, "published name, or path of a text"),
    Option("window", int | None, None, "characters predicted in a row, for a text (default: 64)"),
)

TRACKING = (
    Option("log_freq", Count | None, None, "steps between logged points (default: all points)"),
    Option("notes", str, "", "notes on the run, for Weights & Biases"),
    Option("group", str | None, None, "group of the runs (default: name of the folder)"),
    Option("tags", tuple[str, ...], (), "tags of the runs"),
)

SWITCH = Literal["True", "False"]

RUN = (
    Option("resume_checkpoint", str | None, None, "resume the run in this folder with its settings"),
    Option("no_resume", SWITCH, "False", "refuse a folder that contains a run instead of resuming it"),
    Option("track", SWITCH, "False", f"log to Weights & Biases: {install_hint('track')}"),
    *TRACKING,
)


def main(arguments: list[str] | None = None) -> int:
    """Parse, train, test, report; return the exit code."""
    from emt.training import tracking

    config, folder, run = parse(sys.argv[1:] if arguments is None else arguments)
    require_device(config.execution)
    track = _truth(run["track"])
    if track:
        tracking.require("track")
    say(*describe_levels(config))
    outcome = train_in_view(config, folder)
    results = write_results(folder, config)
    report(results)
    if track:
        tracking.send(
            config, folder, figures=results, **{option.name: run[option.name] for option in TRACKING}
        )
    if results:
        say(f"Next: python -m experiments.ethereal.summary {shell_path(folder)}")
    return 1 if outcome.failures else 0


def parse(arguments: list[str]) -> tuple[RunConfig, Path, dict[str, Any]]:
    """Return the run that a command line describes, everything checked, its folder, and the values of `RUN`.

    Raises
    ------
    UserError
        For the first flag that is wrong.
    """
    first = Parser(add_help=False)
    _add_choice(first)
    first.add_argument("--compatibility", default="False")
    choice = first.parse_known_args(arguments)[0]
    setting = setting_of(choice.model_type, choice.updater, compatibility=_truth(choice.compatibility))
    given = vars(parser(choice.model_type, setting).parse_args(arguments))
    run = values_of(RUN, given, "run")
    if run["resume_checkpoint"]:
        folder = runs.find(run["resume_checkpoint"], "resume_checkpoint")
        return configuration.read(folder / "config.json"), folder, run
    folder = Path(given["out"])
    if _truth(run["no_resume"]) and (folder / "config.json").exists():
        raise UserError(
            f"--no_resume: {folder} already contains a run; choose another --out or omit --no_resume"
        )
    return build_config(given, setting), folder, run


def parser(model_type: str, setting: Setting) -> argparse.ArgumentParser:
    """Return the command line for a model, with a setting's defaults."""
    groups = {
        "data": DATA,
        f"model {model_type}: {summary_of(_target(model_type))}": map(
            _spelled, model_flags(model_type, setting)
        ),
        "training": training_options(model_type, setting),
        "run": RUN,
        "execution": EXECUTION,
    }
    result = build_parser("experiments.ethereal.train", __doc__, groups)
    _add_choice(result)
    text = "folder of the run (default: runs/ethereal)"
    result.add_argument("--out", "--checkpoint_dir", default="runs/ethereal", metavar="DIR", help=text)
    return result


def training_options(model_type: str, setting: Setting) -> tuple[Option, ...]:
    """Return the training flags, with a setting's defaults."""
    rate = "learning rate, within a sequence and of the weights"
    clip = Option("grad_clip", float, 0.0, "largest gradient norm; 0: no clipping")
    return (
        Option("batch_size", Count, setting.batch_size, "strings in a batch"),
        Option("n_iters", Count, setting.n_iters, "training steps", ("training_steps",)),
        Option("learning_rate", float, setting.learning_rate, rate),
        *([clip] if model_type == "rnn" else []),
        Option(
            "print_freq", Count, CURVE_EVERY, f"steps between rows of log.csv, a multiple of {CURVE_EVERY}"
        ),
        Option(
            "checkpoint_save_freq",
            Natural,
            500,
            "steps between validations, after which the state is saved; 0: --n_iters",
        ),
        Option("seed", int, 0, "seed of the first model; each further model adds 1000"),
        Option("num_models", Count, 1, "number of seeds, trained as a population"),
    )


def model_flags(model_type: str, setting: Setting) -> list[Option]:
    """Return the options of a model under the names of their flags, with a setting's defaults."""
    return [
        replace(o, name=FLAGS.get(o.name, o.name), default=setting.model.get(o.name, o.default))
        for o in options_of(_target(model_type))
        if o.name not in SET_BY_OTHERS
    ]


def build_config(given: Mapping[str, Any], setting: Setting) -> RunConfig:
    """Return the run that the flags describe; see `parse`."""
    model_type, updater = given["model_type"], given["updater"]
    options = values_of(model_flags(model_type, setting), given, f"model {model_type}")
    training = values_of(training_options(model_type, setting), given, "training")
    own_names = {flag: option for option, flag in FLAGS.items()}
    model = {"type": MODEL_TYPES[model_type], "updater": updater}
    model |= {own_names.get(k, k): v for k, v in options.items()}
    if model_type == "ethereal":
        model["eta"] = training["learning_rate"]
    data = values_of(DATA, given, "data")
    window = {} if data["window"] is None else {"window": data["window"]}
    task = check(options_of(TASKS["characters"]), task_of(data["dataset"]) | window, "task characters")
    load(TASKS, "characters", "task")(**task)
    about = metadata(Path(given["out"]).name, "experiments.ethereal.train")
    return RunConfig(
        metadata=about | {"print_freq": str(training["print_freq"])},
        task={"name": "characters", **task},
        model=model,
        training=validate(TrainingConfig, _training(training), "training"),
        execution=execution_of(given),
    )


def _training(values: Mapping[str, Any]) -> dict[str, Any]:
    every = values["checkpoint_save_freq"] or values["n_iters"]
    epochs_of({**values, "checkpoint_save_freq": every}, "n_iters", "checkpoint_save_freq")
    if values["print_freq"] % CURVE_EVERY:
        raise UserError(f"--print_freq: must be a multiple of {CURVE_EVERY}; got {values['print_freq']}")
    names = ("n_iters", "batch_size", "learning_rate", "num_models", "seed")
    return training_of(
        every=every, gradient_clip=values.get("grad_clip", 0.0), **{name: values[name] for name in names}
    )


def _add_choice(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--model_type", choices=MODEL_TYPES, default="ethereal", help="which model (default: ethereal)")
    text = "source of the errors (default: dfa); defaults of other flags depend on both, see --help"
    add("--updater", choices=UPDATERS, default="dfa", help=text)


def _target(model_type: str) -> str:
    return target_of(MODELS, MODEL_TYPES[model_type], "model")


def _spelled(option: Option) -> Option:
    """Return an option as this command line spells it: switches take True or False."""
    if option.annotation is not bool:
        return option
    return replace(option, annotation=Literal["True", "False"], default=str(option.default))


def _truth(word: str) -> bool:
    return word == "True"


if __name__ == "__main__":
    sys.exit(run_script("train", main))
