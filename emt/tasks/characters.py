"""Next-character prediction: short strings whose later characters repeat earlier ones, or the windows of a text.

``23.32``: after each character the next one is to be named. Characters that are drawn at random cannot be
known, those that copy an earlier one can by whoever remembers; the accuracy is that of the copies
(`CharacterSet.recalled`), and `Characters.levels` says what is best with and without memory.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from emt.errors import UserError
from emt.streams import Split, stream
from emt.tasks.base import Batch
from emt.tasks.character_sets import (
    TEXT_SYMBOLS,
    CharacterSet,
    Known,
    Level,
    best_level,
    character_set,
    encode,
    one_string,
)

SHARES: dict[Split, tuple[float, float]] = {
    "train": (0.0, 0.9),
    "validation": (0.9, 0.95),
    "test": (0.95, 1.0),
}
"""Where in a text the splits begin and end."""

NAMES = {" ": "␣", "\n": "⏎"}
"""What tables and figures call characters that would not be seen."""


class Characters:
    """Strings of characters; the next one is to be named.

    Parameters
    ----------
    dataset
        key_recall, as 00?300!3; resequence, a few characters again and again; palindrome, of five characters;
        palindromes, of varying length, or small_palindromes, with halves of 2 and 3; text, windows of a file.
    n
        longest repeated part of resequence, longest half of palindromes and small_palindromes
    file
        text to read; required for text. Characters outside the alphabet are left out.
    window
        characters predicted in a row, for a text
    judge
        which characters count for the accuracy: those that can be recalled, or all. Of a text all do.
    """

    loss: Literal["cross_entropy"] = "cross_entropy"
    loss_options: Mapping[str, float] = {}
    curriculum = False
    carries = False
    epoch_batches = 500

    def __init__(
        self,
        *,
        dataset: Literal[
            "key_recall", "resequence", "palindrome", "palindromes", "small_palindromes", "text"
        ] = "small_palindromes",
        n: Annotated[int, Field(ge=1, le=4)] = 2,
        file: str | None = None,
        window: Annotated[int, Field(ge=1)] = 64,
        judge: Literal["recalled", "all"] = "recalled",
    ) -> None:
        self.judge = judge
        self.texts: dict[Split, NDArray[np.int64]] = {}
        self.characters: CharacterSet | None = None
        if dataset == "text":
            self.texts, self.steps, alphabet = _read(file, window), window, TEXT_SYMBOLS
        else:
            self.characters = character_set(dataset, n)
            self.steps, alphabet = self.characters.strings.shape[1] - 1, self.characters.alphabet
            self._scored, self._recalled = self.characters.scored, self.characters.recalled
            self._cumulative = np.cumsum(self.characters.probability)
        self.lengths = (self.steps,)
        self.tokens = tuple(NAMES.get(character, character) for character in alphabet)
        self.input_channels = self.output_channels = len(alphabet)

    def operator(self, length: int) -> None:
        """Return None: the task has no linear operator."""

    def shape(self, seed: int, split: Split, step: int, horizon: int) -> int:
        """Return the number of steps, the same for all batches; shorter strings are padded."""
        return self.steps

    def batch(self, seeds: Sequence[int], split: Split, step: int, shape: int, size: int) -> Batch:
        """Return one batch for each seed, every split a stream without end."""
        draws = np.stack([stream("characters", seed, split, step).random(size) for seed in seeds])
        if self.characters is None:
            text = self.texts[split]
            starts = (draws * (len(text) - self.steps)).astype(np.int64)
            ids = text[starts[..., None] + np.arange(self.steps + 1)]
            items = np.full_like(ids, -1)
            scored = np.ones((*starts.shape, self.steps), bool)
            recalled = ~scored
        else:
            row = np.searchsorted(self._cumulative, draws * self._cumulative[-1], side="right")
            ids, items = self.characters.strings[row], self.characters.items[row]
            scored, recalled = self._scored[row], self._recalled[row]
        inputs = np.where(scored, ids[..., :-1], -1)
        return Batch(
            inputs=inputs,
            answers=ids[..., 1:],
            scored=scored,
            judged=scored if self.judge == "all" or self.characters is None else recalled,
            events=_events(ids, items, scored, recalled) | {"token": inputs},
        )

    def test_batch(self, seed: int, length: int, horizon: int, size: int) -> Batch:
        """Return the first held-out strings, one member wide.

        Raises
        ------
        UserError
            If ``length`` is not the number of predicted characters.
        """
        if length != self.steps:
            raise UserError(
                f"must be {self.steps}, the characters predicted in a row; got {length}", parameter="length"
            )
        return self.batch([seed], "test", 0, length, size)

    def levels(self) -> dict[Known, Level | None]:
        """Return what a prediction reaches at best from the whole prefix, and from the last one or two characters.

        Nobody knows for a text what is best from the whole prefix (None); from its last characters it is what
        counting the test split gives.
        """
        if self.characters is None:
            text = one_string(self.texts["test"], TEXT_SYMBOLS)
            return {
                "prefix": None,
                "last_one": best_level(text, "last_one"),
                "last_two": best_level(text, "last_two"),
            }
        return {known: best_level(self.characters, known) for known in ("prefix", "last_one", "last_two")}


def _events(
    ids: NDArray[np.int64], items: NDArray[np.int64], scored: NDArray[np.bool_], recalled: NDArray[np.bool_]
) -> dict[str, NDArray[np.int64]]:
    """Return the events of strings whose places show these items (…, place), all (…, place - 1).

    What a network can learn from a step is the character that follows: where this one was drawn at random or
    copied, the step writes it. The first character follows none, so step 0, whose input it is, writes it too.
    A step asks for the character to be recalled; ``group`` is how many characters were drawn.
    """
    drawn = np.where(items >= 0, ids, -1)
    following = np.where(scored, drawn[..., 1:], -1)
    first = np.full_like(following, -1)
    first[..., 0] = drawn[..., 0]
    return {
        "phase": np.where(scored, recalled, -1),
        "trial": np.where(scored, 0, -1),
        "group": np.where(scored, items.max(axis=-1, keepdims=True) + 1, -1),
        "written": np.stack([following, first], axis=-1),
        "asked": np.where(recalled, following, -1),
    }


def _read(file: str | None, window: int) -> dict[Split, NDArray[np.int64]]:
    """Return the ids of a text's splits, one after the other.

    Raises
    ------
    UserError
        If the file is missing, no text, or too short for a window in each split.
    """
    if file is None:
        raise UserError("expected the text to read; got none", parameter="file")
    try:
        ids = encode(Path(file).read_text(encoding="utf-8"), TEXT_SYMBOLS)
    except FileNotFoundError:
        raise UserError(f"no such file: {file}", parameter="file") from None
    except UnicodeDecodeError:
        raise UserError(f"must be text in UTF-8; got {file}", parameter="file") from None
    texts = {
        split: ids[round(low * len(ids)) : round(high * len(ids))] for split, (low, high) in SHARES.items()
    }
    shortest = min(map(len, texts.values()))
    if shortest <= window:
        raise UserError(
            f"must have more than {window} characters (window) in each split; got {shortest} in {file}",
            parameter="file",
        )
    return texts
