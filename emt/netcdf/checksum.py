"""A file's checksum as its last line of text, behind the content: HDF5 ignores what stands behind its end."""

import hashlib
import io
import os
from pathlib import Path
from typing import BinaryIO

MARK = b"\nemt sha256 "
LENGTH = len(MARK) + 64 + 1
"""Bytes of the mark, the hash in hexadecimal digits and the end of the line."""

WINDOW = 2**20
"""Bytes that are hashed at once."""


def append_checksum(file: BinaryIO) -> None:
    """Append the checksum of all that a file holds."""
    end = file.seek(0, io.SEEK_END)
    line = _line(file, end)
    file.seek(end)
    file.write(line)


def has_checksum(path: Path) -> bool:
    """Whether a file ends with its checksum.

    Raises
    ------
    ValueError
        If it does, and the checksum is that of other content.
    """
    with path.open("rb") as file:
        end = os.fstat(file.fileno()).st_size - LENGTH
        file.seek(max(0, end))
        last = file.read()
        if end < 0 or not last.startswith(MARK):
            return False
        if last != _line(file, end):
            raise ValueError("content that was changed after it was written: its checksum differs")
        return True


def _line(file: BinaryIO, end: int) -> bytes:
    """Return the line for a file's first ``end`` bytes."""
    digest = hashlib.sha256()
    file.seek(0)
    while end > 0:
        content = file.read(min(end, WINDOW))
        if not content:
            break
        digest.update(content)
        end -= len(content)
    return MARK + digest.hexdigest().encode() + b"\n"
