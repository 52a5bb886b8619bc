"""Sets of short strings as whole distributions, and how well their next character can be predicted at best.

A set lists every string that its process can draw, with its probability. So sampling is one draw of a row,
and the best possible predictions follow by counting, with the whole prefix or with only the last characters
known.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations, product
from typing import Literal

import numpy as np
from numpy.typing import NDArray

SYMBOLS, FEW_SYMBOLS = "0?!123,. ", "23. "
TEXT_SYMBOLS = " abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789,.;:'\"?!\n-"
"""Alphabets; a character's id is its place."""

SECRETS = "123,. "
"""What key recall may ask for."""

LONGEST_WAIT, LONGEST_DELAY = 5, 2
"""Most zeros before a key and between key and question."""

RESEQUENCED = 5
"""Length of a repeated sequence."""

Kind = Literal["key_recall", "resequence", "palindrome", "palindromes", "small_palindromes"]
Known = Literal["prefix", "last_one", "last_two"]
"""What a prediction may depend on: all characters so far, the last, or the last two (one at the first step)."""

_WIDTH: dict[Known, int] = {"last_one": 1, "last_two": 2}


@dataclass(frozen=True)
class CharacterSet:
    """A distribution over strings.

    Attributes
    ----------
    alphabet
        Characters by id.
    strings
        Every string that can occur, ids (string, place), -1 after its end.
    items
        Which of the string's random draws a place shows, (string, place): equal numbers are the same
        character, because the later one is copied; -1 for the others.
    probability
        (string,).
    """

    alphabet: str
    strings: NDArray[np.int64]
    items: NDArray[np.int64]
    probability: NDArray[np.float64]

    @property
    def scored(self) -> NDArray[np.bool_]:
        """Steps that have a next character, (string, place - 1)."""
        return self.strings[:, 1:] >= 0

    @cached_property
    def recalled(self) -> NDArray[np.bool_]:
        """Steps whose next character is a copy of an earlier one and, after this prefix, certain, (string, place - 1).

        A copy is not certain where the prefix still leaves open whether a copy comes next.
        """
        places = np.arange(self.items.shape[1])
        first = np.stack(
            [np.where(self.items == self.items[:, [p]], places, np.inf).min(axis=1) for p in places], 1
        )
        copy = ((self.items >= 0) & (first < places))[:, 1:] & self.scored
        if not copy.any():
            return copy
        _, group = np.unique(_contexts(self.strings, "prefix"), axis=0, return_inverse=True)
        group = group.reshape(copy.shape)
        joint = _joint(self, group, self.scored)
        certain = (joint > 0).sum(axis=1) == 1
        return np.asarray(copy & certain[group])


@dataclass(frozen=True)
class Level:
    """What the prediction with the least expected loss reaches; equally likely characters share its choice.

    Attributes
    ----------
    loss
        Nats per predicted character.
    accuracy
        Share of characters predicted rightly.
    recall
        The same over recalled characters (`CharacterSet.recalled`); NaN where a set has none.
    most_recall
        The largest recall that any prediction from as much can have, whatever its loss.
    """

    loss: float
    accuracy: float
    recall: float
    most_recall: float


def best_level(chars: CharacterSet, known: Known) -> Level:
    """Return what a prediction of the next character reaches at best, by enumeration."""
    scored, recalled = chars.scored, chars.recalled
    _, group = np.unique(_contexts(chars.strings, known), axis=0, return_inverse=True)
    group = group.reshape(scored.shape)
    joint, wanted = (_joint(chars, group, steps) for steps in (scored, recalled))
    total, total_wanted = joint.sum(), wanted.sum()
    seen = joint > 0
    likelihood = (joint / np.maximum(joint.sum(axis=1, keepdims=True), np.finfo(float).tiny))[seen]
    best = seen & np.isclose(joint, joint.max(axis=1, keepdims=True), rtol=1e-9, atol=0)
    chosen = best / np.maximum(best.sum(axis=1, keepdims=True), 1)
    return Level(
        loss=float((joint[seen] * -np.log(likelihood)).sum() / total),
        accuracy=float((joint * chosen).sum() / total),
        recall=float((wanted * chosen).sum() / total_wanted) if total_wanted else float("nan"),
        most_recall=float(wanted.max(axis=1).sum() / total_wanted) if total_wanted else float("nan"),
    )


def _contexts(strings: NDArray[np.int64], known: Known) -> NDArray[np.int64]:
    """Return what is known at each step but the last, (string · step, character), -2 for what is not."""
    places = strings.shape[1]
    lag = np.arange(places)[None, :] - np.arange(places - 1)[:, None]
    if known == "prefix":
        return np.where(lag <= 0, strings[:, None], -2).reshape(-1, places)
    padded = np.pad(strings[:, :-1], ((0, 0), (_WIDTH[known] - 1, 0)), constant_values=-2)
    return np.lib.stride_tricks.sliding_window_view(padded, _WIDTH[known], axis=1).reshape(-1, _WIDTH[known])


def _joint(chars: CharacterSet, group: NDArray[np.intp], steps: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return how often a context is followed by a character at these steps, (context, character)."""
    width = len(chars.alphabet)
    weight = np.broadcast_to(chars.probability[:, None], steps.shape)[steps]
    size = (int(group.max()) + 1) * width
    counts = np.bincount(group[steps] * width + chars.strings[:, 1:][steps], weight, size)
    return np.asarray(counts.reshape(-1, width))


def character_set(kind: Kind, n: int = 2) -> CharacterSet:
    """Return a set: key recall, repeated sequences, palindromes of five characters or of varying length.

    Parameters
    ----------
    kind
        Which process.
    n
        Longest repeated part of ``resequence``, longest half of palindromes of varying length.
    """
    rows, alphabet = _ROWS[kind]
    drawn = [*rows(n)]
    longest = max(len(text) for text, _, _ in drawn)
    strings = np.full((len(drawn), longest), -1)
    items = strings.copy()
    for row, (text, shown, _) in enumerate(drawn):
        strings[row, : len(text)] = encode(text, alphabet)
        items[row, : len(text)] = shown
    return CharacterSet(alphabet, strings, items, np.array([probability for _, _, probability in drawn]))


def one_string(ids: NDArray[np.int64], alphabet: str) -> CharacterSet:
    """Return a text as a set of one string: what is best where only its last characters are known can be counted."""
    return CharacterSet(alphabet, ids[None], np.full((1, len(ids)), -1), np.ones(1))


def encode(text: str, alphabet: str) -> NDArray[np.int64]:
    """Return the ids of a text's characters, those outside the alphabet left out."""
    places = {character: place for place, character in enumerate(alphabet)}
    return np.array([places[character] for character in text if character in places], np.int64)


Row = tuple[str, list[int], float]
"""A string, the random draws that its places show, its probability."""


def _key_recall(_n: int) -> Iterator[Row]:
    """Yield zeros, ``?``, a secret, zeros, ``!``, the secret again."""
    draws = [*product(range(1, LONGEST_WAIT + 1), SECRETS, range(1, LONGEST_DELAY + 1))]
    for wait, secret, delay in draws:
        text = "0" * wait + "?" + secret + "0" * delay + "!" + secret
        items = [-1] * len(text)
        items[wait + 1] = items[-1] = 0
        yield text, items, 1 / len(draws)


def _resequence(n: int) -> Iterator[Row]:
    """Yield r characters, all different, again and again; r is uniform in 1 to n."""
    for r in range(1, n + 1):
        draws = [*permutations(SYMBOLS, r)]
        for draw in draws:
            items = [place % r for place in range(RESEQUENCED)]
            yield "".join(draw[i] for i in items), items, 1 / (n * len(draws))


def _palindrome(_n: int) -> Iterator[Row]:
    """Yield two characters, a third, and the two reversed."""
    draws = [*product(SYMBOLS, repeat=3)]
    for a, b, c in draws:
        yield a + b + c + b + a, [0, 1, 2, 1, 0], 1 / len(draws)


def _palindromes(n: int, letters: str = "0?!123,") -> Iterator[Row]:
    """Yield a half of r letters, a full stop, the half reversed, and spaces to length 2 n + 1; r uniform in 1 to n."""
    for r in range(1, n + 1):
        halves = [*product(letters, repeat=r)]
        places = [*range(r)]
        for half in map("".join, halves):
            rest = [-1] * (2 * (n - r))
            yield (
                half + "." + half[::-1] + " " * len(rest),
                [*places, -1, *places[::-1], *rest],
                1 / (n * len(halves)),
            )


def _small_palindromes(n: int) -> Iterator[Row]:
    yield from _palindromes(n, "23")


_ROWS = {
    "key_recall": (_key_recall, SYMBOLS),
    "resequence": (_resequence, SYMBOLS),
    "palindrome": (_palindrome, SYMBOLS),
    "palindromes": (_palindromes, SYMBOLS),
    "small_palindromes": (_small_palindromes, FEW_SYMBOLS),
}
