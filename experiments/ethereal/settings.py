"""Settings that learn, by updater, and the published program's names for things."""

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from emt.errors import UserError

MODEL_TYPES = {"ethereal": "ethereal", "rnn": "ethereal_rnn"}
"""The models by their short names."""

FLAGS = {"hidden_dim": "hidden_size", "layers": "num_layers"}
"""Options of the models whose flag has another name."""


@dataclass(frozen=True)
class Setting:
    """Options of a model and of its training that work together."""

    batch_size: int
    learning_rate: float
    n_iters: int
    model: dict[str, Any] = field(default_factory=dict)


ETHEREAL = {"hidden_dim": 60, "plast_proportion": 0.2, "forget_rate": 0.01}

SETTINGS = {
    ("ethereal", "dfa"): Setting(
        batch_size=16,
        learning_rate=0.01,
        n_iters=5000,
        model={
            **ETHEREAL,
            "layers": 3,
            "plast_clip": 1000.0,
            "residual_connection": False,
            "enable_recurrence": False,
        },
    ),
    ("ethereal", "backprop"): Setting(
        batch_size=4,
        learning_rate=0.025,
        n_iters=6000,
        model={
            **ETHEREAL,
            "layers": 3,
            "plast_clip": 6400.0,
            "clip_weights": 1.0,
            "residual_connection": True,
            "enable_recurrence": False,
        },
    ),
    ("ethereal", "bptt"): Setting(
        batch_size=4,
        learning_rate=0.25,
        n_iters=2000,
        model={
            **ETHEREAL,
            "layers": 1,
            "plast_clip": 1.0,
            "residual_connection": True,
            "enable_recurrence": True,
        },
    ),
    ("rnn", "dfa"): Setting(16, 0.03, 5000, {"hidden_dim": 60, "layers": 1}),
    ("rnn", "backprop"): Setting(4, 0.1, 6000, {"hidden_dim": 60, "layers": 1}),
    ("rnn", "bptt"): Setting(4, 0.1, 2000, {"hidden_dim": 60, "layers": 1}),
}
"""By model and updater. They differ: this compares no updaters, it lets each of them learn."""

PUBLISHED = {
    "dfa": SETTINGS["ethereal", "dfa"],
    "backprop": replace(
        SETTINGS["ethereal", "backprop"],
        learning_rate=0.1,
        model={**SETTINGS["ethereal", "backprop"].model, "plast_clip": 80.0},
    ),
    "bptt": replace(SETTINGS["ethereal", "bptt"], learning_rate=1.0),
}
"""By updater under the published rules, where gradients are means over the batch and backprop squares its plasticity:
0.1 / 4 · 80² is 0.025 · 6400."""


def setting_of(model_type: str, updater: str, *, compatibility: bool = False) -> Setting:
    """Return the setting of a model and an updater, under the published rules or the corrected ones."""
    return PUBLISHED[updater] if compatibility and model_type == "ethereal" else SETTINGS[model_type, updater]


VALIDATION_STRINGS = 256

DATASET = "2_small_palindrome_dataset_vary_length"

VARY_LENGTH = re.compile(r"(?:([1-4])_)?(small_)?palindrome_dataset_vary_length")
REPEATED = re.compile(r"([1-4])_resequence")

NOT_HERE = ("roneneldan/tinystories", "jbrazzy/baby_names", "brucewlee1/htest-palindrome")
"""Published texts that the program downloads."""


def task_of(dataset: str) -> dict[str, Any]:
    """Return the options of the task for a data set's published name, or for the path of a text.

    Raises
    ------
    UserError
        For a name that is neither.
    """
    if dataset == "long_range_memory_dataset":
        return {"dataset": "key_recall"}
    if dataset == "palindrome_dataset":
        return {"dataset": "palindrome"}
    if match := REPEATED.fullmatch(dataset):
        return {"dataset": "resequence", "n": int(match[1])}
    if match := VARY_LENGTH.fullmatch(dataset):
        return {"dataset": f"{match[2] or ''}palindromes", "n": int(match[1] or 2)}
    if Path(dataset).is_file():
        return {"dataset": "text", "file": dataset}
    if dataset in NOT_HERE:
        raise UserError(f"--dataset: {dataset} is not fetched; expected the path of a file with its text")
    raise UserError(
        "--dataset: expected long_range_memory_dataset, N_resequence, palindrome_dataset, "
        "N_palindrome_dataset_vary_length, N_small_palindrome_dataset_vary_length (N from 1 to 4) or the path of a "
        f"text; got {dataset}"
    )


def training_of(*, n_iters: int, every: int, batch_size: int, **training: Any) -> dict[str, Any]:
    """Return the training section of a run that validates every so many steps."""
    return {
        "epochs": n_iters // every,
        "epoch_batches": every,
        "batch_size": batch_size,
        "optimizer": "sgd",
        "gradient_clip": 0.0,
        "curriculum": False,
        "curriculum_horizons": (1,),
        "validation_batches": -(-VALIDATION_STRINGS // batch_size),
        **training,
    }
