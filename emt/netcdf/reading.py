"""Read a NetCDF file into memory, in bounded time, or say in one line why not."""

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from emt.errors import TraceError
from emt.netcdf.checksum import has_checksum
from emt.netcdf.limits import check_end, check_storage
from emt.text import shortened

if TYPE_CHECKING:
    # The process that tries to read a file imports this module, and would wait a second for xarray.
    import xarray as xr

Kind = TypeVar("Kind", "xr.DataTree", "xr.Dataset")

SECONDS, SECONDS_PER_BYTE = 3, 1e-7
"""Processor time in which a file without a checksum must be read, once the libraries are imported."""

LONGEST_REASON = 300
"""Characters of a library's message that are repeated."""

_TRIAL = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from emt.netcdf.reading import try_to_load; try_to_load(*sys.argv[2:])"
)


def read(path: Path, opener: Callable[..., Kind], what: str) -> Kind:
    """Read a NetCDF file into memory; ``opener`` is xarray's, ``what`` the word for messages.

    Raises
    ------
    TraceError
        If the file is missing or damaged; the message names the variable that cannot be read.
    """
    if not path.exists():
        raise TraceError(f"no such file: {path} ({what})")
    if not path.is_file():
        raise TraceError(f"{path}: expected a file ({what}); it is none")
    try:
        checked = has_checksum(path)
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from None
    if not checked:
        _try_elsewhere(path)
    return load(path, opener)


def load(path: Path, opener: Callable[..., Kind]) -> Kind:
    """Read a file whose content is as it was written, or that has been read before.

    Raises
    ------
    TraceError
        If it is damaged, or claims more than it holds.
    """
    name = ""
    try:
        check_storage(path)
        with opener(path, engine="h5netcdf") as file:
            for name, variable in _variables(file):  # noqa: B007 (the last name is the one that fails)
                variable.load()
            return file.load()
    except Exception as error:
        # The libraries raise errors of every kind for a damaged file, KeyError and RuntimeError among them.
        raise _damaged(path, error, name) from None


def try_to_load(path: str, seconds: str) -> None:
    """Read all of a file within limits of time and memory; print why it cannot be read, nothing if it can.

    It is read by the library below xarray, which takes a third of the time to import.
    """
    # A Python process that reaches the first limit ends by SIGXCPU.
    end = int(sum(os.times()[:2])) + 1 + int(seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (end, end + 1))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    name = ""
    try:
        import h5netcdf

        check_storage(Path(path))
        with h5netcdf.File(path, "r") as file:
            for name, part in _parts(file):  # noqa: B007 (the last name is the one that fails)
                dict(part.attrs)
                if isinstance(part, h5netcdf.Variable):
                    part[...], part.dimensions, part.chunks, part.compression, part.shuffle, part.fletcher32
    except Exception as error:
        sys.stdout.write(str(_damaged(Path(path), error, name)))


def _parts(group: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield a group of a file, its variables and those of the groups in it, with their paths."""
    yield place, group
    yield from ((f"{place}/{name}".strip("/"), variable) for name, variable in group.variables.items())
    for name, inner in group.groups.items():
        yield from _parts(inner, f"{place}/{name}".strip("/"))


def _try_elsewhere(path: Path) -> None:
    """Read a file without a checksum in a process of its own.

    Raises
    ------
    TraceError
        If it cannot be read there, which includes that the library crashes or does not come to an end.
    """
    try:
        check_end(path)
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from None
    seconds = int(SECONDS + SECONDS_PER_BYTE * path.stat().st_size)
    command = [sys.executable, "-c", _TRIAL, json.dumps(sys.path), str(path), str(seconds)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.stdout:
        raise TraceError(done.stdout)
    if done.returncode == -signal.SIGXCPU:
        raise _damaged(path, f"no end of reading after {seconds} s of processor time")
    if done.returncode:
        code = done.returncode
        last = signal.Signals(-code).name if code < 0 else (done.stderr.strip().splitlines() or [""])[-1]
        raise _damaged(path, f"a crash of the process that read it ({last})")


def _variables(data: "xr.DataTree | xr.Dataset") -> Iterator[tuple[str, "xr.Variable"]]:
    """Yield all variables with their paths in the file."""
    import xarray as xr

    if isinstance(data, xr.Dataset):
        yield from ((str(name), variable) for name, variable in data.variables.items())
        return
    for node in data.subtree:
        place = node.path.strip("/")
        yield from ((f"{place}/{name}".strip("/"), variable) for name, variable in node.variables.items())


def _damaged(path: Path, reason: Any, variable: str = "") -> TraceError:
    text = " ".join(str(reason).split()) or type(reason).__name__
    return TraceError(
        f"{path}: expected a whole NetCDF file; got {shortened(text, LONGEST_REASON)}"
        + (f" in variable {variable!r}" if variable else "")
    )
