"""Which writes an intervention is on: those of a query's items, of another item of its trial, and from which trial."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from emt.interventions.queries import Queries, event_items
from emt.tasks.base import Batch

TRIES = 100
"""Rounds of exchanges until no query has an item at its own distance."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Targets:
    """Writes by query: the query axis is in the order of `Queries`.

    Attributes
    ----------
    queried
        Writes that hold the queried items, before the query, (query, time).
    earlier
        All steps before the query, (query, time).
    items
        For each query the writes of each other item of its trial that is written as often, (item, time).
    """

    queried: Mask
    earlier: Mask
    items: list[Mask]

    def lag(self, mask: Mask) -> NDArray[np.float64]:
        """Return the mean distance of chosen writes from the query, (query,); NaN without any."""
        steps = np.arange(mask.shape[1])
        count = mask.sum(axis=1)
        total = (mask * (self.earlier.sum(axis=1)[:, None] - steps)).sum(axis=1)
        return np.divide(total, count, out=np.full(len(mask), np.nan), where=count > 0)

    def other(self, generator: np.random.Generator) -> Mask:
        """Return for each query the writes of another item, (query, time); none if its trial has no such item.

        Distances of all items together are those of the queried ones, as far as trials have items there: the
        distances of queries whose trials offer the same are exchanged until none has its own.
        """
        own = self.lag(self.queried)
        offered = [self._lags(items, query) for query, items in enumerate(self.items)]
        chosen = np.zeros_like(self.queried)
        groups: dict[tuple[float, ...], list[int]] = {}
        for query, lags in enumerate(offered):
            if len(lags):
                groups.setdefault(tuple(sorted({*lags.tolist(), own[query]})), []).append(query)
        for group in groups.values():
            wanted = exchanged(own[group], generator)
            for query, lag in zip(group, wanted.tolist(), strict=True):
                distance = np.abs(offered[query] - lag)
                chosen[query] = self.items[query][
                    int(generator.choice(np.flatnonzero(distance == distance.min())))
                ]
        return chosen

    def _lags(self, items: Mask, query: int) -> NDArray[np.float64]:
        before = self.earlier[query].sum()
        return np.array([before - np.flatnonzero(writes).mean() for writes in items])


def exchanged(values: NDArray[np.float64], generator: np.random.Generator) -> NDArray[np.float64]:
    """Return the values in another order in which, where that is possible, none is at a place that had its equal."""
    order = generator.permutation(len(values))
    for _ in range(TRIES):
        same = np.flatnonzero(values[order] == values)
        if not len(same):
            break
        for place in same.tolist():
            other = int(generator.integers(len(values)))
            order[[place, other]] = order[[other, place]]
    return values[order]


def targets_of(batch: Batch, queries: Queries, mixes: int = 1) -> Targets:
    """Return the writes that queries of a batch, one member wide, are about.

    An item that several trials of a stream write is looked for in the last of them. With ``mixes`` above 1 the
    content of a step is in so many writes, from its own on: all of them count.
    """
    shape = np.asarray(batch.scored[0]).shape
    written = event_items(batch.events, "written", shape)[queries.sequence]
    trial = event_items(batch.events, "trial", shape)[queries.sequence][..., 0]
    earlier = np.arange(shape[1]) < queries.step[:, None]
    queried = np.zeros_like(earlier)
    items: list[Mask] = []
    for query, wanted in enumerate(queries.items.tolist()):
        named = {item for item in wanted if item >= 0}
        holding = earlier[query] & np.isin(written[query], list(named)).any(axis=-1)
        scope = trial[query] == trial[query, np.flatnonzero(holding)[-1]] if holding.any() else holding
        queried[query] = _spread(holding & scope, mixes, earlier[query])
        others = sorted(set(written[query][earlier[query] & scope].ravel().tolist()) - named - {-1})
        masks = [
            _spread(earlier[query] & scope & (written[query] == item).any(axis=-1), mixes, earlier[query])
            for item in others
        ]
        equal = [m & ~queried[query] for m in masks if m.sum() == queried[query].sum()]
        items.append(np.array([m for m in equal if m.any()], dtype=bool).reshape(-1, shape[1]))
    return Targets(queried, earlier, items)


def _spread(mask: Mask, mixes: int, within: Mask) -> Mask:
    """Return steps and the ``mixes`` - 1 after each of them, as far as they are within others."""
    wide = mask.copy()
    for shift in range(1, mixes):
        wide[shift:] |= mask[:-shift]
    return wide & within


def sources_of(
    mask: Mask, answers: NDArray[np.int64], same_answer: bool, generator: np.random.Generator
) -> NDArray[np.int64]:
    """Return for each query another whose chosen writes are at the same steps, (query,); -1 if there is none.

    Parameters
    ----------
    mask
        Chosen writes, (query, time).
    answers
        Right answer of each query, (query,).
    same_answer
        Whether the other's answer is the same, or another one.
    generator
        Of the draw.
    """
    found = np.full(len(mask), -1)
    for query in range(len(mask)):
        alike = (mask == mask[query]).all(axis=1) & ((answers == answers[query]) == same_answer)
        alike[query] = False
        if mask[query].any() and alike.any():
            found[query] = generator.choice(np.flatnonzero(alike))
    return found
