"""The schema of ``evaluation_summary.json``, which `emt.runs` describes: ours and the reference implementation's."""

import math
import re
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, TypeAdapter

from emt.schema import Count, Positive, Schema, Share, checked, refusal, required
from emt.text import visible

LARGEST_EIGENVALUE, LARGEST_NUMBER = 1e60, 1e150
"""Larger ones no network has, whose weights are at most 3e38, and their powers overflow."""

Name = Annotated[
    str,
    required(
        lambda name: 0 < len(name) <= 200 and visible(name) == name, "a name of 1 to 200 plain characters"
    ),
]
Number = Annotated[float, Field(ge=-LARGEST_NUMBER, le=LARGEST_NUMBER)]
Size = Annotated[float, Field(ge=0, le=LARGEST_NUMBER)]
Degrees = Annotated[float, Field(ge=0, le=180)]


class Evaluation(Schema):
    """How the members were evaluated."""

    test_horizon: Positive | None = None


class Training(Schema):
    """How the members were trained."""

    seed: Count | None = None


class Trained(Schema):
    """The configuration that the members were trained with."""

    task: dict[str, Any] | None = None
    model: dict[str, Any] | None = None
    training: Training | None = None


class EvaluationConfig(Schema):
    """What was evaluated."""

    evaluation: Evaluation | None = None
    training_config: Trained | None = None


class Failure(Schema):
    """A member that could not be evaluated."""

    model_name: str
    error: str | None = None


class Summary(Schema):
    """The whole file; its members are checked one by one."""

    timestamp: str | None = None
    n_models: Count | None = None
    evaluation_config: EvaluationConfig | None = None
    failed: list[Failure] | None = None


FIELDS: dict[str, Any] = {
    "accuracy": Share | None,
    "accuracy_interval": Annotated[list[Share | None], Field(min_length=2, max_length=2)] | None,
    "mean_return": Number | None,
    "mean_return_interval": Annotated[list[Number | None], Field(min_length=2, max_length=2)] | None,
    "accuracy_rule": Literal["sign", "argmax"] | None,
    "seq_lengths": list[Positive],
    "hidden_dim": Positive,
    "input_dim": Count,
    "batch_size": Positive,
    "histogram_bins": dict[str, list[Number]],
    "model_path": str,
    "output_dir": str,
    "spectral_error_deg": Degrees | None,
    "spectral_error_deg_reference": Degrees | None,
    "spectral_relative_error": Size | None,
    "missing_modes": Size | None,
    "angle_histogram_rnn": list[Size],
    "magnitude_histogram_rnn": list[Size],
    "variance_ratio": Number | None,
    "frob_error": Size | None,
    "frob_relative": Size | None,
}
"""What a member's entry holds, without the ``_seqL`` of some names."""

_TYPES = {name: TypeAdapter(kind) for name, kind in FIELDS.items()}
_NUMBER = TypeAdapter(Number)
_OF_LENGTH = re.compile(r"_seq[1-9][0-9]{0,8}$")


def check_summary(summary: Mapping[str, Any], path: Path) -> None:
    """Refuse a summary whose fields beside ``metrics`` are of other types.

    Raises
    ------
    UserError
        Naming the first place with something else.
    """
    checked({name: value for name, value in summary.items() if name != "metrics"}, Summary, path)


def check_entry(entry: Mapping[str, Any], path: Path, position: int) -> dict[str, Any]:
    """Return a member's entry with null for numbers that are not finite; spectra, lists or arrays, stay as they are.

    Raises
    ------
    UserError
        Naming the first place without a name, a number in its range, or pairs in a spectrum.
    """
    checked(entry.get("model_name"), Name, path, ("metrics", position, "model_name"))
    found = {}
    for key, value in entry.items():
        place, stem = ("metrics", position, key), _OF_LENGTH.sub("", key)
        if key.startswith("eigenvalues_"):
            check_spectrum(value, path, place)
        else:
            value = None if isinstance(value, float) and not math.isfinite(value) else value
            if stem in _TYPES or type(value) in (int, float):
                checked(value, _TYPES.get(stem, _NUMBER), path, place)
        found[key] = value
    return found


def pairs_of(value: Any) -> Any:
    """Return a list of pairs of numbers as an array (mode, 2); anything else as it is."""
    if not isinstance(value, list) or set(map(type, value)) != {list} or set(map(len, value)) != {2}:
        return value
    numbers = list(chain.from_iterable(value))
    if set(map(type, numbers)) - {int, float}:
        return value
    try:
        return np.array(numbers, dtype=float).reshape(-1, 2)
    except OverflowError:
        return value


def check_spectrum(value: Any, path: Path, place: tuple[str | int, ...]) -> None:
    """Refuse what is neither null, nor an empty list, nor pairs [re, im] of numbers (a list, or of `pairs_of`).

    Raises
    ------
    UserError
        Naming the first eigenvalue that is none.
    """
    pairs = pairs_of(value)
    if isinstance(pairs, np.ndarray):
        # Not ≤, which is false of NaN too.
        wrong = np.flatnonzero(~(np.abs(pairs) <= LARGEST_EIGENVALUE).all(axis=1))
        at, got = (wrong[0], pairs[wrong[0]].tolist()) if len(wrong) else (None, None)
    elif value is None or value == []:
        return
    elif not isinstance(value, list):
        raise refusal(path, place, "a list of pairs [re, im]", value)
    else:
        at, got = next(
            (k, pair) for k, pair in enumerate(value) if not isinstance(pairs_of([pair]), np.ndarray)
        )
    if at is not None:
        expected = f"a pair [re, im] of finite numbers up to {LARGEST_EIGENVALUE:g}"
        raise refusal(path, (*place, int(at)), expected, got)
