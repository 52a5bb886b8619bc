"""Associative memories that are exact by construction: a decaying linear one, the delta rule, a dictionary."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emt.commands.known_systems.answers import Answer, analyse
from emt.commands.known_systems.memories import trace_of
from emt.commands.known_systems.recordings import random_frame

MEMBERS, TRIALS, ITEMS, KEY, VALUE = 5, 12, 4, 7, 6
STRENGTH, KEEP = 0.8, 0.5

ROUNDING = 1e-5
"""Logs are in single precision, seven digits."""


def linear_memory() -> Iterator[Answer]:
    """Four items are written under orthonormal keys with strength .8, everything decays by .5 a step, one is queried.

    The item written n steps before the last write is held as .8 · .5ⁿ v kᵀ. Values are orthonormal as well,
    so these are the singular values, .8, .4, .2 and .1, whose shares 8/15 … 1/15 give the effective rank by
    their entropy. The query is the key of the queried item: its weight alone is not zero, the score is 1, by
    chance one of four. A value depends on its item only, so items explain all the variance of values. With
    five members above their own relabelled trials p over members is 1 / 2⁵, and over trials 1 / (1 + 199),
    since no exchange of the queries of twelve trials leaves all of them as they are: the larger is reported.
    """
    recording, age = _linear()
    match = analyse("match", recording)
    row = match.population.loc["store"]
    yield Answer("match", "score of a linear memory", 1.0, row["score"], 0.0)
    yield Answer("match", "chance among four writes", 0.25, row["chance"], 1e-12)
    yield Answer("match", "p", 1 / 32, row["p"], 1e-12)
    yield Answer("match", "error of recall", 0.0, match.scores["recall_error"].max(), ROUNDING)
    grid = match.grids[0]
    expected = STRENGTH * KEEP ** age[grid.trial]
    yield Answer(
        "match", "weight of the queried write", expected, float(grid.weight[grid.asked].sum()), ROUNDING
    )
    others = float(np.abs(grid.weight[~grid.asked]).max())
    yield Answer("match", "largest weight of another write", 0.0, others, ROUNDING)
    analysis = analyse("memory", recording)
    held = analysis.memories[0]
    singular = STRENGTH * KEEP ** np.arange(ITEMS)
    share = singular / singular.sum()
    last = held.spectrum.index.get_level_values("step").max()
    spectrum = held.spectrum.xs(last, level="step")["mean"]
    yield Answer("memory", "largest singular value", STRENGTH, spectrum["singular_value_1"], ROUNDING)
    # 0.1 of the largest 0.8: single precision over four values.
    rank = float(np.exp(-np.sum(share * np.log(share))))
    yield Answer("memory", "effective rank", rank, spectrum["effective_rank"], 1e-3)
    yield Answer("memory", "share of variance that items explain", 1.0, held.separation.mean(), ROUNDING)
    yield Answer("memory", "share of items recalled", 1.0, held.recalled.mean(), 0.0)


def delta_rule() -> Iterator[Answer]:
    """Two values written under one key by the delta rule (β = 1), then read: the first is erased, the second returned.

    M₂ = M₁ (I - k kᵀ) + v₂ kᵀ with M₁ = v₁ kᵀ is v₂ kᵀ: weights 0 and 1. Its only singular value is |v₂| = 1:
    effective rank 1.
    """
    shape = (1, 2, 3)
    rng = np.random.default_rng(10)
    keys, values = np.full((*shape, KEY), np.nan), np.full((*shape, VALUE), np.nan)
    keys[:, :, :2] = random_frame(KEY, 2, rng).T[None, :, None]
    values[:, :, :2] = random_frame(VALUE, 4, rng).T.reshape(1, 2, 2, VALUE)
    queries, answers = np.full((*shape, 1, KEY), np.nan), np.full((*shape, 1, VALUE), np.nan)
    queries[:, :, 2, 0], answers[:, :, 2, 0] = keys[:, :, 0], values[:, :, 1]
    one = np.where(np.arange(3) < 2, 1.0, np.nan)
    log = _log(keys, values, (one, one, one), queries, answers, {"kind": "linear", "reads": "before"})
    events = {"written": np.tile([0, 1, -1], (2, 1)), "asked": np.tile([-1, -1, 1], (2, 1))}
    recording = trace_of({"store": log}, events, {})
    grid = analyse("match", recording).grids[0]
    first, second = grid.weight[-1]
    yield Answer("match", "weight of an erased write", 0.0, float(first), ROUNDING)
    yield Answer("match", "weight of the write that replaced it", 1.0, float(second), ROUNDING)
    spectrum = analyse("memory", recording).memories[0].spectrum["mean"]
    yield Answer(
        "memory", "effective rank after two writes of one key", 1.0, spectrum["effective_rank", 2], 1e-3
    )


def dictionary() -> Iterator[Answer]:
    """A dictionary of two slots that is given three items: the first is dropped, the others are returned as they are.

    A query is the key of an item that is held, so that it is the most similar one by its cosine: score 1,
    weight 1, by chance one of two.
    """
    rng = np.random.default_rng(11)
    asked = 1 + np.arange(TRIALS) % 2
    keys = rng.normal(size=(MEMBERS, TRIALS, ITEMS, KEY))
    values = rng.normal(size=(MEMBERS, TRIALS, ITEMS, VALUE))
    keys[:, :, -1] = values[:, :, -1] = np.nan
    log = _query_last(keys, values, asked, np.ones(TRIALS))
    rule = {"kind": "dictionary", "reads": "before", "similarity": "cosine", "capacity": 2}
    nothing = np.full(ITEMS, np.nan)
    written = np.where(np.arange(ITEMS) < ITEMS - 1, np.arange(ITEMS), -1)
    events = _events(np.tile(written, (TRIALS, 1)), asked)
    recording = trace_of({"store": _log(keys, values, (nothing,) * 3, *log, rule)}, events, {})
    match = analyse("match", recording)
    row, grid = match.population.loc["store"], match.grids[0]
    yield Answer("match", "score of a dictionary", 1.0, row["score"], 0.0)
    yield Answer("match", "chance among two slots", 0.5, row["chance"], 1e-12)
    yield Answer("match", "weight of the queried slot", 1.0, float(grid.weight[grid.asked].sum()), 0.0)
    yield Answer("match", "error of recall, dictionary", 0.0, match.scores["recall_error"].max(), ROUNDING)
    recalled = analyse("memory", recording).memories[0].recalled
    yield Answer("memory", "share of items recalled, dictionary", 1.0, recalled.mean(), 0.0)


def _linear() -> tuple[Any, NDArray[np.intp]]:
    """Return the trace of the linear memory, and how many steps before the last write each trial's item was written."""
    rng = np.random.default_rng(9)
    order = np.stack([rng.permutation(ITEMS) for _ in range(TRIALS)])
    step = rng.integers(0, ITEMS, TRIALS)
    keys, values = (np.full((MEMBERS, TRIALS, ITEMS + 1, n), np.nan) for n in (KEY, VALUE))
    for member in range(MEMBERS):
        keys[member, :, :ITEMS] = random_frame(KEY, ITEMS, rng).T
        values[member, :, :ITEMS] = random_frame(VALUE, ITEMS, rng).T[order]
    age = ITEMS - 1 - step
    log = _query_last(keys, values, step, np.asarray(STRENGTH * KEEP**age, dtype=float))
    writes = np.arange(ITEMS + 1) < ITEMS
    rule = tuple(np.where(writes, x, np.nan) for x in (STRENGTH, 0.0, KEEP))
    memory = _log(keys, values, rule, *log, {"kind": "linear", "reads": "before"})
    written = np.column_stack([order, np.full(TRIALS, -1)])
    return trace_of({"store": memory}, _events(written, order[np.arange(TRIALS), step]), {}), age


Array = NDArray[np.float64]


def _query_last(keys: Array, values: Array, step: NDArray[np.intp], weight: Array) -> tuple[Array, Array]:
    """Return queries and answers (member, trial, time, read, …): the last step reads what was written at ``step``."""
    trials = np.arange(len(step))
    queries, answers = (np.full_like(x, np.nan)[..., None, :] for x in (keys, values))
    queries[:, trials, -1, 0] = keys[:, trials, step]
    answers[:, trials, -1, 0] = weight[:, None] * values[:, trials, step]
    return queries, answers


def _log(
    keys: Array, values: Array, rule: tuple[Array, ...], queries: Array, answers: Array, kind: dict[str, Any]
) -> dict[str, Any]:
    """Return a memory of `trace_of`; ``rule`` holds strength, erase and keep by step (time,)."""
    strength, erase, keep = (np.broadcast_to(x, keys.shape[:3]) for x in rule)
    log = {"write_key": keys, "write_value": values, "write_strength": strength, "write_erase": erase}
    log |= {"write_keep": keep, "read_query": queries, "read_value": answers}
    return {name: array.astype(np.float32) for name, array in log.items()} | {"rule": kind}


def _events(written: NDArray[np.intp], asked: NDArray[np.intp]) -> dict[str, NDArray[np.intp]]:
    """Return the events (trial, time) of trials that query an item at their last step."""
    asks = np.full_like(written, -1)
    asks[:, -1] = asked
    return {"written": written, "asked": asks, "trial": np.zeros_like(written)}
