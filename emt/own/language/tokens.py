"""The text that language models are recorded on: rows of token ids, their names, and what each step asks for."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from emt.errors import UserError

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Text:
    """Rows of tokens.

    Attributes
    ----------
    ids
        As the model takes them, (batch, time), -1 after a row's end.
    lengths
        Steps of each row, (batch,).
    kinds
        The ids that occur, ascending: a trace numbers tokens by their places here.
    """

    ids: Ids
    lengths: Ids
    kinds: Ids

    @property
    def numbers(self) -> Ids:
        """Tokens by their places in ``kinds``, (batch, time), -1 after a row's end."""
        return np.where(self.ids >= 0, np.searchsorted(self.kinds, self.ids), -1)

    @property
    def following(self) -> Ids:
        """Id of each step's next token, (batch, time), -1 at a row's last step and after it."""
        last = np.full((len(self.ids), 1), -1)
        return np.concatenate([self.ids[:, 1:], last], axis=1)

    @property
    def identities(self) -> list[str]:
        """What names each row: a hash of its ids, and which of several equal rows it is."""
        hashes = [sha256(row.tobytes()).hexdigest()[:12] for row in self.ids]
        return [f"{name}-{hashes[:place].count(name)}" for place, name in enumerate(hashes)]

    def parts(self, most: int) -> Iterator[tuple[NDArray[np.intp], Ids]]:
        """Yield places of rows of one length, at most so many, and their ids (row, time)."""
        for length in np.unique(self.lengths):
            rows = np.flatnonzero(self.lengths == length)
            for first in range(0, len(rows), most):
                here = rows[first : first + most]
                yield here, self.ids[here, :length]


def read_text(token_ids: Any, padding: int | None, vocabulary: int) -> Text:
    """Return the rows of a text.

    Parameters
    ----------
    token_ids
        Ids (batch, time), or rows of different length.
    padding
        The id that stands for padding, if there is one.
    vocabulary
        How many ids there are.

    Raises
    ------
    UserError
        If rows are no whole-numbered ids of the vocabulary, or padded.
    """
    rows = [_row(row) for row in token_ids]
    if not rows:
        raise UserError("expected at least one row; got none", parameter="token_ids")
    lengths = np.array([len(row) for row in rows])
    ids = np.full((len(rows), lengths.max()), -1)
    for place, row in enumerate(rows):
        if row.min() < 0 or row.max() >= vocabulary:
            wrong = row[(row < 0) | (row >= vocabulary)][0]
            raise UserError(f"expected ids from 0 to {vocabulary - 1}; got {wrong}", parameter="token_ids")
        ids[place, : len(row)] = row
    if padding is not None and (lengths == lengths[0]).all():
        _check_padding(ids, padding)
    return Text(ids, lengths, np.unique(ids[ids >= 0]))


def _row(row: Any) -> Ids:
    values = np.asarray(row.cpu() if hasattr(row, "cpu") else row)
    if values.ndim != 1 or not values.size or values.dtype.kind not in "iu":
        raise UserError(
            f"expected whole-numbered ids (batch, time), or a list of rows; got a row of {values.dtype} {values.shape}",
            parameter="token_ids",
        )
    return values.astype(np.int64)


def _check_padding(ids: Ids, padding: int) -> None:
    for where, column in (("starts", ids[:, 0]), ("ends", ids[:, -1])):
        if len(found := np.flatnonzero(column == padding)):
            raise UserError(
                f"expected rows without padding; row {found[0]} {where} with the padding id {padding} (give rows of "
                "different length as a list; if it is no padding, set pad_token_id of the model's config to None)",
                parameter="token_ids",
            )


def token_names(names: Any, kinds: Ids) -> list[str]:
    """Return the text of each id, the id itself where none is known.

    Parameters
    ----------
    names
        A tokenizer, or the text of each id, a sequence or a mapping; None for none.
    kinds
        The ids.
    """
    ids = kinds.tolist()
    if names is None:
        return [str(number) for number in ids]
    if hasattr(names, "decode"):
        return [str(names.decode([number])) for number in ids]
    if isinstance(names, Mapping):
        return [str(names.get(number, number)) for number in ids]
    largest = max(ids, default=-1)
    if not isinstance(names, Sequence) or isinstance(names, str) or len(names) <= largest:
        raise UserError(
            f"expected a tokenizer, or the text of each id up to {largest}; got {type(names).__name__}",
            parameter="names",
        )
    return [str(names[number]) for number in ids]


def events(text: Text, written: Any, asked: Any, induction: bool) -> dict[str, Ids]:
    """Return what each step writes and asks for, (batch, time) by name, as a trace has it.

    Raises
    ------
    UserError
        If what is asked is said in two ways, or is a token that does not occur.
    """
    if induction and (asked is not None or written is not None):
        raise UserError("expected no events of your own beside it (written, asked)", parameter="induction")
    if induction:
        return {"written": text.numbers, "asked": after_last_occurrence(text.numbers)}
    if written is not None:
        found = {"written": np.asarray(written)}
        return found if asked is None else found | {"asked": np.asarray(asked)}
    return {"written": text.numbers} | ({} if asked is None else {"asked": _numbered(asked, text)})


def _numbered(asked: Any, text: Text) -> Ids:
    """Return ids that steps ask for by their places in ``kinds``; -1 stays."""
    ids = np.asarray(asked)
    unknown = ids[(ids >= 0) & ~np.isin(ids, text.kinds)]
    if unknown.size:
        raise UserError(f"expected ids of the text, or -1; got {unknown.flat[0]}", parameter="asked")
    return np.where(ids >= 0, np.searchsorted(text.kinds, ids), -1)


def after_last_occurrence(tokens: Ids) -> Ids:
    """Return for each step the token that followed the last earlier occurrence of its own, -1 without one.

    >>> after_last_occurrence(np.array([[3, 5, 4, 3, 5, 5]])).tolist()
    [[-1, -1, -1, 5, 4, 5]]
    """
    asked = np.full(tokens.shape, -1)
    for row, wanted in zip(tokens, asked, strict=True):
        last: dict[int, int] = {}
        for step, token in enumerate(row.tolist()):
            if token >= 0 and token in last:
                wanted[step] = row[last[token] + 1]
            last[token] = step
    return asked
