"""Labelled arrays with a fixed schema, in one NetCDF file: what traces and portraits share.

The attribute ``about`` is one JSON string, since NetCDF keeps neither None nor booleans nor lists of one.
"""

import io
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import xarray as xr

from emt.errors import TraceError, repeated
from emt.files import write_bytes, writing

Labelled = xr.DataTree | xr.Dataset
Kind = TypeVar("Kind", xr.DataTree, xr.Dataset)


def about(data: Labelled) -> dict[str, Any]:
    """Return what the arrays are of."""
    content: dict[str, Any] = json.loads(data.attrs["about"])
    return content


def check_version(data: Labelled, versions: tuple[int, ...], where: str) -> None:
    """Refuse arrays without one of these format versions, of which the first is written.

    Raises
    ------
    TraceError
    """
    try:
        got = about(data)["format_version"]
    except (KeyError, TypeError, ValueError):
        raise TraceError(
            f"{where}: expected an attribute 'about' with a format version; found none"
        ) from None
    if got not in versions:
        raise TraceError(f"{where}: expected format version {versions[0]}; got {got}")


def check_members(data: Labelled, where: str) -> None:
    """Refuse arrays whose members are not numbered, each by a number of its own.

    Raises
    ------
    TraceError
    """
    if "member" not in data.coords:
        raise TraceError(f"{where}: expected the coordinate 'member' with model numbers; found none")
    if several := repeated(f"model-{number}" for number in np.asarray(data["member"]).tolist()):
        raise TraceError(f"{where}: expected each model once; got {several}")


def expect(
    data: Labelled,
    schema: Mapping[str, tuple[str, ...]],
    where: str,
    optional_first: set[str] | None = None,
    factor: bool = False,
) -> None:
    """Refuse arrays that lack a variable of the schema, or have it with other axes or without numbers.

    Parameters
    ----------
    data, schema, where
        The arrays; name → axes; what messages call the arrays.
    optional_first
        Variables that may have an axis "member" before the others.
    factor
        Whether variables may have an axis "factor" anywhere.

    Raises
    ------
    TraceError
        Naming the first such variable.
    """
    for name, dims in schema.items():
        if name not in data.data_vars:
            held = ", ".join(map(str, data.data_vars)) or "none"
            raise TraceError(f"{where}: expected the variable {name!r}; found {held}")
        got = tuple(map(str, data[name].dims))
        if name in (optional_first or ()) and got[:1] == ("member",):
            got = got[1:]
        if factor:
            got = tuple(d for d in got if d != "factor")
        if got != dims:
            raise TraceError(f"{where}: expected {name!r} with axes {dims}; got {got}")
        if not np.issubdtype(data[name].dtype, np.number) and data[name].dtype != bool:
            raise TraceError(f"{where}: expected numbers in {name!r}; got {data[name].dtype}")


def write(data: Labelled, path: Path) -> None:
    """Write one NetCDF file that appears only when whole.

    It is made in memory first: the HDF5 library ends the process where a disk is full while it writes.
    """
    write_bytes(path, bytes(data.to_netcdf(engine="h5netcdf")))


def write_members(
    pieces: Iterable[xr.DataTree], members: int, attributes: Mapping[str, Any], path: Path
) -> None:
    """Write trees of some members each as the one NetCDF file of all of them, a tree at a time in memory.

    The file has the bytes that `write` gives it for the whole tree.

    Parameters
    ----------
    pieces
        Trees that differ in the members along the axis "member" only.
    members
        How many members they have together.
    attributes
        Of the whole tree.
    path
        The file, which appears only when whole.
    """
    import h5netcdf

    with writing(path) as whole:
        sink, first = _Sink(whole.raw), 0
        with h5netcdf.File(sink, "w") as file:
            for piece in pieces:
                if first == 0:
                    _create(file, piece, members, attributes)
                else:
                    _fill(file, piece, first)
                sink.check()
                first += piece.sizes["member"]
        sink.check()


def _create(file: Any, tree: xr.DataTree, members: int, attributes: Mapping[str, Any]) -> None:
    """Make the groups and variables of the whole file, and fill in the first members."""
    for node in tree.subtree:
        variables = node.to_dataset(inherit=node is tree).variables
        group = file if node is tree else file.create_group(node.path)
        group.attrs.update(attributes if node is tree else {})
        for dim, size in {d: n for variable in variables.values() for d, n in variable.sizes.items()}.items():
            if dim not in group.dimensions and dim not in file.dimensions:
                group.dimensions[dim] = members if dim == "member" else size
        for name, variable in variables.items():
            encoded = xr.conventions.encode_cf_variable(variable, name=name)
            missing = encoded.attrs.pop("_FillValue", None)
            made = group.create_variable(name, encoded.dims, encoded.dtype, fillvalue=missing)
            made.attrs.update(encoded.attrs)
            made[: len(encoded)] = encoded.values


def _fill(file: Any, tree: xr.DataTree, first: int) -> None:
    """Fill in the members of a later piece, from place ``first`` on the axis "member"."""
    for node in tree.subtree:
        for name, variable in node.to_dataset(inherit=node is tree).variables.items():
            if variable.dims[:1] == ("member",):
                encoded = xr.conventions.encode_cf_variable(variable, name=name)
                file[f"{node.path}/{name}"][first : first + len(encoded)] = encoded.values


class _Sink:
    """A file as the HDF5 library sees it.

    The library ends the process where a disk refuses a write. So it is told that every write succeeds;
    `check` raises what the disk refused.
    """

    def __init__(self, file: io.RawIOBase) -> None:
        self.file = file
        self.refused: OSError | None = None
        self.seek, self.tell, self.read, self.readinto = file.seek, file.tell, file.read, file.readinto

    def write(self, content: bytes) -> int:
        """Write what the disk takes; say that it was all."""
        rest = memoryview(content)
        end = self.tell() + len(rest)
        try:
            while rest and not self.refused:
                rest = rest[self.file.write(rest) or 0 :]
        except OSError as error:
            self.refused = error
        self.seek(end)
        return len(content)

    def truncate(self, size: int) -> int:
        """Set the file's size, as `write` writes."""
        try:
            return self.file.truncate(size)
        except OSError as error:
            self.refused = self.refused or error
            return size

    def flush(self) -> None:
        """Do nothing: nothing waits."""

    def check(self) -> None:
        """Raise the first error of the disk."""
        if self.refused:
            raise self.refused


def read(path: Path, opener: Callable[..., Kind], what: str) -> Kind:
    """Read a NetCDF file into memory; ``opener`` is xarray's, ``what`` the word for messages.

    Raises
    ------
    TraceError
        If the file is missing or broken.
    """
    try:
        with opener(path, engine="h5netcdf") as file:
            return file.load()
    except FileNotFoundError:
        raise TraceError(f"no such file: {path} ({what})") from None
    except (OSError, ValueError) as error:
        raise TraceError(f"{path}: expected a whole NetCDF file; got {error}") from None
