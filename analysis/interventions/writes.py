"""What interventions on writes of a memory say: doses, single writes, and which read it was."""

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
DIRECT = {target: f"{name}, at the query" for target, name in TOTAL.items()}
"""Conditions by what is removed: right after it was written, and right before the query."""


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
    """Return the mean accuracy by (item, steps before the query) without the write there; items -1 where many."""
    chosen = [k for k, c in enumerate(conditions) if c.kind == "map"]
    if not chosen:
        return pd.DataFrame()
    items = effects["item"].values
    if len(np.unique(items)) > MOST_ITEMS:
        items = np.full_like(items, -1)
    rows = []
    for k in chosen:
        right = effects["right"].values[:, k]
        for item in np.unique(items):
            values = right[:, items == item]
            known = np.isfinite(values)
            rows.append(
                {
                    "item": int(item),
                    "steps_before": int(conditions[k].target.removeprefix("lag ")),
                    "accuracy": float(values[known].mean()) if known.any() else np.nan,
                    "queries": int(known.any(axis=0).sum()),
                }
            )
    return pd.DataFrame(rows).set_index(["item", "steps_before"])


def path_points(effects: xr.Dataset, conditions: Sequence[Said]) -> pd.DataFrame:
    """Return how much margin each removal cost, in all (``total``) and by the query's own reads alone (``direct``).

    A row for each (model_name, target, query); empty where nothing was removed right before the query.
    """
    names = [c.name for c in conditions]
    if not {"unchanged", *TOTAL.values(), *DIRECT.values()} <= set(names):
        return pd.DataFrame()
    margin = effects["margin"].values.astype(float)
    base = margin[:, names.index("unchanged")]
    members = [f"model-{number}" for number in effects["member"].values]
    found = {
        target: pd.DataFrame(
            {
                "total": (base - margin[:, names.index(TOTAL[target])]).ravel(),
                "direct": (base - margin[:, names.index(DIRECT[target])]).ravel(),
            },
            index=pd.MultiIndex.from_product([members, range(base.shape[1])], names=["model_name", "query"]),
        )
        for target in TOTAL
    }
    return pd.concat(found, names=["target"]).reorder_levels(["model_name", "target", "query"])


def path_table(points: pd.DataFrame) -> pd.DataFrame:
    """Return for each member how well the direct effect of a removal predicts the total one.

    ``r2`` = 1 − Σ(total − direct)² / Σ(total − mean)² over removals of queried and other items, and ``bias``,
    mean direct over mean total, of queried ones: among these alone all totals are alike, and an R² says little.
    """
    if points.empty:
        return pd.DataFrame()
    rows = {}
    for name, own in points.dropna().groupby("model_name", sort=False):
        total, direct = own["total"].to_numpy(), own["direct"].to_numpy()
        queried = own.xs("queried", level="target")
        spread = np.square(total - total.mean()).sum()
        rows[name] = {
            "r2": _ratio_below_one(np.square(total - direct).sum(), spread),
            "bias": float(queried["direct"].mean() / queried["total"].mean()),
            "total": float(queried["total"].mean()),
            "direct": float(queried["direct"].mean()),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model_name")


def _ratio_below_one(part: float, whole: float) -> float:
    return 1 - part / whole if whole > 0 else float("nan")


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
