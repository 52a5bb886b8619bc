"""Which write does a read find where an item is asked for? Scores of `match` for every member of a folder's runs.

With a convolution the steps after an item's have seen it too, and a read may find any of their writes. Of the memories
of a member, one for each layer and head, and of the delays that its convolution allows, the pair that finds most on
some rows is scored on others.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure

from analysis.memory.log import memory_names, memory_rule, select
from analysis.memory.matching import match_memories
from analysis.memory.queries import queried_writes, read_queries
from analysis.memory.query_scores import score_queries
from emt.commands.script import run_script
from emt.config import RunConfig
from emt.record import load_members, record_run
from experiments.rates import Panel, Rates, draw_rates, over_rates, report, rows_of_members
from experiments.recall.configs import TITLES
from experiments.recall.summary import TASKS, describe, one_task, runs_by_condition

ROWS = 32
"""Rows that a memory is chosen on, and others that it is scored on."""

LAGS = (-1, 0, 1, 2, 3)
"""Steps after the write of the item, of which the share of a read's weight is said."""

MEASURES = ("accuracy", "score", "chance", "shuffled", "score_sign", "score_magnitude")


def main(arguments: list[str] | None = None) -> int:
    """Parse, record, match, save, print; return the exit code."""
    return report(arguments, "experiments.recall.mechanism", __doc__, TASKS, members_of, summarise, draw)


def members_of(run: Path, config: RunConfig) -> list[dict[str, Any]]:
    """Return a row for each finished member of a run whose model keeps an associative memory."""
    rows = rows_of_members(run, config)
    if not rows:
        return []
    loaded = load_members(run, config, list(rows))
    if not loaded.model.memories:
        return []
    length, seed = loaded.task.lengths[0], config.training.seed
    choosing, scoring = (
        record_run(loaded, loaded.task.test_batch(seed + part, length, 1, ROWS), length) for part in (1, 2)
    )
    for place, row in enumerate(rows.values()):
        one = (select(recording, member=[place]) for recording in (choosing, scoring))
        row |= {**describe(config), **finds(*one)}
    return list(rows.values())


def finds(choosing: xr.DataTree, scoring: xr.DataTree) -> dict[str, Any]:
    """Return what the best memory of a member on some rows finds on others, and how many of these it answers rightly.

    Parameters
    ----------
    choosing, scoring
        Recordings of one member.

    Returns
    -------
    dict
        ``memory`` and ``delay``, by how many steps the write that is found comes after the item's step; columns of
        `match` for these writes (`score`, `chance`, `shuffled`, `score_sign`, `score_magnitude`), ``p`` of exchanged
        trials, and the mean share of a read's weight at steps around the item's, ``lag_0`` and so on.
    """
    memory, delay = best_memory(choosing)
    at_item = match_memories(scoring, memory=memory, trials=0)
    result = match_memories(delayed(scoring, delay), memory=memory, trials=0) if delay else at_item
    row, share = result.scores.iloc[0], at_item.aligned["share"].loc[memory, 1]
    scored = scoring["scored"].to_numpy() > 0
    right = scoring["outputs"].to_numpy()[0].argmax(axis=-1) == scoring["targets"].to_numpy().argmax(axis=-1)
    return {
        "accuracy": right[scored].mean(),
        "memory": memory,
        "delay": delay,
        **{name: row[name] for name in MEASURES[1:]},
        "p": result.tests[memory].row()["p_trials"],
        **{f"lag_{lag}": share.get(lag, np.nan) for lag in LAGS},
    }


def best_memory(recording: xr.DataTree) -> tuple[str, int]:
    """Return the memory of one member, and the delay, whose writes are most often a read's largest weight."""
    best, highest = ("", 0), -1.0
    for memory in memory_names(recording, None):
        reading = read_queries(recording, memory)
        asks, ranked = reading.asks, reading.ranked()
        for delay in range(memory_rule(recording, memory).get("mixes", 1)):
            held = queried_writes(delayed(recording, delay), asks.sequence, asks.step, asks.items)
            score = float(np.nanmean(score_queries(ranked, held, asks.wanted)[0]))
            if score > highest:
                best, highest = (memory, delay), score
    return best


def delayed(recording: xr.DataTree, delay: int) -> xr.DataTree:
    """Return a recording in which items are written so many steps later."""
    written = recording["written"]
    return recording.assign(written=written.shift(time=delay, fill_value=-1))


def summarise(members: pd.DataFrame) -> Rates:
    """Return the tables of members: by run and learning rate, with shares of weight by lag, and as they are."""
    one_task(members)
    return over_rates("recall_match", members, MEASURES, shares)


def shares(group: pd.DataFrame) -> Mapping[str, Any]:
    """Return how many members find more than chance, of all and of those that have learned the task."""
    found, learned = group["p"] <= 0.05, group["accuracy"] > 0.99
    return {
        "median_delay": group["delay"].median(),
        "share_above_chance": found.mean(),
        "learned": int(learned.sum()),
        "learned_above_chance": int((learned & found).sum()),
        **group[[f"lag_{lag}" for lag in LAGS]].mean(),
    }


def draw(summary: Rates) -> dict[str, Figure]:
    """Return the figure by its name."""
    shown, members = runs_by_condition(summary), summary.members
    panels = [Panel(title, "score", shown[name]) for name, title in TITLES.items() if name in shown]
    subject = f"{members['task'].iloc[0]}: reads that find the item"
    figure = draw_rates(summary, panels, subject, members["chance"].mean(), label="score of match")
    return {"match_over_rates": figure}


if __name__ == "__main__":
    sys.exit(run_script("mechanism", main))
