"""Scores of reads for queries of exchanged trials: would the items of other trials be found as often?

All members answered the same queries, so a rule that knows nothing of them finds as many by accident in all
members alike. A relabelling gives each trial the queries of another one that asks as often for as many items,
the same in all members (`analysis.statistics.chance_test`).
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.memory.log import Array, event_of, items_of
from analysis.memory.queries import Queries, Reading, at_last, largest_writes
from analysis.memory.query_scores import subsets
from analysis.memory.relabelling import count_different
from analysis.statistics import RELABELLINGS

FEWER_RELABELLINGS = 39
"""Relabellings where scores need more than `LARGEST_WORK` numbers each: the smallest p is 1 / 40."""

LARGEST_WORK = 2**19


@dataclass(frozen=True)
class _Window:
    """The writes among which an ask's items are looked for: those of the trial in which they were written, up to it.

    Attributes
    ----------
    chosen
        The largest weights of each read (ask, read, write).
    landings
        How many largest weights a read has, in all trials together, (ask, read).
    found
        Whether some read finds the write, (ask, write).
    written
        The items that each write holds, (ask, write, item).
    """

    chosen: Array
    landings: Array
    found: NDArray[np.bool_]
    written: NDArray[np.int64]


def relabelled_scores(reading: Reading, scored: NDArray[np.bool_]) -> tuple[Array, int]:
    """Return the mean score over the asks that are scored, (relabelling,), after each exchange of trials' queries.

    Beside it stands how many of the labellings, the observed one included, are different.

    An exchanged item that was not written in the trial where an ask's own were is left out; NaN where all
    are.
    """
    asks, window = reading.asks, _window(reading)
    orders = exchanged_trials(asks, event_of(reading.recording, "trial"), _how_many(window))
    means = np.full(len(orders), np.nan)
    for place, order in enumerate(orders):
        scores = _scores(window, asks.items[order])[scored]
        if np.isfinite(scores).any():
            means[place] = np.nanmean(scores)
    return means, count_different(np.stack([asks.items, *asks.items[orders]]))


def same_queries(queries: Sequence[Queries]) -> bool:
    """Whether all members were asked for the same items at the same steps, and these were written alike."""
    first, *others = queries
    names = ("sequence", "step", "items", "held")
    return all(np.array_equal(getattr(first, name), getattr(one, name)) for one in others for name in names)


def exchanged_trials(
    asks: Queries, trial: NDArray[np.int64], n_orders: int = RELABELLINGS
) -> NDArray[np.intp]:
    """Return which ask's items each ask takes, (relabelling, ask): those of another trial with as many of each size.

    Parameters
    ----------
    asks
        The queries of one member.
    trial
        Number of the trial (batch, time); -1 where a sequence is one trial.
    n_orders
        Relabellings.
    """
    blocks: dict[tuple[int, int], list[int]] = defaultdict(list)
    for ask, (sequence, step) in enumerate(zip(asks.sequence.tolist(), asks.step.tolist(), strict=True)):
        blocks[sequence, int(trial[sequence, step])].append(ask)
    sizes = asks.wanted.sum(axis=-1)
    alike: dict[tuple[int, ...], list[list[int]]] = defaultdict(list)
    for block in blocks.values():
        alike[tuple(sizes[block].tolist())].append(block)
    groups = [np.array(group, dtype=np.intp) for group in alike.values()]
    rng, orders = np.random.default_rng(0), np.tile(np.arange(len(asks.step)), (n_orders, 1))
    for order in orders:
        for group in groups:
            order[group] = group[rng.permutation(len(group))]
    return orders


def _how_many(window: _Window) -> int:
    return RELABELLINGS if window.chosen.size + window.written.size <= LARGEST_WORK else FEWER_RELABELLINGS


def _window(reading: Reading) -> _Window:
    asks, recording = reading.asks, reading.recording
    largest, found = largest_writes(reading.ranked())
    trial = event_of(recording, "trial")[asks.sequence]
    steps = np.arange(trial.shape[-1])
    inside = (trial == at_last(trial, np.asarray(asks.held.any(axis=1)))) & (steps <= asks.step[:, None])
    width = int(inside.sum(axis=-1).max(initial=0))
    places = np.argsort(~inside, axis=-1, kind="stable")[:, :width]
    valid = np.take_along_axis(inside, places, axis=-1)
    written = items_of(recording, "written")[asks.sequence[:, None], places]
    return _Window(
        chosen=np.take_along_axis(largest, places[:, None], axis=-1) * valid[:, None].astype(float),
        landings=np.maximum(largest.sum(axis=-1), 1).astype(float),
        found=np.take_along_axis(found.any(axis=1), places, axis=-1) & valid,
        written=np.where(valid[..., None], written, -1),
    )


def _scores(window: _Window, items: NDArray[np.int64]) -> Array:
    """Return how probably all items (ask, item) hold some read's largest weight, NaN where one was not written."""
    held = (window.written[:, None] == items[..., None, None]).any(axis=-1) & window.found[:, None]
    held &= (items >= 0)[..., None]
    total = np.zeros(len(items))
    for some in subsets(min(items.shape[1], window.chosen.shape[1])):
        on = np.einsum("arw,aw->ar", window.chosen, held[:, some].any(axis=1).astype(float)) / window.landings
        total += (-1) ** len(some) * (items[:, some] >= 0).all(axis=-1) * np.prod(1 - on, axis=-1)
    known = (held.any(axis=-1) | (items < 0)).all(axis=-1)
    return np.where(known, total.clip(0, 1), np.nan)
