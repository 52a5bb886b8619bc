"""How well the effect of a write is predicted: by the read of the query alone, and by a derivative.

Measured is the change of the margin when a write is removed, with all that follows. Predicted is the change when
only the edge from that write to the query's reads is cut: the step is run again with what the read loses, through
whatever norm or nonlinearity is behind it. The linear estimate is the derivative of the margin along the edge, as of
logits that are attributed to reads: exact where reads reach the outputs linearly, and misleading behind a norm.
"""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from emt.effects import Said

Array = NDArray[np.float64]

RESCALED = 0.01
"""Share of steps at which memories are divided by their norm, above which removals also act through the norm."""


def prediction_points(effects: xr.Dataset, conditions: Sequence[Said]) -> pd.DataFrame:
    """Return changes of the margin by each removal: ``measured``, ``predicted`` and the ``linear`` estimate.

    A row for each (model_name, target, query); empty without removals both of writes and of edges to queries.
    """
    names = [condition.name for condition in conditions]
    pairs = _pairs(conditions)
    if not pairs or "unchanged" not in names:
        return pd.DataFrame()
    margin = effects["margin"].values.astype(float)
    linear = effects["linear_margin"].values.astype(float)
    base = margin[:, names.index("unchanged")]
    members = [f"model-{number}" for number in effects["member"].values]
    index = pd.MultiIndex.from_product([members, range(base.shape[1])], names=["model_name", "query"])
    found = {
        conditions[edge].target: pd.DataFrame(
            {
                "measured": (margin[:, write] - base).ravel(),
                "predicted": (margin[:, edge] - base).ravel(),
                "linear": linear[:, edge].ravel(),
            },
            index=index,
        )
        for edge, write in pairs
    }
    return pd.concat(found, names=["target"]).reorder_levels(["model_name", "target", "query"])


def _pairs(conditions: Sequence[Said]) -> list[tuple[int, int]]:
    """Return the places of edges to queries that are cut, each with that of the removal of the same write."""
    removals: dict[tuple[str, str], int] = {}
    for place, one in enumerate(conditions):
        if (
            one.kind in ("writes", "checks", "map")
            and one.edit in ("scale", "skip")
            and not (one.amount or one.hold)
        ):
            removals.setdefault((one.part, one.target), place)
    return [
        (place, removals[one.part, one.target])
        for place, one in enumerate(conditions)
        if one.edit == "scale" and one.at == "query" and not one.amount
        if (one.part, one.target) in removals and "but" not in one.target
    ]


def prediction_table(points: pd.DataFrame, effects: xr.Dataset, conditions: Sequence[Said]) -> pd.DataFrame:
    """Return for each member how well removals are predicted.

    ``r2`` = 1 − Σ(m − p)² / Σ(m − mean m)² of predicted p and measured m over removals of every single write, and
    ``linear_r2`` of the linear estimates; ``bias``, mean p over mean m, and ``linear_bias`` of the queried writes
    alone, whose means are in ``measured``, ``predicted`` and ``linear``: among these all m are alike, and an R²
    says little. ``rescaled`` is the share of steps at which memories were divided by a norm above 1, and
    ``read_error`` how far reads were from what the logs of edited runs say of them, at most: rounding.
    """
    if points.empty:
        return pd.DataFrame()
    names = [condition.name for condition in conditions]
    shares = effects["rescaled"].values[:, names.index("unchanged")].tolist()
    errors = np.fmax.reduce(effects["read_error"].values, axis=1).tolist()
    rows = {}
    members = points.groupby("model_name", sort=False)
    for (name, own), rescaled, error in zip(members, shares, errors, strict=True):
        targets = own.index.get_level_values("target")
        single = own[targets.str.startswith("lag ")]
        # Where no single write within reach matters, as in a dictionary of few, all removals count.
        every = single if np.isfinite(r_squared(single["predicted"], single["measured"])) else own
        means = own[targets == "queried"].dropna(how="all").mean()
        rows[name] = {
            "r2": r_squared(every["predicted"], every["measured"]),
            "linear_r2": r_squared(every["linear"], every["measured"]),
            "bias": means["predicted"] / means["measured"],
            "linear_bias": means["linear"] / means["measured"],
            **means[["measured", "predicted", "linear"]],
            "rescaled": rescaled,
            "read_error": error,
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("model_name")


def r_squared(predicted: pd.Series, measured: pd.Series) -> float:
    """Return 1 − Σ(m − p)² / Σ(m − mean m)² over pairs that are both known; NaN where no m differs."""
    both = pd.DataFrame({"p": predicted, "m": measured}).dropna()
    spread = float(np.square(both["m"] - both["m"].mean()).sum())
    return 1 - float(np.square(both["m"] - both["p"]).sum()) / spread if spread > 0 else math.nan


def through_norm(members: pd.DataFrame, rescaled: float) -> float:
    """Return what the queried writes cost through the norm of their memory alone, in accuracy.

    The mean over members of the accuracy with the norm held minus that with it free; NaN where memories are hardly ever
    divided by a norm, or nothing was held.
    """
    held, free = "without queried, norm held", "without queried"
    known = set(members.index.get_level_values("condition"))
    if not {held, free} <= known or not rescaled > RESCALED:
        return math.nan
    right = members["right"]
    return float((right.xs(held, level="condition") - right.xs(free, level="condition")).mean())
