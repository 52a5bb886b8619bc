"""catbAbI: the stories of all bAbI tasks in one stream without end (Schlag et al. 2021, section 4.1, appendix D).

A network reads a row of stories word by word, ``<eos> mary went to the kitchen . where is mary ? kitchen
<eos> …``, and names the next word: after every ``?`` (question answering) or everywhere (language modelling).
Nothing else tells it that a story is over, and its state is carried from batch to batch.
"""

import heapq
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from emt.errors import UserError
from emt.streams import Split, stream
from emt.tasks.babi_data import END, PUBLISHED, TASKS, Column, Stories, read_babi
from emt.tasks.base import Batch

ROW = 1 << 40
"""More columns than any row has: row · ROW + column sorts places by row, then by column."""


class CatBabi:
    """bAbI's twenty question-answering tasks as one stream of stories; the next word is to be named.

    Parameters
    ----------
    data
        folder of the unpacked archive "bAbI tasks 1-20 v1.2", or the one that holds it;
        published at https://research.facebook.com/downloads/babi/.
    folder
        10,000 or 1,000 questions a task for training and validation.
    mode
        which words count for the loss: answers (qa) or all (lm). The accuracy is that of the answers.
    segment
        words in a row of a batch; gradients end at its start, the state does not.
    tasks
        which of the tasks 1 to 20 (default: all).
    paper_sets
        leave out the last story of each file, as the published sets do.
    derived_files
        read qaK_train.*.txt where qaK_train.txt is missing, and so on.
    """

    loss: Literal["cross_entropy"] = "cross_entropy"
    loss_options: Mapping[str, float] = {}
    curriculum = False
    carries = True
    epoch_batches = 250

    def __init__(
        self,
        *,
        data: str,
        folder: Literal["en-valid-10k", "en-valid"] = "en-valid-10k",
        mode: Literal["qa", "lm"] = "qa",
        segment: Annotated[int, Field(ge=1)] = 200,
        tasks: tuple[int, ...] | None = None,
        paper_sets: bool = False,
        derived_files: bool = False,
    ) -> None:
        chosen = TASKS if tasks is None else tuple(sorted(set(tasks)))
        if not chosen or not set(chosen) <= set(TASKS):
            raise UserError(f"must be some of the numbers 1 to {len(TASKS)}; got {tasks}", parameter="tasks")
        if not data:
            raise UserError(f"expected the folder of the bAbI tasks; got none: {PUBLISHED}", parameter="data")
        babi = read_babi(Path(data), folder, chosen, paper_sets=paper_sets, derived_files=derived_files)
        self.mode, self.segment = mode, segment
        self.tokens, self.splits, self.missing = babi.vocabulary, babi.splits, babi.missing
        self.input_channels = self.output_channels = len(self.tokens)
        self.lengths = (segment,)
        self._rows: dict[tuple[int, Split, int], StoryRows] = {}

    def operator(self, length: int) -> None:
        """Return None: the task has no linear operator."""

    def shape(self, seed: int, split: Split, step: int, horizon: int) -> int:
        """Return the number of words in a row, the same for all batches."""
        return self.segment

    def batch(self, seeds: Sequence[int], split: Split, step: int, shape: int, size: int) -> Batch:
        """Return the next ``shape`` words of each row, from word ``step`` · ``shape`` on.

        Training rows never end, and each seed has an order of stories for each round. Validation and test
        rows are the same for all seeds; -1 stands after a row's last word, and a batch after the last word of
        all rows is empty.
        """
        # One word more: the last one's target.
        places = [self.rows(seed, split, size).words(step * shape, (step + 1) * shape + 1) for seed in seeds]
        stories, word = self.splits[split], np.stack(places)
        word = word[:, : size * bool((word[..., 0] >= 0).any())]
        inputs, targets = _at(stories.words, word[..., :-1]), _at(stories.words, word[..., 1:])
        present = inputs >= 0
        targets[present & (targets < 0)] = self.tokens.index(END)
        asks = inputs == self.tokens.index("?")
        return Batch(
            inputs=inputs,
            answers=targets,
            scored=asks if self.mode == "qa" else present,
            judged=asks,
            events=_events(stories, word[..., :-1], asks) | {"token": inputs},
            fresh=split != "train" and step == 0,
        )

    def test_batch(self, seed: int, length: int, horizon: int, size: int) -> Batch:
        """Return the first ``length`` words of the test rows, one member wide."""
        return self.batch([seed], "test", 0, length, size)

    def rows(self, seed: int, split: Split, size: int) -> "StoryRows":
        """Return the rows of stories that a member reads."""
        key = (seed if split == "train" else 0, split, size)
        if key not in self._rows:
            self._rows[key] = StoryRows(self.splits[split].first, size, key[0], split)
        return self._rows[key]


def _at(table: Column, place: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the entries at these places; -1 for the place -1."""
    values = table[place].astype(np.int64)
    values[place < 0] = -1
    return values


def _events(
    stories: Stories, word: NDArray[np.int64], asks: NDArray[np.bool_]
) -> dict[str, NDArray[np.int64]]:
    """Return the events of words: a fact is written at each of its words, and asked for at the question mark."""
    story, question = _at(stories.story, word), _at(stories.question, word)
    return {
        "phase": np.where(word < 0, -1, asks),
        "trial": story,
        "group": _at(stories.group, story),
        "written": np.where(question < 0, _at(stories.line, word), -1),
        "asked": _at(stories.support, np.where(asks, question, -1)),
    }


@dataclass(frozen=True)
class _Round:
    """Each story once, sorted by row, then by column: where it starts, as row · `ROW` + column, and its number."""

    place: NDArray[np.int64]
    story: NDArray[np.int64]


class StoryRows:
    """Stories side by side in rows, each new story at the end of the row that is shortest so far.

    Training goes through the stories round after round, in another order each time; the other splits once.
    Only two rounds are kept, others are laid out anew when they are asked for.

    Parameters
    ----------
    first
        Each story's first word and the end of the last, (story + 1,).
    size
        Number of rows.
    seed, split
        What the orders are drawn for.
    """

    def __init__(self, first: Column, size: int, seed: int, split: Split) -> None:
        self.first, self.size, self.seed, self.split = first, size, seed, split
        self._lengths: list[int] = np.diff(first).tolist()
        # Lengths of the rows after so many rounds, and the shortest and longest of them, which only grow.
        self._ends = [[0] * size]
        self._shortest, self._longest = [0], [0]
        self._rounds: dict[int, _Round] = {}

    def words(self, begin: int, end: int) -> NDArray[np.int64]:
        """Return which words stand in the columns from ``begin`` to before ``end``, (row, column); -1 for none."""
        while self._shortest[-1] < end and (self.split == "train" or len(self._ends) == 1):
            self._lay_out(len(self._ends) - 1)
        found = np.full((self.size, end - begin), -1)
        last = min(bisect_left(self._shortest, end), len(self._ends) - 1)
        for number in range(bisect_right(self._longest, begin) - 1, last):
            self._fill(found, begin, self._rounds.get(number) or self._lay_out(number))
        return found

    def _lay_out(self, number: int) -> _Round:
        """Lay out one round, knowing the lengths of the rows before it."""
        heap = [(length, row) for row, length in enumerate(self._ends[number])]
        heapq.heapify(heap)
        order = stream("stories", self.seed, self.split, number).permutation(len(self._lengths))
        place = np.empty(len(order), np.int64)
        for i, story in enumerate(order.tolist()):
            length, row = heap[0]
            place[i] = row * ROW + length
            heapq.heapreplace(heap, (length + self._lengths[story], row))
        if number + 1 == len(self._ends):
            ends = [length for length, _ in sorted(heap, key=lambda entry: entry[1])]
            self._ends.append(ends)
            self._shortest.append(min(ends))
            self._longest.append(max(ends))
        by_place = np.argsort(place)
        self._rounds = {n: r for n, r in self._rounds.items() if n == number - 1}
        self._rounds[number] = _Round(place[by_place], order[by_place])
        return self._rounds[number]

    def _fill(self, found: NDArray[np.int64], begin: int, round_: _Round) -> None:
        """Enter the words of one round into ``found``, whose first column is ``begin``."""
        size, width = found.shape
        rows = np.arange(size) * ROW
        # A row's stories in these columns: from the last one that starts no later than the first of them. Where it has
        # none, that is a story of another row, whose words are entered in their own place once more.
        low = np.searchsorted(round_.place, rows + begin, "right") - 1
        chosen = _ranges(low, np.searchsorted(round_.place, rows + begin + width) - low)
        row, column = np.divmod(round_.place[chosen], ROW)
        start, stop = (self.first[round_.story[chosen] + i] for i in (0, 1))
        skipped = np.maximum(begin - column, 0)
        count = np.maximum(np.minimum(stop - start, begin + width - column) - skipped, 0)
        found.reshape(-1)[_ranges(row * width + column + skipped - begin, count)] = _ranges(
            start + skipped, count
        )


def _ranges(starts: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[Any]:
    """Return the numbers from each start on, ``counts`` of them, one range after the other."""
    before = np.cumsum(counts) - counts
    return np.arange(counts.sum()) + np.repeat(starts - before, counts)
