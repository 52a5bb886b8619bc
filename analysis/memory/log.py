"""The log of an associative memory as it stands in a Trace: what was written, when, and what was asked of it."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from fnmatch import fnmatchcase
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from analysis.errors import AnalysisError, NoMemoryError
from emt import trace

Array = NDArray[np.float64]

MOST_MEMORIES = 32
"""Memories that are analysed without being named."""

MOST_DRAWN = 8
"""Memories that are drawn; the tables have all."""

KINDS = ("linear", "dictionary")
SIMILARITIES = ("cosine", "l1", "l2", "dot")
"""How a dictionary compares a query with its keys."""

RECALLS = ("nearest", "kernel", "softmax")
"""What a dictionary returns."""

Convention = Literal["sign", "magnitude"]

CONVENTIONS: Mapping[str, Convention] = {"linear": "magnitude", "dictionary": "sign"}
"""Which weight of a read is its largest, by the kind of memory.

A linear memory holds its writes as products v kᵀ. These do not change if key and value both change sign, and
neither does anything that the memory returns, but the weight of the write does: its sign says nothing. A
dictionary's weights are never negative, so that both conventions agree.
"""


def other_convention(convention: Convention) -> Convention:
    """Return "magnitude" for "sign" and the other way round."""
    return "sign" if convention == "magnitude" else "magnitude"


@dataclass(frozen=True)
class MemoryLog:
    """Log of one memory as float64, zero where nothing is written or read; axes start (member, batch, time).

    Attributes
    ----------
    rule
        The memory's entry in the trace's ``about``: ``kind``, ``reads`` ("before" or "after" the step's own
        write), ….
    key, query
        (…, factor, key) and (…, read, factor, key); one factor unless keys are tensor products.
    value, answer
        (…, value) and (…, read, value).
    strength, erase, keep
        c, b and w of a linear rule (`analysis.memory.replay`), (member, batch, time); keep is 1 where none is
        logged, and has a last axis "key" where it differs between key channels.
    erase_query, erase_key
        x and y of the rule, (…, key), or None where they are w ∘ k and k.
    written, answered
        Whether a step writes, and which of its reads happen, (…, read).
    forgets
        Whether ``write_keep`` is a number.
    gain_mask, keep_mask
        Plasticity by entry, (member, value, key), or None.
    """

    rule: Mapping[str, Any]
    key: Array
    value: Array
    strength: Array
    erase: Array
    keep: Array
    erase_query: Array | None
    erase_key: Array | None
    written: NDArray[np.bool_]
    forgets: NDArray[np.bool_]
    query: Array
    answer: Array
    answered: NDArray[np.bool_]
    gain_mask: Array | None
    keep_mask: Array | None

    @property
    def per_entry(self) -> bool:
        """Whether plasticity differs between entries of the memory."""
        return self.gain_mask is not None or self.keep_mask is not None

    @property
    def erases_elsewhere(self) -> bool:
        """Whether a step does to the old contents what the keep and the key alone do not say."""
        return self.keep.ndim > self.erase.ndim or self.erase_query is not None

    @property
    def features(self) -> int:
        """Number of features of a key: all products of its factors' entries."""
        return int(self.key.shape[-1] ** self.key.shape[-2])

    @property
    def transition(self) -> tuple[Array, Array, Array]:
        """w, x and y of the rule, (…, key) each, of keys with one factor."""
        key = self.key[..., 0, :]
        keep = self.keep if self.keep.ndim == key.ndim else np.broadcast_to(self.keep[..., None], key.shape)
        query = keep * key if self.erase_query is None else self.erase_query
        return keep, query, key if self.erase_key is None else self.erase_key

    @property
    def held_value(self) -> Array:
        """What is written, (…, value), without the last entry where that is always 1 and only normalises."""
        return self.value[..., :-1] if normalised(self.rule) else self.value

    @property
    def convention(self) -> Convention:
        """Which weight of a read is its largest: of `CONVENTIONS`, the one for this kind of memory."""
        return CONVENTIONS[self.rule["kind"]]

    def last_write(self, steps: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return for each step the last one whose write its reads find; -1 for none."""
        return steps - 1 if self.rule["reads"] == "before" else steps

    def sequence(self, place: int) -> "MemoryLog":
        """Return the log of one place on the batch axis, which stays."""
        shared = ("rule", "gain_mask", "keep_mask")
        of_steps = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in shared}
        here: dict[str, Any] = {n: array[:, [place]] for n, array in of_steps.items() if array is not None}
        return replace(self, **here)


def select(recording: xr.DataTree, **places: list[int]) -> xr.DataTree:
    """Return part of a trace by places on its axes: ``select(recording, member=[0], batch=[3, 4])``.

    Examples
    --------
    >>> recording = trace.load("demo/fast_weights/traces/seq11.nc")
    >>> select(recording, member=[0], batch=[3, 4])["hidden"].shape
    (1, 2, 11, 50)
    """
    parts = {path: node.to_dataset(inherit=False) for path, node in recording.subtree_with_keys}
    return xr.DataTree.from_dict(
        {path: part.isel(places, missing_dims="ignore") for path, part in parts.items()}
    )


def event_of(recording: xr.DataTree, name: str) -> NDArray[np.int64]:
    """Return an event (batch, time) of a trace of one member; -1 everywhere where the task has no such event.

    Of several items at one step it is the first (`items_of` has all).
    """
    return items_of(recording, name)[..., 0]


def items_of(recording: xr.DataTree, name: str) -> NDArray[np.int64]:
    """Return an event that may name several items at a step, (batch, time, item), as `event_of`; -1 where fewer."""
    if name not in recording.data_vars:
        return np.full((recording.sizes["batch"], recording.sizes["time"], 1), -1)
    event = recording[name].isel(member=0, missing_dims="ignore")
    values = np.asarray(event, dtype=np.int64)
    return values if "item" in event.dims else values[..., None]


def normalised(rule: Mapping[str, Any]) -> bool:
    """Whether the last entry of a memory's values is 1, and that of what is read a normaliser of the others."""
    return rule.get("normaliser") == "last"


def mixing_text(mixes: int) -> str:
    r"""Return the line of captions on writes that hold several tokens, empty for one token.

    >>> mixing_text(4)
    '\na write mixes the last 4 tokens'
    """
    return f"\na write mixes the last {mixes} tokens" if mixes > 1 else ""


def memory_names(recording: xr.DataTree, memory: str | None = None) -> tuple[str, ...]:
    """Return the names of a trace's memories, or those that are wanted.

    Parameters
    ----------
    recording
        A Trace.
    memory
        A name, or a pattern: ``layer3_*`` for all heads of a layer.

    Raises
    ------
    NoMemoryError
        If the model keeps no memory.
    AnalysisError
        If no memory has such a name, or there are more than `MOST_MEMORIES` and none is named.

    Examples
    --------
    >>> memory_names(trace.load("demo/fast_weights/traces/seq11.nc"))
    ('fast',)
    """
    names = tuple(trace.places(recording))
    if not names:
        model = trace.about(recording).model.get("type", "unknown")
        raise NoMemoryError(f"model {model!r} has no associative memory")
    known = ", ".join(names) if len(names) <= MOST_MEMORIES else f"{names[0]}, …, {names[-1]}"
    if memory is None and len(names) > MOST_MEMORIES:
        node, _ = trace.places(recording)[names[0]]
        text = f"expected a pattern such as {node}_*: the model keeps {len(names)} memories, {known}"
        raise AnalysisError(text, parameter="memory")
    wanted = names if memory is None else tuple(name for name in names if fnmatchcase(name, memory))
    if not wanted:
        raise AnalysisError(f"must be one of {known}; got {memory!r}", parameter="memory")
    return wanted


def most_interesting(scores: Mapping[str, float]) -> tuple[str, ...]:
    """Return the names of up to `MOST_DRAWN` memories with the highest scores, in their order; NaN is the lowest."""
    order = sorted(scores, key=lambda name: -np.inf if np.isnan(scores[name]) else scores[name], reverse=True)
    return tuple(name for name in scores if name in order[:MOST_DRAWN])


def further_text(n: int) -> list[str]:
    """Return the line of a headline that says how many memories it leaves out, if any."""
    return (
        [f"{n} further {'memory has' if n == 1 else 'memories have'} lower scores: see the tables"]
        if n
        else []
    )


def memory_log(recording: xr.DataTree, memory: str) -> MemoryLog:
    """Return the log of one memory of a Trace.

    Raises
    ------
    NoMemoryError
        If the model keeps no memory.
    AnalysisError
        If the trace has no such memory, or its rule is not one that this module knows.

    Examples
    --------
    >>> log = memory_log(trace.load("demo/fast_weights/traces/seq11.nc"), "fast")
    >>> log.rule["kind"], log.key.shape  # member, sequence, step, factor, key
    ('linear', (4, 32, 11, 1, 50))
    """
    rule, node = memory_rule(recording, memory), trace.memory(recording, memory)
    arrays = {str(n): np.asarray(v, dtype=float) for n, v in node.data_vars.items()}
    key, query = (
        arrays[name] if "factor" in node[name].dims else arrays[name][..., None, :]
        for name in ("write_key", "read_query")
    )
    written = np.isfinite(key).all(axis=(-2, -1)) & np.isfinite(arrays["write_value"]).all(axis=-1)
    answered = np.isfinite(query).all(axis=(-2, -1))
    erase = np.where(written, np.nan_to_num(arrays["write_erase"]), 0.0)
    masks = [arrays.get(name) for name in ("gain", "keep")]
    elsewhere = [arrays.get(name) for name in ("erase_query", "erase_key")]
    if any(m is not None for m in masks) and (erase.any() or key.shape[-2] > 1):
        raise AnalysisError(
            f"memory/{memory}: expected plain keys and no erasing where plasticity is per entry"
        )
    return MemoryLog(
        rule=rule,
        key=np.where(written[..., None, None], key, 0.0),
        value=np.where(written[..., None], arrays["write_value"], 0.0),
        strength=np.where(written, np.nan_to_num(arrays["write_strength"]), 0.0),
        erase=erase,
        keep=np.nan_to_num(arrays["write_keep"], nan=1.0),
        erase_query=None if elsewhere[0] is None else np.nan_to_num(elsewhere[0]),
        erase_key=None if elsewhere[1] is None else np.nan_to_num(elsewhere[1]),
        written=written,
        forgets=np.isfinite(arrays["write_keep"]),
        query=np.where(answered[..., None, None], query, 0.0),
        answer=np.where(answered[..., None], arrays["read_value"], 0.0),
        answered=answered,
        gain_mask=masks[0],
        keep_mask=masks[1],
    )


def memory_rule(recording: xr.DataTree, memory: str) -> Mapping[str, Any]:
    """Return a memory's entry in the trace's ``about``; raises AnalysisError if it is not one that is known."""
    memory_names(recording, memory)
    rule: Mapping[str, Any] = trace.memory_rule(recording, memory)
    expected: dict[str, tuple[Any, ...]] = {
        "kind": KINDS,
        "reads": ("before", "after"),
        "normaliser": (None, "last"),
    }
    if rule.get("kind") == "dictionary":
        expected |= {"similarity": SIMILARITIES, "recall": (None, *RECALLS)}
    for field, known in expected.items():
        if rule.get(field) not in known:
            names = ", ".join(name for name in known if name is not None)
            raise AnalysisError(
                f"memory/{memory}: expected {field!r} to be one of {names}; got {rule.get(field)!r}"
            )
    _check_numbers(rule, memory)
    return rule


def _check_numbers(rule: Mapping[str, Any], memory: str) -> None:
    """Refuse a rule whose numbers are none, or that measures by an inner product what needs a distance."""
    scale, mixes = rule.get("scale"), rule.get("mixes", 1)
    if rule.get("recall") == "softmax" and not (isinstance(scale, int | float) and scale > 0):
        raise AnalysisError(f"memory/{memory}: expected a 'scale' above 0 of a softmax; got {scale!r}")
    if not (isinstance(mixes, int) and mixes >= 1):
        raise AnalysisError(f"memory/{memory}: expected 'mixes' to be a number of tokens; got {mixes!r}")
    if rule.get("recall") == "kernel" and rule.get("similarity") == "dot":
        raise AnalysisError(f"memory/{memory}: expected a distance for the 'kernel'; got 'dot'")
