"""How much do networks differ that learnt the same task? In answers, in dynamics, in weights, over settings.

Huang, Singh, Martinelli & Rajan (NeurIPS 2025) call it degeneracy: networks of different seeds solve a task alike on
the trials they were trained on, and may differ on others (behaviour), in how their states move (dynamics) and in their
weights. The definitions here are those of this package, so that trends are compared with theirs, not numbers.

Seeds are the sample: intervals of means over pairs leave out one member at a time (`analysis.statistics.pairs`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.degeneracy.networks import Networks
from analysis.degeneracy.settings import (
    HEADLINES,
    Setting,
    levels_table,
    pairs_table,
    settings_table,
    trends_table,
)
from analysis.errors import AnalysisError
from analysis.parallel import counted
from analysis.result import Result
from analysis.statistics import LEVEL, number_text
from emt import trace

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Degeneracy(Result):
    """Differences between seeds, over settings.

    Attributes
    ----------
    settings
        Indexed by (label, measure): ``level``; ``setting``, the value that settings differ in, NaN without one;
        ``estimate`` with its interval and standard ``error``, the jackknife's over members; of dynamics ``floor``, mean
        distance of a member to itself over halves of the trials, and whether it is at most half of the estimate,
        ``resolved``; ``n`` members. ``loss_spread`` is the standard deviation of log losses over members,
        ``disagreement`` the share of judged steps with different answers, ``unmatched`` what ``weights_relative`` is
        with units in random order.
    trends
        Indexed by measure: ``slope`` over the setting with its interval, ``p`` and ``p_holm`` over measures, ``df``,
        and ``per`` what step of the setting. Empty where settings do not differ in one number.
    levels
        Indexed by (label, first, second): ``rank_correlation`` of two levels over pairs of members, p of a test that
        permutes members (`mantel_test`), smallest_p, n; and under the label "over settings" the rank correlation of the
        settings' estimates, without p.
    pairs
        Indexed by (label, first, second): all distances of two members.
    members
        Indexed by (label, model_name): ``loss``, ``accuracy``, and floors of dynamics.
    setting
        Name of what settings differ in, empty without one.
    trials
        On which trials answers were compared, by label.
    components
        Of the linear models, by label.
    remark
        What could not be compared, and why; empty where nothing.
    """

    settings: pd.DataFrame
    trends: pd.DataFrame
    levels: pd.DataFrame
    pairs: pd.DataFrame
    members: pd.DataFrame
    setting: str
    trials: Mapping[str, str]
    components: Mapping[str, int]
    remark: str = ""

    @property
    def sizes(self) -> dict[str, int]:
        """Members of each setting, in order."""
        counts = self.members.groupby(level="label", sort=False).size()
        return {str(label): int(n) for label, n in counts.items()}

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return settings, trends, levels, pairs and members."""
        return {
            f"degeneracy_{name}": getattr(self, name)
            for name in ("settings", "trends", "levels", "pairs", "members")
        }

    def headline(self) -> str:
        """Say how far members are apart, how that changes over settings, and whether levels go together."""
        lines = [f"{label} (n = {n}): {self._of(label)}" for label, n in self.sizes.items()]
        if len(self.trends):
            told = [
                _trend_text(name, row)
                for name, row in self.trends.iterrows()
                if name in (*HEADLINES, "weights_per_unit")
            ]
            lines.append(f"{self.setting}: {'; '.join(told)}")
        if together := self._together():
            lines.append(f"pairs of members, rank correlations of levels: {together}")
        return "\n".join(filter(None, [*lines, self.remark]))

    def _of(self, label: str) -> str:
        rows = self.settings.loc[label]
        told = []
        for name in HEADLINES:
            if name not in rows.index:
                continue
            row = rows.loc[name]
            text = f"{name} {_interval_text(row['estimate'], row['low'], row['high'])}"
            if np.isfinite(row["floor"]):
                verdict = "" if row["resolved"] else ": not resolved"
                text += f" [floor {row['floor']:.3f}{verdict}]"
            if name == "weights_relative":
                text += f" [units in random order {rows.loc['unmatched', 'estimate']:.3f}]"
            told.append(text)
        if "loss_spread" in rows.index:
            told.insert(
                0, f"accuracy {self.members.loc[label, 'accuracy'].mean():.3f} on {self.trials[label]}"
            )
        return ", ".join(told)

    def _together(self) -> str:
        rows = self.levels.drop("over settings", level="label", errors="ignore").dropna(
            subset="rank_correlation"
        )
        told = []
        for (first, second), group in rows.groupby(level=["first", "second"], sort=False):
            low, high = group["rank_correlation"].min(), group["rank_correlation"].max()
            span = f"{low:z.2f}" if len(group) == 1 else f"{low:z.2f} to {high:z.2f}"
            found = int((group["p"] <= LEVEL).sum())
            told.append(f"{first} and {second} {span} (p ≤ .05 in {found} of {len(group)})")
        return "; ".join(told)


def measure_degeneracy(
    networks: Mapping[str, Networks],
    *,
    setting: str = "",
    scale: Literal["auto", "log2", "linear", "order"] = "auto",
    components: int = 10,
    dsa: bool = False,
    seed: int = 0,
) -> Degeneracy:
    """Measure how much members that learnt the same task differ in answers, dynamics and weights.

    Parameters
    ----------
    networks
        recorded members by label, each label a setting
    setting
        option in which settings differ, such as hidden_dim (default: the one number that does)
    scale
        of trends: its doublings, its units, or its order (default: log2 where all values are positive, else order)
    components
        principal components of the linear models of dynamics
    dsa
        also compare dynamics by DSA and InputDSA of the package dsa-metric, which need the extra "similarity"
    seed
        seed of permutations and random orders

    Raises
    ------
    AnalysisError
        If there are fewer than two members, nothing can be compared, or settings have no such option.

    Examples
    --------
    >>> networks = Networks(trace.load("demo/repeat_copy/traces/seq8.nc"))
    >>> degeneracy = measure_degeneracy({"repeat copy": networks})
    >>> degeneracy
    Degeneracy: repeat copy (n = 5): accuracy ...
    >>> degeneracy.settings.loc["repeat copy"].index[:4].tolist()
    ['loss_spread', 'disagreement', 'dmd', 'dmdc']
    """
    if components < 1:
        raise AnalysisError(f"must be at least 1; got {components}", parameter="components")
    _values_of(networks, setting)
    found = {
        label: Setting.of(label, own, components, dsa, seed)
        for label, own in counted(list(networks.items()), "settings")
    }
    return compare_settings(networks, found, setting=setting, scale=scale, seed=seed)


def compare_settings(
    networks: Mapping[str, Networks],
    found: Mapping[str, Setting],
    *,
    setting: str = "",
    scale: str = "auto",
    seed: int = 0,
) -> Degeneracy:
    """Return the tables of settings that were measured already; parameters and errors are those above."""
    name, at = _values_of(networks, setting)
    if not any(one.statistics for one in found.values()):
        raise AnalysisError("; ".join(dict.fromkeys(why for one in found.values() for why in one.refused)))
    return Degeneracy(
        settings=settings_table(found, at),
        trends=trends_table(found, at, scale, _same_seeds(networks)),
        levels=levels_table(found, seed),
        pairs=pairs_table(found),
        members=pd.concat({label: one.members for label, one in found.items()}, names=["label"]),
        setting=name,
        trials={label: _trials_text(own) for label, own in networks.items()},
        components={label: one.components for label, one in found.items()},
        remark=_remark(found),
    )


def _values_of(networks: Mapping[str, Networks], setting: str) -> tuple[str, Array]:
    """Return the name of what settings differ in, and its value in each; empty and NaN without one."""
    options = [own.options for own in networks.values()]
    known = [
        name
        for name in dict.fromkeys(n for own in options for n in own)
        if all(_is_number(own.get(name)) for own in options)
    ]
    if setting and setting not in known:
        raise AnalysisError(
            f"must be a number that all settings have, such as {', '.join(known[:8]) or 'none here'}; got {setting!r}",
            parameter="setting",
        )
    different = [name for name in known if len({float(own[name]) for own in options}) > 1]
    name = setting or (different[0] if len(different) == 1 else "")
    return name, np.array([float(own[name]) if name else np.nan for own in options])


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _same_seeds(networks: Mapping[str, Networks]) -> bool:
    """Whether all settings have the same seeds in the same order, each once."""
    seeds = [trace.about(own.recording).seeds for own in networks.values()]
    return bool(seeds[0]) and len(set(seeds)) == 1 and len(set(seeds[0])) == len(seeds[0])


def _trials_text(networks: Networks) -> str:
    if networks.outside is None:
        return "trials like those in training"
    changes = trace.about(networks.outside).outside
    return "trials with " + ", ".join(f"{name} = {value}" for name, value in changes.items())


def _remark(found: Mapping[str, Setting]) -> str:
    """Return why levels are missing, of which settings where not of all."""
    reasons: dict[str, list[str]] = {}
    for label, one in found.items():
        for why in one.refused:
            reasons.setdefault(why, []).append(label)
    told = [
        why if len(labels) == len(found) else f"{', '.join(labels)}: {why}" for why, labels in reasons.items()
    ]
    text = "; ".join(told)
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _interval_text(estimate: float, low: float, high: float) -> str:
    number = number_text(estimate, 3)
    return number if np.isnan(low) else f"{number} ({number_text(low, 3)} to {number_text(high, 3)})"


def _trend_text(name: Any, row: pd.Series) -> str:
    digits = 4
    numbers = [f"{row[column]:+z.{digits}f}" for column in ("slope", "low", "high")]
    span = "" if np.isnan(row["low"]) else f" ({numbers[1]} to {numbers[2]})"
    return f"{name} {numbers[0]}{span} per {row['per']}"
