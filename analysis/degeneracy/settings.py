"""What is found of one setting, and tables of several: estimates, trends, levels side by side, pairs of members."""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.degeneracy.behaviour import Behaviour, measure_behaviour
from analysis.degeneracy.dynamics import dynamics_distances
from analysis.degeneracy.networks import Networks
from analysis.degeneracy.units import units_of, weight_distances
from analysis.errors import AnalysisError
from analysis.statistics import Jackknife, holm, jackknife, mantel_test, pair_mean, rank_correlation, trend
from emt import trace

Array = NDArray[np.float64]

LEVELS = {
    "loss_spread": "behaviour",
    "disagreement": "behaviour",
    "dmd": "dynamics",
    "dmdc": "dynamics",
    "dsa": "dynamics",
    "input_dsa": "dynamics",
    **{
        f"{kind}{end}": "weights"
        for kind in ("weights", "recurrent")
        for end in ("", "_per_unit", "_relative")
    },
    "unmatched": "weights",
}
"""Measures by name, and the level that each is of."""

SHARES = ("disagreement",)
"""Measures between 0 and 1."""

HEADLINES = ("disagreement", "dmdc", "weights_relative")
"""The measure of each level that headlines and comparisons of levels take."""

UNRESOLVED = 0.5
"""Share of a distance of dynamics above which its floor makes it one that is not resolved."""

_PER = {"log2": "doubling", "linear": "unit", "order": "setting"}


@dataclass(frozen=True)
class Setting:
    """What was found of one setting.

    Attributes
    ----------
    distances
        Of members (member, member), by measure.
    statistics
        What is compared between settings, by measure.
    floors
        Of dynamics, by measure.
    members
        Table of members.
    components
        Of the linear models of dynamics.
    refused
        Why levels are missing.
    """

    distances: dict[str, Array]
    statistics: dict[str, Jackknife]
    floors: dict[str, float]
    members: pd.DataFrame
    components: int
    refused: tuple[str, ...]

    @classmethod
    def of(cls, label: str, networks: Networks, components: int, dsa: bool, seed: int) -> "Setting":
        """Measure all that can be."""
        if len(networks.names) < 2:
            raise AnalysisError(
                f"{label}: expected at least two members; got {len(networks.names)}", parameter="networks"
            )
        distances: dict[str, Array] = {}
        statistics, floors, refused, used = {}, {}, [], 0
        members = pd.DataFrame(index=pd.Index(networks.names, name="model_name"))
        try:
            behaviour = _behaviour(networks)
            members["loss"], members["accuracy"] = behaviour.loss, behaviour.accuracy
            distances["disagreement"] = behaviour.disagreement
            statistics["loss_spread"] = _spread(behaviour.loss)
        except AnalysisError as error:
            refused.append(str(error))
        try:
            dynamics, used = dynamics_distances(networks.recording, components=components, dsa=dsa)
            for name, halves in dynamics.items():
                distances[name], floors[name] = halves.distances, float(halves.floor.mean())
                members[f"{name}_floor"] = halves.floor
        except AnalysisError as error:
            if error.parameter is not None:
                raise
            refused.append(str(error))
        try:
            distances |= weight_distances(units_of(networks.recording), seed)
        except AnalysisError as error:
            refused.append(str(error))
        statistics |= {name: pair_mean(matrix) for name, matrix in distances.items()}
        return cls(distances, statistics, floors, members, used, tuple(refused))


def _behaviour(networks: Networks) -> Behaviour:
    answered = networks.answered
    if trace.member_names(answered) != networks.names:
        raise AnalysisError(
            "no comparison of answers: trials outside of training were recorded of other members (evaluate again)"
        )
    return measure_behaviour(answered)


def _spread(loss: Array) -> Jackknife:
    """Return the standard deviation of log losses: that of losses would grow with their mean."""
    with np.errstate(divide="ignore"):
        logs = np.log(loss)
    return jackknife(_std, logs)


def _std(values: Array) -> float:
    known = len(values) > 1 and np.isfinite(values).all()
    return float(np.std(values, ddof=1)) if known else np.nan


def settings_table(found: Mapping[str, Setting], at: Array) -> pd.DataFrame:
    """Return estimates with intervals and floors, by label and measure; ``at`` is each setting's number."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for (label, one), value in zip(found.items(), at, strict=True):
        for name in _ordered(one.statistics):
            statistic = one.statistics[name]
            interval = statistic.interval((0.0, 1.0 if name in SHARES else np.inf))
            floor = one.floors.get(name, np.nan)
            rows[label, name] = {
                "level": LEVELS[name],
                "setting": value,
                "estimate": interval.estimate,
                "low": interval.low,
                "high": interval.high,
                "error": statistic.error,
                "floor": floor,
                "resolved": None if np.isnan(floor) else bool(floor <= UNRESOLVED * interval.estimate),
                "n": statistic.n,
            }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis(["label", "measure"])


def _ordered(names: Iterable[str]) -> list[str]:
    held = set(names)
    return [name for name in LEVELS if name in held]


def trends_table(found: Mapping[str, Setting], at: Array, scale: str, paired: bool) -> pd.DataFrame:
    """Return slopes of all measures over settings; empty where these do not differ in a number.

    Raises
    ------
    AnalysisError
        If the scale does not fit the numbers.
    """
    columns = ["slope", "low", "high", "p", "p_holm", "df", "per", "paired", "n"]
    empty = pd.DataFrame(columns=columns, index=pd.Index([], name="measure"))
    if len(set(at[np.isfinite(at)])) < 2:
        return empty
    if scale == "auto":
        scale = "log2" if (at > 0).all() else "order"
    if scale == "log2" and not (at > 0).all():
        raise AnalysisError(
            f"must be linear or order for values that are not all positive; got {scale!r}", parameter="scale"
        )
    place = {
        "log2": lambda: np.log2(at),
        "linear": lambda: at,
        "order": lambda: np.unique(at, return_inverse=True)[1],
    }[scale]()
    rows = {}
    for name in _ordered(set.intersection(*(set(one.statistics) for one in found.values()))):
        slope = trend([one.statistics[name] for one in found.values()], place, paired=paired)
        interval = slope.interval
        rows[name] = {
            "slope": interval.estimate,
            "low": interval.low,
            "high": interval.high,
            "p": slope.p,
            "df": slope.df,
            "per": _PER[scale],
            "paired": slope.paired,
            "n": interval.n,
        }
    if not rows:
        return empty
    table = pd.DataFrame.from_dict(rows, orient="index").rename_axis("measure")
    table["p_holm"] = holm(table["p"])
    return table[columns]


def levels_table(found: Mapping[str, Setting], seed: int) -> pd.DataFrame:
    """Return rank correlations of levels, over pairs of members of each setting and over settings."""
    rows = {}
    for label, one in found.items():
        for first, second in _two_of(name for name in HEADLINES if name in one.distances):
            test = mantel_test(one.distances[first], one.distances[second], seed)
            rows[label, first, second] = {
                "rank_correlation": test.statistic,
                "p": test.p,
                "smallest_p": test.smallest_p,
                "n": test.n,
            }
    if len(found) > 2:
        common = set.intersection(*(set(one.distances) for one in found.values()))
        for first, second in _two_of(name for name in HEADLINES if name in common):
            means = [[one.statistics[name].estimate for one in found.values()] for name in (first, second)]
            rows["over settings", first, second] = {
                "rank_correlation": rank_correlation(means[0], means[1]),
                "p": np.nan,
                "smallest_p": np.nan,
                "n": len(found),
            }
    names = ["label", "first", "second"]
    table = pd.DataFrame(list(rows.values()), columns=["rank_correlation", "p", "smallest_p", "n"])
    table.index = pd.MultiIndex.from_tuples(list(rows), names=names)
    return table


def _two_of(names: Iterable[str]) -> list[tuple[str, str]]:
    return list(itertools.combinations(names, 2))


def pairs_table(found: Mapping[str, Setting]) -> pd.DataFrame:
    """Return all distances of two members, by label."""
    tables = {}
    for label, one in found.items():
        names = one.members.index
        first, second = np.triu_indices(len(names), 1)
        index = pd.MultiIndex.from_arrays([names[first], names[second]], names=["first", "second"])
        columns = {name: one.distances[name][first, second] for name in _ordered(one.distances)}
        tables[label] = pd.DataFrame(columns, index=index)
    return pd.concat(tables, names=["label"])
