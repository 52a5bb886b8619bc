"""How much an associative memory holds: answers and contents by pairs stored and by key similarity, beside theory."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from analysis.errors import AnalysisError
from analysis.memory.capacity_lines import delta_rule, least_squares, mean_of_values, rank_floor, summed
from analysis.memory.capacity_points import Points, measure
from analysis.memory.log import further_text, memory_names, memory_rule, most_interesting, select
from analysis.parallel import counted
from analysis.result import Result
from analysis.statistics import UNBOUNDED, mean_interval
from emt import trace

BINS = 32
"""Numbers of pairs, or of steps, that are told apart; wider ranges are put in bins of equal width."""

SIMILARITY_BINS = 10
MOST_TOKENS = 40

BOUNDS = {
    "accuracy": (0.0, 1.0),
    **dict.fromkeys(("loss", "error", "plain_error"), (0.0, np.inf)),
    **dict.fromkeys(("left", "eigenvalue"), UNBOUNDED),
}
"""Columns with an interval over members, ``NAME_low`` and ``NAME_high``, and their smallest and largest values."""

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True)
class Capacity(Result):
    """How much the memories of a population hold.

    Numbers are means over members with 95 % intervals (Student t) in ``NAME_low`` and ``NAME_high``.

    Attributes
    ----------
    label
        What figures call this population.
    pairs
        By memory and number of pairs stored: ``accuracy`` of the answers of steps that ask for an item, and
        their ``loss`` if it is half a sum of squares; ``error`` of pairs read by their own keys (squared
        distance over squares of the values, after the best scaling; ``plain_error`` without any); the floor
        of that, for these values (``value_floor``) and for orthogonal ones (``rank_floor``), the expectations
        for random keys of a sum, one pass of the delta rule and least squares, and the floor of the loss.
    similarity
        The same measurements by the largest absolute cosine of a pair's key with another pair's.
    lags
        Answers, and the share of a write that is ``left``, by steps since the item was written.
    repeats
        Answers by how often the item was written, and the loss of the mean of its values.
    eigenvalues
        For each memory and member quantiles of the smallest eigenvalue of each write's transition (λ = a
        (1 - b ‖k‖²) of a plain erase), the ``share_negative``, and the mean keep.
    tokens
        The mean eigenvalue by token at the write.
    memories
        For each memory its kind and the number of features of its keys.
    shown
        Memories that are drawn and named in the headline: up to `analysis.memory.log.MOST_DRAWN`, those with
        the smallest error.
    transitions
        Eigenvalues of all writes of all members, by memory, for the histogram.
    mixes
        For each memory over how many tokens a write mixes.
    members, loss
        Number of members; whether answers have a loss that is drawn in place of accuracy.
    """

    label: str
    pairs: pd.DataFrame
    similarity: pd.DataFrame
    lags: pd.DataFrame
    repeats: pd.DataFrame
    eigenvalues: pd.DataFrame
    tokens: pd.DataFrame
    memories: pd.DataFrame
    shown: tuple[str, ...]
    transitions: Mapping[str, NDArray[np.float64]]
    mixes: Mapping[str, int]
    members: int
    loss: bool

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return all tables that have rows, without columns of what no member has."""
        names = ("pairs", "similarity", "lags", "repeats", "eigenvalues", "tokens", "memories")
        tables = {f"capacity_{name}": _known(getattr(self, name)) for name in names}
        return {name: table for name, table in tables.items() if table.size}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the eigenvalues that are drawn."""
        return {f"capacity_{name}_eigenvalues": self.transitions[name] for name in self.shown}

    def headline(self) -> str:
        """Return a line for each memory that is drawn."""
        lines = [self._headline(name) for name in self.shown]
        return "\n".join(lines + further_text(len(self.memories) - len(lines)))

    def _headline(self, memory: str) -> str:
        table = self.pairs.loc[memory].dropna(subset="error")
        features = int(self.memories.loc[memory, "features"])
        if not len(table):
            return f"memory {memory}: {features} features; no pair was written"
        last = table.iloc[-1]
        text = (
            f"memory {memory}: {features} features; of {table.index[-1]:.0f} pairs, read by their own keys, "
            f"{100 * last['error']:.1f} % of the squares are lost ({mean_text_of(last, 'error')})"
        )
        if self.memories.loc[memory, "kind"] == "linear":
            text += (
                f"; no keys lose less than {100 * last['value_floor']:.1f} %, random ones lose "
                f"{100 * last['sum']:.1f} % (sum) or {100 * last['delta']:.1f} % (delta rule)"
            )
            row = self.eigenvalues.loc[memory]
            text += (
                f"; eigenvalues of writes from {row['smallest'].min():.3g} to {row['largest'].max():.3g}, "
                f"{100 * row['share_negative'].mean():.1f} % below zero"
            )
        return text + self._answered(memory)

    def _answered(self, memory: str) -> str:
        name = "loss" if self.loss else "accuracy"
        table = self.pairs.loc[memory].dropna(subset=name)
        if not len(table):
            return ""
        last = table.iloc[-1]
        value = f"{last[name]:.4g}" if self.loss else f"{100 * last[name]:.1f} %"
        return f"; {name} of answers at {table.index[-1]:.0f} pairs: {value} ({mean_text_of(last, name)})"


def mean_text_of(row: pd.Series, name: str) -> str:
    """Return how sure a mean over members is, in words."""
    n = int(row[f"{name}_members"])
    interval = f"95 % interval {row[f'{name}_low']:.3g} to {row[f'{name}_high']:.3g}, " if n > 1 else ""
    return f"{interval}members: {n}"


def measure_capacity(
    recordings: Mapping[int, xr.DataTree], *, memory: str | None = None, sequences: int = 8
) -> Capacity:
    """Measure how many pairs associative memories hold, and compare it with what theory says.

    Parameters
    ----------
    recordings
        recorded runs of a population, by sequence length
    memory
        name of the memory, or a pattern such as layer3_* (default: all that the model keeps)
    sequences
        sequences whose contents are replayed, the first ones; answers are those of all

    Raises
    ------
    AnalysisError
        If the model keeps no such memory.

    Examples
    --------
    >>> capacity = measure_capacity({11: trace.load("demo/fast_weights/traces/seq11.nc")})
    >>> capacity
    Capacity: memory fast: 50 features; of 4 pairs, read by their own keys, ...
    >>> {"error", "error_low", "value_floor", "accuracy"} <= set(capacity.pairs.columns)
    True
    """
    if sequences < 1:
        raise AnalysisError(f"must be 1 or more; got {sequences}", parameter="sequences")
    first = next(iter(recordings.values()))
    names = memory_names(first, memory)
    points = {name: _points(recordings, name, sequences) for name in counted(names, "memories")}
    symbols, loss = first.sizes["target"], trace.about(first).loss == "half_squares"
    kinds = {name: memory_rule(first, name)["kind"] for name in names}
    memories = pd.DataFrame(
        {"kind": kinds, "features": {name: points[name][0].features for name in names}}
    ).rename_axis("memory")
    total = int(memories.loc[memories["kind"] == "linear", "features"].sum())
    linear = (memories["kind"] == "linear").all()
    pairs = {name: _by_pairs(points[name], kinds[name], total if loss and linear else None) for name in names}
    members = trace.member_names(first)
    return Capacity(
        label=trace.label(first),
        pairs=_stack(pairs),
        similarity=_stack({name: _by_similarity(points[name]) for name in names}),
        lags=_stack({name: _by_lag(points[name]) for name in names}),
        repeats=_stack({name: _by_writes(points[name], symbols if loss else None) for name in names}),
        eigenvalues=_eigenvalues(points, members),
        tokens=_stack({name: _by_token(points[name], trace.about(first).tokens) for name in names}),
        memories=memories,
        shown=most_interesting({name: -float(pairs[name]["error"].mean()) for name in names}),
        transitions={
            name: np.concatenate([one.eigenvalues["eigenvalue"].to_numpy() for one in points[name]])
            for name in names
        },
        mixes={name: memory_rule(first, name).get("mixes", 1) for name in names},
        members=len(members),
        loss=loss,
    )


def _points(recordings: Mapping[int, xr.DataTree], memory: str, sequences: int) -> list[Points]:
    """Return the measurements of each member, of all lengths together."""
    places = range(next(iter(recordings.values())).sizes["member"])
    return [
        Points.joined(
            [measure(select(one, member=[place]), memory, sequences) for one in recordings.values()]
        )
        for place in counted(places, f"members of {memory}")
    ]


def _by_pairs(points: list[Points], kind: str, features: int | None) -> pd.DataFrame:
    """Return the table by pairs; ``features`` are those of all memories together, for the floor of the loss."""
    table = _join(
        _averages([one.queries for one in points], "pairs", ["accuracy", "loss"]),
        _averages([one.contents for one in points], "pairs", ["error", "plain_error", "value_floor"]),
    )
    counts = [max(round(count), 1) for count in table.index]
    if kind == "linear":
        own = points[0].features
        table["rank_floor"] = [rank_floor(own, n) for n in counts]
        lines = {"sum": summed, "delta": delta_rule, "least_squares": least_squares}
        for name, line in lines.items():
            moments = [line(own, n) for n in counts]
            table[name] = [one.scaled_error() for one in moments]
            table[f"{name}_plain"] = [one.error() for one in moments]
    if features is not None:
        table["loss_floor"] = [rank_floor(features, n) / 2 for n in counts]
    return table


def _by_similarity(points: list[Points]) -> pd.DataFrame:
    def binned(table: pd.DataFrame) -> pd.DataFrame:
        width = 1 / SIMILARITY_BINS
        places = np.minimum(np.floor(table["similarity"] / width + 1e-6), SIMILARITY_BINS - 1)
        return table.assign(similarity=(places + 0.5) * width)

    return _join(
        _averages([binned(one.queries) for one in points], "similarity", ["accuracy", "loss"]),
        _averages([binned(one.held) for one in points], "similarity", ["error"]),
    )


def _by_lag(points: list[Points]) -> pd.DataFrame:
    return _join(
        _averages([one.queries for one in points], "lag", ["accuracy", "loss"]),
        _averages([one.held for one in points], "lag", ["left"]),
    )


def _by_writes(points: list[Points], symbols: int | None) -> pd.DataFrame:
    table = _averages([one.queries for one in points], "writes", ["accuracy", "loss"])
    table = table[table.index > 0]
    if symbols is not None and table["loss"].notna().any():
        table["mean_of_values"] = mean_of_values(table.index.to_numpy(), symbols)
    return table


def _by_token(points: list[Points], tokens: tuple[str, ...]) -> pd.DataFrame:
    kinds = np.unique(np.concatenate([one.eigenvalues["token"].unique() for one in points]))
    if len(kinds) > MOST_TOKENS or not (kinds >= 0).any():
        return pd.DataFrame()
    table = _averages(
        [one.eigenvalues[one.eigenvalues["token"] >= 0] for one in points], "token", ["eigenvalue"]
    )
    names = [tokens[i] if i < len(tokens) else str(i) for i in table.index.astype(int)]
    return table.set_axis(pd.Index(names, name="token"))


def _eigenvalues(points: Mapping[str, list[Points]], members: tuple[str, ...]) -> pd.DataFrame:
    """Return quantiles for each memory and member that has any."""
    rows = {
        (memory, member): {
            "writes": len(values),
            "smallest": values.min(),
            **{f"quantile_{100 * q:.0f}": np.quantile(values, q) for q in QUANTILES},
            "largest": values.max(),
            "mean": values.mean(),
            "share_negative": (values < 0).mean(),
            "mean_keep": one.eigenvalues["keep"].mean(),
        }
        for memory, of_members in points.items()
        for member, one in zip(members, of_members, strict=True)
        if len(values := one.eigenvalues["eigenvalue"].to_numpy())
    }
    table = pd.DataFrame.from_dict(rows, orient="index")
    if len(table):
        table.index = pd.MultiIndex.from_tuples(table.index, names=["memory", "model_name"])
    return table


def _averages(tables: list[pd.DataFrame], by: str, columns: list[str]) -> pd.DataFrame:
    """Return means over members of their means, by one column, in bins where it has many values."""
    known = [table[table[by].notna()] for table in tables]
    values = np.unique(np.concatenate([table[by].to_numpy(dtype=float) for table in known]))
    if by != "similarity" and len(values) > BINS:
        width = int(np.ceil((values[-1] - values[0] + 1) / BINS))
        known = [t.assign(**{by: t[by] - (t[by] - values[0]) % width + (width - 1) / 2}) for t in known]
    means = pd.concat([table.groupby(by)[columns].mean() for table in known])
    rows = {}
    for value, group in means.groupby(level=0):
        row: dict[str, float] = {}
        for name in columns:
            interval = mean_interval(group[name], bounds=BOUNDS.get(name, UNBOUNDED))
            row[name] = interval.estimate
            if name in BOUNDS:
                row |= {f"{name}_low": interval.low, f"{name}_high": interval.high}
                row[f"{name}_members"] = interval.n
        rows[value] = row
    further = [f"{n}_{end}" for n in columns if n in BOUNDS for end in ("low", "high", "members")]
    empty = pd.DataFrame(columns=[*columns, *further], dtype=float)
    table = pd.DataFrame.from_dict(rows, orient="index") if rows else empty
    return table.rename_axis(by)


def _known(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table without the means that no member has, and what goes with them."""
    nobody = [
        name.removesuffix("_members") for name in table if name.endswith("_members") and not table[name].any()
    ]
    ends = ("", "_low", "_high", "_members")
    return table.drop(columns=[f"{name}{end}" for name in nobody for end in ends])


def _join(*tables: pd.DataFrame) -> pd.DataFrame:
    """Return tables side by side, with all of their rows."""
    return pd.concat(tables, axis=1).sort_index().rename_axis(tables[0].index.name)


def _stack(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return tables of memories below each other."""
    full = {name: table for name, table in tables.items() if len(table)}
    return pd.concat(full, names=["memory"]) if full else pd.DataFrame()
