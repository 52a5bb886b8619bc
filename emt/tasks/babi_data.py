"""The bAbI question-answering tasks (Weston et al. 2015) as arrays of words.

The published archive "bAbI tasks 1-20 v1.2" (https://research.facebook.com/downloads/babi/, CC BY 3.0) holds
a folder ``tasks_1-20_v1-2`` with one folder for each variant (``en-valid-10k``: 10,000 questions a task for
training and validation; ``en-valid``: 1,000), and in it ``qaK_train.txt``, ``qaK_valid.txt`` and
``qaK_test.txt``, K = 1 … 20. A line is ``number sentence`` or ``number question<tab>answer<tab>numbers of the
supporting lines``; a story starts where the number is 1. Text is read as Schlag et al. (2021, appendix D) do:
lower case, ``.`` and ``?`` are words, an answer is one word even where it lists several (``n,w``) and follows
its question; a word `END` separates stories.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emt.errors import UserError
from emt.streams import Split
from emt.text import shortened

TASKS = tuple(range(1, 21))
FILES: dict[Split, str] = {"train": "train", "validation": "valid", "test": "test"}
"""What each split is called in the names of files."""

LARGEST_NUMBER = 2**15 - 1
"""What a line's number may be: numbers are stored in sixteen bits."""

END = "<eos>"
ARCHIVE = "tasks_1-20_v1-2"
PUBLISHED = (
    'unpack "bAbI tasks 1-20 v1.2", published at https://research.facebook.com/downloads/babi/ under the licence '
    f"CC BY 3.0, and pass the folder that contains {ARCHIVE}"
)

Column = NDArray[np.integer]


@dataclass(frozen=True)
class Stories:
    """Stories of one split, one after the other. Each starts with the word `END`.

    Attributes
    ----------
    words
        Places in the vocabulary, (word,).
    line
        Number of each word's line in its story, from 1, questions count; -1 at `END`, (word,).
    question
        Number of the question whose line (question and answer) the word stands in; -1 in other lines,
        (word,).
    story
        Number of each word's story, (word,).
    first
        Each story's first word; at the end, how many words there are, (story + 1,).
    group
        Each story's task, 1 … 20, (story,).
    support
        Numbers of the lines that support each answer, in the file's order, then -1, (question, item).
    """

    words: Column
    line: Column
    question: Column
    story: Column
    first: Column
    group: Column
    support: Column


@dataclass(frozen=True)
class Babi:
    """What was read.

    Attributes
    ----------
    vocabulary
        The words of all files in alphabetical order, then `END`.
    splits
        Their stories, tasks in order.
    missing
        Names of the published files that are not there, with what was read in their place.
    """

    vocabulary: tuple[str, ...]
    splits: dict[Split, Stories]
    missing: tuple[str, ...]


@dataclass(frozen=True)
class _File:
    """One file: ``words``, ``line`` and ``question`` as in `Stories`, the supporting lines of each question."""

    words: Column
    line: Column
    question: Column
    support: list[list[int]]

    @property
    def starts(self) -> Column:
        """First word of each story."""
        return np.flatnonzero(self.line < 0)

    def without_last_story(self) -> "_File":
        end = int(self.starts[-1])
        questions = int(self.question[:end].max(initial=-1)) + 1
        return _File(self.words[:end], self.line[:end], self.question[:end], self.support[:questions])


@lru_cache(maxsize=2)
def read_babi(
    data: Path,
    variant: str,
    tasks: tuple[int, ...] = TASKS,
    *,
    paper_sets: bool = False,
    derived_files: bool = False,
) -> Babi:
    """Read the files of some tasks.

    Parameters
    ----------
    data
        The folder of the unpacked archive, or the one that holds it.
    variant
        Folder in it.
    tasks
        Which tasks.
    paper_sets
        Whether to leave out the last story of each file, as the sets of Schlag et al. (2021, table 3) do.
    derived_files
        Whether ``qaK_train.*.txt`` may stand in for a ``qaK_train.txt`` that is missing, and so on.

    Raises
    ------
    UserError
        If a split has no stories, or a line is not of the published format.
    """
    folder = next((f / variant for f in (data / ARCHIVE, data) if (f / variant).is_dir()), data / variant)
    codes = {END: 0}
    missing: list[str] = []
    files: dict[Split, list[tuple[int, _File]]] = {split: [] for split in FILES}
    for split, task in product(FILES, tasks):
        published = folder / f"qa{task}_{FILES[split]}.txt"
        path = _source(published, derived_files)
        if path != published:
            missing.append(f"{published.name} ({path.name} in its place)" if path else published.name)
        if path:
            file = _read_file(path, codes)
            files[split].append((task, file.without_last_story() if paper_sets else file))
    vocabulary = (*sorted(codes.keys() - {END}), END)
    place_of = {word: place for place, word in enumerate(vocabulary)}
    # Sixteen bits hold the words of the published files.
    width: Any = np.int16 if len(vocabulary) <= LARGEST_NUMBER else np.int32
    places = np.array([place_of[word] for word in codes], width)
    facts = max((len(lines) for parts in files.values() for _, f in parts for lines in f.support), default=0)
    splits = {split: _join(parts, places, facts) for split, parts in files.items()}
    for split, stories in splits.items():
        if not len(stories.support):
            wanted = f"qa{tasks[0]}_{FILES[split]}.txt" + (
                f" … qa{tasks[-1]}_{FILES[split]}.txt" if tasks[1:] else ""
            )
            raise UserError(
                f"expected stories in {folder}/{wanted}; found none: {PUBLISHED}", parameter="data"
            )
    return Babi(vocabulary, splits, tuple(missing))


def _source(published: Path, derived_files: bool) -> Path | None:
    """Return the file to read: the published one, or where it is missing and that is permitted, one derived from it."""
    if published.is_file():
        return published
    return (
        next(iter(sorted(published.parent.glob(f"{published.stem}.*.txt"))), None) if derived_files else None
    )


def _join(parts: Sequence[tuple[int, _File]], places: Column, facts: int) -> Stories:
    """Return the stories of (task, file) pairs; ``places`` in the vocabulary by code, at most ``facts`` lines."""
    offsets = np.cumsum([0, *(len(f.support) for _, f in parts)], dtype=np.int32)
    question = [
        np.where(f.question < 0, -1, f.question + o) for (_, f), o in zip(parts, offsets[:-1], strict=True)
    ]
    empty = np.empty(0, np.int32)
    line = np.concatenate([empty.astype(np.int16), *(f.line for _, f in parts)])
    starts = np.flatnonzero(line < 0)
    lines = [lines for _, f in parts for lines in f.support]
    support = np.full((len(lines), facts), -1, np.int16)
    support[np.arange(facts) < np.array([len(s) for s in lines], int)[:, None]] = [
        n for s in lines for n in s
    ]
    return Stories(
        words=places[np.concatenate([empty, *(f.words for _, f in parts)])],
        line=line,
        question=np.concatenate([empty, *question]),
        story=(np.cumsum(line < 0, dtype=np.int32) - 1).astype(np.int32),
        first=np.append(starts, len(line)),
        group=np.repeat([task for task, _ in parts], [len(f.starts) for _, f in parts]).astype(np.int16),
        support=support,
    )


def _read_file(path: Path, codes: dict[str, int]) -> _File:
    """Read one file; words that ``codes`` lacks are added to it."""
    words: list[int] = []
    numbers: list[int] = []
    counts: list[int] = []
    asks: list[bool] = []
    support: list[list[int]] = []
    known: dict[str, tuple[int, ...]] = {}
    place = 0
    try:
        text = path.read_text(encoding="utf-8").lower()
    except UnicodeDecodeError as error:
        raise UserError(f"expected text in UTF-8; got {path} ({error})", parameter="data") from None
    try:
        for place, line in enumerate(text.splitlines(), 1):  # noqa: B007
            number, sentence, answer, lines = _parts(line)
            if number == 1:
                words.append(codes[END])
                numbers.append(-1)
                counts.append(1)
                asks.append(False)
            # Sentences repeat: most are taken apart once.
            key = f"{sentence}\t{answer}"
            if key not in known:
                known[key] = tuple(codes.setdefault(word, len(codes)) for word in _words(sentence, answer))
            words += known[key]
            numbers.append(number)
            counts.append(len(known[key]))
            asks.append(bool(answer))
            if answer:
                support.append(lines)
    except ValueError as error:
        raise UserError(
            "expected lines 'number sentence.' or 'number question?<tab>answer<tab>supporting lines'; "
            f"line {place} of {path} is none ({error})",
            parameter="data",
        ) from None
    if numbers[:1] != [-1]:
        raise UserError(f"expected {path} to start with line 1 of a story; it does not", parameter="data")
    question = np.where(asks, np.cumsum(asks) - 1, -1)
    return _File(
        np.array(words, np.int32),
        np.repeat(np.array(numbers, np.int16), counts),
        np.repeat(question.astype(np.int32), counts),
        support,
    )


def _parts(line: str) -> tuple[int, str, str, list[int]]:
    """Return a line's number, sentence, answer ("" where it is no question) and supporting lines."""
    sentence, *rest = line.split("\t")
    number, _, sentence = sentence.partition(" ")
    if not rest:
        return _line_number(number), sentence, "", []
    answer, lines = rest
    return _line_number(number), sentence, answer.strip(), [_line_number(n) for n in lines.split()]


def _line_number(text: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", text) or not 1 <= int(text) <= LARGEST_NUMBER:
        raise ValueError(f"{shortened(text)!r} is no number from 1 to {LARGEST_NUMBER}")
    return int(text)


def _words(sentence: str, answer: str) -> list[str]:
    words = sentence.replace(".", " .").replace("?", " ?").split()
    if words[-1:] != ["?" if answer else "."]:
        raise ValueError(f"it ends with {shortened(words[-1:])}")
    return [*words, answer] if answer else words
