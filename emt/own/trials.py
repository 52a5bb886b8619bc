"""Trials that somebody's own networks are recorded on: inputs, and what is known about them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from emt import trace
from emt.errors import UserError
from emt.tasks.base import ACCURACY, Loss, Task, one_hot

LARGEST_ONE_HOT = 256
"""Kinds of token of which a recording has one-hot inputs; of more only the ids."""

Rule = Literal["sign", "argmax"]


@dataclass(frozen=True, repr=False)
class Trials:
    """Trials, shown to all networks alike.

    Attributes
    ----------
    inputs
        (batch, time, channel) in float32, or ids of tokens (batch, time).
    targets
        What outputs should be (batch, time, target), or ids of the right outputs (batch, time), −1 for none;
        without numbers (batch, time, 0) if unknown.
    scored
        Steps whose outputs count, (batch, time).
    lengths
        Steps of each trial, (batch,).
    rule
        When an output is right: it has its target's "sign", or is largest where the target is ("argmax").
    events
        Integers (batch, time) by name, −1 for none, as in a trace (`emt.trace`).
    groups
        Names of the numbers in the event ``group``.
    linear
        f of a linear task, next vector = window @ f, (window, target), or None.
    tokens
        What ids stand for.
    trial_ids
        What names each trial; empty where nothing does.
    length
        The sequence length that results are filed under.
    task
        What recordings say of the task.
    """

    inputs: NDArray[Any]
    targets: NDArray[Any]
    scored: NDArray[np.bool_]
    lengths: NDArray[np.int64]
    rule: Rule = "sign"
    events: Mapping[str, NDArray[np.int64]] = field(default_factory=dict)
    groups: tuple[str, ...] = ()
    linear: NDArray[np.float64] | None = None
    tokens: tuple[str, ...] = ()
    trial_ids: tuple[Any, ...] = ()
    length: int = 0
    task: Mapping[str, str] = field(default_factory=dict)

    def __repr__(self) -> str:
        batch, steps = self.inputs.shape[:2]
        shortest = int(self.lengths.min())
        shown = "ids" if self.are_ids else f"{self.input_channels} channels"
        known = [f"steps {steps if shortest == steps else f'{shortest} to {steps}'}", f"inputs {shown}"]
        if self.targets.ndim == 2 or self.targets.shape[2]:
            kind = "ids" if self.targets.ndim == 2 else f"{self.targets.shape[2]} numbers"
            known.append(f"targets {kind} at {int(self.scored.sum())} steps")
        if self.events:
            known.append(f"events {', '.join(self.events)}")
        return f"<emt trials: {batch}, {', '.join(known)}>"

    @property
    def are_ids(self) -> bool:
        """Whether inputs are ids of tokens."""
        return self.inputs.ndim == 2

    @property
    def present(self) -> NDArray[np.bool_]:
        """Which steps exist, (batch, time)."""
        return np.arange(self.inputs.shape[1]) < self.lengths[:, None]

    @property
    def input_channels(self) -> int:
        """Numbers of an input; an id is one."""
        return 1 if self.are_ids else self.inputs.shape[2]

    @property
    def loss(self) -> Loss:
        """A loss that goes with the rule of accuracy."""
        return "mse" if self.rule == "sign" else "cross_entropy"

    def operator(self, length: int) -> NDArray[np.float64] | None:
        """Return f of a linear task, or None."""
        return self.linear

    def variables(self, outputs: int) -> dict[str, tuple[tuple[str, ...], NDArray[Any]]]:
        """Return what a trace has of trials, for networks with so many outputs.

        Raises
        ------
        UserError
            If targets do not fit the outputs.
        """
        if self.are_ids:
            kinds = len(self.tokens) or int(self.inputs.max(initial=0)) + 1
            inputs = one_hot(self.inputs[None], kinds if kinds <= LARGEST_ONE_HOT else 0)[0]
        else:
            inputs = self.inputs
        variables: dict[str, tuple[tuple[str, ...], NDArray[Any]]] = {
            "inputs": (("batch", "time", "channel"), np.where(self.present[..., None], inputs, 0)),
            "targets": (("batch", "time", "target"), self._targets(outputs)),
            "scored": (("batch", "time"), self.scored.astype(np.int8)),
        }
        for name, event in self.events.items():
            variables[name] = (("batch", "time", "item")[: event.ndim], event)
        if self.are_ids and "token" not in self.events:
            variables["token"] = (("batch", "time"), np.where(self.present, self.inputs, -1))
        if not self.present.all():
            variables["present"] = (("batch", "time"), self.present.astype(np.int8))
        if self.linear is not None:
            variables["operator"] = (("window", "target"), self.linear)
        return variables

    def _targets(self, outputs: int) -> NDArray[Any]:
        if self.targets.ndim == 2:
            if self.targets.max(initial=-1) >= outputs > 0:
                raise UserError(
                    f"expected ids from 0 to {outputs - 1}, places of the {outputs} outputs; "
                    f"got {self.targets.max()}",
                    parameter="targets",
                )
            return one_hot(self.targets[None], outputs)[0]
        width = self.targets.shape[2]
        if width not in (0, outputs) and outputs:
            raise UserError(
                f"expected {outputs} numbers a step, as many as outputs; got {width}", parameter="targets"
            )
        return np.where(self.scored[..., None], self.targets, 0).astype(np.float32)


def trials(
    inputs: ArrayLike,
    targets: ArrayLike | None = None,
    *,
    scored: ArrayLike | None = None,
    rule: Rule | None = None,
    lengths: ArrayLike | None = None,
    group: Sequence[Any] | NDArray[Any] | None = None,
    events: Mapping[str, ArrayLike] | None = None,
    operator: ArrayLike | None = None,
    tokens: Sequence[str] = (),
    trial_ids: Sequence[Any] = (),
) -> Trials:
    """Return trials to record one's own networks on.

    Parameters
    ----------
    inputs
        (batch, time, channel), or ids of tokens (batch, time), which are integers
    targets
        what outputs should be, (batch, time, target), or ids of the right outputs, (batch, time) with −1 for
        none, or one for each trial, (batch,), due at its last step; unknown if not given
    scored
        steps whose outputs count, (batch, time) (default: those with a target)
    rule
        when an output is right: it has its target's "sign", or is largest where the target is, "argmax"
        (default: "argmax" for ids, else "sign")
    lengths
        steps of each trial, (batch,) (default: all)
    group
        kind of each trial, numbers or names, (batch,) or (batch, time)
    events
        further integers (batch, time) or (batch,) by name, −1 for none: those of `emt.trace`, and your own, such as
        ``sample``, for analyses by condition
    operator
        f of a linear task, next vector = window @ f, (window, target); the event "written" must be there
    tokens
        what ids stand for
    trial_ids
        what names each trial, numbers or texts, so that recordings of other trials are never compared

    Raises
    ------
    UserError
        Naming what does not fit the inputs.

    Examples
    --------
    >>> emt.trials(np.zeros((4, 10, 3)), lengths=[10, 10, 8, 9]).present.sum(axis=1).tolist()
    [10, 10, 8, 9]
    """
    shown = _inputs(inputs)
    batch, steps = shown.shape[:2]
    if not batch or not steps:
        raise UserError(
            f"expected at least one trial of one step; got {batch} of {steps}", parameter="inputs"
        )
    sizes = check_lengths(lengths, batch, steps)
    present = np.arange(steps) < sizes[:, None]
    wanted = _targets(targets, sizes, steps)
    known = np.zeros((batch, steps), dtype=bool)
    if targets is not None:
        known = wanted >= 0 if wanted.ndim == 2 else np.isfinite(wanted).all(axis=-1)
    count = known if scored is None else _of_shape("scored", scored, (batch, steps)).astype(bool)
    named, groups = grouped(group, present)
    return Trials(
        inputs=shown,
        targets=wanted,
        scored=count & known & present,
        lengths=sizes,
        rule=rule or ("argmax" if wanted.ndim == 2 else "sign"),
        events={**_events(events or {}, present), **named},
        groups=groups,
        linear=None if operator is None else np.asarray(operator, dtype=float),
        tokens=tuple(tokens),
        trial_ids=check_ids(trial_ids, batch),
        length=steps,
    )


def task_trials(
    task: Task, length: int, *, horizon: int = 32, size: int = 32, seed: int = 0, ids: bool = False
) -> Trials:
    """Return held-out trials of one of the toolkit's tasks, with their targets, events and operator.

    Parameters
    ----------
    task
        The task.
    length
        Sequence length.
    horizon
        Output steps, where the task has them.
    size
        Trials.
    seed
        Of the run whose held-out trials they are.
    ids
        Whether tokens are shown as ids, as an embedding takes them, not as one-hot vectors.

    Examples
    --------
    >>> from emt.tasks.variable_binding import VariableBinding
    >>> trials = emt.task_trials(VariableBinding(seq_length=3, input_dim=2), 3, horizon=8, size=5)
    >>> trials.inputs.shape, trials.linear.shape
    ((5, 11, 2), (6, 2))
    """
    from emt.tasks import TASKS

    batch = task.test_batch(seed, length, horizon, size)
    if batch.environment is not None:
        raise UserError("expected a task whose inputs do not depend on actions", parameter="task")
    if ids and batch.inputs.ndim != 3:
        raise UserError("expected a task that shows tokens", parameter="ids")
    where = f"{type(task).__module__}:{type(task).__name__}"
    name = next((name for name, place in TASKS.items() if place == where), type(task).__name__)
    inputs = np.asarray(batch.inputs[0] if ids else batch.padded_inputs(task.input_channels)[0])
    return Trials(
        inputs=inputs,
        targets=one_hot(batch.targets, task.output_channels)[0],
        scored=batch.judged_steps[0],
        lengths=np.full(len(inputs), inputs.shape[1]),
        rule=ACCURACY[task.loss],
        events={name: event[0].astype(np.int64) for name, event in batch.events.items()},
        linear=task.operator(length),
        tokens=tuple(task.tokens),
        length=length,
        task={"name": name},
    )


def check_lengths(lengths: ArrayLike | None, batch: int, steps: int) -> NDArray[np.int64]:
    """Return the steps of each trial, all of them if not given.

    Raises
    ------
    UserError
    """
    sizes = np.full(batch, steps) if lengths is None else _of_shape("lengths", lengths, (batch,))
    if sizes.dtype.kind not in "iu" or (sizes < 1).any() or (sizes > steps).any():
        raise UserError(
            f"expected whole numbers from 1 to {steps}; got {sizes.tolist()}", parameter="lengths"
        )
    return sizes.astype(np.int64)


def check_ids(trial_ids: Sequence[Any], batch: int) -> tuple[Any, ...]:
    """Return identities of trials as plain numbers or texts.

    Raises
    ------
    UserError
    """
    given = np.asarray(trial_ids).tolist()
    if given and len(given) != batch:
        raise UserError(f"expected one for each of {batch} trials; got {len(given)}", parameter="trial_ids")
    if len(set(given)) < len(given):
        raise UserError("expected trials that each have an identity of their own", parameter="trial_ids")
    return tuple(given)


def grouped(
    group: Sequence[Any] | NDArray[Any] | None, present: NDArray[np.bool_]
) -> tuple[dict[str, NDArray[np.int64]], tuple[str, ...]]:
    """Return the event ``group`` and, where groups have names, these.

    Raises
    ------
    UserError
    """
    if group is None:
        return {}, ()
    values = np.asarray(group)
    names: tuple[str, ...] = ()
    if values.dtype.kind not in "iub":
        kinds, values = np.unique(values.astype(str), return_inverse=True)
        names = tuple(kinds.tolist())
    return {"group": _event("group", values.reshape(np.shape(group)), present)}, names


def _inputs(inputs: ArrayLike) -> NDArray[Any]:
    values = _array("inputs", inputs)
    if values.ndim == 2 and values.dtype.kind in "iu":
        return values.astype(np.int64)
    if values.ndim != 3 or values.dtype.kind not in "fiub":
        raise UserError(
            "expected numbers (batch, time, channel) or whole-numbered ids (batch, time); "
            f"got {values.dtype} {values.shape}",
            parameter="inputs",
        )
    return values.astype(np.float32)


def _targets(targets: ArrayLike | None, lengths: NDArray[np.int64], steps: int) -> NDArray[Any]:
    batch = len(lengths)
    if targets is None:
        return np.zeros((batch, steps, 0), np.float32)
    values = _array("targets", targets)
    whole = values.dtype.kind in "iu"
    if values.shape == (batch,) and whole:
        placed = np.full((batch, steps), -1)
        placed[np.arange(batch), lengths - 1] = values
        return placed
    if values.shape == (batch, steps) and whole:
        return values.astype(np.int64)
    if values.ndim != 3 or values.shape[:2] != (batch, steps):
        raise UserError(
            f"expected vectors ({batch}, {steps}, target), or whole-numbered ids ({batch}, {steps}) or ({batch},); "
            f"got {values.dtype} {values.shape}",
            parameter="targets",
        )
    return values.astype(np.float32)


def _events(events: Mapping[str, ArrayLike], present: NDArray[np.bool_]) -> dict[str, NDArray[np.int64]]:
    taken = {*trace.REQUIRED, *trace.RECORDED, *trace.OPTIONAL} - {*trace.EVENTS} | {"scored"}
    for name in events:
        if name in taken or not name.isidentifier():
            raise UserError(
                f"expected names such as 'asked' or one of your own, letters, digits and underscores; got {name!r}",
                parameter="events",
            )
    return {name: _event(name, np.asarray(values), present) for name, values in events.items()}


def _event(name: str, values: NDArray[Any], present: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return an event at each step, −1 where none exists; given by trial it holds at all of its steps."""
    spread = np.broadcast_to(values[:, None], present.shape) if values.shape == present.shape[:1] else values
    if spread.shape[:2] != present.shape or spread.ndim > 3 or spread.dtype.kind not in "iub":
        raise UserError(
            f"expected whole numbers {present.shape} or {present.shape[:1]}; got {values.dtype} {values.shape}",
            parameter=name,
        )
    exists = present if spread.ndim == 2 else present[..., None]
    return np.where(exists, spread, -1).astype(np.int64)


def _array(name: str, values: ArrayLike) -> NDArray[Any]:
    try:
        return np.asarray(values)
    except ValueError:
        raise UserError(
            "expected one array for all trials; trials of different length are padded to the longest, and lengths= "
            "says how long each is",
            parameter=name,
        ) from None


def _of_shape(name: str, values: ArrayLike, shape: tuple[int, ...]) -> NDArray[Any]:
    array = np.asarray(values)
    if array.shape != shape:
        raise UserError(f"expected an array {shape}; got {array.shape}", parameter=name)
    return array
