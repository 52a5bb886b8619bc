"""States from anywhere, as arrays: recordings of neurons, of networks of other frameworks."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emt import trace
from emt.errors import UserError
from emt.own.run import Run
from emt.own.trials import Rule, Trials, trials

Rows = list[NDArray[np.float32]]
"""States of one member: for each trial (time, unit)."""


def from_arrays(
    hidden: ArrayLike | Sequence[Any],
    *,
    lengths: ArrayLike | None = None,
    inputs: ArrayLike | None = None,
    outputs: ArrayLike | None = None,
    targets: ArrayLike | None = None,
    scored: ArrayLike | None = None,
    rule: Rule | None = None,
    group: Sequence[Any] | NDArray[Any] | None = None,
    trial_ids: Sequence[Any] = (),
    events: Mapping[str, ArrayLike] | None = None,
    operator: ArrayLike | None = None,
    average: bool = False,
    further: Mapping[str, ArrayLike] | None = None,
    step_matrix: ArrayLike | None = None,
    readout: ArrayLike | None = None,
    seeds: Sequence[int] = (),
    label: str = "own",
) -> Run:
    """Return a run of recorded states; only ``hidden`` must be known, and what is not given is absent.

    Parameters
    ----------
    hidden
        states (member, trial, time, unit); or a list of members, each (trial, time, unit) or a list of trials
        (time, unit). Members may have different units, trials different lengths; NaN at a trial's end is no
        step
    lengths
        steps of each trial, (trial,), where arrays are padded (default: all that are not NaN)
    inputs, targets, scored, rule, events, operator
        what is known of trials, as `emt.trials` takes it; rows as long as the longest trial
    outputs
        (member, trial, time, output)
    group
        condition of each trial, numbers or names, (trial,) or (trial, time)
    trial_ids
        what names each trial, numbers or texts: recordings of other trials are then never compared state by state
    average
        whether means over the trials of a group are compared, step by step, cut to the shortest of them:
        members may then have been recorded on different trials. ``lengths``, ``group`` and ``trial_ids`` may
        then hold a list for each member
    further
        further states (member, trial, time, …) by name
    step_matrix
        what a step without input does to the state, (member, unit, unit), a column of the state at a time: recurrent
        weights, a Jacobian, a fit. Without it there is no spectrum
    readout
        linear readout of the states, (member, output, unit)
    seeds
        seeds of members, so that analyses can pair those of two runs
    label
        what figures call the run

    Raises
    ------
    UserError
        Naming the argument that does not fit.

    Examples
    --------
    >>> animals = [np.ones((4, 10, neurons)) for neurons in (20, 35)]
    >>> emt.from_arrays(animals, group=["left", "right", "left", "right"], label="animals")
    <emt run 'animals': members 2, trials 4, steps 10, units 20 to 35, states hidden>
    """
    members = [_trials_of(one, number) for number, one in enumerate(_members_of(hidden), 1)]
    if average:
        members, group = _means(members, group, lengths)
        lengths, trial_ids = None, ()
    members, sizes = _same_trials(members, lengths)
    steps = int(sizes.max())
    blank = np.zeros((len(sizes), steps, 0), np.float32)
    known = trials(
        blank if inputs is None else inputs,
        targets,
        scored=scored,
        rule=rule,
        lengths=sizes,
        group=group,
        events=events,
        operator=operator,
        trial_ids=trial_ids,
    )
    if known.inputs.shape[1] != steps:
        raise UserError(
            f"expected {steps} steps, as the longest trial has; got {known.inputs.shape[1]}",
            parameter="inputs",
        )
    return _run(members, known, outputs, further or {}, step_matrix, readout, seeds, label)


def _run(
    members: Sequence[Rows],
    known: Trials,
    outputs: ArrayLike | None,
    further: Mapping[str, ArrayLike],
    step_matrix: ArrayLike | None,
    readout: ArrayLike | None,
    seeds: Sequence[int],
    label: str,
) -> Run:
    shape = (len(members), *known.present.shape)
    units = [rows[0].shape[1] for rows in members]
    hidden = np.full((*shape, max(units)), np.nan, np.float32)
    hidden[:, known.present] = 0
    for place, rows in enumerate(members):
        for trial, states in enumerate(rows):
            hidden[place, trial, : len(states), : units[place]] = states
    shown = (
        np.zeros((*shape, 0), np.float32) if outputs is None else _recorded("outputs", outputs, shape, known)
    )
    variables = known.variables(shown.shape[-1])
    variables["hidden"] = ((*trace.MEMBER_TIME, "unit"), hidden)
    variables["outputs"] = ((*trace.MEMBER_TIME, "output"), shown)
    for name, values in further.items():
        if name in {*trace.REQUIRED, *trace.OPTIONAL, *trace.RECORDED, *variables}:
            raise UserError(
                f"expected names that recordings do not use themselves; got {name}", parameter="further"
            )
        array = _recorded(name, values, shape, known)
        axes = tuple(f"{name}_{axis}" for axis in range(1, array.ndim - 2))
        variables[name] = ((*trace.MEMBER_TIME, *axes), array)
    if len(set(units)) > 1:
        variables["units"] = (("member",), np.array(units))
    size = sum(int(np.prod(variables[name][1].shape[3:])) for name in ("hidden", *further))
    if step_matrix is not None:
        variables["step_matrix"] = (
            ("member", "state", "from_state"),
            _matrices("step_matrix", step_matrix, (len(members), size, size), units),
        )
    if readout is not None:
        outs = shown.shape[-1]
        variables["readout"] = (
            ("member", "output", "unit"),
            _matrices("readout", readout, (len(members), outs, max(units)), units),
        )
    if len(seeds) not in (0, len(members)):
        raise UserError(
            f"expected one for each of {len(members)} members; got {len(seeds)}", parameter="seeds"
        )
    about = {
        "model": {"type": label},
        "task": {},
        "experiment": label,
        "seeds": [int(seed) for seed in seeds],
        "accuracy": known.rule,
        "length": known.length,
        "states": ["hidden", *further],
        "groups": list(known.groups),
        "step_matrix": None if step_matrix is None else "given",
        "recorded_with": "from_arrays",
    }
    numbers = list(range(1, len(members) + 1))
    return Run(trace.make(variables, numbers, about, trial_ids=known.trial_ids), members=[{}] * len(members))


def _members_of(hidden: Any) -> list[Any]:
    members = list(hidden)
    if not members:
        raise UserError("expected at least one member; got none", parameter="hidden")
    return members


def _trials_of(member: Any, number: int) -> Rows:
    """Return a member's trials (time, unit) without the NaN at their ends.

    Raises
    ------
    UserError
    """
    rows = []
    for place, trial in enumerate(member):
        states = np.asarray(trial, dtype=np.float32)
        if states.ndim != 2:
            raise UserError(
                f"expected (member, trial, time, unit), or lists of members and trials; member {number}, trial {place} "
                f"has the axes {states.shape}",
                parameter="hidden",
            )
        absent = np.isnan(states).all(axis=1)
        length = int(np.flatnonzero(~absent).max(initial=-1)) + 1
        if not length or np.isnan(states[:length]).any():
            raise UserError(
                f"expected steps, and NaN only after a trial's end; not so in member {number}, trial {place}",
                parameter="hidden",
            )
        rows.append(states[:length])
    if len({states.shape[1] for states in rows}) != 1:
        raise UserError(
            f"expected trials of the same units; those of member {number} differ", parameter="hidden"
        )
    return rows


def _same_trials(members: Sequence[Rows], lengths: ArrayLike | None) -> tuple[list[Rows], NDArray[np.int64]]:
    """Return members cut to the lengths of trials, and these.

    Raises
    ------
    UserError
        If members have other numbers of trials, or of steps in one of them.
    """
    hint = "(average=True compares means over conditions)"
    same = "expected the same trials for all members, so that states compare one by one"
    for number, rows in enumerate(members, 1):
        if len(rows) != len(members[0]):
            raise UserError(
                f"{same}; member {number} has {len(rows)}, member 1 has {len(members[0])} {hint}",
                parameter="hidden",
            )
    found = np.array([[len(states) for states in rows] for rows in members])
    if lengths is not None:
        sizes = np.asarray(lengths)
        if sizes.shape != found[0].shape or (sizes < 1).any() or (sizes > found).any():
            raise UserError(
                f"expected steps of each of {len(found[0])} trials, at most those recorded; got {sizes.tolist()}",
                parameter="lengths",
            )
        return [[s[:n] for s, n in zip(rows, sizes.tolist(), strict=True)] for rows in members], sizes.astype(
            np.int64
        )
    for number, own in enumerate(found, 1):
        if (own != found[0]).any():
            trial = int((own != found[0]).argmax())
            raise UserError(
                f"{same}; trial {trial} has {own[trial]} in member {number}, {found[0, trial]} in member 1 {hint}",
                parameter="hidden",
            )
    return list(members), found[0].astype(np.int64)


def _means(members: Sequence[Rows], group: Any, lengths: Any) -> tuple[list[Rows], list[Any]]:
    """Return each member's means over the trials of a group, step by step, and the groups, sorted.

    Raises
    ------
    UserError
        If no groups are given, or a member lacks one.
    """
    if group is None:
        raise UserError("expected the condition of each trial, over which means are taken", parameter="group")
    groups = _for_each(group, members)
    cuts = [None] * len(members) if lengths is None else _for_each(lengths, members)
    kinds = sorted({kind for own in groups for kind in own}, key=lambda kind: (str(type(kind)), kind))
    sums: list[list[Rows]] = []
    for number, (rows, own, cut) in enumerate(zip(members, groups, cuts, strict=True), 1):
        if len(own) != len(rows):
            raise UserError(
                f"expected {len(rows)} conditions of member {number}; got {len(own)}", parameter="group"
            )
        kept = rows if cut is None else [s[:n] for s, n in zip(rows, cut, strict=True)]
        sums.append([[s for s, kind in zip(kept, own, strict=True) if kind == wanted] for wanted in kinds])
        for kind, trials_of_kind in zip(kinds, sums[-1], strict=True):
            if not trials_of_kind:
                raise UserError(
                    f"expected trials of each condition; member {number} has none of {kind!r}",
                    parameter="group",
                )
    shortest = [min(len(s) for own in sums for s in own[k]) for k in range(len(kinds))]
    means = [
        [
            np.mean([s[:n] for s in trials_of_kind], axis=0)
            for trials_of_kind, n in zip(own, shortest, strict=True)
        ]
        for own in sums
    ]
    return means, kinds


def _for_each(given: Any, members: Sequence[Any]) -> list[list[Any]]:
    """Return plain lists, one for each member, of one list for all or one for each."""
    nested = len(given) == len(members) and all(np.ndim(own) == 1 for own in given)
    return (
        [np.asarray(own).tolist() for own in given] if nested else [np.asarray(given).tolist()] * len(members)
    )


def _recorded(name: str, values: ArrayLike, shape: tuple[int, ...], known: Trials) -> NDArray[np.float32]:
    """Return what was recorded at each step, (member, trial, time, …), NaN at steps that do not exist."""
    array = np.array(values, dtype=np.float32)
    if array.ndim < 4 or array.shape[:3] != shape:
        raise UserError(f"expected {shape} and axes of its own; got {array.shape}", parameter=name)
    array[:, ~known.present] = np.nan
    return array


def _matrices(
    name: str, values: ArrayLike, shape: tuple[int, ...], units: Sequence[int]
) -> NDArray[np.float64]:
    """Return one matrix for each member, zero beyond a member's units where these differ."""
    given = list(values) if isinstance(values, Sequence) else list(np.asarray(values))
    matrices = np.zeros(shape)
    if len(given) != shape[0]:
        raise UserError(f"expected one for each of {shape[0]} members; got {len(given)}", parameter=name)
    for number, (matrix, own) in enumerate(zip(given, units, strict=True), 1):
        array, missing = np.asarray(matrix, dtype=float), max(units) - own
        wanted = (shape[1] - missing if name == "step_matrix" else shape[1], shape[2] - missing)
        if array.shape != wanted or not np.isfinite(array).all():
            raise UserError(
                f"expected finite numbers {wanted} of member {number}; got {array.shape}", parameter=name
            )
        if missing and shape[2] != max(units):
            raise UserError("expected members of the same units where states are several", parameter=name)
        matrices[number - 1, : array.shape[0], : array.shape[1]] = array
    return matrices
