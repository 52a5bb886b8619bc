"""Train one of the paper's models on associative retrieval, several seeds at once as a population.

Writes a run directory that evaluate_multiple.py and analyze.py read, with log.csv, test.json and model.safetensors in
the folder of each model. Rerun the same command to resume an interrupted run.
"""

import argparse
import sys
from pathlib import Path

from emt.commands.script import run_script
from emt.config import ExecutionConfig, RunConfig, TrainingConfig, metadata
from emt.devices import choose_device
from emt.errors import UserError
from emt.models import MODELS
from emt.options import Parser, add_flags, check, options_of, options_of_model, target_of, validate
from emt.tasks.retrieval_data import LETTERS, read_npz
from experiments.associative_retrieval.results import write_results
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

EXECUTION = tuple(option for option in options_of_model(ExecutionConfig) if option.name != "accelerator")
"""Flags that all training commands have; here ``--device`` stands for the accelerator."""


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = Parser(
        prog="experiments.associative_retrieval.train",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--model", choices=MODEL_TYPES, required=True, help="which model")
    for flag, kind, text in (
        ("R", int, "units"),
        ("emb", int, "size of the embedding"),
        ("fw_eta", float, "fast weights: write strength"),
        ("fw_lam", float, "fast weights: decay"),
        ("fw_S", int, "fast weights: inner steps"),
        ("identity_scale", float, "IRNN: scale of the initial recurrent weights, a multiple of the identity"),
    ):
        add(f"--{flag}", type=kind, metavar="N" if kind is int else "X", help=f"{text} (default: the model's own)")
    add("--freeze_emb", action="store_true", default=None, help="keep the embedding at its initial values")
    add("--K", type=int, metavar="N", help="pairs in a sequence (default: those of --data_npz, else 8)")
    add("--data_npz", metavar="FILE", help="rows to train, validate and test on (default: an endless stream)")
    add("--steps", type=int, default=20_000, metavar="N", help="training steps (default: 20000)")
    add("--batch", type=int, default=128, metavar="N", help="sequences in a batch (default: 128)")
    add("--lr", type=float, default=1e-3, metavar="X", help="Adam's step size (default: 0.001)")
    add(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="seed of the first model; each further model adds 1000 (default: 0)",
    )
    add("--num_models", type=int, default=1, metavar="N", help="number of seeds, trained as a population (default: 1)")
    add("--eval_every", type=int, default=500, metavar="N", help="training steps between validations (default: 500)")
    add("--eval_batches", type=int, metavar="N", help="validation batches (default: all rows of --data_npz, else 50)")
    add("--device", choices=("cpu", "cuda"), default="cpu", help="where to train (default: cpu)")
    add("--out", default="runs/tmp", metavar="DIR", help="the run's folder (default: runs/tmp)")
    add_flags(parser.add_argument_group("execution"), EXECUTION)
    return parser


def build_config(options: argparse.Namespace) -> RunConfig:
    """Return the run that the flags describe; everything checked.

    Raises
    ------
    UserError
        For a flag that the model has no use for, a K that is not the file's, steps that end between two validations.
    """
    given = vars(options)
    pairs, rows = _data(options)
    # Evaluation may be started from another folder.
    data_npz = None if options.data_npz is None else str(Path(options.data_npz).absolute())
    if options.steps % options.eval_every:
        raise UserError(f"--steps: expected a multiple of --eval_every {options.eval_every}; got {options.steps}")
    model_type = MODEL_TYPES[options.model]
    known = options_of(target_of(MODELS, model_type, "model"))
    names = {o.name for o in known}
    given_options = {option: given[flag] for flag, option in MODEL_FLAGS.items() if given[flag] is not None}
    for flag, option in MODEL_FLAGS.items():
        if option in given_options and option not in names:
            raise UserError(f"--{flag}: model {options.model} has no such option")
    training = {
        "num_models": options.num_models,
        "seed": options.seed,
        "epochs": options.steps // options.eval_every,
        "epoch_batches": options.eval_every,
        "batch_size": options.batch,
        "learning_rate": options.lr,
        "gradient_clip": 0.0,
        "curriculum": False,
        "curriculum_horizons": (1,),
        "validation_batches": options.eval_batches or (-(-rows // options.batch) if rows else 50),
        "keep": "best",
    }
    words = {option.name: given[option.name] for option in EXECUTION if option.name in given}
    execution = check(EXECUTION, words, "execution", words=True)
    execution["accelerator"] = {"cpu": "cpu", "cuda": "gpu"}[options.device]
    return RunConfig(
        metadata=metadata(Path(options.out).name, "experiments.associative_retrieval.train"),
        task={"name": "associative_retrieval", "pairs": pairs, "data_npz": data_npz},
        model={"type": model_type, **check(known, given_options, f"model {options.model}")},
        training=validate(TrainingConfig, training, "training"),
        execution=validate(ExecutionConfig, execution, "execution"),
    )


def _data(options: argparse.Namespace) -> tuple[int, int]:
    """Return K, and the number of validation rows of a file, 0 for a stream."""
    for flag in ("steps", "batch", "eval_every", "eval_batches", "num_models"):
        if getattr(options, flag) is not None and getattr(options, flag) < 1:
            raise UserError(f"--{flag}: expected at least 1; got {getattr(options, flag)}")
    if options.data_npz is None:
        pairs = 8 if options.K is None else options.K
        if not 1 <= pairs <= LETTERS:
            raise UserError(f"--K: expected 1 to {LETTERS}; got {pairs}")
        return pairs, 0
    data = read_npz(Path(options.data_npz))
    if options.K not in (None, data.pairs):
        raise UserError(f"--K: expected {data.pairs}, the K of {options.data_npz}; got {options.K}")
    return data.pairs, len(data.rows["validation"])


def main(arguments: list[str] | None = None) -> int:
    """Parse, train, test, report; return the exit code."""
    options = parser().parse_args(arguments)
    config = build_config(options)
    if options.device == "cuda" and config.execution.engine in ("local", "inline"):
        choose_device("gpu")
    return train(config, Path(options.out))


def train(config: RunConfig, folder: Path) -> int:
    """Train with a live display, then test every member."""
    outcome = train_in_view(config, folder)
    for number, result in write_results(folder, config).items():
        error, seen = 100 * (1 - result["test_acc"]), result["test_rows_in_train"]
        rows = result["test_rows"]
        print(f"model-{number}: test error {error:.2f} %; {seen} of {rows} test rows occur in training")
    members = config.training.num_models
    unfinished = members - len(outcome.done)
    if unfinished and not outcome.failures:
        print(f"{unfinished} of {members} models belong to other shards")
    return 1 if outcome.failures else 0


if __name__ == "__main__":
    sys.exit(run_script("train", main))
