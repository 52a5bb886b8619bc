"""Text that goes into another language: a terminal, a shell, a table of a spreadsheet. Each has its own escapes."""

import os
import re
import shlex
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from typing import Any

_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
"""Characters that control a terminal, turn the direction of text, are not seen, or are no text (lone surrogates)."""

_FORMULA = re.compile(r"'*[=+\-@]")
"""How a cell begins that a spreadsheet would compute, or that `cell` has quoted."""

_NUMBER = re.compile(r"[+-]?[0-9]*\.?[0-9]+(e[+-]?[0-9]+)?", re.IGNORECASE)


def visible(text: str, *, lines: bool = False) -> str:
    r"""Return text in which characters that a terminal would obey are shown by their codes.

    With ``lines`` line breaks and tabs stay.

    >>> visible("a\x1b[31mb\nc"), visible("a\nb\x07", lines=True)
    ('a\\x1b[31mb\\nc', 'a\nb\\x07')
    """

    def shown(found: re.Match[str]) -> str:
        character = found.group()
        if lines and character in "\n\t":
            return character
        short = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}.get(character)
        return short or (rf"\x{ord(character):02x}" if character < "\x80" else rf"\u{ord(character):04x}")

    return _UNSEEN.sub(shown, text)


def shell_path(path: str | Path) -> str:
    r"""Return a path as a word that can be pasted into a shell, whatever characters it has.

    >>> shell_path("plain"), shell_path("x$(ls) y"), shell_path("-x"), shell_path("a\x1b'")
    ('plain', "'x$(ls) y'", './-x', "$'a\\x1b\\''")
    """
    text = f"./{path}" if str(path).startswith("-") else str(path)
    if visible(text) == text:
        return shlex.quote(text)
    return "$'" + "".join(_shell_byte(byte) for byte in os.fsencode(text)) + "'"


def _shell_byte(byte: int) -> str:
    if chr(byte) in "'\\":
        return f"\\{chr(byte)}"
    return chr(byte) if 32 <= byte < 127 else rf"\x{byte:02x}"


def shortened(value: Any, most: int = 60) -> str:
    """Return a value as a message shows it: in one line of at most ``most`` characters."""
    text = str(value)
    return visible(text if len(text) <= most else f"{text[: most - 1]}…")


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return what a mistyped name may have meant, as the end of a message; nothing where no known name is near.

    Examples
    --------
    >>> suggestion("--lerning_rate", ["--learning_rate", "--seed"])
    '; did you mean --learning_rate?'
    >>> suggestion("--colour", ["--learning_rate", "--seed"])
    ''
    """
    # Dashes alone would make any two flags similar.
    names = {name.lstrip("-"): name for name in known}
    near = get_close_matches(word.lstrip("-"), names, n=1)
    return f"; did you mean {names[near[0]]}?" if near else ""


def cell(value: Any) -> Any:
    """Return what goes into a cell of a CSV file: text that a spreadsheet would compute begins with an apostrophe.

    Numbers are left alone, and characters shown as by `visible`; `from_cell` takes the apostrophe away.

    >>> cell("=1+1"), cell("model-1"), cell(-0.5), cell("-0.5"), cell("-x")
    ("'=1+1", 'model-1', -0.5, '-0.5', "'-x")
    """
    if not isinstance(value, str):
        return value
    text = visible(value)
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def from_cell(text: str) -> str:
    """Return the text that `cell` made a cell of.

    >>> from_cell("'=1+1"), from_cell("-0.5"), from_cell("'tis")
    ('=1+1', '-0.5', "'tis")
    """
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text
