"""Folders that one process writes at a time: locks that name their holder, and what killed writers left behind."""

import contextlib
import errno
import fcntl
import os
import shlex
import socket
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from emt.errors import UserError
from emt.files import TEMPORARY
from emt.text import shortened

NAME = ".lock"
"""Lock file of a folder while `writing_into` it."""

LONGEST_COMMAND = 200
"""Characters of a holder's command that a refusal shows."""


@contextlib.contextmanager
def writing_into(folder: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold a folder while a command writes its results there; temporary files of killed writers are deleted first.

    A folder that is still empty at the end, and was made for the lock, is removed again.

    Raises
    ------
    UserError
        If another process holds it; both may if both share.
    """
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        with lock(folder / NAME, shared=shared):
            remove_leftovers(folder)
            yield
    finally:
        with contextlib.suppress(OSError):
            for place in made:
                place.rmdir()


@contextlib.contextmanager
def lock(path: Path, *, shared: bool = False) -> Iterator[None]:
    """Hold a lock file while working; a second holder is refused by name, unless both share.

    The kernel frees the lock when its holder dies, however it dies. The last holder deletes the file.

    Raises
    ------
    UserError
        If another process holds it, or the file system has no such locks.
    """
    with _locked(path, fcntl.LOCK_SH if shared else fcntl.LOCK_EX) as file:
        try:
            _write_holder(
                file, path, f"several processes, the latest {_holder()}\n" if shared else f"{_holder()}\n"
            )
            yield
        finally:
            with contextlib.suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _is_at(file, path):
                    path.unlink()


def _locked(path: Path, kind: int) -> TextIO:
    while True:
        file = _open(path)
        try:
            fcntl.flock(file, kind | fcntl.LOCK_NB)
            if _is_at(file, path):
                return file
        except FileNotFoundError:
            pass
        except OSError as error:
            with file:
                raise _refusal(path, file, error) from None
        # Its last holder deleted the file between the two calls.
        file.close()


def _write_holder(file: TextIO, path: Path, text: str) -> None:
    try:
        # Past the file's buffer, which a full disk would refuse again, without a name, when it is closed.
        os.ftruncate(file.fileno(), 0)
        os.pwrite(file.fileno(), text.encode(errors="replace"), 0)
    except OSError as error:
        error.filename = str(path)
        raise


def _is_at(file: TextIO, path: Path) -> bool:
    """Whether an open file is still the one of this name."""
    return os.path.samestat(os.fstat(file.fileno()), path.stat(follow_symlinks=False))


def _open(path: Path) -> TextIO:
    """Open a lock file for reading and writing; a link is none, so that no other file is emptied."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        return os.fdopen(os.open(path, flags, 0o644), "r+", encoding="utf-8", errors="replace")
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UserError(f"{path}: expected a plain file, a lock; got a link") from None
        error.filename = str(path.parent)
        raise


def _refusal(path: Path, file: TextIO, error: OSError) -> UserError:
    if error.errno in (errno.EAGAIN, errno.EACCES):
        named = shortened(file.readline().strip(), 2 * LONGEST_COMMAND)
        return UserError(f"{path.parent}: in use by {named or 'another process'}")
    what = "expected a file system with file locks (flock), so that two processes never work on one run"
    return UserError(f"{path.parent}: {what}; got {error.strerror!r}")


def _holder() -> str:
    command = shortened(shlex.join(sys.argv), LONGEST_COMMAND)
    return f"process {os.getpid()} on {socket.gethostname()}: {command}"


def remove_leftovers(folder: Path) -> list[Path]:
    """Delete the temporary files of `emt.files.writing` below a folder whose writers are dead; return them."""
    found = (Path(place, name) for place, _, names in os.walk(folder) for name in names)
    return [path for path in found if TEMPORARY.fullmatch(path.name) and remove_if_free(path)]


def remove_if_free(path: Path) -> bool:
    """Delete a plain file unless a process that lives holds a lock on it; return whether it was deleted."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return False
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True
