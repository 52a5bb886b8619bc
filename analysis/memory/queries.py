"""Steps that ask for items: which writes hold these, and what the reads of the step weigh."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from analysis.memory.log import Array, Convention, event_of, items_of, memory_log
from analysis.memory.replay import match_log, recall_difference, relative_error
from analysis.statistics import DISTANCE_TIES
from emt import trace


@dataclass(frozen=True)
class Queries:
    """Steps of one member's recording that ask for items, by sequence and step.

    Attributes
    ----------
    sequence, step
        Places on the axes batch and time, (ask,).
    items
        (ask, item), -1 after an ask's last one.
    held
        The writes that hold each item (`queried_writes`), (ask, item, time).
    """

    sequence: NDArray[np.intp]
    step: NDArray[np.intp]
    items: NDArray[np.int64]
    held: NDArray[np.bool_]

    @property
    def wanted(self) -> NDArray[np.bool_]:
        """Which places on the item axis name an item, (ask, item)."""
        return self.items >= 0


@dataclass(frozen=True)
class Reading:
    """The reads of one member from one memory, at the steps that ask for items.

    Attributes
    ----------
    recording
        A trace of that member alone.
    memory
        Name of the memory.
    asks
        What is asked for, where.
    weight
        Of each write in each read, (ask, read, time); NaN where a read does not happen or finds no such
        write.
    answered
        Which reads happen, (ask, read).
    recall_error
        How far weights times written values are from what the memory returned, at most, at these steps and at
        all of the first sequence (`analysis.memory.replay.recall_error`).
    convention
        Which weight of a read is its largest: by sign or by magnitude, as the memory's rule calls for
        (`analysis.memory.log.CONVENTIONS`).
    """

    recording: xr.DataTree
    memory: str
    asks: Queries
    weight: Array
    answered: NDArray[np.bool_]
    recall_error: float
    convention: Convention

    @property
    def model_name(self) -> str:
        """Name of the member."""
        return trace.member_names(self.recording)[0]

    def ranked(self, convention: Convention | None = None) -> Array:
        """Return what is compared to find each read's largest weight, (ask, read, time), as the rule calls for."""
        return ranked_weights(self.weight, convention or self.convention)


def find_queries(recording: xr.DataTree) -> Queries:
    """Return the steps that ask for items, of a trace of one member.

    Examples
    --------
    In associative retrieval each sequence asks once, in its last step:

    >>> queries = find_queries(select(trace.load("demo/fast_weights/traces/seq11.nc"), member=[0]))
    >>> len(queries.step), np.unique(queries.step).tolist()
    (32, [10])
    """
    asked = items_of(recording, "asked")
    sequence, step = np.nonzero((asked >= 0).any(axis=-1))
    items = asked[sequence, step]
    items = np.take_along_axis(items, np.argsort(items < 0, axis=-1, kind="stable"), axis=-1)
    items = items[:, (items >= 0).any(axis=0)]
    return Queries(sequence, step, items, queried_writes(recording, sequence, step, items))


def queried_writes(
    recording: xr.DataTree, sequence: NDArray[np.intp], step: NDArray[np.intp], items: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return the writes up to each ask that hold its items, (ask, item, time), for a trace of one member.

    An item that several trials of a stream write is looked for in the last of them.

    Parameters
    ----------
    recording
        A Trace.
    sequence, step
        Where the asks are, (ask,).
    items
        What they ask for, (ask, item); nothing holds -1.

    Examples
    --------
    The letter that is asked for at the end was written with its digit, in one of the steps before:

    >>> recording = select(trace.load("demo/fast_weights/traces/seq11.nc"), member=[0])
    >>> queries = find_queries(recording)
    >>> held = queried_writes(recording, queries.sequence, queries.step, queries.items)
    >>> held.shape, np.unique(held.sum(axis=-1)).tolist()
    ((32, 1, 11), [1])
    """
    written, trial = items_of(recording, "written")[sequence], event_of(recording, "trial")[sequence]
    steps = np.arange(trial.shape[-1])
    held = np.zeros((*items.shape, len(steps)), dtype=bool)
    for place, item in enumerate(items.T):
        same = (item[:, None] >= 0) & (written == item[:, None, None]).any(axis=-1) & (steps <= step[:, None])
        held[:, place] = same & (trial == at_last(trial, same))
    return held


def read_queries(recording: xr.DataTree, memory: str) -> Reading:
    """Return the reads of a memory at the steps that ask for items, of a trace of one member.

    Examples
    --------
    >>> recording = select(trace.load("demo/fast_weights/traces/seq11.nc"), member=[0])
    >>> reading = read_queries(recording, "fast")
    >>> reading.weight.shape, reading.convention  # query, read, write
    ((32, 1, 11), 'magnitude')
    """
    log, asks = memory_log(recording, memory), find_queries(recording)
    weight = np.full((len(asks.step), log.answered.shape[-1], log.written.shape[-1]), np.nan)
    first = log.sequence(0)
    differences = [recall_difference(first, match_log(first))]
    # Sequences ask at different steps: one grid for all would have twenty times the rows that are wanted.
    for place in np.unique(asks.sequence):
        here, one = np.flatnonzero(asks.sequence == place), log.sequence(place)
        grids = match_log(one, asks.step[here].tolist())
        weight[np.ix_(here, np.arange(weight.shape[1]), grids.write_steps)] = grids.mean_weight[0, 0]
        differences.append(recall_difference(one, grids))
    return Reading(
        recording=recording,
        memory=memory,
        asks=asks,
        weight=weight,
        answered=log.answered[0, asks.sequence, asks.step],
        recall_error=float(relative_error(np.max(differences, axis=0), log)[0]),
        convention=log.convention,
    )


def ranked_weights(weight: Array, convention: Convention) -> Array:
    """Return weights as they are by "sign", their absolute values by "magnitude"; NaN stays NaN."""
    return np.abs(weight) if convention == "magnitude" else weight


def largest_writes(weight: Array) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return where each read lands, its largest weight (all that are equal), and the writes that it finds.

    Weights that differ by less than 1e-6 of the largest absolute one are equal: logs are recorded in single
    precision.

    Parameters
    ----------
    weight
        (ask, read, write), NaN where a read does not happen or finds no such write; of magnitudes
        `ranked_weights`.
    """
    found = ~np.isnan(weight)
    finite = np.where(found, weight, -np.inf)
    rounding = DISTANCE_TIES * np.abs(np.where(found, weight, 0.0)).max(axis=-1, keepdims=True, initial=0.0)
    return found & (finite >= finite.max(axis=-1, keepdims=True, initial=-np.inf) - rounding), found


def shares_on(chosen: NDArray[np.bool_], held: NDArray[np.bool_]) -> Array:
    """Return which share of each read's chosen writes (ask, read, write) holds each item, (ask, read, item)."""
    on_item = chosen.astype(float) @ np.swapaxes(held, -1, -2).astype(float)
    return np.asarray(on_item / np.maximum(chosen.sum(axis=-1, keepdims=True), 1))


def share_of_weight(weight: Array) -> Array:
    """Return weights (…, write) over the sum of their absolute values; NaN stays NaN, and nothing is shared of zero."""
    total = np.nansum(np.abs(weight), axis=-1, keepdims=True)
    return np.asarray(weight / np.where(total > 0, total, 1.0))


def share_on_items(reading: Reading) -> Array:
    """Return the largest share of absolute weight that some read has on an item, multiplied over the items, (ask,)."""
    share = np.nan_to_num(np.abs(share_of_weight(reading.weight)))
    on_item = (share @ np.swapaxes(reading.asks.held, 1, 2).astype(float)).max(axis=1, initial=0.0)
    return np.asarray(np.where(reading.asks.wanted, on_item, 1.0).prod(axis=-1))


def query_numbers(asks: Queries) -> pd.RangeIndex:
    """Return the numbers that tables give asks."""
    return pd.RangeIndex(1, len(asks.step) + 1, name="ask")


def at_last(event: NDArray[np.int64], chosen: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return an event (ask, time) at the last chosen step of each ask, (ask, 1)."""
    last = np.where(chosen, np.arange(event.shape[-1]), -1).max(axis=-1, initial=-1)
    return np.take_along_axis(event, last[:, None], axis=-1)
