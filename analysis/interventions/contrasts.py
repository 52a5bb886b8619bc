"""Conditions against their controls: the mean over queries in each member, and members as the sample."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from analysis.statistics import (
    Interval,
    PermutationTest,
    holm,
    mean_interval,
    proportion_interval,
    sign_flip_test,
)
from emt.effects import Said

Array = NDArray[np.float64]

SCORES = ("right", "counterfactual_right", "kept_right", "margin", "probability")


DESCRIBED = ("kind", "edit", "part", "after", "target", "amount", "at", "source", "aligned", "control")
"""What a table says of a condition."""

EXCHANGES = ("swap", "set")
"""Edits that call for an answer, that of their source."""


def member_means(effects: xr.Dataset, conditions: Sequence[Said]) -> pd.DataFrame:
    """Return the mean over queries of every score, by (model_name, condition), and how many queries count.

    ``effect`` is the share of right answers under a condition's control minus that under the condition, over
    the queries that both score; NaN for a condition without control. Where values are exchanged, and the
    control's too, it is the share of answers that are the source's, minus that under the control. ``mismatch``
    is the larger standardised difference of distance from the query and size between the writes that a
    condition and its control change.
    """
    names = [condition.name for condition in conditions]
    members = [f"model-{number}" for number in effects["member"].values]
    index = pd.MultiIndex.from_product([members, names], names=["model_name", "condition"])
    columns = {name: _mean(effects[name].values).ravel() for name in SCORES}
    right = effects["right"].values.astype(float)
    columns["queries"] = np.isfinite(right).sum(axis=-1).ravel()
    columns |= {
        "lag": np.tile(_mean(effects["lag"].values), len(members)),
        "norm": _mean(effects["norm"].values).ravel(),
        "share": _mean(effects["share"].values).ravel(),
    }
    sources = effects["counterfactual_right"].values.astype(float)
    columns["effect"] = _differences(conditions, right, sources).ravel()
    columns["mismatch"] = _mismatches(conditions, effects).ravel()
    columns["margin_effect"] = _differences(conditions, effects["margin"].values.astype(float), None).ravel()
    return pd.DataFrame(columns, index=index)


def _differences(conditions: Sequence[Said], values: Array, sources: Array | None) -> Array:
    """Return control minus condition, means over queries (member, condition); of answers of sources the reverse."""
    place = {condition.name: k for k, condition in enumerate(conditions)}
    found = np.full(values.shape[:2], np.nan)
    for k, condition in enumerate(conditions):
        if not condition.control:
            continue
        control = place[condition.control]
        if sources is not None and condition.edit == conditions[control].edit in EXCHANGES:
            found[:, k] = _mean(sources[:, k]) - _mean(sources[:, control])
        else:
            found[:, k] = _mean(values[:, control] - values[:, k])
    return found


def _mismatches(conditions: Sequence[Said], effects: xr.Dataset) -> Array:
    """Return how far the changed writes are from those of the control, (member, condition).

    The larger of the standardised differences of their distance from the query and of their size: that of means
    over the root mean square of standard deviations, over queries. NaN where one of the two changes no write.
    """
    place = {condition.name: k for k, condition in enumerate(conditions)}
    lag, norm = effects["lag"].values.astype(float), effects["norm"].values.astype(float)
    found = np.full(norm.shape[:2], np.nan)
    for k, condition in enumerate(conditions):
        if condition.control:
            control = place[condition.control]
            of_lag = standardised(lag[None, k], lag[None, control])
            found[:, k] = np.fmax(of_lag, standardised(norm[:, k], norm[:, control]))
    return found


def standardised(values: Array, others: Array) -> Array:
    """Return |mean − mean| / √((variance + variance) / 2) of values (…, query), 0 where they do not differ.

    >>> standardised(np.array([1.0, 3.0]), np.array([2.0, 4.0])).item()
    1.0
    """
    means = np.abs(_mean(values) - _mean(others))
    spread = np.sqrt((_variance(values) + _variance(others)) / 2)
    known = np.divide(means, spread, out=np.full(means.shape, np.inf), where=spread > 0)
    return np.where(np.isnan(means), np.nan, np.where(means == 0, 0.0, known))


def _variance(values: Array) -> Array:
    return _mean(np.square(values - _mean(values)[..., None]))


def _mean(values: Array) -> Array:
    """Return the mean over the last axis of what is finite; NaN without any."""
    known = np.isfinite(values)
    total = known.sum(axis=-1)
    sums = np.where(known, values, 0.0).sum(axis=-1, dtype=float)
    return np.divide(sums, total, out=np.full(total.shape, np.nan), where=total > 0)


def population_rows(members: pd.DataFrame, conditions: Sequence[Said]) -> pd.DataFrame:
    """Return a row for each condition: means over members with intervals, and the test against its control.

    ``mismatch`` says how far the changed writes are from those of the control (`member_means`), in standard
    deviations. ``p`` is that of the sign-flip test over members, ``p_holm`` corrected for the number of
    conditions of this kind that were tested, of variables for this part and step, ``smallest_p`` what it could
    be at least. The interval of a single member's accuracy is over its trials (Wilson).
    """
    rows = {condition.name: _row(members, condition) for condition in conditions}
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("condition")
    of_variables = table["kind"] == "variables"
    family = [table["kind"], table["after"].where(of_variables, 0), table["part"].where(of_variables, "")]
    corrected = table.groupby(family, sort=False)["p"].transform(holm)
    table.insert(int(table.columns.tolist().index("p")) + 1, "p_holm", corrected)
    return table


def _row(members: pd.DataFrame, condition: Said) -> dict[str, object]:
    own = members.xs(condition.name, level="condition")
    accuracy = share_interval(own)
    row: dict[str, object] = {
        **{name: getattr(condition, name) for name in DESCRIBED},
        "n": accuracy.n,
        "accuracy": accuracy.estimate,
        "low": accuracy.low,
        "high": accuracy.high,
    }
    effect = mean_interval(own["effect"], bounds=(-1.0, 1.0))
    test = effect_test(own["effect"])
    control = (
        members.xs(condition.control, level="condition")["right"].mean() if condition.control else math.nan
    )
    row |= {
        "control_accuracy": control,
        "effect": effect.estimate,
        "effect_low": effect.low,
        "effect_high": effect.high,
        "p": test.p,
        "smallest_p": test.smallest_p,
    }
    for name in (*SCORES[1:], "margin_effect", "lag", "norm", "share", "mismatch"):
        row[name] = own[name].mean()
    return row


def effect_test(effects: pd.Series) -> PermutationTest:
    """Return the test over members that an effect is as likely of either sign."""
    return sign_flip_test(effects)


def share_interval(own: pd.DataFrame) -> Interval:
    """Return the mean accuracy over members; the interval of a single member is over its trials."""
    known = own["right"].dropna()
    if len(known) == 1:
        interval = proportion_interval(float(known.iloc[0]), int(own.loc[known.index[0], "queries"]))
        return Interval(interval.estimate, interval.low, interval.high, 1)
    return mean_interval(known, bounds=(0.0, 1.0))
