"""Texts for language models as ids of words: folders of three files, as of WikiText-2 and the Penn Treebank.

A line is words with blanks between them; each line, also an empty one, ends with the word `END`. Case is kept.
Words have ids in the order of their first occurrence in the training text, then the validation text, then the
test text (Merity et al. 2018, arXiv:1708.02182).
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from emt.errors import UserError
from emt.streams import Split

END, UNKNOWN = "<eos>", "<unk>"

FORMS: tuple[dict[Split, str], ...] = (
    {"train": "wiki.train.tokens", "validation": "wiki.valid.tokens", "test": "wiki.test.tokens"},
    {"train": "ptb.train.txt", "validation": "ptb.valid.txt", "test": "ptb.test.txt"},
    {"train": "train.txt", "validation": "valid.txt", "test": "test.txt"},
)
"""What the three files are called: as WikiText-2, as the Penn Treebank, or plainly."""

BLOCK = 1000
"""Words of a block, where a text has no titles."""


@dataclass(frozen=True)
class Texts:
    """What was read.

    Attributes
    ----------
    vocabulary
        The words.
    splits
        Ids of the words of each text, (word,).
    articles
        For each text the number of the article that a word stands in, (word,). An article starts at a line
        ``= Title =`` between empty lines; words before the first title are in article 0. A text without titles is
        divided into blocks of 1,000 words.
    """

    vocabulary: tuple[str, ...]
    splits: dict[Split, NDArray[np.int32]]
    articles: dict[Split, NDArray[np.int32]]


@lru_cache(maxsize=2)
def read_texts(folder: Path, vocabulary_size: int | None = None) -> Texts:
    """Read the three texts of a folder.

    Parameters
    ----------
    folder
        Where the files are, under one of the three sets of names in `FORMS`.
    vocabulary_size
        Number of words of the training text that are kept: `UNKNOWN`, `END` and the most frequent others, of
        equally frequent ones the earlier; all other words become `UNKNOWN`. None keeps all.

    Raises
    ------
    UserError
        If a file is missing, no UTF-8 text, or has fewer than two words.

    Examples
    --------
    ``read_texts(Path("wikitext-2"))`` has a ``vocabulary`` of 33278 words, and 2088628 words to train on.
    """
    codes: dict[str, int] = {}
    splits, articles = {}, {}
    for split, path in _paths(folder).items():
        lines = _read_lines(path)
        words = [codes.setdefault(word, len(codes)) for line in lines for word in line]
        if len(words) < 2:
            raise UserError(
                f"{path}: expected a text of at least 2 words; got {len(words)}", parameter="data"
            )
        splits[split], articles[split] = np.array(words, np.int32), _articles(lines)
    if vocabulary_size is None or len(codes) <= vocabulary_size:
        return Texts(tuple(codes), splits, articles)
    return Texts(*_cut(codes, splits, vocabulary_size), articles)


def _paths(folder: Path) -> dict[Split, Path]:
    """Return the files of the splits, under the names of which most are there."""
    present = [sum((folder / name).is_file() for name in form.values()) for form in FORMS]
    form = FORMS[int(np.argmax(present))]
    missing = [name for name in form.values() if not (folder / name).is_file()]
    if missing and any(present):
        raise UserError(
            f"{folder}: expected {', '.join(form.values())}; no {', '.join(missing)}", parameter="data"
        )
    if missing:
        expected = "; or ".join(", ".join(names.values()) for names in FORMS)
        raise UserError(f"{folder}: expected a folder with {expected}; found none of them", parameter="data")
    return {split: folder / name for split, name in form.items()}


def _read_lines(path: Path) -> list[list[str]]:
    """Return the words of each line, `END` included."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError:
        raise UserError(f"{path}: not a UTF-8 text", parameter="data") from None
    if not lines[-1]:
        lines.pop()
    return [[*line.split(), END] for line in lines]


def _articles(lines: list[list[str]]) -> NDArray[np.int32]:
    """Return the number of the article of each word."""
    around = [[END], *lines, [END]]
    starts = np.array([_is_title(*around[i : i + 3]) for i in range(len(lines))])
    lengths = np.array([len(line) for line in lines])
    if not starts.any():
        return (np.arange(lengths.sum()) // BLOCK).astype(np.int32)
    number = np.maximum(starts.cumsum() - 1, 0)
    return np.repeat(number, lengths).astype(np.int32)


def _is_title(before: list[str], line: list[str], after: list[str]) -> bool:
    """Whether a line is ``= Title =``; ``= = Section = =`` is none, nor is what an equation left within a paragraph."""
    framed = len(line) > 3 and line[0] == line[-2] == "=" and "=" not in (line[1], line[-3])
    return framed and before == after == [END]


def _cut(
    codes: dict[str, int], splits: dict[Split, NDArray[np.int32]], size: int
) -> tuple[tuple[str, ...], dict[Split, NDArray[np.int32]]]:
    """Return vocabulary and splits with only the most frequent words, in the order of their first occurrence."""
    words = [*codes, *({UNKNOWN} - codes.keys())]
    place_of = {word: place for place, word in enumerate(words)}
    often = np.bincount(splits["train"], minlength=len(words))
    often[[place_of[END], place_of[UNKNOWN]]] = often.max() + 1
    kept = np.zeros(len(words), bool)
    kept[np.argsort(-often, kind="stable")[:size]] = True
    mapped = np.where(kept, np.arange(len(words)), place_of[UNKNOWN])
    text = mapped[np.concatenate(list(splits.values()))]
    found, first = np.unique(text, return_index=True)
    order = found[np.argsort(first)]
    new = np.empty(len(words), np.int32)
    new[order] = np.arange(len(order), dtype=np.int32)
    vocabulary = tuple(words[place] for place in order)
    return vocabulary, {split: new[mapped[ids]] for split, ids in splits.items()}
