"""A disk quota that is used up: from some moment on, a folder takes nothing more.

Each kind of call that makes a disk hold more is refused as the kernel refuses it: a new file, folder, name or
link, more content, and content that reaches the disk only when it is flushed.
"""

import errno
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

NAMES = ("open", "os.mkdir", "os.rename", "os.link", "os.symlink")
"""Audit events that make a name, `open` if it may make a file."""


class _Quota:
    def __init__(self, folder: Path, calls: int) -> None:
        self.folder, self.calls = os.path.realpath(folder), calls

    def count(self, place: Any) -> None:
        """Count a call that writes to a path or to an open file; refuse it when none is left."""
        path = f"/proc/self/fd/{place}" if isinstance(place, int) else os.fsdecode(place)
        if not os.path.realpath(path).startswith(self.folder + os.sep):
            return
        self.calls -= 1
        if self.calls < 0:
            # The kernel is not told the name of an open file.
            raise OSError(
                errno.EDQUOT, os.strerror(errno.EDQUOT), *([] if isinstance(place, int) else [path])
            )


def use_up_quota(folder: Path, calls: int) -> None:
    """Let this process make that many calls that write below a folder; all after them are refused."""
    quota = _Quota(folder, calls)

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in NAMES or (event == "open" and not (arguments[2] or 0) & os.O_CREAT):
            return
        quota.count(arguments[0] if event in ("open", "os.mkdir") else arguments[1])

    sys.addaudithook(watch)
    fdopen = os.fdopen

    def open_counted(descriptor: int, mode: str = "r", *others: Any, **named: Any) -> Any:
        if mode == "w+b":
            return io.BufferedRandom(_Counted(descriptor, quota))
        return fdopen(descriptor, mode, *others, **named)

    os.fdopen = open_counted  # type: ignore[assignment]
    for name in ("fsync", "pwrite", "write"):
        setattr(os, name, _counted(getattr(os, name), quota))


class _Counted(io.FileIO):
    def __init__(self, descriptor: int, quota: _Quota) -> None:
        super().__init__(descriptor, "w+b")
        self.quota = quota

    def write(self, content: Any) -> int:
        self.quota.count(self.fileno())
        return super().write(content)


def _counted(call: Callable[..., Any], quota: _Quota) -> Callable[..., Any]:
    def counted(descriptor: int, *others: Any) -> Any:
        quota.count(descriptor)
        return call(descriptor, *others)

    return counted
