"""Word-level language modelling on WikiText-2, the Penn Treebank, or a text of one's own (Merity et al. 2018).

A text is cut into as many rows as a batch has, one after the other, and a network reads all rows word by word and
names the next one. Its state is carried from segment to segment; it is zero at the start of each pass over the text.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from emt.errors import UserError
from emt.streams import Split, stream
from emt.tasks.base import Batch
from emt.tasks.word_files import read_texts

HALVED, SPREAD, SHORTEST, LONGEST = 0.05, 5.0, 5, 10
"""Share of segments around half the length; standard deviation of lengths; the shortest; words above the length."""

TEST_SEQUENCES = 256
"""Rows of the test text that `emt evaluate` reads the beginnings of."""


class Words:
    """A text, word by word; the next word is to be named. All seeds read the same text in the same order.

    Parameters
    ----------
    data
        folder of the three files: wiki.train.tokens, wiki.valid.tokens and wiki.test.tokens (WikiText-2);
        ptb.train.txt, ptb.valid.txt and ptb.test.txt (Penn Treebank); or train.txt, valid.txt and test.txt.
    vocabulary_size
        words that are kept, the most frequent of the training text; the others become <unk> (default: all).
    segment
        words in a row of a batch; gradients end at its start, the state does not.
    vary_segments
        draw the length of each training segment (Merity et al. 2018), the same for all seeds; the learning rate of a
        step is in proportion to it.
    validation_rows
        rows that the validation text is cut into, at most as many as a batch has.
    """

    loss: Literal["cross_entropy"] = "cross_entropy"
    loss_options: Mapping[str, float] = {}
    curriculum = False
    carries = True
    epoch_batches = 0
    """An epoch is a pass over the text, `epoch_end`."""

    def __init__(
        self,
        *,
        data: str,
        vocabulary_size: Annotated[int, Field(ge=3)] | None = None,
        segment: Annotated[int, Field(ge=1)] = 70,
        vary_segments: bool = True,
        validation_rows: Annotated[int, Field(ge=1)] = 10,
    ) -> None:
        if not data:
            raise UserError("expected the folder of the three texts; got none", parameter="data")
        texts = read_texts(Path(data), vocabulary_size)
        self.tokens, self.splits, self.articles = texts.vocabulary, texts.splits, texts.articles
        self.segment, self.vary_segments, self.validation_rows = segment, vary_segments, validation_rows
        self.input_channels = self.output_channels = len(self.tokens)
        self.lengths = (segment,)
        # So many rows of the test text have a segment and a word more each.
        self.test_sequences = max(1, min(TEST_SEQUENCES, len(self.splits["test"]) // (segment + 1)))
        self._passes: dict[int, Passes] = {}

    def operator(self, length: int) -> None:
        """Return None: the task has no linear operator."""

    def shape(self, seed: int, split: Split, step: int, horizon: int) -> int:
        """Return the length of a segment, which is the same for all seeds; those of training may have another one."""
        return self.segment

    def batch(self, seeds: Sequence[int], split: Split, step: int, shape: int, size: int) -> Batch:
        """Return the next words of each row; a batch of validation or test after a row's last word is empty."""
        if split == "train":
            return self._batch(len(seeds), split, size, self.passes(size).segment(step))
        return self.held_out(
            split, step, min(size, self.validation_rows) if split == "validation" else size, len(seeds)
        )

    def held_out(self, split: Split, step: int, rows: int, members: int = 1) -> Batch:
        """Return a segment of a text in so many rows, without the words that are too few for one more each."""
        left = len(self.splits[split]) // rows - 1 - step * self.segment
        segment = Segment(step * self.segment, min(max(left, 0), self.segment), self.segment, fresh=step == 0)
        return self._batch(members, split, rows, segment, pace=False)

    def test_batch(self, seed: int, length: int, horizon: int, size: int) -> Batch:
        """Return the first ``length`` words of the rows of the test text, one member wide."""
        if len(self.splits["test"]) // size <= length:
            words = len(self.splits["test"])
            raise UserError(
                f"{size} rows of the test text have {words // size} words each: expected more than {length}",
                parameter="length",
            )
        return self._batch(1, "test", size, Segment(0, length, length, fresh=True), pace=False)

    def epoch_end(self, epochs: int, size: int) -> int:
        """Return how many training steps the first ``epochs`` passes over ``size`` rows have."""
        return self.passes(size).end(epochs)

    def passes(self, size: int) -> "Passes":
        """Return the segments of all passes over the training text in ``size`` rows.

        Raises
        ------
        UserError
            If the text has fewer than three words for each row.
        """
        columns = len(self.splits["train"]) // size
        if columns < 3:
            words = len(self.splits["train"])
            raise UserError(
                f"expected at most {words // 3} rows, the text has {words} words; got {size}",
                parameter="batch_size",
            )
        if size not in self._passes:
            self._passes[size] = Passes(columns, self.segment, varies=self.vary_segments)
        return self._passes[size]

    def _batch(
        self, members: int, split: Split, rows: int, segment: "Segment", *, pace: bool = True
    ) -> Batch:
        """Return the words of a segment, which is empty where nothing is left."""
        rows *= bool(segment.length)
        ids, article = self.splits[split], self.articles[split]
        width = len(ids) // max(rows, 1)
        place = width * np.arange(rows)[:, None] + np.arange(segment.begin, segment.begin + segment.length)
        inputs, targets, trial = (
            np.repeat(values[None], members, axis=0).astype(np.int64)
            for values in (ids[place], ids[place + 1], article[place])
        )
        return Batch(
            inputs=inputs,
            answers=targets,
            scored=np.ones(inputs.shape, bool),
            events={"token": inputs, "trial": trial},
            fresh=segment.fresh,
            pace=segment.drawn / self.segment if pace else 1.0,
        )


class Segment(NamedTuple):
    """A segment: its first column, how many words it has and how many were drawn, and whether a pass starts with it."""

    begin: int
    length: int
    drawn: int
    fresh: bool


class Passes:
    """Segments of pass after pass over rows of a text.

    A length is drawn from a normal distribution around ``segment``, or with probability 0.05 around half of it, with
    standard deviation 5, and is at least 5 and at most ``segment`` + 10. The last segment of a pass ends with the
    text; a pass ends when fewer than two words are left to name.

    Parameters
    ----------
    columns
        Words of each row.
    segment
        Length.
    varies
        Whether lengths are drawn; if not, all are ``segment``.
    """

    def __init__(self, columns: int, segment: int, *, varies: bool) -> None:
        self.columns, self.length, self.varies = columns, segment, varies
        self._ends = [0]
        self._latest: tuple[int, NDArray[np.int64]] = (-1, np.empty(0, np.int64))

    def segment(self, step: int) -> Segment:
        """Return the segment of a training step."""
        while self._ends[-1] <= step:
            self.end(len(self._ends))
        number = int(np.searchsorted(self._ends, step, "right")) - 1
        lengths, place = self._lengths(number), step - self._ends[number]
        begin = int(lengths[:place].sum())
        drawn = int(lengths[place])
        return Segment(begin, min(drawn, self.columns - 1 - begin), drawn, fresh=place == 0)

    def end(self, passes: int) -> int:
        """Return how many segments the first so many passes have."""
        while len(self._ends) <= passes:
            self._ends.append(self._ends[-1] + len(self._lengths(len(self._ends) - 1)))
        return self._ends[passes]

    def _lengths(self, number: int) -> NDArray[np.int64]:
        """Return the lengths of the segments of a pass as they were drawn, (segment,)."""
        if self._latest[0] != number:
            drawn = self._draw(number)
            begin = drawn.cumsum() - drawn
            self._latest = number, drawn[self.columns - 1 - begin >= 2]
        return self._latest[1]

    def _draw(self, number: int) -> NDArray[np.int64]:
        """Return more lengths than a pass needs."""
        shortest = min(SHORTEST, self.length) if self.varies else self.length
        count = -(-self.columns // shortest)
        if not self.varies:
            return np.full(count, self.length)
        generator = stream("segments", 0, "train", number)
        middle = np.where(generator.random(count) < HALVED, self.length / 2, self.length)
        lengths = np.trunc(middle + SPREAD * generator.standard_normal(count))
        return lengths.clip(shortest, self.length + LONGEST).astype(np.int64)
