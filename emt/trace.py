"""The Trace: what every model records, as labelled arrays with a fixed schema, and its file.

A trace is an `xarray.DataTree`. Its root holds the batch that all members saw and what each member did with
it:

==============================  ==========================  =========================================================
``inputs`` ``targets``          batch, time, channel        ``target`` for targets; with a leading ``member`` only
                                                            where a model's actions change its inputs
``scored`` ``phase`` ``token``  batch, time                 the task's events: integers, −1 for none; ``written`` and
``written`` ``asked`` ``trial``                             ``asked`` name items, with an axis ``item`` where several
``group`` ``start``                                         at once; ``trial`` numbers trials in a stream, ``group``
                                                            kinds of trial; ``start``, where a trial starts,
                                                            names the initial state drawn for it
``outputs``                     member, batch, time, output coordinate ``member`` holds model numbers
``hidden``                      member, batch, time, unit
further events                  batch, time                 the task's own variables, such as ``sample``: integers,
                                                            −1 for none
further states                  member, batch, time, …      an LSTM's ``cell`` and so on
``present``                     batch, time                 1 where a step exists, 0 after the end of a shorter trial,
                                                            where states and outputs are NaN; all exist without it
``units``                       member                      units that a member has; the last ones of ``hidden`` are
                                                            zero beyond them; all has without it
``operator``                    window, target              f of a linear task: next vector = window @ f (optional)
``step_matrix``                 member, state, from_state   what a step without input does to the state (a column): W_hh
                                                            where h_t = f(W_hh h_{t−1} + …), else the Jacobian
                                                            at the mean state; absent where no step is known
``readout``                     member, output, unit        linear readout of ``hidden``, if there is one
``recurrence``                  member, gate, unit,         weights of units from units, and from inputs and biases,
``incoming``                    from_unit / source          where it is known which changes of units change nothing
                                                            (`Symmetry`)
==============================  ==========================  =========================================================

What is unknown is absent: without inputs ``channel`` has the size 0, without outputs ``output``, without targets
``target``. An optional coordinate ``batch`` holds the identities of the trials.

A model with an associative memory adds one node ``memory/<name>`` for each memory, or for the heads of a layer
(`emt.memory_nodes`). The attribute ``about`` is one JSON string, whose fields are those of `About`.

Its file is NetCDF with a line of text behind its end, the checksum of all before it (`emt.netcdf`), which other
readers of NetCDF ignore. One that another program rewrites has none, and is read too.

Version 2 of the format added ``present`` and ``units``, and to a memory's node the axis ``head``, a keep for
each key channel, and ``erase_query`` and ``erase_key``. Traces of version 1 are read as they are.
"""

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from emt.errors import TraceError
from emt.labelled import check_members, check_version, expect
from emt.memory_nodes import ENTRIES, MEMBER_TIME, MEMORY, memories, memory, nodes, places
from emt.memory_nodes import check as check_memories
from emt.netcdf import read, write, write_members
from emt.text import shortened, visible

__all__ = [
    "ENTRIES",
    "MEMBER_TIME",
    "MEMORY",
    "About",
    "Symmetry",
    "TraceError",
    "about",
    "check",
    "label",
    "load",
    "make",
    "member_names",
    "member_states",
    "memories",
    "memory",
    "memory_rule",
    "nodes",
    "own_events",
    "places",
    "present_steps",
    "save",
    "save_members",
    "unit_counts",
]

FORMAT_VERSION = 2
READABLE = (FORMAT_VERSION, 1)

EVENTS = ("scored", "phase", "token", "written", "asked", "trial", "group", "start")
ITEMS = ("written", "asked")
"""Events that may name several items at once, along an axis more: "item"."""

REQUIRED = {
    "inputs": ("batch", "time", "channel"),
    "targets": ("batch", "time", "target"),
    "scored": ("batch", "time"),
}
OPTIONAL = dict.fromkeys(EVENTS, ("batch", "time")) | {
    "present": ("batch", "time"),
    "units": ("member",),
    "operator": ("window", "target"),
    "step_matrix": ("member", "state", "from_state"),
    "readout": ("member", "output", "unit"),
    "recurrence": ("member", "gate", "unit", "from_unit"),
    "incoming": ("member", "gate", "unit", "source"),
}
EVENT = ("batch", "time")
RECORDED = {"outputs": (*MEMBER_TIME, "output"), "hidden": (*MEMBER_TIME, "unit")}


Visible = Annotated[str, AfterValidator(visible)]
"""Text that is printed and drawn."""


class Symmetry(BaseModel):
    """Which changes of units leave what a network does as it is, beside the order of units.

    Attributes
    ----------
    acts
        What a unit's state may be multiplied by, its incoming and outgoing weights with it: a "sign", a positive
        "scale", or nothing, "permutation".
    signed
        Gates whose incoming weights change their sign with a unit; others stay.
    blocks
        Sizes of the blocks of units, in order, within which units may change places; empty for one block.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    acts: Literal["sign", "scale", "permutation"]
    signed: tuple[int, ...] = ()
    blocks: tuple[int, ...] = ()


class About(BaseModel):
    """What a trace is of; fields beyond these are kept as they are.

    Attributes
    ----------
    format_version
        Version of the schema.
    model
        Options of the model, its "type" among them.
    task
        Options of the task as text, its "name" among them.
    experiment
        Name of the run.
    seeds
        Seed of each member, in the order of the axis ``member``; empty where they are not known.
    accuracy
        When an output is right: it has its target's "sign", or is largest where the target is ("argmax").
    loss
        Name of the loss that was trained on; empty where it is not known.
    tokens
        Names of the ids in ``token``.
    outputs
        What outputs stand for where these are not the tokens.
    length
        Sequence length.
    states
        Variables that make up the axis ``state``, in order.
    memories
        The rule of each node of memories, by name (`emt.memory_nodes`).
    step_matrix
        Where ``step_matrix`` is from: recurrent "weights", the Jacobian at the "mean state", or "given".
    groups
        Names of the numbers in ``group``.
    proof
        How a recorded network was checked, and by how much it failed at most (`emt.own`).
    recorded_with
        Function of `emt` that recorded networks which were not trained here; empty for those that were.
    symmetry
        Of the weights ``recurrence`` and ``incoming``.
    outside
        What is other than in the trials that were trained on, by name; empty for trials like those.
    """

    model_config = ConfigDict(frozen=True, extra="allow")

    format_version: int = FORMAT_VERSION
    model: dict[str, Any] = {}
    task: dict[str, Any] = {}
    experiment: Visible = ""
    seeds: tuple[int, ...] = ()
    accuracy: Literal["sign", "argmax"] | None = None
    loss: str = ""
    tokens: tuple[Visible, ...] = ()
    outputs: tuple[Visible, ...] = ()
    length: int | None = None
    states: tuple[str, ...] = ("hidden",)
    memories: dict[str, dict[str, Any]] = {}
    step_matrix: Literal["weights", "mean state", "given"] | None = None
    groups: tuple[str, ...] = ()
    proof: dict[str, float] = {}
    recorded_with: str = ""
    symmetry: Symmetry | None = None
    outside: dict[str, str] = {}


def about(tree: xr.DataTree, where: str = "trace") -> About:
    """Return what a trace is of.

    Raises
    ------
    TraceError
        Naming the first field with a wrong value.
    """
    try:
        return About.model_validate_json(tree.attrs["about"])
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        field = ".".join(map(str, problem["loc"]))
        expected = problem["msg"].replace("Input should be", "must be")
        got = shortened(repr(problem["input"]))
        raise TraceError(f"{where}: about: {visible(field)}: {expected}; got {got}") from None


def label(tree: xr.DataTree) -> str:
    """Return what titles call a trace: its experiment, else its model."""
    content = about(tree)
    return content.experiment or visible(str(content.model.get("type", "recording")))


def member_names(tree: xr.DataTree) -> tuple[str, ...]:
    """Return the names of the members, "model-<number>", in the order of the axis ``member``."""
    return tuple(f"model-{number}" for number in tree["member"].to_numpy().tolist())


def present_steps(tree: xr.DataTree) -> NDArray[np.bool_]:
    """Return which steps exist, (batch, time)."""
    if "present" in tree.data_vars:
        return tree["present"].to_numpy().astype(bool)
    return np.ones((tree.sizes["batch"], tree.sizes["time"]), dtype=bool)


def own_events(tree: xr.DataTree) -> tuple[str, ...]:
    """Return the names of events that the task has beside `EVENTS`."""
    known = REQUIRED | RECORDED | OPTIONAL
    return tuple(
        str(name)
        for name, values in tree.data_vars.items()
        if name not in known and values.dims == EVENT and values.dtype.kind in "iu"
    )


def unit_counts(tree: xr.DataTree) -> tuple[int, ...]:
    """Return how many units each member has, in the order of the axis ``member``."""
    if "units" in tree.data_vars:
        return tuple(tree["units"].to_numpy().tolist())
    return (tree.sizes["unit"],) * tree.sizes["member"]


def member_states(tree: xr.DataTree, names: Sequence[str], place: int) -> NDArray[np.float64]:
    """Return the states of the member at ``place``, its variables side by side, (batch, time, unit).

    Units that only other members have are left out; steps that do not exist are NaN.
    """
    parts = [tree[name].to_numpy()[place].astype(float) for name in names]
    if "units" in tree.data_vars:
        own = unit_counts(tree)[place]
        parts = [
            part[..., :own] if name == "hidden" else part for name, part in zip(names, parts, strict=True)
        ]
    return np.concatenate([part.reshape(*part.shape[:2], -1) for part in parts], axis=-1)


def make(
    variables: Mapping[str, tuple[tuple[str, ...], NDArray[Any]]],
    numbers: list[int],
    about: Mapping[str, Any],
    memories: Mapping[str, Mapping[str, tuple[tuple[str, ...], NDArray[Any]]]] | None = None,
    trial_ids: Sequence[Any] = (),
) -> xr.DataTree:
    """Return a checked trace.

    Parameters
    ----------
    variables
        Name → (dims, array) of the root, as in the module's table.
    numbers
        Model numbers, one for each place on the ``member`` axis.
    about
        What the trace is of; JSON.
    memories
        For each node its variables.
    trial_ids
        What names each trial, numbers or texts; empty where nothing does.

    Raises
    ------
    TraceError
        If the schema is not met.
    """
    named = {"batch": list(trial_ids)} if len(trial_ids) else {}
    root = xr.Dataset(dict(variables), coords={"member": numbers, **named})
    root.attrs["about"] = json.dumps({"format_version": FORMAT_VERSION, **about})
    nodes = {f"memory/{name}": xr.Dataset(dict(content)) for name, content in (memories or {}).items()}
    tree = xr.DataTree.from_dict({"/": root, **nodes})
    check(tree)
    return tree


def memory_rule(tree: xr.DataTree, name: str) -> dict[str, Any]:
    """Return the rule of a memory by name; the heads of a node share it."""
    return about(tree).memories.get(places(tree)[name][0], {})


def check(tree: xr.DataTree, where: str = "trace") -> None:
    """Refuse a tree that is no trace.

    Raises
    ------
    TraceError
        Naming the first variable that is missing or has the wrong axes.
    """
    check_version(tree, READABLE, where)
    expect(tree, REQUIRED | RECORDED, where, optional_first={"inputs", "targets"})
    check_members(tree, where)
    given: dict[str, tuple[str, ...]] = {
        name: dims for name, dims in OPTIONAL.items() if name in tree.data_vars
    }
    given |= {
        name: (*OPTIONAL[name], "item") for name in ITEMS if name in given and "item" in tree[name].dims
    }
    expect(tree, given, where, optional_first=set(EVENTS))
    known = REQUIRED | RECORDED | OPTIONAL
    own = own_events(tree)
    for name in tree.data_vars:
        got = tuple(map(str, tree.data_vars[name].dims))
        if name not in known and name not in own and got[:3] != MEMBER_TIME:
            raise TraceError(
                f"{where}: expected {name!r} with axes {MEMBER_TIME} and its own, or, of an event, whole numbers with "
                f"axes {EVENT}; got {got} of {tree.data_vars[name].dtype}"
            )
    check_memories(tree, where)
    _check_about(tree, where)


def _check_about(tree: xr.DataTree, where: str) -> None:
    """Refuse what ``about`` says where the variables do not bear it out."""
    content = about(tree, where)
    for state in content.states:
        if state not in tree.data_vars:
            raise TraceError(
                f"{where}: about: states: expected variables of the trace; there is no {state!r}"
            )
    if content.seeds and len(content.seeds) != tree.sizes["member"]:
        raise TraceError(
            f"{where}: about: seeds: expected one for each of {tree.sizes['member']} members; got {len(content.seeds)}"
        )
    for name in nodes(tree):
        if name not in content.memories:
            raise TraceError(
                f"{where}: about: memories: expected the rule of {name!r}; got {sorted(content.memories)}"
            )
    if "recurrence" in tree.data_vars and content.symmetry is None:
        raise TraceError(
            f"{where}: about: symmetry: expected that of the units whose weights are 'recurrence'"
        )
    _check_sizes(tree, where)
    if "operator" in tree.data_vars and "written" not in tree.data_vars:
        raise TraceError(f"{where}: expected the event 'written' beside 'operator': the windows that it maps")


def _check_sizes(tree: xr.DataTree, where: str) -> None:
    """Refuse trials that do not run from their first step to their last, and members of impossible size."""
    present = present_steps(tree)
    if not present[:, :1].all() or (present[:, 1:] > present[:, :-1]).any():
        raise TraceError(
            f"{where}: expected trials that exist from step 0 to their end; 'present' says otherwise"
        )
    most = tree.sizes["unit"]
    if any(not 1 <= count <= most for count in unit_counts(tree) if most):
        raise TraceError(f"{where}: expected 'units' from 1 to {most}; got {list(unit_counts(tree))}")


def save(tree: xr.DataTree, path: str | Path) -> None:
    """Write a trace as one NetCDF file that appears only when whole."""
    check(tree, str(path))
    write(tree, Path(path))


def save_members(
    pieces: Iterable[xr.DataTree], numbers: Sequence[int], seeds: Sequence[int], path: Path
) -> None:
    """Write traces of some members each as the trace of all of them, a piece at a time in memory.

    Parameters
    ----------
    pieces
        Traces of the same run, which differ in their members only, in order.
    numbers, seeds
        Of all members.
    path
        The file, which appears only when whole.

    Raises
    ------
    TraceError
        If the pieces hold other members than these.
    """
    held: list[int] = []

    def checked() -> Iterator[xr.DataTree]:
        for piece in pieces:
            check(piece, str(path))
            held.extend(piece["member"].to_numpy().tolist())
            if held != list(numbers[: len(held)]):
                raise TraceError(f"{path}: expected the members {list(numbers)} in order; got {held}")
            yield piece
        if len(held) != len(numbers):
            raise TraceError(f"{path}: expected the members {list(numbers)}; got {held}")

    stream = checked()
    first = next(stream)
    whole: dict[str, Any] = {"about": json.dumps({**json.loads(first.attrs["about"]), "seeds": list(seeds)})}
    write_members(itertools.chain([first], stream), len(numbers), whole, path)


def load(path: str | Path) -> xr.DataTree:
    """Read a trace into memory and check it.

    Raises
    ------
    TraceError
        If the file is missing, broken or no trace.
    """
    tree = read(Path(path), xr.open_datatree, "trace")
    check(tree, str(path))
    return tree
