"""Data sets of associative retrieval: the generator of the published files, row for row, and the files themselves.

A row is K pairs of a letter and a digit, two question marks and one of the letters, as token ids of
`VOCABULARY`; its label is the digit that belongs to the letter. A file (npz) holds ``x_train y_train x_val
y_val x_test y_test``, int64, x (row, 2 K + 3) and y (row,), and the numbers ``K``, ``T`` = 2 K + 3 and
``vocab_size``.
"""

import io
import random
import string
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emt import npz
from emt.errors import UserError
from emt.streams import Split

VOCABULARY = (*string.ascii_lowercase, *string.digits, "?")
LETTERS, DIGITS = len(string.ascii_lowercase), len(string.digits)
MARK = LETTERS + DIGITS

CHUNK = 4096
"""Rows drawn from one generator; the next chunk's generator has the next seed."""

SPLITS: dict[Split, tuple[str, int]] = {
    "train": ("train", 0),
    "validation": ("val", 1_000_000),
    "test": ("test", 2_000_000),
}
"""For each split its name in a file and the distance of its seeds from the data set's seed."""

Tokens = NDArray[np.uint8]


@dataclass(frozen=True)
class DataSet:
    """Rows of the three splits, (row, 2 K + 3) each.

    Attributes
    ----------
    pairs
        K.
    """

    pairs: int
    rows: dict[Split, Tokens]


def lay_out(letters: NDArray[np.integer], digits: NDArray[np.integer], query: NDArray[np.integer]) -> Tokens:
    """Return rows of tokens (row, 2 K + 3) of letters, digits (row, K) and the item asked for (row,), all from 0."""
    count, pairs = letters.shape
    tokens = np.full((count, 2 * pairs + 3), MARK, np.uint8)
    tokens[:, 0 : 2 * pairs : 2] = letters
    tokens[:, 1 : 2 * pairs : 2] = digits + LETTERS
    tokens[:, -1] = letters[np.arange(count), query]
    return tokens


def asked_items(tokens: Tokens) -> NDArray[np.int64]:
    """Return which pair each row asks for, from 0, (row,)."""
    return (tokens[:, :-3:2] == tokens[:, -1:]).argmax(axis=1)


def labels(tokens: Tokens) -> NDArray[np.int64]:
    """Return the digit that belongs to each row's letter, (row,)."""
    rows = np.arange(len(tokens))
    return tokens[rows, 2 * asked_items(tokens) + 1].astype(np.int64) - LETTERS


def reference_rows(pairs: int, count: int, seed: int, chunk: int = CHUNK) -> Tokens:
    """Return ``count`` rows as the published generator draws them.

    Chunk i comes from ``random.Random(seed + i)``: for each row K letters by ``sample``, K digits and the
    query by ``randrange``. Seeds that are close therefore share chunks.
    """
    drawn = [
        row
        for i in range(-(-count // chunk))
        for row in _draw(pairs, min(chunk, count - i * chunk), seed + i)
    ]
    table = np.array(drawn, np.uint8).reshape(count, 2 * pairs + 1)
    return lay_out(table[:, :pairs], table[:, pairs:-1], table[:, -1])


def _draw(pairs: int, count: int, seed: int) -> list[list[int]]:
    draw = random.Random(seed)  # noqa: S311
    alphabet = range(LETTERS)
    return [
        [
            *draw.sample(alphabet, pairs),
            *(draw.randrange(DIGITS) for _ in range(pairs)),
            draw.randrange(pairs),
        ]
        for _ in range(count)
    ]


def make_data_set(pairs: int, counts: dict[Split, int], seed: int, chunk: int = CHUNK) -> DataSet:
    """Return the published data set of a seed, with ``counts`` rows in each split."""
    rows = {split: reference_rows(pairs, counts[split], seed + SPLITS[split][1], chunk) for split in SPLITS}
    return DataSet(pairs, rows)


def count_shared(rows: Tokens, others: Tokens) -> int:
    """Return how many of ``rows`` (repeats count) also occur in ``others``."""
    known = set(_as_bytes(others))
    return sum(row in known for row in _as_bytes(rows))


def _as_bytes(tokens: Tokens) -> list[bytes]:
    whole: list[bytes] = np.ascontiguousarray(tokens).view(f"V{tokens.shape[1]}").ravel().tolist()
    return whole


def to_npz(data: DataSet) -> bytes:
    """Return the content of a data set's file."""
    arrays: dict[str, NDArray[np.int64]] = {}
    for split, (name, _) in SPLITS.items():
        arrays |= {f"x_{name}": data.rows[split].astype(np.int64), f"y_{name}": labels(data.rows[split])}
    sizes = {"K": data.pairs, "T": 2 * data.pairs + 3, "vocab_size": len(VOCABULARY)}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays, **{name: np.int64(value) for name, value in sizes.items()})  # type: ignore[arg-type]
    return buffer.getvalue()


def read_npz(path: Path) -> DataSet:
    """Read a data set's file.

    Raises
    ------
    UserError
        If the file is missing, damaged, or not of this layout; the message says what is wrong.
    """
    try:
        arrays = npz.read_npz(path)
    except FileNotFoundError:
        raise UserError(f"no such file: {path}", parameter="data_npz") from None
    except (OSError, ValueError) as error:
        raise UserError(f"expected a whole npz file; got {path} ({error})", parameter="data_npz") from None
    wanted = ["K", *(f"{axis}_{name}" for name, _ in SPLITS.values() for axis in "xy")]
    missing = [name for name in wanted if name not in arrays]
    if missing:
        raise UserError(
            f"expected the arrays {', '.join(wanted)}; {path} lacks {', '.join(missing)}",
            parameter="data_npz",
        )
    for name in wanted:
        if arrays[name].dtype.kind not in "iu" or (name == "K" and arrays[name].ndim):
            what = "one integer" if name == "K" else "integers"
            got = f"{arrays[name].dtype} in the shape {arrays[name].shape}"
            raise UserError(f"expected {what} in {name}; got {got} in {path}", parameter="data_npz")
    pairs = int(arrays["K"])
    if not 1 <= pairs <= LETTERS:
        raise UserError(f"expected K from 1 to {LETTERS}; got {pairs} in {path}", parameter="data_npz")
    rows = {
        split: _checked(arrays[f"x_{name}"], arrays[f"y_{name}"], pairs, path, name)
        for split, (name, _) in SPLITS.items()
    }
    return DataSet(pairs, rows)


def _checked(x: NDArray[np.int64], y: NDArray[np.int64], pairs: int, path: Path, name: str) -> Tokens:
    expected = f"expected x_{name} (row, {2 * pairs + 3}) and y_{name} (row,) for K = {pairs}"
    if x.ndim != 2 or x.shape[1] != 2 * pairs + 3 or y.shape != (len(x),) or not len(x):
        raise UserError(f"{expected}; got {x.shape} and {y.shape} in {path}", parameter="data_npz")
    first, last = np.full(x.shape[1], MARK), np.full(x.shape[1], MARK)
    first[: 2 * pairs : 2], last[: 2 * pairs : 2] = 0, LETTERS - 1
    first[1 : 2 * pairs : 2], last[1 : 2 * pairs : 2] = LETTERS, MARK - 1
    first[-1], last[-1] = 0, LETTERS - 1
    outside = np.flatnonzero(((x < first) | (x > last)).any(axis=1))
    if len(outside):
        raise UserError(
            f"{expected}, letters and digits in turn, two question marks, a letter; row {outside[0]} of {path} is not",
            parameter="data_npz",
        )
    tokens = x.astype(np.uint8)
    wrong = np.flatnonzero(labels(tokens) != y)
    if len(wrong):
        raise UserError(
            f"{expected}, y the digit of the letter asked for; row {wrong[0]} of {path} says otherwise",
            parameter="data_npz",
        )
    return tokens
