"""Train one of the paper's models on associative retrieval, several seeds at once as a population.

Writes a run directory that `emt evaluate` and `emt analyze` read, with log.csv, test.json and
model.safetensors in the folder of each model. Rerun the same command to resume an interrupted run.
"""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from emt.commands.output import complain, say
from emt.commands.script import run_script
from emt.config import RunConfig, TrainingConfig, metadata
from emt.errors import UserError
from emt.models import MODELS
from emt.options import Option, check, options_of, target_of, validate
from emt.tasks.retrieval_data import LETTERS, read_npz
from experiments.associative_retrieval.results import write_results
from experiments.command_line import (
    ON_DEVICE,
    Count,
    build_parser,
    execution_of,
    require_device,
    step_options,
    training_of,
    values_of,
)
from experiments.training import train_in_view

MODEL_TYPES = {"irnn": "irnn", "lstm": "ar_lstm", "alstm": "alstm", "fw": "fw"}
"""The paper's models by their short names."""

MODEL_FLAGS = {
    "R": "hidden_dim",
    "emb": "embedding_dim",
    "fw_eta": "eta",
    "fw_lam": "lam",
    "fw_S": "inner_steps",
    "identity_scale": "identity_scale",
    "freeze_emb": "freeze_embedding",
}
"""Flags and the options of the models that they set."""

OF_FAST_WEIGHTS = ("fw_eta", "fw_lam", "fw_S")
"""Flags that published commands give for every model; ignored where they mean nothing."""

MODEL = (
    Option("R", int | None, None, "units (default: the model's own)"),
    Option("emb", int | None, None, "size of the embedding (default: the model's own)"),
    Option("fw_eta", float | None, None, "fast weights: write strength (default: the model's own)"),
    Option("fw_lam", float | None, None, "fast weights: decay (default: the model's own)"),
    Option("fw_S", int | None, None, "fast weights: inner steps (default: the model's own)"),
    Option(
        "identity_scale",
        float | None,
        None,
        "IRNN: scale of the initial recurrent weights, a multiple of the identity",
    ),
    Option("freeze_emb", bool, False, "keep the embedding at its initial values"),
)

TRAINING = (
    *step_options(steps=20_000, batch=128, eval_every=500, out="runs/tmp"),
    Option(
        "eval_batches", Count | None, None, "validation batches (default: all rows of --data_npz, else 50)"
    ),
)

DATA = (
    Option("K", int | None, None, "pairs in a sequence (default: those of --data_npz, else 8)"),
    Option(
        "data_npz",
        str | None,
        None,
        "file of rows to train, validate and test on (default: an endless stream)",
    ),
)


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    groups = {"model": MODEL, "data": DATA, "training": TRAINING, "execution": ON_DEVICE}
    result = build_parser("experiments.associative_retrieval.train", __doc__, groups)
    result.add_argument("--model", choices=MODEL_TYPES, required=True, help="which model")
    return result


def build_config(options: argparse.Namespace) -> RunConfig:
    """Return the run that the flags describe; everything checked.

    Raises
    ------
    UserError
        For a flag of another model (those of fast weights are ignored), a K that is not the file's, steps
        that end between two validations.
    """
    given = vars(options)
    values = values_of(TRAINING, given, "training")
    data = values_of(DATA, given, "data")
    pairs, rows = _data(**data)
    # Evaluation may be started from another folder.
    data_npz = None if data["data_npz"] is None else str(Path(data["data_npz"]).absolute())
    batches = values["eval_batches"] or (-(-rows // values["batch"]) if rows else 50)
    model_type = MODEL_TYPES[options.model]
    return RunConfig(
        metadata=metadata(Path(values["out"]).name, "experiments.associative_retrieval.train"),
        task={"name": "associative_retrieval", "pairs": pairs, "data_npz": data_npz},
        model={"type": model_type, **_model(options.model, values_of(MODEL, given, "model", partial=True))},
        training=validate(TrainingConfig, training_of(values) | {"validation_batches": batches}, "training"),
        execution=execution_of(given, values["device"]),
    )


def _model(name: str, values: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a model by the values of the flags that were given."""
    known = options_of(target_of(MODELS, MODEL_TYPES[name], "model"))
    unknown = _unknown(name, values)
    for flag in unknown:
        if flag not in OF_FAST_WEIGHTS:
            raise UserError(f"--{flag}: model {name} has no such option")
    given = {MODEL_FLAGS[flag]: value for flag, value in values.items() if flag not in unknown}
    return check(known, given, f"model {name}")


def _unknown(name: str, flags: Iterable[str]) -> list[str]:
    """Return the flags whose option a model does not have."""
    known = {option.name for option in options_of(target_of(MODELS, MODEL_TYPES[name], "model"))}
    return [flag for flag in flags if MODEL_FLAGS[flag] not in known]


def _warn_of_ignored(options: argparse.Namespace) -> None:
    ignored = _unknown(options.model, values_of(MODEL, vars(options), "model", partial=True))
    if ignored:
        flags = ", ".join(f"--{flag}" for flag in ignored)
        complain(f"train: warning: {flags} ignored: model {options.model} has no fast weights")


def _data(K: int | None, data_npz: str | None) -> tuple[int, int]:
    """Return K, and the number of validation rows of a file, 0 for a stream."""
    if data_npz is None:
        pairs = 8 if K is None else K
        if not 1 <= pairs <= LETTERS:
            raise UserError(f"--K: must be 1 to {LETTERS}; got {pairs}")
        return pairs, 0
    data = read_npz(Path(data_npz))
    if K not in (None, data.pairs):
        raise UserError(f"--K: must be {data.pairs}, the K of {data_npz}; got {K}")
    return data.pairs, len(data.rows["validation"])


def main(arguments: list[str] | None = None) -> int:
    """Parse, train, test, report; return the exit code."""
    options = parser().parse_args(arguments)
    config = build_config(options)
    _warn_of_ignored(options)
    require_device(config.execution)
    return train(config, Path(values_of(TRAINING, vars(options), "training")["out"]))


def train(config: RunConfig, folder: Path) -> int:
    """Train with a live display, then test every member."""
    outcome = train_in_view(config, folder)
    for number, result in write_results(folder, config).items():
        error, seen = 100 * (1 - result["test_acc"]), result["test_rows_in_train"]
        rows = result["test_rows"]
        say(f"model-{number}: test error {error:.2f} %; {seen} of {rows} test rows occur in training")
    members = config.training.num_models
    unfinished = members - len(outcome.done)
    if unfinished and not outcome.failures:
        say(f"{unfinished} of {members} models belong to other shards")
    return 1 if outcome.failures else 0


if __name__ == "__main__":
    sys.exit(run_script("train", main))
