"""Folds of trials, never of steps: what is tested has not been trained on, at any step."""

from typing import NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from analysis.conditions.labels import NONE, Integers, Labels, at_place
from analysis.conditions.trials import Trials
from analysis.errors import AnalysisError
from emt import trace

FEWEST_PER_FOLD = 2
"""Trials of each class that each fold has."""

FEWEST_LABELLINGS = 20
"""Labellings of trials, the observed one included, that allow p = .05."""


class Split(NamedTuple):
    """Trials to train on and trials to test on: places, (trial,)."""

    train: NDArray[np.intp]
    test: NDArray[np.intp]


MOST_FOLDS = 5
"""Folds where none are asked for and classes have trials enough."""


def fold_units(recording: xr.DataTree, trials: Trials, blocks: str = "") -> Integers:
    """Return a number for each trial, (trial,), equal where trials must share a fold.

    They must where they have the same number of the event ``blocks``; without it, where they come from one batch
    item, or are repetitions without noise, equal in inputs and in the states of the first member.

    Raises
    ------
    AnalysisError
        If there is no event ``blocks``.
    """
    if blocks:
        known = [
            name for name in (*trace.EVENTS, *trace.own_events(recording)) if name in recording.data_vars
        ]
        if blocks not in known:
            raise AnalysisError(
                f"must be an event of the recording ({', '.join(known)}); got {blocks!r}", parameter="blocks"
            )
        return np.unique(at_place(trials.of(recording[blocks].to_numpy())), return_inverse=True)[1]
    shown = [recording[name] for name in ("inputs", "token", "start") if name in recording.data_vars]
    seen = [values.to_numpy() for values in shown if "member" not in values.dims]
    seen.append(recording["hidden"].to_numpy()[0])
    rows: dict[bytes, int] = {}
    of_row = [
        rows.setdefault(b"".join(values[row].tobytes() for values in seen), len(rows))
        for row in range(recording.sizes["batch"])
    ]
    return np.array(of_row)[trials.rows]


def deal(units: Integers, labels: Labels, folds: int, seed: int) -> Integers:
    """Return the fold of each trial, (trial,): whole units, classes spread evenly.

    Without a number of ``folds``, 0, there are `MOST_FOLDS`, or as many as the rarest class has trials for.

    Raises
    ------
    AnalysisError
        If folds are fewer than two, or a class has too few trials or units for them.
    """
    if folds < 0 or folds == 1:
        raise AnalysisError(f"must be at least 2; got {folds}", parameter="folds")
    first, kinds = labels.first, np.unique(units)
    if not folds:
        rarest = len(units) if labels.moving else int(np.bincount(first[first >= 0]).min())
        folds = max(min(MOST_FOLDS, rarest // FEWEST_PER_FOLD, len(kinds)), 2)
    for place, value in enumerate(labels.values):
        own = first == place
        needed = FEWEST_PER_FOLD * folds
        if not labels.moving and own.sum() < needed:
            raise AnalysisError(
                f"{labels.name} {value} has {own.sum()} trials; {folds} folds need {needed} of each class",
                parameter="folds",
            )
    if len(kinds) < folds:
        raise AnalysisError(
            f"must be at most the number of trials or blocks that are different, {len(kinds)}; got {folds}",
            parameter="folds",
        )
    from sklearn.model_selection import StratifiedGroupKFold

    # Regressions have one class; so may blocks of trials.
    dealer = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    found = np.empty(len(units), dtype=np.int64)
    for fold, (_, tested) in enumerate(dealer.split(first, first, units)):
        found[tested] = fold
    return found


def splits_of(folds: Integers) -> list[Split]:
    """Return a split for each fold, which is tested."""
    return [Split(np.flatnonzero(folds != fold), np.flatnonzero(folds == fold)) for fold in np.unique(folds)]


def usable_steps(trials: Trials, labels: Labels, splits: list[Split]) -> tuple[int, ...]:
    """Return the steps at which all parts of the trials have enough of each class.

    Raises
    ------
    AnalysisError
        If there is none.
    """
    classes = np.where(trials.present, labels.classes, NONE)
    steps = [
        step for step in range(classes.shape[1]) if _is_usable(classes[:, step], len(labels.values), splits)
    ]
    if not steps:
        raise AnalysisError(
            f"has no step at which each part of the trials has {FEWEST_PER_FOLD} of each class",
            parameter="label",
        )
    return tuple(steps)


def _is_usable(classes: Integers, n_classes: int, splits: list[Split]) -> bool:
    """Whether all parts of the trials have enough of each class, of classes (trial,) at a step."""
    counts = [
        np.bincount(classes[part][classes[part] >= 0], minlength=n_classes)
        for split in splits
        for part in split
    ]
    return min(int(count.min()) for count in counts) >= FEWEST_PER_FOLD


def relabelled(units: Integers, groups: Integers, count: int, seed: int) -> NDArray[np.intp]:
    """Return orders of trials (1 + count, trial) whose labels trials take, that of the data first.

    Whole units change places with units of as many trials which are, in turn, in the same groups, such as a fold:
    (trial, group).
    """
    rng = np.random.default_rng(seed)
    _, inverse, sizes = np.unique(units, return_inverse=True, return_counts=True)
    members = [np.flatnonzero(inverse == unit) for unit in range(len(sizes))]
    pools: dict[bytes, list[int]] = {}
    for unit, trials in enumerate(members):
        pools.setdefault(groups[trials].tobytes(), []).append(unit)
    orders = np.tile(np.arange(len(units)), (1 + count, 1))
    for order in orders[1:]:
        for pool in pools.values():
            for unit, donor in zip(pool, rng.permutation(pool), strict=True):
                order[members[unit]] = members[donor]
    return orders


def enough_labellings(
    units: Integers, groups: Integers, count: int, seed: int, blame: str = "folds"
) -> NDArray[np.intp]:
    """Return `relabelled` orders of trials for a test.

    Raises
    ------
    AnalysisError
        Naming the parameter ``blame``, if too few of them are different.
    """
    orders = relabelled(units, groups, count, seed)
    if len(np.unique(orders, axis=0)) < FEWEST_LABELLINGS:
        raise AnalysisError(
            f"leaves fewer than {FEWEST_LABELLINGS} different labellings of trials, too few for p = .05; record more "
            "trials or use fewer folds",
            parameter=blame,
        )
    return orders


def check_permutations(permutations: int) -> None:
    """Refuse fewer permutations than a p of .05 needs.

    Raises
    ------
    AnalysisError
    """
    if permutations < FEWEST_LABELLINGS - 1:
        raise AnalysisError(
            f"must be at least {FEWEST_LABELLINGS - 1}, for p = .05; got {permutations}",
            parameter="permutations",
        )
