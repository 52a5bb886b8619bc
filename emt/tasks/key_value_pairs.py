"""Which value did this key have? Pairs of symbols in a row and then a query (Schlag et al. 2021, arXiv:2102.11174).

Setting 1, unique keys: L of S keys in random order, each with one of S values, no value twice: how much can be
held? Setting 2, repeated keys: keys and values drawn anew at each step; the last value of a key counts: are
old values replaced?

A step holds a pair, key and value together, as one id, S (value + 1) + key; a query is the id of its key alone.
Training rows ask for the key at one random position; held-out rows ask for all of their keys, one after the
other, so that a mean over queries weighs them equally.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from emt.errors import UserError
from emt.streams import Split, stream
from emt.tasks.base import Batch


class Shape(NamedTuple):
    """Pairs and queries of a row."""

    pairs: int
    queries: int


class KeyValuePairs:
    """Pairs of a key and a value, then queries.

    Attributes
    ----------
    num_keys
        S, different keys, and as many values.
    repeated
        Whether keys and values are drawn with replacement.
    """

    loss: Literal["half_squares"] = "half_squares"
    curriculum = False
    epoch_batches = 100
    tokens: tuple[str, ...] = ()
    loss_options: Mapping[str, float] = {}
    carries = False
    repeated: ClassVar[bool]

    def __init__(self, num_keys: int, pairs: int) -> None:
        self.num_keys, self.pairs = num_keys, pairs
        self.input_channels, self.output_channels = num_keys * (num_keys + 1), num_keys
        self.lengths = (pairs,)

    def operator(self, length: int) -> None:
        """Return None: the task has no linear operator."""

    def shape(self, seed: int, split: Split, step: int, horizon: int) -> Shape:
        """Return one query in training, and as many as there may be keys in held-out rows."""
        return Shape(self.pairs, 1 if split == "train" else min(self.num_keys, self.pairs))

    def batch(self, seeds: Sequence[int], split: Split, step: int, shape: Shape, size: int) -> Batch:
        """Return one batch for each seed, every split a stream without end."""
        rows = [self._rows(seed, split, step, shape, size) for seed in seeds]
        keys, values, queries, answers = (np.stack(part) for part in zip(*rows, strict=True))
        (*leading, pairs), asked = keys.shape, queries >= 0
        nothing = np.full((*leading, pairs), -1)
        return Batch(
            inputs=np.concatenate([self.num_keys * (values + 1) + keys, queries], axis=-1),
            answers=np.concatenate([nothing, answers], axis=-1),
            scored=np.concatenate([nothing >= 0, asked], axis=-1),
            events={
                "phase": np.concatenate([nothing + 1, np.where(asked, 1, -1)], axis=-1),
                "trial": np.concatenate([nothing + 1, np.where(asked, 0, -1)], axis=-1),
                "written": np.concatenate([keys, np.full_like(queries, -1)], axis=-1),
                "asked": np.concatenate([nothing, queries], axis=-1),
            },
        )

    def test_batch(self, seed: int, length: int, horizon: int, size: int) -> Batch:
        """Return held-out rows of ``length`` pairs and all of their keys, one member wide.

        Raises
        ------
        UserError
            If there are not so many unique keys.
        """
        if not (self.repeated or length <= self.num_keys):
            raise UserError(
                f"must be at most {self.num_keys}, the unique keys (num_keys); got {length}",
                parameter="length",
            )
        shape = Shape(length, min(self.num_keys, length))
        return self.batch([seed], "test", length, shape, size)

    def _rows(
        self, seed: int, split: Split, step: int, shape: Shape, size: int
    ) -> tuple[NDArray[np.int64], ...]:
        """Return keys and values (row, pair), queries and answers (row, query), -1 where nothing is asked."""
        generator = stream("pairs", seed, split, step)
        keys, values = (self._draw(generator, size, shape.pairs) for _ in range(2))
        if split == "train":
            queries = np.take_along_axis(keys, generator.integers(0, shape.pairs, (size, 1)), axis=1)
        else:
            queries = _distinct(keys, self.num_keys, shape.queries)
        # Later pairs overwrite earlier ones of the same key.
        held = np.full((size, self.num_keys), -1)
        for key, value in zip(keys.T, values.T, strict=True):
            held[np.arange(size), key] = value
        answers = np.take_along_axis(held, queries.clip(0), axis=1)
        return keys, values, queries, np.where(queries >= 0, answers, -1)

    def _draw(self, generator: np.random.Generator, size: int, pairs: int) -> NDArray[np.int64]:
        """Return symbols (row, pair)."""
        if self.repeated:
            return generator.integers(0, self.num_keys, (size, pairs))
        symbols = np.broadcast_to(np.arange(self.num_keys), (size, self.num_keys))
        return generator.permuted(symbols, axis=1)[:, :pairs]


class UniqueKeys(KeyValuePairs):
    """Unique keys: pairs of a key and a value, each key once, then a key whose value is asked for.

    Parameters
    ----------
    num_keys
        S, different keys, and as many values; a row shows all of them.
    """

    repeated = False

    def __init__(self, *, num_keys: Annotated[int, Field(ge=1)] = 20) -> None:
        super().__init__(num_keys, num_keys)


class RepeatedKeys(KeyValuePairs):
    """Repeated keys: random pairs of a key and a value, then a key whose last value is asked for.

    Parameters
    ----------
    num_keys
        S, different keys, and as many values; a row shows 2 S pairs.
    """

    repeated = True

    def __init__(self, *, num_keys: Annotated[int, Field(ge=1)] = 20) -> None:
        super().__init__(num_keys, 2 * num_keys)


def _distinct(keys: NDArray[np.int64], count: int, width: int) -> NDArray[np.int64]:
    """Return the keys that occur in each row (row, pair) in order, (row, width), followed by -1."""
    there = np.zeros((len(keys), count), bool)
    np.put_along_axis(there, keys, values=True, axis=1)
    ordered = np.where(there, np.arange(count), count)
    ordered.sort(axis=1)
    return np.where(ordered < count, ordered, -1)[:, :width]
