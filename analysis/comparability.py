"""Which conditions must agree for a comparison: one function for every analysis of several sets.

Numbers of two sets mean the same only if they were measured in the same way. What has to agree depends on
what is compared: spectra of one task at different lengths differ by construction, accuracies over different
horizons are of different quantities, and sets trained on different tasks may be compared if the reader knows.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.errors import AnalysisError

SAME_THEORY = 1e-6
"""Theories whose eigenvalues differ by less are one theory."""


@dataclass(frozen=True)
class Conditions:
    """How a set of members was trained and evaluated; None is what its file does not say.

    Attributes
    ----------
    seq_length
        Sequence length.
    test_horizon
        Output steps over which accuracy was measured.
    accuracy_rule
        When an output is right: "sign" or "argmax".
    task
        Name and options of the task.
    theory
        Spectrum (mode,) or operator (window, target) of a linear task.
    """

    seq_length: int | None = None
    test_horizon: int | None = None
    accuracy_rule: str | None = None
    task: Mapping[str, Any] | None = None
    theory: NDArray[Any] | None = None


MEASUREMENT = ("seq_length", "test_horizon", "accuracy_rule", "task", "theory")
"""All conditions: along one training none may change."""

ACCURACY = ("test_horizon", "accuracy_rule")
"""What makes accuracies different quantities."""

_NAMES = {
    "seq_length": "sequence length",
    "test_horizon": "number of output steps",
    "accuracy_rule": "accuracy rule",
    "task": "task",
    "theory": "theory",
}
MOST_SETS = 4
"""Sets whose condition is given; of more the first ones."""


def differences(sets: Mapping[str, Conditions], names: tuple[str, ...] = MEASUREMENT) -> dict[str, str]:
    """Return which conditions of sets are not the same in all of them, and in words what each set has.

    Parameters
    ----------
    sets
        Label -> its conditions.
    names
        Conditions to look at.

    Examples
    --------
    >>> differences({"a": Conditions(seq_length=8), "b": Conditions(seq_length=4)})
    {'seq_length': 'sequence length (a: 8, b: 4)'}
    """
    found = {}
    for name in names:
        values = {label: getattr(conditions, name) for label, conditions in sets.items()}
        first = next(iter(values.values()), None)
        if not all(_same(first, value) for value in values.values()):
            found[name] = _described(name, values)
    return found


def check_same(sets: Mapping[str, Conditions], names: tuple[str, ...], where: str) -> None:
    """Refuse sets that differ in a condition.

    Raises
    ------
    AnalysisError
        Naming all conditions that differ, and what each set has; ``where`` says what was expected to agree.
    """
    if found := differences(sets, names):
        raise AnalysisError(f"{where}; these differ in {'; '.join(found.values())}")


def remark(sets: Mapping[str, Conditions], names: tuple[str, ...] = MEASUREMENT) -> str:
    """Return a sentence on what differs between sets beside what is compared; empty where nothing does."""
    found = differences(sets, names)
    return (
        f"The sets differ in {'; '.join(found.values())}: what is found may be due to that." if found else ""
    )


def _same(a: Any, b: Any) -> bool:
    if a is None or b is None:
        return a is b
    if isinstance(a, np.ndarray):
        return bool(a.shape == np.shape(b) and np.allclose(a, b, rtol=0.0, atol=SAME_THEORY))
    return bool(a == b)


def _described(name: str, values: Mapping[str, Any]) -> str:
    if name == "task" and all(values.values()) and len({task.get("name") for task in values.values()}) == 1:
        first, *others = values.values()
        options = list(dict.fromkeys(key for task in values.values() for key in task))
        changed = [key for key in options if any(task.get(key) != first.get(key) for task in others)]
        told = {
            label: " ".join(f"{key} {_plain(task.get(key))}" for key in changed[:3])
            for label, task in values.items()
        }
    else:
        told = {label: _text(name, value) for label, value in values.items()}
    given = [f"{label}: {text}" for label, text in list(told.items())[:MOST_SETS]]
    return f"{_NAMES[name]} ({', '.join([*given, '…'] if len(told) > MOST_SETS else given)})"


def _text(name: str, value: Any) -> str:
    if value is None:
        return "none" if name == "theory" else "unknown"
    if name == "task":
        return str(value.get("name", "unknown"))
    return f"{len(value)} modes" if name == "theory" else str(value)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
