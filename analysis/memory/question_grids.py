"""Questions in a stream of trials: how well a member's reads followed each, what they found, and what it answered."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from analysis.memory.log import Array, Convention, event_of, memory_rule
from analysis.memory.queries import Reading, largest_writes, query_numbers, share_of_weight
from emt import trace

_ANSWER = ("answer", "probability", "right_answer")


@dataclass(frozen=True)
class Answer:
    """What a member answered, with which probability (softmax of the outputs), and what was right."""

    given: str
    probability: float
    right: str


@dataclass(frozen=True)
class QuestionGrid:
    """What the reads of one question found in its trial, a row for each read and a column for each step.

    Attributes
    ----------
    memory, model_name
        Name of the memory, name of the member.
    ask
        The question's number in the table of asks.
    trial, group
        The task's number of the trial and of its kind, -1 for none.
    words
        What stood at the steps of the trial up to the question.
    share
        Share of each write in its read, ``Σ |share| = 1`` over all writes so far, (read, word); NaN if there is
        nothing to match.
    largest
        The word at each read's largest weight, -1 where that was written before the trial, (read,).
    convention
        Whether that is the largest by sign or by magnitude.
    mixes
        Over how many tokens a write mixes (`analysis.memory.log.mixing_text`).
    items
        The writes of each item asked for, (item, word).
    answer
        None where outputs do not choose one of several classes.
    """

    memory: str
    model_name: str
    ask: int
    trial: int
    group: int
    words: tuple[str, ...]
    share: Array
    largest: NDArray[np.intp]
    convention: Convention
    mixes: int
    items: NDArray[np.bool_]
    answer: Answer | None


def describe_queries(reading: Reading) -> pd.DataFrame:
    """Return what a trace tells of each ask, numbered from 1.

    Columns are ``facts``, the words of all items; ``question``, the words after the last item written or
    asked for before, and after that one's answer where this is read next; and where outputs choose one of
    several classes ``answer``, its ``probability`` (softmax of the outputs), ``right_answer`` and
    ``correct``.

    Examples
    --------
    The first sequence is o6s0d0n1??s:

    >>> recording = select(trace.load("demo/fast_weights/traces/seq11.nc"), member=[0])
    >>> described = describe_queries(read_queries(recording, "fast"))
    >>> described.loc[1, ["facts", "question", "right_answer"]].to_dict()
    {'facts': '0', 'question': '? ? s', 'right_answer': '0'}
    """
    asks, recording = reading.asks, reading.recording
    shown, facts, questions = _shown(reading), [], []
    for sequence, step, held in zip(asks.sequence, asks.step, asks.held, strict=True):
        start = np.flatnonzero(shown[sequence, :step]).max(initial=-1) + 1
        facts.append(" ".join(labels(recording, sequence, np.flatnonzero(held.any(axis=0)))))
        questions.append(" ".join(labels(recording, sequence, np.arange(start, step + 1))))
    table = pd.DataFrame({"facts": facts, "question": questions}, index=query_numbers(asks))
    return table.assign(**_answers(reading))


def choose_questions(table: pd.DataFrame, count: int) -> list[int]:
    """Return the numbers of the asks whose items the reads followed best, at most one in each trial.

    Those with a right answer and every item found come first, of these those with more items, then those with
    a larger share of weight on them.

    Parameters
    ----------
    table
        A row for each ask, with ``sequence``, ``trial``, ``items``, ``score``, ``share`` and perhaps
        ``correct``.
    count
        How many, at most.

    Examples
    --------
    The second question of the first trial has more items than the first; nothing was found for the third:

    >>> import pandas as pd
    >>> columns = {"sequence": [0, 0, 1], "trial": [0, 0, 0], "items": [1, 2, 1]}
    >>> table = pd.DataFrame({**columns, "score": [1.0, 1.0, 0.0], "share": [0.5, 0.4, 0.9]}, index=[1, 2, 3])
    >>> choose_questions(table, 1), choose_questions(table, 2)
    ([2], [2, 3])
    """
    scored = table[table["score"].notna()]
    followed = (scored["score"] == 1) & scored.get("correct", True)
    order = scored.assign(followed=followed).sort_values(
        ["followed", "items", "share"], ascending=False, kind="stable"
    )
    numbers: list[int] = order.drop_duplicates(["sequence", "trial"]).index[:count].tolist()
    return numbers


def question_grid(reading: Reading, ask: int) -> QuestionGrid:
    """Return what the reads of one question found, by its number, over the words of its trial up to it.

    Examples
    --------
    >>> recording = select(trace.load("demo/fast_weights/traces/seq11.nc"), member=[0])
    >>> grid = question_grid(read_queries(recording, "fast"), 1)
    >>> "".join(grid.words), grid.items.nonzero()[1].tolist(), grid.answer.right
    ('o6s0d0n1??s', [3], '0')
    """
    asks, recording, place = reading.asks, reading.recording, ask - 1
    sequence, step = int(asks.sequence[place]), int(asks.step[place])
    trial, group = (event_of(recording, name)[sequence] for name in ("trial", "group"))
    steps = np.flatnonzero((trial == trial[step]) & (np.arange(len(trial)) <= step))
    largest, _ = largest_writes(reading.ranked()[place])
    answers = _answers(reading)
    return QuestionGrid(
        memory=reading.memory,
        model_name=reading.model_name,
        ask=ask,
        trial=int(trial[step]),
        group=int(group[step]),
        words=labels(recording, sequence, steps),
        share=share_of_weight(reading.weight[place])[:, steps],
        largest=np.where(largest[:, steps].any(axis=-1), largest[:, steps].argmax(axis=-1), -1),
        convention=reading.convention,
        mixes=memory_rule(recording, reading.memory).get("mixes", 1),
        items=asks.held[place][asks.wanted[place]][:, steps],
        answer=Answer(*(answers[name][place] for name in _ANSWER)) if answers else None,
    )


def labels(recording: xr.DataTree, sequence: int, steps: NDArray[np.intp]) -> tuple[str, ...]:
    """Return the names of the tokens at some steps, their ids where the task gives no names, empty without tokens."""
    tokens = event_of(recording, "token")[sequence, steps]
    names = _named(tokens, trace.about(recording).tokens)
    return tuple("" if token < 0 else name for token, name in zip(tokens, names, strict=True))


def _shown(reading: Reading) -> NDArray[np.bool_]:
    """Return the steps that belong to no question yet to come, (batch, time): items, and right answers read next."""
    asks, recording = reading.asks, reading.recording
    token, written, asked = (event_of(recording, name) for name in ("token", "written", "asked"))
    shown = (written >= 0) | (asked >= 0)
    if _output_tokens(recording):
        sequence, step = (place[asks.step + 1 < shown.shape[-1]] for place in (asks.sequence, asks.step))
        shown[sequence, step + 1] |= token[sequence, step + 1] == _right(recording, sequence, step)
    return shown


def _right(recording: xr.DataTree, sequence: NDArray[np.intp], step: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return the class that is right at some steps."""
    targets = np.asarray(recording["targets"].isel(member=0, missing_dims="ignore"))
    return np.asarray(targets[sequence, step].argmax(axis=-1))


def _output_tokens(recording: xr.DataTree) -> Sequence[str]:
    """Return the names of the tokens if outputs stand for these, else nothing."""
    about = trace.about(recording)
    return about.tokens if len(about.tokens) == recording.sizes["output"] and not about.outputs else ()


def _answers(reading: Reading) -> dict[str, list[Any]]:
    """Return columns on what was answered; none where outputs do not choose a class."""
    recording, places = reading.recording, (reading.asks.sequence, reading.asks.step)
    known = recording.sizes["output"] and recording.sizes["target"]
    if trace.about(recording).accuracy != "argmax" or not known:
        return {}
    outputs = np.asarray(recording["outputs"], dtype=float)[0][places]
    given, right = outputs.argmax(axis=-1), _right(recording, *places)
    odds = np.exp(outputs - outputs.max(axis=-1, keepdims=True))
    # Of a language model only some tokens have an output: another next token has none that is right.
    right = np.where(np.asarray(recording["scored"])[places] > 0, right, -1)
    names = trace.about(recording).outputs or _output_tokens(recording)
    return {
        "answer": _named(given, names),
        "probability": (odds.max(axis=-1) / odds.sum(axis=-1)).tolist(),
        "right_answer": ["" if n < 0 else name for n, name in zip(right, _named(right, names), strict=True)],
        "correct": (given == right).tolist(),
    }


def _named(ids: NDArray[np.integer[Any]], names: Sequence[str]) -> list[str]:
    return [str(names[i]) if 0 <= i < len(names) else str(i) for i in ids.tolist()]
