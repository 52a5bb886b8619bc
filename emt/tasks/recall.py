"""Recall of tokens: which value followed this key, what came after this token, which tokens were no blanks.

`MQAR` is multi-query associative recall (Arora et al. 2023, arXiv:2312.04927; program zoology), `Induction` the
induction heads task (Fu et al. 2022, arXiv:2212.14052; program seq_icl), `SelectiveCopy` selective copying (Gu &
Dao 2023, arXiv:2312.00752). A row is a sequence of ids; an answer is due at the step that asks for it and never
stands in an earlier input, nor do later inputs show it. All answers follow from the row, so the best accuracy is 1.

Outputs are the possible answers only, numbered from 0, where the published programs have one for every token.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from emt.errors import UserError
from emt.streams import Split, stream
from emt.tasks.base import Batch

Ids = NDArray[np.int64]


class Rows(NamedTuple):
    """Rows of a batch, (row, time) each, -1 for none: tokens, answers, and the items written and asked for."""

    ids: Ids
    answers: Ids
    written: Ids
    asked: Ids


class Recall:
    """Rows of tokens, some of which ask for what came before."""

    loss: Literal["cross_entropy"] = "cross_entropy"
    curriculum = False
    epoch_batches = 500
    loss_options: Mapping[str, float] = {}
    carries = False
    kind: ClassVar[str]

    def __init__(self, tokens: Sequence[str], answers: int, length: int) -> None:
        self.tokens, self.output_channels, self.lengths = tuple(tokens), answers, (length,)
        self.input_channels = len(self.tokens)

    @property
    def chance(self) -> float:
        """Accuracy of a guess by one who has seen nothing of a row."""
        return 1 / self.output_channels

    @abstractmethod
    def rows(self, generator: np.random.Generator, length: int, size: int) -> Rows:
        """Return ``size`` random rows of a length."""

    def refusal(self, length: int) -> str | None:
        """Return what lengths must be if rows cannot have this one."""
        return None

    def operator(self, length: int) -> None:
        """Return None: the task has no linear operator."""

    def shape(self, seed: int, split: Split, step: int, horizon: int) -> int:
        """Return the length, the same for all batches."""
        return self.lengths[0]

    def batch(self, seeds: Sequence[int], split: Split, step: int, shape: int, size: int) -> Batch:
        """Return one batch of rows for each seed, every split a stream without end."""
        drawn = [self.rows(stream(self.kind, seed, split, step), shape, size) for seed in seeds]
        ids, answers, written, asked = (np.stack(part) for part in zip(*drawn, strict=True))
        scored = answers >= 0
        events = {"token": ids, "phase": scored.astype(np.int64), "trial": np.zeros_like(ids)}
        return Batch(ids, answers, scored, {**events, "written": written, "asked": asked})

    def test_batch(self, seed: int, length: int, horizon: int, size: int) -> Batch:
        """Return held-out rows of another length, one member wide.

        Raises
        ------
        UserError
            If there are no such rows.
        """
        if (expected := self.refusal(length)) is not None:
            raise UserError(f"must be {expected}; got {length}", parameter="length")
        return self.batch([seed], "test", length, length, size)


class MQAR(Recall):
    """Multi-query associative recall: pairs of a key and a value, then each key once, whose value is asked for.

    Keys are n different ones of 1 to V/2 - 1, values n different ones of V/2 to V - 1. A row k_1 v_1 … k_n v_n is
    followed by places for queries, two steps apart: place g = 0, 1, … is drawn with a probability that falls as
    (g + 1)^(power - 1), each once, so most queries come soon. Fillers stand everywhere else. An item is a pair; it is
    written at the step of its value.

    Fillers of the published program may be keys of their own row, which are queries without an answer, or new pairs.

    Parameters
    ----------
    vocabulary
        V, tokens: 0, keys, values.
    steps
        tokens in a row.
    pairs
        n.
    power
        how soon queries come: 1 as late as soon, near 0 soon.
    filler
        zero: token 0; other: random tokens but 0 and the row's keys and values; any: random tokens, as published.
    """

    kind = "mqar"

    def __init__(
        self,
        *,
        vocabulary: Annotated[int, Field(ge=6)] = 256,
        steps: Annotated[int, Field(ge=4)] = 64,
        pairs: Annotated[int, Field(ge=1)] = 4,
        power: Annotated[float, Field(gt=0, le=1)] = 0.01,
        filler: Literal["zero", "other", "any"] = "zero",
    ) -> None:
        self.vocabulary, self.pairs, self.power, self.filler = vocabulary, pairs, power, filler
        if (expected := self.refusal(steps)) is not None:
            raise UserError(f"must be {expected}; got {steps}", parameter="steps")
        self.first_value = vocabulary // 2
        keys, values = range(1, self.first_value), range(vocabulary - self.first_value)
        tokens = ("·", *(f"k{key}" for key in keys), *(f"v{value}" for value in values))
        super().__init__(tokens, len(values), steps)

    @property
    def unbound(self) -> float:
        """Accuracy of one who knows a row's values, and not which key had which."""
        return 1 / self.pairs

    def refusal(self, length: int) -> str | None:
        """Return what lengths must be: even, with room for all queries, and shorter than the vocabulary is large."""
        least, most = 4 * self.pairs, self.vocabulary - 1
        fits = length % 2 == 0 and least <= length <= most
        return None if fits else f"even and from {least} (4 pairs) to {most} (vocabulary - 1)"

    def slot_probabilities(self, length: int) -> NDArray[np.float64]:
        """Return the probability of each place for the first query drawn, (slot,)."""
        weight = np.arange(1, length // 2 - self.pairs + 1) ** (self.power - 1)
        return np.asarray(weight / weight.sum())

    def rows(self, generator: np.random.Generator, length: int, size: int) -> Rows:
        """Return ``size`` random rows of ``length`` tokens."""
        n, probabilities = self.pairs, self.slot_probabilities(length)
        keys = 1 + distinct(generator, size, self.first_value - 1, n)
        values = distinct(generator, size, self.output_channels, n)
        # The largest sums of log p and Gumbel noise, in order, are drawn one after the other without replacement.
        noisy = np.log(probabilities) + generator.gumbel(size=(size, len(probabilities)))
        places = 2 * n + 2 * np.argsort(-noisy, axis=1, kind="stable")[:, :n]
        ids = self._fillers(generator, length, keys, self.first_value + values)
        ids[:, : 2 * n : 2], ids[:, 1 : 2 * n : 2] = keys, self.first_value + values
        answers, written, asked = (np.full_like(ids, -1) for _ in range(3))
        written[:, 1 : 2 * n : 2] = np.arange(n)
        for row, content in ((ids, keys), (answers, values), (asked, np.arange(n)[None])):
            np.put_along_axis(row, places, content, axis=1)
        return Rows(ids, answers, written, asked)

    def _fillers(self, generator: np.random.Generator, length: int, keys: Ids, values: Ids) -> Ids:
        """Return (row, time) tokens for the places that are neither pairs nor queries."""
        shape = (len(keys), length)
        if self.filler == "zero":
            return np.zeros(shape, np.int64)
        if self.filler == "any":
            return generator.integers(0, self.vocabulary, shape)
        own = np.sort(np.concatenate([keys, values], axis=1), axis=1)
        ids = generator.integers(1, self.vocabulary - own.shape[1], shape)
        for token in own.T[:, :, None]:
            ids += ids >= token
        return ids


class Induction(Recall):
    """Induction heads: random tokens, among them a trigger, which comes again and asks what came after it.

    The trigger takes one of the first n - 2 places, all alike, and a last step asks for the token after it. An item
    is a place, so a read that finds it looks one step behind the trigger.

    Parameters
    ----------
    steps
        n, tokens before the step that asks.
    symbols
        different tokens beside the trigger.
    """

    kind = "induction"

    def __init__(
        self, *, steps: Annotated[int, Field(ge=3)] = 64, symbols: Annotated[int, Field(ge=2)] = 14
    ) -> None:
        super().__init__((*map(str, range(symbols)), "?"), symbols, steps)

    def refusal(self, length: int) -> str | None:
        """Return what lengths must be."""
        return None if length >= 3 else "at least 3"

    def rows(self, generator: np.random.Generator, length: int, size: int) -> Rows:
        """Return ``size`` random rows of ``length`` tokens and the trigger."""
        ids = generator.integers(0, self.output_channels, (size, length + 1))
        trigger = generator.integers(0, length - 2, (size, 1))
        answers, written, asked = (np.full_like(ids, -1) for _ in range(3))
        answers[:, -1:] = np.take_along_axis(ids, trigger + 1, axis=1)
        written[:, :-1], asked[:, -1:] = np.arange(length), trigger + 1
        for place in (trigger, length):
            np.put_along_axis(ids, np.broadcast_to(place, trigger.shape), self.output_channels, axis=1)
        return Rows(ids, answers, written, asked)


class SelectiveCopy(Recall):
    """Selective copying: random tokens among blanks, then as many markers, at which they are due in order.

    An item is the place of a token that is no blank.

    Parameters
    ----------
    copied
        M, tokens to copy.
    blanks
        N; tokens stand at M of the first M + N places, all subsets alike.
    symbols
        different tokens beside the blank and the marker.
    """

    kind = "selective_copy"

    def __init__(
        self,
        *,
        copied: Annotated[int, Field(ge=1)] = 8,
        blanks: Annotated[int, Field(ge=0)] = 56,
        symbols: Annotated[int, Field(ge=2)] = 14,
    ) -> None:
        self.copied = copied
        super().__init__(("·", *map(str, range(symbols)), "?"), symbols, copied + blanks)

    def refusal(self, length: int) -> str | None:
        """Return what lengths must be."""
        return None if length >= self.copied else f"at least {self.copied}, the tokens to copy"

    def rows(self, generator: np.random.Generator, length: int, size: int) -> Rows:
        """Return ``size`` random rows of ``length`` tokens, blanks included, and the markers."""
        m = self.copied
        symbols = generator.integers(0, self.output_channels, (size, m))
        places = np.sort(distinct(generator, size, length, m), axis=1)
        ids = np.zeros((size, length + m), np.int64)
        answers, written, asked = (np.full_like(ids, -1) for _ in range(3))
        ids[:, length:], answers[:, length:], asked[:, length:] = self.input_channels - 1, symbols, places
        np.put_along_axis(ids, places, 1 + symbols, axis=1)
        np.put_along_axis(written, places, places, axis=1)
        return Rows(ids, answers, written, asked)


def distinct(generator: np.random.Generator, size: int, count: int, number: int) -> Ids:
    """Return so many different ones of 0 to count - 1 in random order, all alike, (row, number)."""
    return generator.permuted(np.tile(np.arange(count), (size, 1)), axis=1)[:, :number]
