"""What interventions on writes of a memory say: doses, single writes, and what a write is worth."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from analysis.interventions.contrasts import share_interval
from emt.effects import Said

MOST_ITEMS = 16
"""Items that a table of single writes tells apart."""

TOTAL = {"queried": "without queried", "other": "without other"}
"""Conditions by what is removed."""


def dose_table(members: pd.DataFrame, conditions: Sequence[Said]) -> pd.DataFrame:
    """Return accuracy with its interval by (target, amount): strengths of writes, 0 for none and 1 for all of it."""
    names = {
        (c.target, c.amount): c.name
        for c in conditions
        if c.kind == "dose" or (c.name in TOTAL.values() and c.edit == "scale")
    }
    if "dose" not in {c.kind for c in conditions}:
        return pd.DataFrame()
    names |= {(target, 1.0): "unchanged" for target in TOTAL if "unchanged" in {c.name for c in conditions}}
    rows = {}
    for key in sorted(names):
        interval = share_interval(members.xs(names[key], level="condition"))
        margin = members["margin"].xs(names[key], level="condition").mean()
        rows[key] = {
            "accuracy": interval.estimate,
            "low": interval.low,
            "high": interval.high,
            "margin": margin,
        }
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index = pd.MultiIndex.from_tuples(list(rows), names=["target", "amount"])
    return table


def map_table(effects: xr.Dataset, conditions: Sequence[Said]) -> pd.DataFrame:
    """Return the mean accuracy by (item, steps before the query) without the write there; items -1 where many.

    Beside it ``unchanged``, that of the same queries with it, NaN where these were not asked unchanged, and
    ``share``, how much of the weight of the query's reads that write has.
    """
    chosen = [k for k, c in enumerate(conditions) if c.kind == "map"]
    if not chosen:
        return pd.DataFrame()
    items = effects["item"].values
    if len(np.unique(items)) > MOST_ITEMS:
        items = np.full_like(items, -1)
    rows = []
    places = [k for k, c in enumerate(conditions) if c.name == "unchanged"]
    given = effects["right"].values
    before = given[:, places[0]] if places else np.full_like(given[:, 0], np.nan)
    shares = effects["share"].values
    for k in chosen:
        right = given[:, k]
        for item in np.unique(items):
            values = right[:, items == item]
            known = np.isfinite(values)
            rows.append(
                {
                    "item": int(item),
                    "steps_before": int(conditions[k].target.removeprefix("lag ")),
                    "accuracy": _mean_known(values),
                    "unchanged": _mean_known(before[:, items == item][known]),
                    "share": _mean_known(shares[:, k][:, items == item]),
                    "queries": int(known.any(axis=0).sum()),
                }
            )
    return pd.DataFrame(rows).set_index(["item", "steps_before"])


def _mean_known(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else np.nan


def worth(members: pd.DataFrame, names: Sequence[str]) -> NDArray[np.float64]:
    """Return which share of what the memory is worth a queried write is, (member,).

    (accuracy without another item's writes − without the queried ones) / (unchanged − without any write).
    """
    needed = ("without other", "without queried", "unchanged", "without any")
    if not set(needed) <= set(names):
        return np.array([])
    other, queried, base, floor = (members["right"].xs(n, level="condition").to_numpy() for n in needed)
    whole = base - floor
    return np.divide(other - queried, whole, out=np.full(len(whole), np.nan), where=whole > 0)
