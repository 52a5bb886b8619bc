"""What all networks logged of their memories, as the nodes ``memory/<name>`` of a Trace (`emt.memory_nodes`)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emt import memory_nodes
from emt.errors import UserError
from emt.own.memory_calls import MemoryCalls, RunCalls

Array = NDArray[Any]
Group = tuple[NDArray[np.intp], RunCalls]
"""Places of trials of one length on the batch axis, and what was logged in their run."""


def memory_variables(
    members: Sequence[Sequence[Group]], trials: int, steps: int
) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, tuple[tuple[str, ...], Array]]]]:
    """Return the rule of each memory, and the variables of its node with their axes.

    Parameters
    ----------
    members
        For each network what it logged of trials of each length.
    trials, steps
        Sizes of the axes batch and time.

    Raises
    ------
    UserError
        If networks, trials or steps log a memory differently, or it is never written or never read.
    """
    names = list(dict.fromkeys(name for groups in members for _, run in groups for name in run.memories))
    rules, nodes = {}, {}
    for name in names:
        for number, groups in enumerate(members, 1):
            if any(name not in run.memories for _, run in groups):
                raise _refusal(name, f"network {number} does not log it in every run; others do")
        calls = [[(rows, run.memories[name]) for rows, run in groups] for groups in members]
        rules[name] = _rule(name, [one for groups in calls for _, one in groups])
        nodes[name] = _node(name, calls, (len(members), trials, steps), rules[name]["kind"])
    return rules, nodes


def _rule(name: str, calls: Sequence[MemoryCalls]) -> dict[str, Any]:
    """Return the rule of a memory: its kind, and whether reads come before or after the write of a step."""
    for verb, kept in (("written", "writes"), ("read", "reads")):
        if not any(getattr(one, kept) for one in calls):
            raise _refusal(name, f"expected a log of its {kept}; it is never {verb} (emt.log_{kept[:-1]})")
    orders: dict[str, int] = {}
    for one in calls:
        orders = {**one.orders, **orders}
    if len(orders) > 1:
        before, after = orders["before"], orders["after"]
        raise _refusal(name, f"is read before its write at step {before} and after it at step {after}")
    if any(one.rule != calls[0].rule for one in calls):
        raise _refusal(name, "expected one log_dictionary for all networks and trials; they differ")
    # Where no step both reads and writes, either order finds the same.
    reads = next(iter(orders), "after")
    return {"kind": "dictionary" if calls[0].rule else "linear", "reads": reads, **calls[0].rule}


def _node(
    name: str,
    calls: Sequence[Sequence[tuple[NDArray[np.intp], MemoryCalls]]],
    sizes: tuple[int, int, int],
    kind: str,
) -> dict[str, tuple[tuple[str, ...], Array]]:
    """Return a node's variables; NaN where nothing is written or read."""
    each = [one for groups in calls for _, one in groups]
    writes = [write for one in each for write in one.writes.values()]
    reads = [read for one in each for several in one.reads.values() for read in several]
    key, value = (_one_shape(name, what, [w[f"write_{what}"] for w in writes]) for what in ("key", "value"))
    queries, answers = zip(*reads, strict=True)
    for what, written, found in (("query", key, queries), ("value", value, answers)):
        if (got := _one_shape(name, what, found)) != written:
            raise _refusal(
                name, f"expected reads with a {what} of the size that is written, {written}; got {got}"
            )
    by_key = any(write["write_keep"].ndim > len(key) for write in writes)
    erases = any("erase_query" in write for write in writes)
    if kind == "dictionary":
        _check_dictionary(name, writes, erases)
    n_reads = max(len(several) for one in each for several in one.reads.values())
    of_read = (*key[:-1], n_reads)
    shapes = {
        "write_key": key,
        "write_value": value,
        "write_strength": key[:-1],
        "write_erase": key[:-1],
        "write_keep": key if by_key else key[:-1],
        **(dict.fromkeys(("erase_query", "erase_key"), key) if erases else {}),
        "read_query": (*of_read, key[-1]),
        "read_value": (*of_read, value[-1]),
    }
    dtype = np.result_type(*(array for write in writes for array in write.values()), *answers)
    arrays = {n: np.full((*sizes, *shape), np.nan, dtype) for n, shape in shapes.items()}
    for member, groups in enumerate(calls):
        for rows, one in groups:
            _fill(arrays, member, rows, one, kind)
    heads = len(key) > 1
    return {n: (memory_nodes.axes(n, heads=heads, by_key=by_key), a) for n, a in arrays.items()}


def _fill(
    arrays: Mapping[str, Array], member: int, rows: NDArray[np.intp], calls: MemoryCalls, kind: str
) -> None:
    for step, write in calls.writes.items():
        for name, array in _completed(write, "erase_query" in arrays, kind):
            target = arrays[name]
            wide = array[..., None] if array.ndim < target.ndim - 2 else array
            target[member, rows, step] = wide
    for step, several in calls.reads.items():
        for place, (query, value) in enumerate(several):
            arrays["read_query"][member, rows, step, ..., place, :] = query
            arrays["read_value"][member, rows, step, ..., place, :] = value


def _completed(write: Mapping[str, Array], erases: bool, kind: str) -> Iterator[tuple[str, Array]]:
    """Yield a write's variables: with the vectors that it erases by where others have their own, and gaps."""
    if kind == "dictionary":
        missing = (write["write_strength"] == 0)[..., None]
        yield from {**write, "write_key": np.where(missing, np.nan, write["write_key"])}.items()
        return
    yield from write.items()
    if erases and "erase_query" not in write:
        keep, key = write["write_keep"], write["write_key"]
        yield "erase_query", key * (keep if keep.ndim == key.ndim else keep[..., None])
        yield "erase_key", key


def _one_shape(name: str, what: str, arrays: Sequence[Array]) -> tuple[int, ...]:
    """Return the shape that all of some arrays (batch, …) have after their first axis."""
    shapes = list(dict.fromkeys(array.shape[1:] for array in arrays))
    if len(shapes) > 1:
        raise _refusal(name, f"expected a {what} of one size at all steps; got {shapes[0]} and {shapes[1]}")
    return shapes[0]


def _check_dictionary(name: str, writes: Sequence[Mapping[str, Array]], erases: bool) -> None:
    for write in writes:
        plain = not write["write_erase"].any() and (write["write_keep"] == 1).all()
        if erases or not plain or not np.isin(write["write_strength"], (0, 1)).all():
            raise _refusal(
                name, "expected of a dictionary no erase and no keep, and a strength of 1, or 0 for no write"
            )


def _refusal(name: str, what: str) -> UserError:
    return UserError(f"memory {name!r}: {what}")
