"""How similar the entries of an associative memory are to each other: their keys, and the values they hold."""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from analysis.memory.log import Array, MemoryLog, memory_log, select
from analysis.memory.replay import compare_vectors
from emt import trace

LARGEST_ENTRIES = 200
"""Writes that are compared: the first ones of the first sequence."""


@dataclass(frozen=True)
class WriteSimilarity:
    """Similarities of the writes of the first sequence, sorted by class and then by time.

    Attributes
    ----------
    measure
        What is shown: "cosine", or "−l2 distance" as the memory's own rule compares.
    model_names
        Names of the members.
    classes
        Of the writes, (write,).
    keys, values
        (member, write, write).
    """

    measure: str
    model_names: tuple[str, ...]
    classes: NDArray[np.int64]
    keys: Array
    values: Array


def compare_writes(recording: xr.DataTree, memory: str, classes: NDArray[np.int64]) -> WriteSimilarity:
    """Compare a memory's writes with each other, as its rule compares a query with a key: inner products by the cosine.

    Keys that are tensor products are compared factor by factor, and the similarities multiplied.

    Parameters
    ----------
    recording
        A Trace.
    memory
        Name of the memory.
    classes
        What sorts the writes, (batch, time).

    Examples
    --------
    >>> recording = trace.load("demo/fast_weights/traces/seq11.nc")
    >>> similarity = compare_writes(recording, "fast", recording["token"].to_numpy())
    >>> similarity.measure, similarity.keys.shape
    ('cosine', (4, 11, 11))
    """
    log = memory_log(select(recording, batch=[0]), memory)
    steps = np.flatnonzero(log.written.all(axis=(0, 1)))[:LARGEST_ENTRIES]
    steps = steps[np.argsort(classes[0, steps], kind="stable")]
    kind = _kind(log)
    return WriteSimilarity(
        measure=kind if kind == "cosine" else f"−{kind} distance",
        model_names=trace.member_names(recording),
        classes=classes[0, steps],
        keys=np.stack([_alike(keys[0, steps], kind) for keys in log.key]),
        values=np.stack([_alike(values[0, steps, None], kind) for values in log.held_value]),
    )


def _kind(log: MemoryLog) -> str:
    similarity = log.rule.get("similarity", "dot")
    return "cosine" if similarity == "dot" else str(similarity)


def _alike(vectors: Array, kind: str) -> Array:
    """Return similarities (write, write) of vectors (write, factor, number)."""
    factors = [compare_vectors(factor, factor, kind) for factor in np.moveaxis(vectors, 1, 0)]
    return np.asarray(np.prod(factors, axis=0))
