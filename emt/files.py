"""Files: written whole or not at all, read with one line where they are broken; what the disk refuses."""

import contextlib
import csv
import errno
import fcntl
import hashlib
import io
import json
import math
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from emt.errors import UserError, repeated
from emt.text import shortened, visible

LARGEST_EXACT_INTEGER = 2**53

LARGEST_INTEGER = 10**300
"""Larger ones become no floating-point number."""

DEEPEST = 64
"""Lists and objects within each other that are read."""

FULL = {
    errno.ENOSPC: "no space left on the disk; free some and rerun the same command",
    errno.EDQUOT: "the disk quota is used up; free some of it and rerun the same command",
}
"""What is said of a disk that takes no more."""

TEMPORARY_SUFFIX = ".emt-tmp"
TEMPORARY = re.compile(r"\..+\.[a-z0-9_]{8}" + re.escape(TEMPORARY_SUFFIX), re.DOTALL)
"""Name of a file that is not whole yet."""

WINDOW = 2**20
"""Characters that are read at once of a long list."""

_SPACE = re.compile(r"[ \t\n\r]*")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file that appears under its name only when whole."""
    with writing(path) as file:
        file.write(content)


@contextlib.contextmanager
def writing(path: Path, *, new: bool = False) -> Iterator[io.BufferedRandom]:
    """Give a file to write and to read; it appears under its name when it is whole, and not after an error.

    With ``new`` a file of that name stays as it is, and the error is a FileExistsError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = _temporary(path)
    try:
        with os.fdopen(handle, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            if new:
                os.link(temporary, path)
                os.unlink(temporary)
            else:
                os.replace(temporary, path)
    except BaseException as error:
        if isinstance(error, OSError):
            error.filename = str(path)
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _temporary(path: Path) -> tuple[int, str]:
    """Return a new file beside ``path``, open and locked, and its name.

    As long as the lock is held, the writer lives, so that `emt.locks.remove_leftovers` keeps the file.
    """
    while True:
        try:
            handle, name = tempfile.mkstemp(TEMPORARY_SUFFIX, f".{path.name[:60]}.", path.parent)
        except OSError as error:
            error.filename = str(path)
            raise
        with contextlib.suppress(OSError):
            # Not every file system has locks; there leftovers stay.
            fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:
            return handle, name
        # Taken for a leftover in the moment before it was locked.
        os.close(handle)


def check_folder(path: Path, flag: str) -> Path:
    """Return a path that is a folder or can become one.

    Raises
    ------
    UserError
        If it, or a folder above it, is a file.
    """
    for place in (path, *path.parents):
        if place.exists() or place.is_symlink():
            if not place.is_dir():
                raise UserError(f"expected a folder; {place} is a file", parameter=flag)
            break
    return path


def write_text(path: Path, text: str) -> None:
    """Write a text file that appears under its name only when whole."""
    write_bytes(path, text.encode(errors="backslashreplace"))


def write_json(path: Path, content: Any, *, indent: int | None = 1) -> None:
    """Write JSON: non-finite numbers become null, integers above 2^53 text, lists of numbers one line."""
    write_bytes(path, to_json(content, indent=indent))


def to_json(content: Any, *, indent: int | None = 1) -> bytes:
    """Return what `write_json` writes."""
    text = json.dumps(_to_json(content), indent=indent, allow_nan=False)
    # One real number a line makes a summary unreadable; innermost lists go back onto one line.
    text = re.sub(r"\[[^\[\]{}]*\]", lambda m: re.sub(r"\s*\n\s*", " ", m.group()), text)
    return f"{text}\n".encode()


def read_json(path: Path) -> Any:
    """Read JSON; text that is an integer above 2^53 becomes that integer.

    Raises
    ------
    UserError
        If the file is missing or no whole JSON document: also where an object has a name twice, text is no
        Unicode, or a number is too large to compute with.
    """
    try:
        return parse_json(path.read_bytes(), path)
    except FileNotFoundError:
        raise UserError(f"no such file: {path}") from None


def parse_json(content: bytes, source: str | Path) -> Any:
    """Return what JSON text holds; errors are those of `read_json`, and name the ``source``."""
    try:
        return _from_json(json.loads(content.decode(), object_pairs_hook=_object))
    except UnicodeDecodeError:
        raise UserError(f"{source}: not valid JSON: not UTF-8 text") from None
    except RecursionError:
        raise UserError(f"{source}: not valid JSON: lists or objects nested too deeply") from None
    except ValueError as error:
        raise UserError(f"{source}: not valid JSON: {error}") from None


def read_long_list(path: Path, name: str, keep: Callable[[Any], Any]) -> Any:
    """Read a JSON object whose member ``name`` is a long list; of each item only ``keep(item)`` stays in memory.

    ``keep`` is given an item as it stands in the file; large integers, which are text there, are restored
    afterwards.

    A list of 2,000 spectra takes gigabytes as Python numbers, and half of one as text. Errors are those of
    `read_json`, which also reads what is no such object.
    """
    try:
        with path.open(encoding="utf-8") as file:
            return _JsonWindow(file).object_with(name, lambda item: _from_json(keep(item)))
    except (OSError, ValueError, RecursionError):
        return read_json(path)


class _JsonWindow:
    """A JSON text of which one value at a time is in memory."""

    def __init__(self, file: TextIO) -> None:
        self.file, self.text, self.at = file, "", 0
        self.decode = json.JSONDecoder(object_pairs_hook=_object).raw_decode

    def object_with(self, name: str, keep: Callable[[Any], Any]) -> dict[str, Any]:
        """Return the object that the text is; items of its member ``name`` as ``keep`` leaves them."""
        found: dict[str, Any] = {}
        self.expect("{")
        while self.peek() != "}":
            key = self.value()
            self.expect(":")
            if not isinstance(key, str) or key in found:
                raise ValueError("expected names in quotes, each once")
            found[key] = self.items(keep) if key == name and self.peek() == "[" else _from_json(self.value())
            self.separate("}")
        self.expect("}")
        self.expect("")
        return found

    def items(self, keep: Callable[[Any], Any]) -> list[Any]:
        self.expect("[")
        kept = []
        while self.peek() != "]":
            kept.append(keep(self.value()))
            self.separate("]")
        self.expect("]")
        return kept

    def value(self) -> Any:
        """Return the next value; one that the window cuts is read again with more of the text."""
        self.peek()
        while True:
            try:
                value, end = self.decode(self.text, self.at)
            except ValueError:
                # Twice as much each time: a value without end is not looked at again for every window.
                if not self.more(max(WINDOW, len(self.text))):
                    raise
                continue
            if end < len(self.text) or not self.more():
                self.at = end
                return value

    def peek(self) -> str:
        """Return the next character that is no space, nothing at the end."""
        while True:
            self.at = _SPACE.match(self.text, self.at).end()  # type: ignore[union-attr]
            if self.at < len(self.text) or not self.more():
                return self.text[self.at : self.at + 1]

    def expect(self, character: str) -> None:
        if self.peek() != character:
            raise ValueError(f"expected {character!r}")
        self.at += len(character)

    def separate(self, closing: str) -> None:
        """Pass a comma that another item follows, or stand at the end."""
        if self.peek() != closing:
            self.expect(",")
            if self.peek() == closing:
                raise ValueError("expected a value")

    def more(self, characters: int = 0) -> bool:
        read = self.file.read(characters or WINDOW)
        self.text, self.at = self.text[self.at :] + read, 0
        return bool(read)


class CurvePoint(NamedTuple):
    """A row of a member's training_curve.csv, of training or of a validation; NaN for the figures of the other.

    Attributes
    ----------
    step, horizon
        Training steps done, and the horizon (in time steps) that the figures hold for.
    train_loss, train_acc
        Means over the training steps since the last such row.
    val_loss, val_acc
        Figures of the validation after this step.
    """

    step: int
    horizon: int
    train_loss: float
    train_acc: float
    val_loss: float
    val_acc: float

    @property
    def is_training(self) -> bool:
        """Whether the row holds a training loss."""
        return not math.isnan(self.train_loss)

    @property
    def is_validation(self) -> bool:
        """Whether the row holds a validation accuracy."""
        return not math.isnan(self.val_acc)


def write_curve(path: Path, points: Iterable[CurvePoint]) -> None:
    """Write a training curve: figures with six digits, NaN as an empty cell."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(CurvePoint._fields)
    for step, horizon, *figures in points:
        rows.writerow([step, horizon, *map(cell, figures)])
    write_text(path, text.getvalue())


def write_norms(path: Path, names: Iterable[str], rows: Iterable[tuple[int, list[float]]]) -> None:
    """Write a member's norms.csv: a step and figures of these names in each row, as `write_curve` has them."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["step", *names])
    table.writerows([step, *map(cell, figures)] for step, figures in rows)
    write_text(path, text.getvalue())


def read_norms(path: Path) -> dict[int, dict[str, float]]:
    """Return the figures of a norms.csv by step and name; runs of earlier versions have none.

    Raises
    ------
    UserError
        If the file has no steps, or a row that is not whole.
    """
    if not path.exists():
        return {}
    try:
        header, *rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8")))) or [[]]
        if header[:1] != ["step"]:
            raise ValueError(f"the columns {','.join(header) or 'of an empty file'}")
        return {
            _natural(step): dict(zip(header[1:], map(_figure, figures), strict=True))
            for step, *figures in rows
        }
    except (ValueError, csv.Error) as error:
        raise UserError(f"{path}: expected norms by step; got {error}") from None


def read_curve(path: Path) -> list[CurvePoint]:
    """Return the points of a training curve, in order.

    Raises
    ------
    UserError
        If the file is missing, has other columns, or a row that is not whole.
    """
    try:
        header, *rows = list(csv.reader(io.StringIO(path.read_text(encoding="utf-8")))) or [[]]
        if tuple(header) != CurvePoint._fields:
            raise ValueError(f"the columns {','.join(header) or 'of an empty file'}")
        return [_read_point(number, row) for number, row in enumerate(rows, start=2)]
    except FileNotFoundError:
        raise UserError(f"no such file: {path}") from None
    except (ValueError, csv.Error) as error:
        expected = f"expected a training curve with the columns {','.join(CurvePoint._fields)}"
        raise UserError(f"{path}: {expected}; got {error}") from None


def _read_point(number: int, row: list[str]) -> CurvePoint:
    try:
        step, horizon, *figures = row
        point = CurvePoint(_natural(step), _natural(horizon), *map(_figure, figures))
        if point.train_acc < 0 or point.train_acc > 1 or point.val_acc < 0 or point.val_acc > 1:
            raise ValueError("an accuracy that is no share")
        return point
    except (ValueError, TypeError):
        raise ValueError(f"{shortened(','.join(row))!r} in line {number}") from None


def _natural(text: str) -> int:
    if not re.fullmatch("[0-9]{1,18}", text):
        raise ValueError("no integer ≥ 0")
    return int(text)


def cell(figure: float) -> str:
    """Return a number as tables of a training have it: with six digits, NaN as an empty cell."""
    return "" if math.isnan(figure) else f"{figure:.6g}"


def _figure(text: str) -> float:
    """Return the number that a cell holds, NaN if it is empty; Python also reads 1_000 and digits of other scripts."""
    if not text:
        return math.nan
    if not re.fullmatch(r"-?([0-9]+\.?[0-9]*(e[+-]?[0-9]+)?|inf)", text):
        raise ValueError("no number")
    return float(text)


def sha256(content: bytes) -> str:
    """Return the hash that done markers hold."""
    return hashlib.sha256(content).hexdigest()


def explain_os_error(error: OSError) -> str:
    """Say in one line what the operating system refused."""
    full = FULL.get(error.errno or 0)
    # What this project writes has a name; streams and what libraries keep for themselves have none.
    where = error.filename or ("standard output or a temporary file" if full else "file system")
    return visible(f"{where}: {full or (error.strerror or str(error)).lower()}")


def plain(value: Any) -> Any:
    """Return a value as `read_json` returns what `write_json` wrote.

    >>> plain({1: (2**60, float("nan"))})
    {'1': [1152921504606846976, None]}
    """
    return _from_json(_to_json(value))


def is_plain(path: Path, folder: Path) -> bool:
    """Whether a path is a file of its own in a folder: no link, no device, nowhere else.

    Names of files come from other files, whose writer need not be who reads them here.
    """
    return path.parent == folder and path.name not in ("", "..") and not path.is_symlink() and path.is_file()


def _to_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _to_json(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_to_json(v) for v in value]
    if isinstance(value, str | Path):
        # A path may have bytes that are no text.
        return str(value).encode(errors="backslashreplace").decode()
    if isinstance(value, bool) or value is None:
        return value
    if hasattr(value, "tolist"):
        return _to_json(value.tolist())
    if isinstance(value, complex):
        return [_to_json(value.real), _to_json(value.imag)]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return str(value) if abs(value) > LARGEST_EXACT_INTEGER else value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError(f"an object has several values of {repeated(name for name, _ in pairs)}")
    return found


def _from_json(value: Any, depth: int = 0) -> Any:
    if depth > DEEPEST:
        raise RecursionError
    if isinstance(value, dict):
        return {_from_text(k): _from_json(v, depth + 1) for k, v in value.items()}
    if isinstance(value, list):
        return value if all(type(v) is float for v in value) else [_from_json(v, depth + 1) for v in value]
    if isinstance(value, str):
        large = re.fullmatch(r"-?[1-9]\d{15,}", value, re.ASCII)
        return (
            _from_integer(int(value))
            if large and abs(int(value)) > LARGEST_EXACT_INTEGER
            else _from_text(value)
        )
    return _from_integer(value) if type(value) is int else value


def _from_text(text: str) -> str:
    if not text.isascii() and re.search("[\ud800-\udfff]", text):
        raise ValueError("half a surrogate pair, which is no character")
    return text


def _from_integer(value: int) -> int:
    if abs(value) > LARGEST_INTEGER:
        raise ValueError(f"an integer of {len(str(abs(value)))} digits")
    return value
