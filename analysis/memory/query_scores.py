"""Scores of reads where items are asked for: how often they find these, by chance and for another question's items."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.memory.log import Array, Convention, event_of
from analysis.memory.queries import (
    Queries,
    Reading,
    at_last,
    largest_writes,
    queried_writes,
    query_numbers,
    share_of_weight,
    share_on_items,
    shares_on,
)
from analysis.statistics import ROUNDING, mean_interval, proportion_interval

LARGEST_LAG = 20
"""Steps before and after the write of the queried item that the average over trials shows."""

SHUFFLES = 10
"""Times that questions are given each other's items for the shuffled control."""

BY_CONVENTION: dict[str, Convention] = {
    f"score_{convention}": convention for convention in get_args(Convention)
}
"""Columns with the score by each convention; ``score`` is the one that the memory's rule calls for."""


@dataclass(frozen=True)
class MemberScores:
    """Scores of one member: its row, each ask, which read finds which item, and share of weight by lag."""

    row: dict[str, float]
    asks: pd.DataFrame
    reads: pd.DataFrame
    aligned: pd.DataFrame

    def by(self, kind: str) -> pd.DataFrame:
        """Return mean scores by a column of the asks."""
        table = self.asks[self.asks["score"].notna() & (self.asks[kind] >= 0)]
        means = table.groupby(kind)[["score", *BY_CONVENTION, "chance", "shuffled"]].mean()
        return means.assign(asks=table.groupby(kind).size())


def score_member(reading: Reading) -> MemberScores:
    """Return the scores of a member's reads.

    Examples
    --------
    >>> recording = select(trace.load("demo/fast_weights/traces/seq11.nc"), member=[0])
    >>> scores = score_member(read_queries(recording, "fast"))
    >>> len(scores.asks), 0 <= scores.row["score"] <= 1
    (32, True)
    """
    table, asks = _score_table(reading), reading.asks
    scored = table["score"].notna().to_numpy()
    too_many = asks.wanted.sum(axis=-1) > reading.answered.sum(axis=-1)
    row = _score_row(table[scored]) | {"too_many": int(too_many.sum()), "recall_error": reading.recall_error}
    ranked, weight, held, wanted = (
        x[scored] for x in (reading.ranked(), reading.weight, asks.held, asks.wanted)
    )
    return MemberScores(row, table, _reads(ranked, held, wanted), _align(weight, held))


def score_queries(weight: Array, held: NDArray[np.bool_], wanted: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Return how probably every item asked for holds some read's largest weight, and how probably by chance.

    Of n equal largest weights each counts 1/n, so a memory that returns nothing scores at chance. By chance a
    read lands on any write so far, and several reads of a step do so independently.

    Parameters
    ----------
    weight
        (ask, read, write), NaN where a read does not happen or finds no such write. The largest is taken by
        sign; pass absolute values for magnitudes (`Reading.ranked`).
    held
        The writes that hold each item, (ask, item, write).
    wanted
        Which places on the item axis name an item, those in front, (ask, item).

    Returns
    -------
    hits, chance
        (ask,) in [0, 1]; NaN where an item was not written before, or more items are asked for than reads
        happen.

    Examples
    --------
    The read gives its largest weight to the first of two writes, which holds the item asked for:

    >>> weight, held = np.array([[[0.9, 0.4]]]), np.array([[[True, False]]])
    >>> hits, chance = score_queries(weight, held, np.array([[True]]))
    >>> hits.tolist(), chance.tolist()
    ([1.0], [0.5])
    """
    largest, found = largest_writes(weight)
    written = (held & _any(found, 1)[:, None]).any(axis=-1)
    reads = found.any(axis=-1).sum(axis=-1)
    scored = wanted.any(axis=-1) & (written | ~wanted).all(axis=-1) & (wanted.sum(axis=-1) <= reads)
    hits, chance = (np.where(scored, _all_found(on, held, wanted), np.nan) for on in (largest, found))
    return hits, chance


def shuffled_scores(reading: Reading) -> Array:
    """Return how probably the same reads find another question's items, (ask,); NaN where no other has as many.

    Queries with equally many items exchange them, `SHUFFLES` times. The other's items are looked for in the
    trial in which a query's own were written, so that what is measured is finding the right ones among those;
    where one was not written yet, that exchange is left out.

    Examples
    --------
    >>> recording = select(trace.load("demo/fast_weights/traces/seq11.nc"), member=[0])
    >>> shuffled = shuffled_scores(read_queries(recording, "fast"))
    >>> shuffled.shape, bool(((shuffled >= 0) & (shuffled <= 1)).all())
    ((32,), True)
    """
    asks, recording = reading.asks, reading.recording
    own_trial = event_of(recording, "trial")[asks.sequence]
    nearby = own_trial == at_last(own_trial, _any(asks.held, 1))
    rng, ranked = np.random.default_rng(0), reading.ranked()
    total, count = np.zeros(len(asks.step)), np.zeros(len(asks.step))
    for _ in range(SHUFFLES):
        items = _exchanged(asks, rng)
        held = queried_writes(recording, asks.sequence, asks.step, items) & nearby[:, None]
        hits, _ = score_queries(ranked, held, items >= 0)
        total, count = total + np.nan_to_num(hits), count + ~np.isnan(hits)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def same_scores(one: Array, other: Array) -> bool:
    """Whether two scores are the same for each member, (member,), up to rounding; NaN equals NaN."""
    return bool(np.allclose(one, other, rtol=0, atol=ROUNDING, equal_nan=True))


def over_members(members: dict[str, list[pd.DataFrame]]) -> pd.DataFrame:
    """Return means over members of their tables, with an interval of the first column, by memory and their index."""
    keyed = {
        (memory, place): table for memory, tables in members.items() for place, table in enumerate(tables)
    }
    points = pd.concat(keyed, names=["memory", "member"])
    groups = points.groupby([name for name in points.index.names if name != "member"])
    intervals = [mean_interval(group, bounds=(0.0, 1.0)) for _, group in groups[points.columns[0]]]
    means = groups.mean()
    means.insert(1, "low", [i.low for i in intervals])
    means.insert(2, "high", [i.high for i in intervals])
    return means.assign(members=[i.n for i in intervals])


def _score_table(reading: Reading) -> pd.DataFrame:
    """Return a row for each ask: where it stands, how many items it is for, its scores."""
    asks, one = reading.asks, reading.recording
    hits, chance = score_queries(reading.ranked(), asks.held, asks.wanted)
    signed = bool((reading.weight < 0).any())
    conventions = {
        name: score_queries(reading.ranked(by), asks.held, asks.wanted)[0]
        if signed and by != reading.convention
        else hits
        for name, by in BY_CONVENTION.items()
    }
    places = asks.sequence, asks.step
    columns = {
        "sequence": asks.sequence + 1,
        "step": asks.step,
        "trial": event_of(one, "trial")[places],
        "group": event_of(one, "group")[places],
        "items": asks.wanted.sum(axis=-1),
        "score": hits,
        **conventions,
        "chance": chance,
        "shuffled": np.where(np.isnan(hits), np.nan, shuffled_scores(reading)),
        "share": share_on_items(reading),
    }
    return pd.DataFrame(columns, index=query_numbers(asks))


def _score_row(scored: pd.DataFrame) -> dict[str, float]:
    """Return means over the asks that are scored; asks of one trial hang together, so intervals count trials."""
    n_trials = len(scored[["sequence", "trial"]].drop_duplicates())
    score, chance, shuffled = scored[["score", "chance", "shuffled"]].mean()
    interval = proportion_interval(score, n_trials)
    return {
        "score": score,
        "low": interval.low,
        "high": interval.high,
        "chance": chance,
        "shuffled": shuffled,
        "above_chance": (score - chance) / (1 - chance) if chance < 1 else float("nan"),
        "asks": len(scored),
        "trials": n_trials,
        **scored[[*BY_CONVENTION]].mean(),
    }


def _reads(weight: Array, held: NDArray[np.bool_], wanted: NDArray[np.bool_]) -> pd.DataFrame:
    """Return how often each read finds each item, and by chance, by number of items asked for, over asks."""
    largest, found = largest_writes(weight)
    share, chance = (shares_on(on, held) for on in (largest, found))
    happens = np.asarray(found.any(axis=-1))
    ask, read, item = np.nonzero(happens[..., None] & wanted[:, None])
    points = pd.DataFrame(
        {
            "items": wanted.sum(axis=-1)[ask],
            "read": read + 1,
            "item": item + 1,
            "share": share[ask, read, item],
            "chance": chance[ask, read, item],
        }
    )
    return points.groupby(["items", "read", "item"]).mean()


def _align(weight: Array, held: NDArray[np.bool_]) -> pd.DataFrame:
    """Return each write's mean share of absolute weight over asks, by read and steps from an item's last write."""
    share = np.abs(share_of_weight(weight))
    steps, read = np.arange(share.shape[-1]), np.arange(1, share.shape[1] + 1)
    points = [pd.DataFrame({"read": [], "lag": [], "share": []}).astype({"read": int, "lag": int})]
    for item in np.moveaxis(held, 1, 0):
        last = np.where(item, steps, -1).max(axis=-1, initial=-1)
        lag = np.broadcast_to((steps - last[:, None])[:, None], share.shape)
        kept = ~np.isnan(share) & (np.abs(lag) <= LARGEST_LAG) & (last >= 0)[:, None, None]
        reads = np.broadcast_to(read[:, None], share.shape)
        points.append(pd.DataFrame({"read": reads[kept], "lag": lag[kept], "share": share[kept]}))
    return pd.concat(points).groupby(["read", "lag"])[["share"]].mean()


def _exchanged(asks: Queries, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return each ask's items replaced by those of another with equally many; -1 if there is no other."""
    items, sizes = np.full_like(asks.items, -1), asks.wanted.sum(axis=-1)
    for size in np.unique(sizes):
        alike = rng.permutation(np.flatnonzero(sizes == size))
        if len(alike) > 1:
            items[alike] = asks.items[np.roll(alike, 1)]
    return items


def _all_found(chosen: NDArray[np.bool_], held: NDArray[np.bool_], wanted: NDArray[np.bool_]) -> Array:
    """Return how probably all items are found by reads that land on a chosen write each, (ask,).

    Inclusion and exclusion over sets S of items: Σ_S (-1)^|S| Π_reads (1 - share of the chosen writes that
    hold one of S). Queries of more items than reads have probability zero and need no sum.
    """
    total = np.zeros(len(wanted))
    for some in subsets(min(held.shape[1], chosen.shape[1])):
        missed = np.prod(1 - shares_on(chosen, _any(held[:, some], 1)[:, None]), axis=(-2, -1))
        total += (-1) ** len(some) * wanted[:, some].all(axis=-1) * missed
    return total.clip(0, 1)


def _any(array: NDArray[np.bool_], axis: int) -> NDArray[np.bool_]:
    return np.asarray(array.any(axis=axis))


def subsets(n: int) -> Sequence[list[int]]:
    """Return all subsets of the first ``n`` places, the empty one first."""
    return [list(some) for size in range(n + 1) for some in combinations(range(n), size)]
