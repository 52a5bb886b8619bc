"""Associative retrieval (Ba et al. 2016): pairs of a letter and a digit, then a letter; which digit belonged to it?

``c9k8j3f1??c`` → 9. A network sees one character a step and answers at the last. The data are a stream
without end or, with ``data_npz``, the rows of a file (`emt.tasks.retrieval_data`).
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from emt.errors import UserError
from emt.streams import Split, stream
from emt.tasks.base import Batch
from emt.tasks.retrieval_data import (
    DIGITS,
    LETTERS,
    VOCABULARY,
    Tokens,
    asked_items,
    count_shared,
    labels,
    lay_out,
    read_npz,
)


class AssociativeRetrieval:
    """Associative retrieval: letters with digits, then one of the letters; the answer is its digit.

    Parameters
    ----------
    pairs
        K, pairs in a sequence of 2 K + 3 characters.
    data_npz
        file with training, validation and test rows (default: a stream without end, every member with its own
        rows).
    """

    loss: Literal["cross_entropy"] = "cross_entropy"
    curriculum = False
    epoch_batches = 500
    input_channels = len(VOCABULARY)
    output_channels = DIGITS
    tokens = VOCABULARY
    loss_options: Mapping[str, float] = {}
    carries = False

    def __init__(self, *, pairs: Annotated[int, Field(ge=1, le=26)] = 4, data_npz: str | None = None) -> None:
        self.pairs, self.steps = pairs, 2 * pairs + 3
        self.lengths = (self.steps,)
        self.data = None if data_npz is None else read_npz(Path(data_npz))
        if self.data is not None and self.data.pairs != pairs:
            raise UserError(f"must be {self.data.pairs}, the K of {data_npz}; got {pairs}", parameter="pairs")

    def operator(self, length: int) -> None:
        """Return None: the task has no linear operator."""

    def shape(self, seed: int, split: Split, step: int, horizon: int) -> int:
        """Return the number of steps, the same for all batches."""
        return self.steps

    def batch(self, seeds: Sequence[int], split: Split, step: int, shape: int, size: int) -> Batch:
        """Return one batch for each seed; where a file's validation or test split ends it is short or empty."""
        return self._encode(np.stack([self.rows(seed, split, step, size) for seed in seeds]))

    def test_batch(self, seed: int, length: int, horizon: int, size: int) -> Batch:
        """Return the first held-out rows, one member wide.

        Raises
        ------
        UserError
            If ``length`` is not 2 K + 3.
        """
        if length != self.steps:
            raise UserError(
                f"must be {self.steps}, the characters of {self.pairs} pairs; got {length}",
                parameter="length",
            )
        return self.batch([seed], "test", 0, length, size)

    def rows(self, seed: int, split: Split, step: int, size: int) -> Tokens:
        """Return the tokens of one batch, (row, time).

        A stream draws them for (seed, split, step). A file's training rows are taken in a new random order in
        each round, the last rows that fill no batch being left out; its other splits are read in turn and
        end.

        Raises
        ------
        UserError
            If a file has fewer training rows than a batch.
        """
        if self.data is None:
            return _draw(self.pairs, seed, split, step, size)
        rows = self.data.rows[split]
        if split != "train":
            return rows[step * size : (step + 1) * size]
        if size > len(rows):
            raise UserError(
                f"must be at most the {len(rows)} training rows of data_npz; got {size}",
                parameter="batch_size",
            )
        round_, place = divmod(step, len(rows) // size)
        return rows[_order(seed, round_, len(rows))[place * size : (place + 1) * size]]

    def count_repeated(self, seed: int, steps: int, size: int, batches: int) -> tuple[int, int]:
        """Return how many of a member's test rows occur among its training rows, and how many test rows there are.

        Parameters
        ----------
        seed
            The member's.
        steps
            Training steps it makes.
        size
            Rows in a batch.
        batches
            Test batches.
        """
        if self.data is None:
            counts: dict[Split, int] = {"test": batches, "train": steps}
            test, train = (
                np.concatenate([self.rows(seed, split, step, size) for step in range(count)])
                for split, count in counts.items()
            )
        else:
            test, train = self.data.rows["test"][: batches * size], self.data.rows["train"]
        return count_shared(test, train), len(test)

    def _encode(self, tokens: Tokens) -> Batch:
        """Return rows (member, batch, time) as a batch."""
        leading, pairs = tokens.shape[:2], self.pairs
        flat = tokens.reshape(-1, self.steps)
        targets = np.zeros((*leading, self.steps, DIGITS), np.float32)
        targets[:, :, -1] = np.eye(DIGITS, dtype=np.float32)[labels(flat)].reshape(*leading, DIGITS)
        asked = np.full(tokens.shape, -1)
        asked[:, :, -1] = asked_items(flat).reshape(leading)
        # An item is written where its digit comes in: before that step the value is not known.
        written, phase = np.full(self.steps, -1), np.full(self.steps, -1)
        written[1 : 2 * pairs : 2] = np.arange(pairs)
        phase[: 2 * pairs], phase[-1] = 0, 1
        events = {"written": written, "phase": phase, "trial": np.zeros(self.steps, np.int64)}
        return Batch(
            inputs=np.eye(len(VOCABULARY), dtype=np.float32)[tokens],
            answers=targets,
            scored=np.broadcast_to(phase == 1, tokens.shape),
            events={"token": tokens.astype(np.int64), "asked": asked}
            | {name: np.broadcast_to(event, tokens.shape) for name, event in events.items()},
        )


def _draw(pairs: int, seed: int, split: Split, step: int, size: int) -> Tokens:
    generator = stream("retrieval", seed, split, step)
    letters: NDArray[np.int64] = generator.random((size, LETTERS), np.float32).argsort(axis=1)[:, :pairs]
    return lay_out(
        letters, generator.integers(DIGITS, size=(size, pairs)), generator.integers(pairs, size=size)
    )


@lru_cache(maxsize=64)
def _order(seed: int, round_: int, count: int) -> NDArray[np.int64]:
    return stream("order", seed, "train", round_).permutation(count)
