"""Labels of trials: an event of the recording, a variable of its task, or the sign of a target."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from analysis.conditions.trials import Trials
from analysis.errors import AnalysisError
from emt import trace

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

NONE = -1
"""Class of trials, at steps, without the label."""

NOT_LABELS = ("scored", "start", "trial")
"""Events that say nothing about what a trial is."""


@dataclass(frozen=True)
class Labels:
    """The class of each trial at each step.

    Attributes
    ----------
    name
        What the classes are of.
    classes
        (trial, time) places in ``values``, `NONE` for none. A class of the whole trial stands at all steps.
    numbers
        (trial, time) numbers of the event, or the targets; NaN for none.
    values
        What each class is: numbers of the event, or their names.
    moving
        Whether the class of a trial changes on its way.
    """

    name: str
    classes: Integers
    numbers: Array
    values: tuple[str, ...]
    moving: bool

    @property
    def chance(self) -> float:
        """Balanced accuracy of a guess."""
        return 1 / len(self.values)

    def of_trials(self, trials: NDArray[np.intp]) -> "Labels":
        """Return the labels of some trials."""
        return replace(self, classes=self.classes[trials], numbers=self.numbers[trials])

    def as_numbers(self) -> "Labels":
        """Return the labels without classes, for a regression on their numbers."""
        return replace(self, classes=np.where(self.classes >= 0, 0, NONE), values=(self.name,))

    @property
    def first(self) -> Integers:
        """The first class of each trial, (trial,)."""
        return at_place(self.classes, "first")


def label_names(recording: xr.DataTree) -> list[str]:
    """Return what trials of a recording can be labelled by."""
    events = [name for name in trace.EVENTS if name in recording.data_vars and name not in NOT_LABELS]
    names = [name for name in (*events, *trace.own_events(recording)) if "member" not in recording[name].dims]
    if "member" not in recording["targets"].dims and trace.about(recording).accuracy == "sign":
        names += [f"target:{channel}" for channel in range(recording.sizes["target"])]
    return names


def default_label(recording: xr.DataTree, trials: Trials) -> str:
    """Return the first label that trials have one value of: of the task's own, kinds, items asked for, targets.

    Raises
    ------
    AnalysisError
        If there is none.
    """
    known = label_names(recording)
    own = [name for name in known if name in trace.own_events(recording)]
    for name in (*own, *(name for name in ("group", "asked", *known) if name in known)):
        with contextlib.suppress(AnalysisError):
            return find_labels(recording, trials, name).name
    raise AnalysisError(
        f"must name what trials differ in; this recording has {', '.join(known) or 'no label of trials'}",
        parameter="label",
    )


def find_labels(recording: xr.DataTree, trials: Trials, name: str, at: str = "") -> Labels:
    """Return the labels of a recording's trials.

    Parameters
    ----------
    recording
        The recorded run.
    trials
        Its trials.
    name
        An event of its trials with one number at a step, a variable of its task, or "target:k", the sign of
        the target k, which changes on the way unless ``at`` says which counts.
    at
        Which of several values counts for the whole trial: "first", "last" or the number of a step.

    Raises
    ------
    AnalysisError
        If there is no such label, it has several values in a trial and ``at`` names none, or fewer than two
        different ones.
    """
    known = label_names(recording)
    if name not in known:
        own = ", ".join(known) or "none: members saw trials of their own"
        raise AnalysisError(
            f"must be one of this recording's labels ({own}); got {name!r}", parameter="label"
        )
    of_target = name.startswith("target:")
    moving = of_target and not at
    channel = int(name.partition(":")[2]) if of_target else 0
    given = trials.of(
        _signs(recording, channel) if of_target else recording[name].to_numpy().astype(np.int64)
    )
    given = np.where(trials.present.reshape(*trials.present.shape, *[1] * (given.ndim - 2)), given, NONE)
    if given.ndim == 3:
        if (given[..., 1:] >= 0).any():
            raise AnalysisError(
                f"must name one thing at a step; {name!r} names up to {given.shape[2]}", parameter="label"
            )
        given = given[..., 0]
    if not moving:
        given = np.repeat(at_place(given, at)[:, None], given.shape[1], axis=1)
    kinds = np.unique(given[given >= 0])
    if len(kinds) < 2:
        raise AnalysisError(
            f"must have at least two different values; {name!r} has {len(kinds)}", parameter="label"
        )
    classes = np.where(given >= 0, np.searchsorted(kinds, given), NONE)
    numbers = trials.of(recording["targets"].to_numpy()[..., channel]) if moving else given
    numbers = np.where(given >= 0, numbers, np.nan)
    return Labels(name, classes, numbers, tuple(_name(recording, name, int(kind)) for kind in kinds), moving)


def find_factors(
    recording: xr.DataTree, trials: Trials, names: Sequence[str], at: str = ""
) -> tuple[Labels, ...]:
    """Return labels with one value in each trial, of targets the first; without names the default one.

    Raises
    ------
    AnalysisError
        As `find_labels`, or if a name is given twice.
    """
    if len(set(names)) < len(names):
        raise AnalysisError(f"must name different labels; got {', '.join(names)}", parameter="label")
    names = names or [default_label(recording, trials)]
    return tuple(
        find_labels(recording, trials, name, at or ("first" if name.startswith("target:") else ""))
        for name in names
    )


def combined(factors: Sequence[Labels]) -> Labels:
    """Return the combinations of values of some labels that there are, each a class; none where a trial lacks one."""
    levels = np.stack([factor.first for factor in factors], axis=1)
    there = (levels >= 0).all(axis=1)
    kinds, places = np.unique(levels[there], axis=0, return_inverse=True)
    classes = np.full(len(levels), NONE)
    classes[there] = places.ravel()
    values = tuple(
        ", ".join(
            factor.values[level] if len(factors) == 1 else f"{factor.name} {factor.values[level]}"
            for factor, level in zip(factors, kind, strict=True)
        )
        for kind in kinds
    )
    whole = np.repeat(classes[:, None], factors[0].classes.shape[1], axis=1)
    name = " × ".join(factor.name for factor in factors)
    return Labels(name, whole, np.where(whole >= 0, whole, np.nan), values, moving=False)


def at_place(given: Integers, at: str = "") -> Integers:
    """Return one value for each trial, (trial,), of values (trial, time) of which `NONE` are none.

    Raises
    ------
    AnalysisError
        If a trial has several and ``at`` does not say which.
    """
    there = given >= 0
    steps = given.shape[1]
    first = np.argmax(there, axis=1)
    last = steps - 1 - np.argmax(there[:, ::-1], axis=1)
    rows = np.arange(len(given))
    found = np.where(there.any(axis=1), given[rows, first], NONE)
    if at in ("", "first", "last"):
        if not at and (there & (given != found[:, None])).any():
            raise AnalysisError(
                "must say which value of a trial counts, first, last or the number of a step, since trials have "
                "several",
                parameter="at",
            )
        return np.where(there.any(axis=1), given[rows, last], NONE) if at == "last" else found
    if not at.isdecimal() or int(at) >= steps:
        raise AnalysisError(
            f"must be first, last or a step from 0 to {steps - 1}; got {at!r}", parameter="at"
        )
    return given[:, int(at)]


def _signs(recording: xr.DataTree, channel: int) -> Integers:
    """Return 0 for a negative and 1 for a positive target, (trial, time); none where it is zero or not scored."""
    target = recording["targets"].to_numpy()[..., channel]
    there = (target != 0) & np.isfinite(target) & recording["scored"].to_numpy().astype(bool)
    return np.where(there, (target > 0).astype(np.int64), NONE)


def _name(recording: xr.DataTree, label: str, kind: int) -> str:
    if label.startswith("target:"):
        return ("negative", "positive")[kind]
    about = trace.about(recording)
    names: Sequence[str] = {"group": about.groups, "token": about.tokens}.get(label, ())
    return names[kind] if kind < len(names) else str(kind)
