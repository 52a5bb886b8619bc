"""Train EtherealRNN or a plain RNN to name the next character, several seeds at once as a population.

Writes a run directory that evaluate_multiple.py, analyze.py and experiments.ethereal.summary read, with log.csv and
test.json in the folder of each model. Rerun the same command to resume an interrupted run.
"""

import argparse
import shlex
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from emt import config as configuration
from emt import runs
from emt.commands.script import run_script
from emt.config import ExecutionConfig, RunConfig, TrainingConfig, metadata
from emt.devices import choose_device
from emt.errors import UserError, install_hint
from emt.models import MODELS
from emt.options import (
    Option,
    Parser,
    add_flags,
    check,
    load,
    options_of,
    options_of_model,
    summary_of,
    target_of,
    validate,
)
from emt.tasks import TASKS
from experiments.ethereal import tracking
from experiments.ethereal.results import describe_levels, report, write_results
from experiments.ethereal.settings import DATASET, FLAGS, MODEL_TYPES, Setting, setting_of, task_of, training_of
from experiments.training import train_in_view

UPDATERS = ("dfa", "backprop", "bptt")
CURVE_EVERY = 50
"""Steps that a point of the training curve averages over (`emt.training.journal`)."""

SET_BY_OTHERS = ("updater", "eta")
"""Options of the models that have no flag of their own here."""

TRACKING = ("log_freq", "notes", "group", "tags")


def main(arguments: list[str] | None = None) -> int:
    """Parse, train, test, report; return the exit code."""
    config, folder, given = parse(sys.argv[1:] if arguments is None else arguments)
    if config.execution.accelerator == "gpu" and config.execution.engine in ("local", "inline"):
        choose_device("gpu")
    track = _truth(given["track"])
    if track:
        tracking.require()
    print("\n".join(describe_levels(config)))
    outcome = train_in_view(config, folder)
    results = write_results(folder, config)
    report(results)
    if track:
        tracking.send(config, folder, results, **{name: given[name] for name in TRACKING})
    if results:
        print(f"Next: python -m experiments.ethereal.summary {shlex.quote(str(folder))}")
    return 1 if outcome.failures else 0


def parse(arguments: list[str]) -> tuple[RunConfig, Path, dict[str, Any]]:
    """Return the run that a command line describes, everything checked, its folder, and all flags.

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
    if given["resume_checkpoint"]:
        folder = runs.find(given["resume_checkpoint"], "resume_checkpoint")
        return configuration.read(folder / "config.json"), folder, given
    folder = Path(given["out"])
    if _truth(given["no_resume"]) and (folder / "config.json").exists():
        raise UserError(f"--no_resume: {folder} already contains a run; choose another --out or omit --no_resume")
    return build_config(given, setting), folder, given


def parser(model_type: str, setting: Setting) -> argparse.ArgumentParser:
    """Return the command line for a model, with a setting's defaults."""
    result = Parser(
        prog="experiments.ethereal.train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    _add_choice(result)
    add = result.add_argument
    add("--dataset", default=DATASET, metavar="NAME", help=f"published name, or path of a text (default: {DATASET})")
    add("--window", type=int, metavar="N", help="characters predicted in a row, for a text (default: 64)")
    model = result.add_argument_group(f"model {model_type}", summary_of(_target(model_type)))
    add_flags(model, map(_spelled, model_flags(model_type, setting)))
    training = result.add_argument_group("training")
    for flag, default, text in (
        ("batch_size", setting.batch_size, "strings in a batch"),
        ("n_iters", setting.n_iters, "training steps"),
        ("print_freq", CURVE_EVERY, f"steps between rows of log.csv, a multiple of {CURVE_EVERY}"),
        ("checkpoint_save_freq", 500, "steps between validations, after which the state is saved; 0: --n_iters"),
        ("seed", 0, "seed of the first model; each further model adds 1000"),
        ("num_models", 1, "number of seeds, trained as a population"),
    ):
        training.add_argument(f"--{flag}", type=int, default=default, metavar="N", help=f"{text} (default: {default})")
    text = f"learning rate, within a sequence and of the weights (default: {setting.learning_rate:g})"
    training.add_argument("--learning_rate", type=float, default=setting.learning_rate, metavar="X", help=text)
    if model_type == "rnn":
        text = "largest gradient norm; 0: no clipping (default: 0)"
        training.add_argument("--grad_clip", type=float, default=0.0, metavar="X", help=text)
    run = result.add_argument_group("run")
    text = "the run's folder (default: runs/ethereal)"
    run.add_argument("--out", "--checkpoint_dir", default="runs/ethereal", metavar="DIR", help=text)
    run.add_argument("--resume_checkpoint", metavar="DIR", help="resume the run in DIR with its settings")
    switches = {
        "no_resume": "refuse a folder that contains a run instead of resuming it",
        "track": f"log to Weights & Biases: {install_hint('track')}",
    }
    for flag, text in switches.items():
        add_flags(run, [_spelled(Option(flag, bool, False, text))])
    run.set_defaults(**dict.fromkeys(switches, "False"))
    run.add_argument("--log_freq", type=int, metavar="N", help="steps between logged points (default: all points)")
    run.add_argument("--notes", metavar="TEXT", default="", help="notes on the run, for Weights & Biases")
    run.add_argument("--group", metavar="TEXT", help="group of the runs (default: name of the folder)")
    run.add_argument("--tags", metavar="TEXT", nargs="+", default=[], help="tags of the runs")
    add_flags(result.add_argument_group("execution"), options_of_model(ExecutionConfig))
    return result


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
    flags = model_flags(model_type, setting)
    values = check(flags, {o.name: given[o.name] for o in flags if o.name in given}, f"model {model_type}", words=True)
    own_names = {flag: option for option, flag in FLAGS.items()}
    model = {"type": MODEL_TYPES[model_type], "updater": updater, **{own_names.get(k, k): v for k, v in values.items()}}
    if model_type == "ethereal":
        model["eta"] = given["learning_rate"]
    window = {} if given["window"] is None else {"window": given["window"]}
    task = check(options_of(TASKS["characters"]), task_of(given["dataset"]) | window, "task characters")
    load(TASKS, "characters", "task")(**task)
    options = options_of_model(ExecutionConfig)
    words = {o.name: given[o.name] for o in options if o.name in given}
    return RunConfig(
        metadata=metadata(Path(given["out"]).name, "experiments.ethereal.train")
        | {"print_freq": str(given["print_freq"])},
        task={"name": "characters", **task},
        model=model,
        training=validate(TrainingConfig, _training(given), "training"),
        execution=validate(ExecutionConfig, check(options, words, "execution", words=True), "execution"),
    )


def _training(given: Mapping[str, Any]) -> dict[str, Any]:
    for flag in ("batch_size", "n_iters", "print_freq", "num_models"):
        if given[flag] < 1:
            raise UserError(f"--{flag}: expected at least 1; got {given[flag]}")
    every = given["checkpoint_save_freq"] or given["n_iters"]
    if every < 1 or given["n_iters"] % every:
        raise UserError(f"--n_iters: expected a multiple of --checkpoint_save_freq {every}; got {given['n_iters']}")
    if given["print_freq"] % CURVE_EVERY:
        raise UserError(f"--print_freq: expected a multiple of {CURVE_EVERY}; got {given['print_freq']}")
    return training_of(
        n_iters=given["n_iters"],
        every=every,
        batch_size=given["batch_size"],
        learning_rate=given["learning_rate"],
        gradient_clip=given["grad_clip"] if given["model_type"] == "rnn" else 0.0,
        num_models=given["num_models"],
        seed=given["seed"],
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
