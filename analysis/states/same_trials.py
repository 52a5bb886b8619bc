"""Do recordings have the same trials in the same order, so that their states compare one by one?"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from analysis.errors import AnalysisError
from emt.trace import EVENTS, present_steps

SHOWN = ("inputs", "token", "start")
"""What a network meets in a trial: equal trials are equal in all of it."""

LABELS = ("targets", *(name for name in EVENTS if name not in SHOWN))
"""What is known about a trial. Another task may give the same trials other labels."""


def check_same_trials(recordings: Mapping[str, xr.DataTree]) -> str:
    """Refuse recordings whose states do not belong to the same trials; return what a reader should know, or nothing.

    What members were shown must be equal: inputs, tokens, starts. Where that does not tell all trials apart,
    as with inputs of zeros, trials of another order would pass, so their labels must be equal too: targets,
    groups and the other events. Identities of trials and lengths must be equal in any case. What is unknown,
    such as inputs of recorded neurons, is not compared where labels or identities tell trials apart; where nothing
    does, that is said.

    Raises
    ------
    AnalysisError
        Naming what differs and between which recordings.
    """
    for label, recording in recordings.items():
        _check_shared(label, recording)
    labels = list(recordings)
    relabelled, unsure = [], []
    for label in labels[1:]:
        first, other = recordings[labels[0]], recordings[label]
        known = [name for name in LABELS if _is_known(name, first) and _is_known(name, other)]
        named = all("batch" in recording.coords for recording in (first, other))
        grouped = "group" in known and _varies("group", first)
        shown = _shows(first), _shows(other)
        # Recorded neurons have no inputs: then identities or conditions of trials tell that they are the same.
        for name in SHOWN if all(shown) or (any(shown) and not (named or grouped)) else ():
            _check_equal(name, labels[0], first, label, other)
        _check_equal("present", labels[0], first, label, other)
        if named:
            _check_equal("batch", labels[0], first, label, other)
        different = [name for name in known if _difference(name, first, other)]
        if different and not (all(shown) and _tells_apart(first)):
            _check_equal(different[0], labels[0], first, label, other)
        if "targets" in different:
            relabelled.append(label)
        if not (any(shown) or named or any(_varies(name, first) for name in known)):
            unsure.append(label)
    told = []
    if relabelled:
        told.append(f"The same inputs have other targets in {', '.join(relabelled)} than in {labels[0]}.")
    if unsure:
        told.append(
            f"Nothing tells which trials are those of {labels[0]} in {', '.join(unsure)} (no inputs, conditions or "
            "identities of trials), so states are compared in the order given."
        )
    return " ".join(told)


def _shows(recording: xr.DataTree) -> bool:
    """Whether it is known what a network met in each trial."""
    return recording["inputs"].shape[-1] > 0 or "token" in recording


def _is_known(name: str, recording: xr.DataTree) -> bool:
    return name in recording and recording[name].size > 0


def _varies(name: str, recording: xr.DataTree) -> bool:
    """Whether a label differs between trials."""
    values = recording[name].to_numpy()
    return "member" not in recording[name].dims and bool((values != values[:1]).any())


def _check_shared(label: str, recording: xr.DataTree) -> None:
    for name in SHOWN:
        if name in recording and "member" in recording[name].dims:
            raise AnalysisError(
                f"{label}: expected one batch that all members saw; their own actions changed what they saw ({name}), "
                "so that states do not compare one by one"
            )


def _check_equal(name: str, label: str, first: xr.DataTree, other_label: str, other: xr.DataTree) -> None:
    if why := _difference(name, first, other):
        name = {"batch": "identities of trials", "present": "lengths"}.get(name, name)
        raise AnalysisError(
            f"expected experiments that were evaluated on the same inputs, in the same order, so that states compare "
            f"one by one; {name} of {label!r} and {other_label!r} differ ({why})",
            parameter="recordings",
        )


def _difference(name: str, first: xr.DataTree, other: xr.DataTree) -> str:
    """Return how a variable differs between two recordings; empty if it does not, or neither has it."""
    if name == "present":
        masks = present_steps(first), present_steps(other)
        return "" if np.array_equal(*masks) else f"{_span(masks[0])} and {_span(masks[1])}"
    if name not in first and name not in other:
        return ""
    if name not in first or name not in other:
        return "only one of them has it"
    a, b = first[name].to_numpy(), other[name].to_numpy()
    if a.shape != b.shape:
        return f"sizes {a.shape} and {b.shape}"
    return "" if np.array_equal(a, b, equal_nan=a.dtype.kind == "f") else "other values"


def _span(present: np.ndarray[Any, Any]) -> str:
    lengths = present.sum(axis=1)
    return f"{len(lengths)} trials of {lengths.min()} to {lengths.max()} steps"


def _tells_apart(recording: xr.DataTree) -> bool:
    """Whether no two trials were shown the same."""
    shown = [recording[name].to_numpy() for name in SHOWN if name in recording]
    rows = [
        b"".join(np.ascontiguousarray(values[trial]).tobytes() for values in shown)
        for trial in range(len(shown[0]))
    ]
    return len(set(rows)) == len(rows)
