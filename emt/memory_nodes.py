"""The nodes ``memory/<name>`` of a Trace: the log of an associative memory, and the memories they hold.

A ``linear`` memory M (value × key), empty at first, follows

    M_t = M_{t-1} (diag(w_t) - b_t x_t y_tᵀ) + c_t v_t k_tᵀ

with the keep w, the strength c of the write v kᵀ and what is erased: looked up in the direction x before the
step's decay, taken away at y, b times. Without x and y they are w ∘ k and k: decay first, then erase.

===============================  ==================================  =====================================
``write_key`` ``write_value``    member, batch, time, key | value    k and v; NaN where nothing is written
``write_strength``               member, batch, time                 c
``write_erase``                  member, batch, time                 b
``write_keep``                   member, batch, time[, key]          w, one number or one for each key channel
``erase_query`` ``erase_key``    member, batch, time, key            x and y; both or neither
``read_query`` ``read_value``    member, batch, time, read, …        M q and its q; NaN where nothing is read
``gain`` ``keep``                member, value, key                  multiply c and w entry by entry (optional)
``base``                         member, value, key                  weights of a layer whose memory is empty
===============================  ==================================  =====================================

Keys and queries may have an axis ``factor`` before ``key``: their tensor product is meant. It goes together
neither with a keep by key channel nor with x and y; nor do ``gain`` and ``keep``.

With several heads every variable has an axis ``head``, after ``time`` or, without it, after
``member``. Each head is a memory of its own, ``<name>_head0`` and so on; without the axis the node is the
memory, and has its name. Where not all heads are logged, a coordinate ``head`` has their numbers.

The rule of a node, in the trace's ``about``, says of its memories

===============  ========================================================================================
``kind``         "linear", or "dictionary": it returns values of similar keys
``reads``        "before" or "after" the write of the same step
``normaliser``   "last" where the last entry of each value is 1, so that the last entry of what is read is
                 the sum that the others may be divided by
``mixes``        over how many tokens, up to this one, a short convolution mixes what is written (1)
``similarity``   of a dictionary: "cosine", "l1", "l2", or "dot", the inner product
``recall``       of a dictionary: the value of the "nearest" key, or an average by "kernel" or "softmax"
``scale``        of "softmax": what similarities are multiplied by
``capacity``     of a dictionary: how many writes it holds, the last ones; all where none is given
===============  ========================================================================================
"""

from collections.abc import Mapping

import xarray as xr

from emt.errors import TraceError, repeated
from emt.labelled import expect

MEMBER_TIME = ("member", "batch", "time")

MEMORY = {
    "write_key": (*MEMBER_TIME, "key"),
    "write_value": (*MEMBER_TIME, "value"),
    "write_strength": MEMBER_TIME,
    "write_erase": MEMBER_TIME,
    "write_keep": MEMBER_TIME,
    "read_query": (*MEMBER_TIME, "read", "key"),
    "read_value": (*MEMBER_TIME, "read", "value"),
}
ERASE = dict.fromkeys(("erase_query", "erase_key"), (*MEMBER_TIME, "key"))
"""Optional variables, both or neither: where a write looks up what it erases, and where it takes it away."""

ENTRIES = dict.fromkeys(("gain", "keep", "base"), ("member", "value", "key"))
"""Optional variables with one number per entry of the memory."""

VARIABLES = {**MEMORY, **ERASE, **ENTRIES}


def axes(name: str, *, heads: bool = False, by_key: bool = False) -> tuple[str, ...]:
    """Return the axes of a memory's variable, with heads or without; ``by_key`` gives the keep an axis of its own."""
    dims = VARIABLES[name] + (("key",) if name == "write_keep" and by_key else ())
    first = len(MEMBER_TIME) if dims[: len(MEMBER_TIME)] == MEMBER_TIME else 1
    return (*dims[:first], *(("head",) if heads else ()), *dims[first:])


def name_axes(counts: Mapping[str, int]) -> dict[str, tuple[str, ...]]:
    """Return the axes of a node's variables from how many each of them has.

    The strength of writes has one more than (member, batch, time) with heads, the keep one more
    than the strength where it differs between key channels, and keys one more than their own where they have
    several factors.

    >>> name_axes({"write_strength": 4, "write_keep": 5})["write_keep"]
    ('member', 'batch', 'time', 'head', 'key')
    """
    n_axes = counts["write_strength"]
    heads, by_key = n_axes > len(MEMBER_TIME), counts["write_keep"] > n_axes
    named = {name: axes(name, heads=heads, by_key=by_key) for name in counts}
    return {
        name: dims if counts[name] == len(dims) else (*dims[:-1], "factor", dims[-1])
        for name, dims in named.items()
    }


def nodes(tree: xr.DataTree) -> dict[str, xr.DataTree]:
    """Return the nodes of memories by name, as they are stored."""
    return dict(tree["memory"].children) if "memory" in tree.children else {}


def _listed(tree: xr.DataTree) -> list[tuple[str, tuple[str, int | None]]]:
    """Return the name of each memory, and where it is: its node, and which head (None without heads)."""
    return [
        (name if head is None else f"{name}_head{head}", (name, head))
        for name, node in nodes(tree).items()
        for head in (head_numbers(node) if "head" in node.dims else (None,))
    ]


def head_numbers(node: xr.DataTree) -> list[int]:
    """Return the numbers of a node's heads: its coordinate "head", without one their places."""
    return (
        list(node["head"].to_numpy().tolist()) if "head" in node.coords else list(range(node.sizes["head"]))
    )


def places(tree: xr.DataTree) -> dict[str, tuple[str, int | None]]:
    """Return for each memory of a trace the node that it is in, and which head; None for a node without heads."""
    return dict(_listed(tree))


def memories(tree: xr.DataTree) -> dict[str, xr.DataTree]:
    """Return the memories of a trace by name, a head at a time; empty for a model that keeps none."""
    return {name: memory(tree, name) for name in places(tree)}


def memory(tree: xr.DataTree, name: str) -> xr.DataTree:
    """Return the variables of one memory, without an axis "head": of a node with heads a view.

    Example: ``memory(recording, "layer1_head2")["write_key"]``
    """
    node, head = places(tree)[name]
    stored = nodes(tree)[node]
    if head is None:
        return stored
    return xr.DataTree(stored.to_dataset().isel(head=head_numbers(stored).index(head), drop=True))


def check(tree: xr.DataTree, where: str) -> None:
    """Refuse a trace whose nodes of memories have other variables or axes than these.

    Raises
    ------
    TraceError
        Naming the first such node.
    """
    for name, node in nodes(tree).items():
        _check_node(node, f"{where}: memory/{name}")
    if several := repeated(name for name, _ in _listed(tree)):
        raise TraceError(f"{where}: expected memories with different names; got {several}")


def _check_node(node: xr.DataTree, where: str) -> None:
    held = set(map(str, node.data_vars))
    by_key = "write_keep" in held and "key" in node["write_keep"].dims
    wanted = [*MEMORY, *(ERASE if held & set(ERASE) else ()), *(name for name in ENTRIES if name in held)]
    expect(
        node,
        {name: axes(name, heads="head" in node.dims, by_key=by_key) for name in wanted},
        where,
        factor=True,
    )
    other = [name for name in ("gain", "keep", "factor") if name in held or name in node.dims]
    if other and (by_key or held & set(ERASE)):
        erasing = "'write_keep' by key channel" if by_key else "'erase_query'"
        raise TraceError(f"{where}: expected no {other[0]!r} beside {erasing}")
