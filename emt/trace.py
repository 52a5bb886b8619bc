"""The Trace: what every model records, as labelled arrays with a fixed schema, and its file.

A trace is an `xarray.DataTree`. Its root holds the batch that all members saw and what each member did with it:

==============================  ==========================  =========================================================
``inputs`` ``targets``          batch, time, channel        ``target`` for targets; with a leading ``member`` only
                                                            where a model's actions change its inputs
``scored`` ``phase`` ``token``  batch, time                 the task's events: integers, −1 for none; ``written`` and
``written`` ``asked`` ``trial``                             ``asked`` name items, with an axis ``item`` where several
``group`` ``start``                                         at once; ``trial`` numbers trials in a stream, ``group``
                                                            kinds of trial; ``start``, where a trial starts, names the
                                                            initial state drawn for it
``outputs``                     member, batch, time, output coordinate ``member`` holds model numbers
``hidden``                      member, batch, time, unit
further states                  member, batch, time, …      an LSTM's ``cell`` and so on
``operator``                    window, target              f of a linear task: next vector = window @ f (optional)
``step_matrix``                 member, state, from_state   what a step without input does to the state (a column): W_hh
                                                            where h_t = f(W_hh h_{t−1} + …), else the Jacobian at the
                                                            mean state; beside ``operator`` only
``readout``                     member, output, unit        linear readout of ``hidden``; likewise, if there is one
==============================  ==========================  =========================================================

A model with an associative memory adds one node ``memory/<name>`` for each memory, all of it or nothing: ``write_key``,
``write_value`` (NaN where nothing is written), ``write_strength``, ``write_erase``, ``write_keep`` (member, batch,
time), ``read_query`` and ``read_value`` (member, batch, time, read, …; NaN where nothing is read). Where plasticity
differs between entries, ``gain`` and ``keep`` (member, value, key) multiply strength and keep; where a layer's weights
are the memory, ``base`` is what they are when it is empty. The attribute
``about`` is one JSON string: model, run, seeds, format version; ``accuracy``, when an output is right ("sign" of each
number, or "argmax"); ``tokens``, names of the ids in ``token``; ``states``, the variables that make up ``state``, in
order; and for memories their rules.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import xarray as xr
from numpy.typing import NDArray

from emt.errors import TraceError
from emt.labelled import about, check_members, check_version, expect, read, write

__all__ = ["TraceError", "about", "check", "load", "make", "memories", "save"]

FORMAT_VERSION = 1

MEMBER_TIME = ("member", "batch", "time")
EVENTS = ("scored", "phase", "token", "written", "asked", "trial", "group", "start")
ITEMS = ("written", "asked")
"""Events that may name several items at once, along an axis more: "item"."""

REQUIRED = {"inputs": ("batch", "time", "channel"), "targets": ("batch", "time", "target"), "scored": ("batch", "time")}
OPTIONAL = dict.fromkeys(EVENTS, ("batch", "time")) | {
    "operator": ("window", "target"),
    "step_matrix": ("member", "state", "from_state"),
    "readout": ("member", "output", "unit"),
}
RECORDED = {"outputs": (*MEMBER_TIME, "output"), "hidden": (*MEMBER_TIME, "unit")}
MEMORY = {
    "write_key": (*MEMBER_TIME, "key"),
    "write_value": (*MEMBER_TIME, "value"),
    "write_strength": MEMBER_TIME,
    "write_erase": MEMBER_TIME,
    "write_keep": MEMBER_TIME,
    "read_query": (*MEMBER_TIME, "read", "key"),
    "read_value": (*MEMBER_TIME, "read", "value"),
}

ENTRIES = dict.fromkeys(("gain", "keep", "base"), ("member", "value", "key"))
"""Optional variables of a memory's log, with one number per entry of the memory."""


def make(
    variables: Mapping[str, tuple[tuple[str, ...], NDArray[Any]]],
    numbers: list[int],
    about: Mapping[str, Any],
    memories: Mapping[str, Mapping[str, tuple[tuple[str, ...], NDArray[Any]]]] | None = None,
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
        For each memory its variables.

    Raises
    ------
    TraceError
        If the schema is not met.
    """
    root = xr.Dataset(dict(variables), coords={"member": numbers})
    root.attrs["about"] = json.dumps({"format_version": FORMAT_VERSION, **about})
    nodes = {f"memory/{name}": xr.Dataset(dict(content)) for name, content in (memories or {}).items()}
    tree = xr.DataTree.from_dict({"/": root, **nodes})
    check(tree)
    return tree


def memories(tree: xr.DataTree) -> dict[str, xr.DataTree]:
    """Return the memories of a trace by name; empty for a model that keeps none."""
    return dict(tree["memory"].children) if "memory" in tree.children else {}


def check(tree: xr.DataTree, where: str = "trace") -> None:
    """Refuse a tree that is no trace.

    Raises
    ------
    TraceError
        Naming the first variable that is missing or has the wrong axes.
    """
    check_version(tree, FORMAT_VERSION, where)
    expect(tree, REQUIRED | RECORDED, where, optional_first={"inputs", "targets"})
    check_members(tree, where)
    given: dict[str, tuple[str, ...]] = {name: dims for name, dims in OPTIONAL.items() if name in tree.data_vars}
    given |= {name: (*OPTIONAL[name], "item") for name in ITEMS if name in given and "item" in tree[name].dims}
    expect(tree, given, where, optional_first=set(EVENTS))
    known = REQUIRED | RECORDED | OPTIONAL
    for name in tree.data_vars:
        got = tuple(map(str, tree.data_vars[name].dims))
        if name not in known and got[:3] != MEMBER_TIME:
            raise TraceError(f"{where}: expected {name!r} with axes {MEMBER_TIME} and its own; got {got}")
    for name, memory in memories(tree).items():
        masks = {mask: dims for mask, dims in ENTRIES.items() if mask in memory.data_vars}
        expect(memory, MEMORY | masks, f"{where}: memory/{name}", factor=True)


def save(tree: xr.DataTree, path: Path) -> None:
    """Write a trace as one NetCDF file that appears only when whole."""
    check(tree, str(path))
    write(tree, path)


def load(path: Path) -> xr.DataTree:
    """Read a trace into memory and check it.

    Raises
    ------
    TraceError
        If the file is missing, broken or no trace.
    """
    tree = read(path, xr.open_datatree, "trace")
    check(tree, str(path))
    return tree
