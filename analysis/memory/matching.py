"""Which write each read of an associative memory matched: grids, and how often it was the one that was asked for."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from analysis.errors import AnalysisError
from analysis.memory.exchanged_queries import relabelled_scores, same_queries
from analysis.memory.log import (
    CONVENTIONS,
    Array,
    event_of,
    further_text,
    items_of,
    memory_names,
    memory_rule,
    most_interesting,
    other_convention,
    select,
)
from analysis.memory.queries import Reading, queried_writes, read_queries
from analysis.memory.query_scores import BY_CONVENTION, MemberScores, over_members, same_scores, score_member
from analysis.memory.question_grids import (
    QuestionGrid,
    choose_questions,
    describe_queries,
    labels,
    question_grid,
)
from analysis.memory.replay import MatchGrids, match_grids
from analysis.parallel import counted
from analysis.population import undefined_text
from analysis.result import Result
from analysis.statistics import ChanceTest, chance_test, mean_interval
from emt import trace

LARGEST_GRID = 64
"""Recordings with more steps are drawn at the steps that ask, where any do."""


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
        Of query and key, and in the value returned (row, column); NaN if there is nothing to match. Where the
        memory keeps a normaliser, weights are divided by that of their read.
    normalised, mixes
        Whether they are, and over how many tokens a write mixes (`analysis.memory.log.mixing_text`).
    asked
        The writes of the queried item (row, column), bool.
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
    normalised: bool
    mixes: int


@dataclass(frozen=True)
class Match(Result):
    """How well reads match the queried items.

    Attributes
    ----------
    label
        What figures call this population.
    scores
        A row for each memory and member: ``score`` (`score_queries`) by the ``convention`` that the memory's
        rule calls for (`analysis.memory.log.CONVENTIONS`), its interval over trials (Wilson), ``chance``,
        ``shuffled`` (`shuffled_scores`), ``above_chance`` = (score - chance) / (1 - chance), ``asks`` scored
        and the ``trials`` they stand in, the score by each convention (``score_sign``, ``score_magnitude``),
        asks ``too_many`` for more items than reads, and how far weights times written values are from what
        the memory returned (``recall_error``) at steps that ask and in the first sequence.
    population
        A row for each memory: mean score over members with its interval (Student t), chance, shuffled,
        members, the memory's kind and convention, the score by each convention; p, the larger of p_trials and
        p_members (`tests`).
    tests
        For each memory whether scores exceed those of exchanged trials (`analysis.memory.exchanged_queries`).
    items, groups
        The same by number of items asked for, and by group of trials where the task has groups.
    reads
        Which read finds which item: share of asks, by (memory, number of items, read, item), beside chance.
    aligned
        Mean share of a read's absolute weight by (memory, read, lag), the lag being steps from a queried
        item's last write, with its interval over members.
    asks
        Every ask of the members that are drawn: where it stands, its score, the ``share`` of weight on its
        items (the largest that any read gives, multiplied over items), the answer and the words.
    shown
        Memories that are drawn and named in the headline: up to `analysis.memory.log.MOST_DRAWN`, those with
        the highest scores.
    mixes
        For each memory over how many tokens a write mixes.
    grids, questions
        What is drawn.
    """

    label: str
    scores: pd.DataFrame
    population: pd.DataFrame
    tests: Mapping[str, ChanceTest]
    items: pd.DataFrame
    groups: pd.DataFrame
    reads: pd.DataFrame
    aligned: pd.DataFrame
    asks: pd.DataFrame
    shown: tuple[str, ...]
    mixes: Mapping[str, int]
    grids: tuple[TrialGrid, ...]
    questions: tuple[QuestionGrid, ...]

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return scores by member, over members and by kind of ask, the average over trials, and all asks."""
        tables = {
            "match_scores": self.scores,
            "match_population": self.population,
            "match_items": self.items,
            "match_groups": self.groups,
            "match_reads": self.reads,
            "match_aligned": self.aligned,
            "match_asks": self.asks,
        }
        return {name: table for name, table in tables.items() if len(table)}

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return what is drawn: weights (row, column), and shares (read, step) of questions."""
        trials = {grid_name(grid): grid.weight for grid in self.grids}
        return trials | {question_name(question): question.share for question in self.questions}

    def headline(self) -> str:
        """Return the scores in a line for each memory that is drawn."""
        lines = [self._headline(memory, self.population.loc[memory]) for memory in self.shown]
        return "\n".join(lines + further_text(len(self.population) - len(lines)))

    def _headline(self, memory: str, row: Any) -> str:
        scores = self.scores.loc[memory]
        exact = f"weights reproduce the reads to {scores['recall_error'].max():.0e} of the largest value"
        too_many = int(scores["too_many"].max())
        left_out = f"; {too_many} queries of more items than reads are not scored" if too_many else ""
        if not row["members"]:
            return f"memory {memory}: no queried item was written before, so nothing is scored{left_out}; {exact}"
        several = self.items.loc[memory].index.max() > 1
        one_item, items = (
            "the largest weight is on the queried item",
            "each queried item has the largest weight of a read",
        )
        interval = (
            f"95 % interval {_percent(row['low'])} to {_percent(row['high'])}, " if row["members"] > 1 else ""
        )
        missing = undefined_text(scores["score"])
        undefined = f"; {missing}" if missing else ""
        shuffled = "" if np.isnan(row["shuffled"]) else f", shuffled {_percent(row['shuffled'])}"
        return (
            f"memory {memory}: {items if several else one_item} in {_percent(row['score'])} of queries "
            f"({interval}members: {int(row['members'])}, queries: {int(scores['asks'].max())} in "
            f"{int(scores['trials'].max())} trials); {self._counted(memory)}; "
            f"chance {_percent(row['chance'])}{shuffled} ({self.tests[memory]}){undefined}{left_out}; {exact}"
        )

    def _counted(self, memory: str) -> str:
        """Return by which convention the score is, and what the other one gives."""
        row = self.population.loc[memory]
        convention, other = row["convention"], other_convention(row["convention"])
        counted = f"counted by {convention} ({row['kind']} memory)"
        if self.conventions_agree(memory):
            return f"{counted}, as many by {other}"
        return f"{counted}, by {other} {_percent(row[f'score_{other}'])}"

    def conventions_agree(self, memory: str) -> bool:
        """Whether each member has the same score by sign and by magnitude."""
        scores = self.scores.loc[memory]
        return same_scores(*(scores[name].to_numpy() for name in BY_CONVENTION))


def match_memories(
    recording: xr.DataTree,
    *,
    memory: str | None = None,
    trials: int = 3,
    asks: tuple[int, ...] = (),
    model: int | None = None,
) -> Match:
    """Match the reads of associative memories with the writes they find, and score them where an item is asked for.

    Parameters
    ----------
    recording
        recorded run of a population
    memory
        name of the memory, or a pattern such as layer3_* (default: all that the model keeps)
    trials
        sequences to draw, the first ones; of long streams with several reads, or queries of several items,
        questions: those answered rightly with every item found, most items and largest share of weight on
        them first
    asks
        questions to draw instead, by their numbers in match_asks.csv
    model
        number of the model to draw (default: the one with the median score)

    Raises
    ------
    AnalysisError
        If the model keeps no such memory, or the trace has no such model or ask.

    Examples
    --------
    >>> match = match_memories(trace.load("demo/fast_weights/traces/seq11.nc"))
    >>> match
    Match: memory fast: the largest weight is on the queried item in ... of queries ...
    >>> len(match.scores), bool((match.scores["recall_error"] < 1e-4).all())
    (4, True)
    """
    if trials < 0:
        raise AnalysisError(f"must be 0 or more; got {trials}", parameter="trials")
    numbers = np.asarray(recording["member"]).tolist()
    if model is not None and model not in numbers:
        raise AnalysisError(f"must be one of {', '.join(map(str, numbers))}; got {model}", parameter="model")
    names = memory_names(recording, memory)
    members = [select(recording, member=[place]) for place in range(len(numbers))]
    scored, tests = {}, {}
    for name in counted(names, "memories"):
        scored[name], tests[name] = _score(members, name)
    index = pd.MultiIndex.from_product([names, trace.member_names(recording)], names=["memory", "model_name"])
    kinds = {name: memory_rule(recording, name)["kind"] for name in names}
    rows = [one.row | {"convention": CONVENTIONS[kinds[name]]} for name in names for one in scored[name]]
    scores = pd.DataFrame(rows, index=index)
    places = {
        name: _median_place(scores.loc[name, "score"]) if model is None else numbers.index(model)
        for name in names
    }
    # Read again: the weights of all members at once may be large.
    readings = {name: read_queries(members[place], name) for name, place in places.items()}
    tables = {
        name: scored[name][places[name]].asks.join(describe_queries(one)) for name, one in readings.items()
    }
    population = pd.DataFrame(
        [_population_row(scores.loc[n], kinds[n]) | tests[n].row() for n in names],
        index=pd.Index(names, name="memory"),
    )
    shown = most_interesting(dict(population["score"]))
    questions = [name for name in shown if asks or _asks_questions(readings[name])]
    return Match(
        label=trace.label(recording),
        scores=scores,
        population=population,
        tests=tests,
        items=over_members({name: [one.by("items") for one in scored[name]] for name in names}),
        groups=over_members({name: [one.by("group") for one in scored[name]] for name in names}),
        reads=over_members({name: [one.reads for one in scored[name]] for name in names}),
        aligned=over_members({name: [one.aligned for one in scored[name]] for name in names}),
        asks=pd.concat(
            {(name, readings[name].model_name): table for name, table in tables.items()},
            names=["memory", "model_name"],
        ),
        shown=shown,
        mixes={name: memory_rule(recording, name).get("mixes", 1) for name in names},
        grids=tuple(g for n in shown if n not in questions for g in _trial_grids(readings[n], trials)),
        questions=tuple(g for n in questions for g in _question_grids(readings[n], tables[n], trials, asks)),
    )


def _score(members: Sequence[xr.DataTree], memory: str) -> tuple[list[MemberScores], ChanceTest]:
    """Return the scores of each member, and whether they exceed those of exchanged trials."""
    scores, relabelled, queries, different = [], [], [], 0
    for one in counted(members, f"members of {memory}"):
        reading = read_queries(one, memory)
        scores.append(score_member(reading))
        null, different = relabelled_scores(reading, scores[-1].asks["score"].notna().to_numpy())
        relabelled.append(null)
        queries.append(reading.asks)
    observed = [one.row["score"] for one in scores]
    shared = same_queries(queries)
    length = min(map(len, relabelled))
    null = np.stack([one[:length] for one in relabelled], axis=1)
    return scores, chance_test(observed, null, different=different, shared=shared)


def grid_name(grid: TrialGrid) -> str:
    """Return the file name of a grid, without a suffix."""
    return f"match_{grid.memory}_{grid.model_name}_trial-{grid.trial + 1}"


def question_name(grid: QuestionGrid) -> str:
    """Return the file name of a question, without a suffix."""
    return f"match_{grid.memory}_{grid.model_name}_ask-{grid.ask}"


def _population_row(scores: pd.DataFrame, kind: str) -> dict[str, Any]:
    interval = mean_interval(scores["score"], bounds=(0.0, 1.0))
    return {
        "score": interval.estimate,
        "low": interval.low,
        "high": interval.high,
        "chance": float(scores["chance"].mean()),
        "shuffled": float(scores["shuffled"].mean()),
        "members": interval.n,
        "kind": kind,
        "convention": CONVENTIONS[kind],
        **scores[[*BY_CONVENTION]].mean(),
    }


def _median_place(scores: pd.Series) -> int:
    """Return the member whose score is the (lower) median; the first where none is scored."""
    known = np.flatnonzero(scores.notna())
    return (
        int(known[np.argsort(scores.to_numpy()[known], kind="stable")[(len(known) - 1) // 2]])
        if len(known)
        else 0
    )


def _asks_questions(reading: Reading) -> bool:
    """Return whether questions are drawn: where several items are asked for, or a long stream has several reads."""
    n_reads, n_steps = reading.weight.shape[1:]
    return reading.asks.items.shape[1] > 1 or (
        len(reading.weight) > 0 and n_reads > 1 and n_steps > LARGEST_GRID
    )


def _question_grids(
    reading: Reading, table: pd.DataFrame, trials: int, asks: tuple[int, ...]
) -> Iterator[QuestionGrid]:
    unknown = [ask for ask in asks if ask not in table.index]
    if unknown:
        raise AnalysisError(f"must be numbers from 1 to {len(table)}; got {unknown[0]}", parameter="asks")
    for ask in asks or choose_questions(table, trials):
        yield question_grid(reading, ask)


def _trial_grids(reading: Reading, trials: int) -> Iterator[TrialGrid]:
    recording = reading.recording
    for trial in range(min(trials, recording.sizes["batch"])):
        one = select(recording, batch=[trial])
        asks = np.flatnonzero(event_of(one, "asked")[0] >= 0)
        many = recording.sizes["time"] > LARGEST_GRID and len(asks)
        yield _trial_grid(
            one, reading, trial, match_grids(one, reading.memory, asks.tolist() if many else None)
        )


def _trial_grid(one: xr.DataTree, reading: Reading, trial: int, grids: MatchGrids) -> TrialGrid:
    weight, similarity = grids.mean_weight[0, 0], grids.similarity[0, 0]
    if grids.normaliser is not None:
        total = grids.normaliser[0, 0, ..., None]
        weight = weight / np.where(total != 0, total, 1.0)
    # A read that finds no write, as at the first step, would be an empty row, and the last write an empty column.
    row, read = np.nonzero(~np.isnan(weight).all(axis=-1))
    found = ~np.isnan(weight).all(axis=(0, 1))
    rows, columns = grids.read_steps[row], grids.write_steps[found]
    weight, similarity = (x[row, read][:, found] for x in (weight, similarity))
    return TrialGrid(
        memory=reading.memory,
        model_name=reading.model_name,
        trial=trial,
        rows=rows,
        columns=columns,
        row_labels=labels(one, 0, rows),
        column_labels=labels(one, 0, columns),
        reads=read,
        similarity=similarity,
        weight=weight,
        asked=_asked(one, rows)[:, columns] & ~np.isnan(weight),
        normalised=grids.normaliser is not None,
        mixes=memory_rule(one, reading.memory).get("mixes", 1),
    )


def _asked(one: xr.DataTree, rows: NDArray[np.intp]) -> NDArray[np.bool_]:
    """Return the writes that hold what steps of a trace of one sequence ask for, (row, time)."""
    held = queried_writes(one, np.zeros_like(rows), rows, items_of(one, "asked")[0, rows])
    return np.asarray(held.any(axis=1))


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
