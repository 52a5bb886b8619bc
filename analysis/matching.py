"""Which write each read of an associative memory matched: grids, and how often it was the one that was asked for."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from analysis.logs import Array, event_of, memory_names, select
from analysis.population import AnalysisError
from analysis.replay import MatchGrids, match_grids, recall_error
from analysis.statistics import mean_interval, proportion_interval
from emt import trace

LARGEST_GRID = 64
"""Recordings with more steps are drawn at the steps that ask, where any do."""

LARGEST_LAG = 20
"""Steps before and after the asked-for item's write that the average over trials shows."""


@dataclass(frozen=True)
class TrialGrid:
    """What one member read in one trial; rows are reads, columns are writes.

    Attributes
    ----------
    memory, model_name, trial
        Where: name of the memory, name of the member, place on the batch axis.
    rows, columns
        Steps of the reads and of the writes.
    row_labels, column_labels
        What stood at those steps, as the task calls it.
    reads
        Which read of its step a row is.
    similarity, weight
        Of query and key, and in the value returned (row, column); NaN where there is nothing to match.
    asked
        The asked-for item's writes (row, column), bool.
    """

    memory: str
    model_name: str
    trial: int
    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    row_labels: tuple[str, ...]
    column_labels: tuple[str, ...]
    reads: NDArray[np.intp]
    similarity: Array
    weight: Array
    asked: NDArray[np.bool_]


@dataclass(frozen=True)
class Match:
    """How well reads match what is asked for.

    Attributes
    ----------
    label
        What figures call this population.
    scores
        A row for each memory and member: ``score`` (`score_asks`), its interval over sequences (Wilson), ``chance``,
        ``above_chance`` = (score - chance) / (1 - chance), ``asks`` scored and the ``sequences`` they stand in, and
        how far weights times written values are from what the memory returned (`recall_error`) at steps that ask and
        in the first sequence.
    population
        A row for each memory: mean score over members with its interval (Student t), chance, members.
    aligned
        Mean share of a read's absolute weight by (memory, read, lag), the lag being steps from the asked-for item's
        write, with its interval over members.
    grids
        What is drawn.
    """

    label: str
    scores: pd.DataFrame
    population: pd.DataFrame
    aligned: pd.DataFrame
    grids: tuple[TrialGrid, ...]

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return scores by member and over members, and the average over trials."""
        return {"match_scores": self.scores, "match_population": self.population, "match_aligned": self.aligned}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the weights drawn, (row, column)."""
        return {grid_name(grid): grid.weight for grid in self.grids}

    def headline(self) -> str:
        """Return the scores in a line for each memory."""
        return "\n".join(self._headline(str(memory), row) for memory, row in self.population.iterrows())

    def _headline(self, memory: str, row: Any) -> str:
        scores = self.scores.loc[memory]
        exact = f"weights give what was read to {scores['recall_error'].max():.0e} of the largest value"
        if not row["members"]:
            return f"memory {memory}: nothing asked for was written before, so nothing is scored; {exact}"
        interval = f"95 % interval {_percent(row['low'])} to {_percent(row['high'])}, " if row["members"] > 1 else ""
        return (
            f"memory {memory}: the largest weight is on the asked-for item in {_percent(row['score'])} of asks "
            f"({interval}members: {int(row['members'])}, asks: {int(scores['asks'].max())} in "
            f"{int(scores['sequences'].max())} sequences); chance {_percent(row['chance'])}; {exact}"
        )


def match_memories(
    recording: xr.DataTree, *, memory: str | None = None, trials: int = 3, model: int | None = None
) -> Match:
    """Match the reads of associative memories with the writes they find, and score them where an item is asked for.

    Parameters
    ----------
    recording
        recorded run of a population
    memory
        name of the memory (default: all that the model keeps)
    trials
        sequences to draw, the first ones
    model
        number of the model to draw (default: the one with the median score)

    Raises
    ------
    AnalysisError
        If the model keeps no such memory, or the trace has no such model.
    """
    if trials < 0:
        raise AnalysisError(f"--trials: expected 0 or more; got {trials}")
    numbers = np.asarray(recording["member"]).tolist()
    if model is not None and model not in numbers:
        raise AnalysisError(f"--model: expected one of {', '.join(map(str, numbers))}; got {model}")
    names = memory_names(recording, memory)
    results = {name: [_score_member(recording, name, place) for place in range(len(numbers))] for name in names}
    index = pd.MultiIndex.from_product([names, [f"model-{n}" for n in numbers]], names=["memory", "model_name"])
    scores = pd.DataFrame([row for rows in results.values() for row, _ in rows], index=index)
    places = {
        name: _median_place(scores.loc[name, "score"]) if model is None else numbers.index(model) for name in names
    }
    about = trace.about(recording)
    return Match(
        label=about.get("experiment") or about.get("model", {}).get("type", "recording"),
        scores=scores,
        population=pd.DataFrame([_over_members(scores.loc[n]) for n in names], index=pd.Index(names, name="memory")),
        aligned=_aligned_over_members({name: [curve for _, curve in rows] for name, rows in results.items()}),
        grids=tuple(grid for name, place in places.items() for grid in _trial_grids(recording, name, place, trials)),
    )


def score_asks(weight: Array, target: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Return how probably some read's largest weight is on the asked-for item, and how probably by chance.

    Of n equal largest weights each counts 1/n, so a memory that returns nothing scores at chance. By chance a read
    lands on any write so far; several reads of one step, of which any may land on the item, do so independently.

    Parameters
    ----------
    weight
        (ask, read, column), NaN where a read does not happen or finds no such write.
    target
        The asked-for item's writes (ask, column).

    Returns
    -------
    hits, chance
        (ask,) in [0, 1]; NaN where the item was not written before.
    """
    found = ~np.isnan(weight)
    right = found & target[:, None]
    finite = np.where(found, weight, -np.inf)
    tied = found & (finite == finite.max(axis=-1, keepdims=True, initial=-np.inf))
    answerable = right.any(axis=(-2, -1))

    def any_read(chosen: NDArray[np.bool_]) -> Array:
        share = (chosen & right).sum(axis=-1) / np.maximum(chosen.sum(axis=-1), 1)
        return np.where(answerable, 1 - np.prod(1 - share, axis=-1), np.nan)

    return any_read(tied), any_read(found)


def asked_writes(recording: xr.DataTree, rows: NDArray[np.intp], columns: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Return which writes hold the item that a step asks for, (batch, row, column), for a trace of one member.

    An item that several trials of a stream write is looked for in the last of them up to the asking step.
    """
    written, asked, trials = (event_of(recording, name) for name in ("written", "asked", "trial"))
    item = asked[:, rows, None]
    same = (item >= 0) & (written[:, None, columns] == item) & (columns <= rows[:, None])
    trial = np.where(same, trials[:, None, columns], np.iinfo(np.int64).min)
    latest: NDArray[np.bool_] = same & (trial == trial.max(axis=-1, keepdims=True, initial=np.iinfo(np.int64).min))
    return latest


def grid_name(grid: TrialGrid) -> str:
    """Return the file name of a grid, without a suffix."""
    return f"match_{grid.memory}_{grid.model_name}_trial-{grid.trial + 1}"


def _score_member(recording: xr.DataTree, memory: str, place: int) -> tuple[dict[str, float], pd.DataFrame]:
    """Return a member's row of scores, and its mean share of weight by read and lag."""
    one = select(recording, member=[place])
    asks = event_of(one, "asked") >= 0
    rows = np.flatnonzero(asks.any(axis=0))
    grids = match_grids(one, memory, rows.tolist())
    where = np.nonzero(asks[:, rows])
    weight = grids.mean_weight[0][where]
    target = asked_writes(one, rows, grids.write_steps)[where]
    hits, chance = score_asks(weight, target)
    scored = ~np.isnan(hits)
    sequences = len(np.unique(where[0][scored]))
    first = select(one, batch=[0])
    errors = recall_error(one, memory, grids), recall_error(first, memory, match_grids(first, memory))
    score = float(hits[scored].mean()) if scored.any() else float("nan")
    by_chance = float(chance[scored].mean()) if scored.any() else float("nan")
    # Asks of one sequence hang together, so sequences are what the interval counts.
    interval = proportion_interval(score, sequences)
    row = {
        "score": score,
        "low": interval.low,
        "high": interval.high,
        "chance": by_chance,
        "above_chance": (score - by_chance) / (1 - by_chance) if by_chance < 1 else float("nan"),
        "asks": int(scored.sum()),
        "sequences": sequences,
        "recall_error": float(np.max(errors)),
    }
    return row, _align(weight[scored], target[scored], grids.write_steps)


def _align(weight: Array, target: NDArray[np.bool_], columns: NDArray[np.intp]) -> pd.DataFrame:
    """Return each write's mean share of absolute weight over asks, by read and steps from the item's last write."""
    size = np.abs(weight)
    total = np.nansum(size, axis=-1, keepdims=True)
    share = size / np.where(total > 0, total, 1.0)
    last = np.where(target, columns, -1).max(axis=-1, initial=-1)
    lag = np.broadcast_to((columns - last[:, None])[:, None], share.shape)
    read = np.broadcast_to(np.arange(share.shape[1])[:, None], share.shape)
    kept = ~np.isnan(share) & (np.abs(lag) <= LARGEST_LAG)
    points = pd.DataFrame({"read": read[kept], "lag": lag[kept], "share": share[kept]})
    return points.groupby(["read", "lag"])[["share"]].mean()


def _over_members(scores: pd.DataFrame) -> dict[str, float]:
    interval = mean_interval(scores["score"])
    return {
        "score": interval.estimate,
        "low": max(interval.low, 0.0),
        "high": min(interval.high, 1.0),
        "chance": float(scores["chance"].mean()),
        "members": interval.n,
    }


def _aligned_over_members(curves: dict[str, list[pd.DataFrame]]) -> pd.DataFrame:
    keyed = {(memory, place): curve for memory, members in curves.items() for place, curve in enumerate(members)}
    points = pd.concat(keyed, names=["memory", "member"])
    rows = {key: mean_interval(group) for key, group in points["share"].groupby(["memory", "read", "lag"])}
    values = [(i.estimate, i.low, i.high, i.n) for i in rows.values()]
    index = (
        pd.MultiIndex.from_tuples(list(rows), names=["memory", "read", "lag"]) if rows else points.index.droplevel(1)
    )
    return pd.DataFrame(values, index=index, columns=["share", "low", "high", "members"])


def _median_place(scores: pd.Series) -> int:
    """Return the member whose score is the (lower) median; the first where none is scored."""
    known = np.flatnonzero(scores.notna())
    return int(known[np.argsort(scores.to_numpy()[known], kind="stable")[(len(known) - 1) // 2]]) if len(known) else 0


def _trial_grids(recording: xr.DataTree, memory: str, place: int, trials: int) -> Iterator[TrialGrid]:
    for trial in range(min(trials, recording.sizes["batch"])):
        one = select(recording, member=[place], batch=[trial])
        asks = np.flatnonzero(event_of(one, "asked")[0] >= 0)
        many = recording.sizes["time"] > LARGEST_GRID and len(asks)
        yield _trial_grid(one, memory, trial, match_grids(one, memory, asks.tolist() if many else None))


def _trial_grid(one: xr.DataTree, memory: str, trial: int, grids: MatchGrids) -> TrialGrid:
    weight, similarity = grids.mean_weight[0, 0], grids.similarity[0, 0]
    # A read that finds no write, as at the first step, would be an empty row, and the last write an empty column.
    row, read = np.nonzero(~np.isnan(weight).all(axis=-1))
    found = ~np.isnan(weight).all(axis=(0, 1))
    rows, columns = grids.read_steps[row], grids.write_steps[found]
    weight, similarity = (x[row, read][:, found] for x in (weight, similarity))
    return TrialGrid(
        memory=memory,
        model_name=f"model-{np.asarray(one['member'])[0]}",
        trial=trial,
        rows=rows,
        columns=columns,
        row_labels=_labels(one, rows),
        column_labels=_labels(one, columns),
        reads=read,
        similarity=similarity,
        weight=weight,
        asked=asked_writes(one, rows, columns)[0] & ~np.isnan(weight),
    )


def _labels(one: xr.DataTree, steps: NDArray[np.intp]) -> tuple[str, ...]:
    """Return the names of the tokens at some steps, their ids where the task gives no names, empty without tokens."""
    names: Sequence[str] = trace.about(one).get("tokens", ())
    tokens = event_of(one, "token")[0, steps].tolist()
    return tuple("" if t < 0 else str(names[t]) if t < len(names) else str(t) for t in tokens)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
