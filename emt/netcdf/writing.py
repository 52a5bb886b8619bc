"""Write NetCDF files, each with its checksum, that appear only when whole."""

import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emt.files import writing
from emt.netcdf.checksum import append_checksum

if TYPE_CHECKING:
    import xarray as xr


def write(data: "xr.DataTree | xr.Dataset", path: Path) -> None:
    """Write one NetCDF file that appears only when whole.

    It is made in memory first: the HDF5 library ends the process where a disk is full while it writes.
    """
    content = bytes(data.to_netcdf(engine="h5netcdf"))
    with writing(path) as file:
        file.write(content)
        append_checksum(file)


def write_members(
    pieces: "Iterable[xr.DataTree]", members: int, attributes: Mapping[str, Any], path: Path
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
        append_checksum(whole)


def _create(file: Any, tree: "xr.DataTree", members: int, attributes: Mapping[str, Any]) -> None:
    """Make the groups and variables of the whole file, and fill in the first members."""
    import xarray as xr

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


def _fill(file: Any, tree: "xr.DataTree", first: int) -> None:
    """Fill in the members of a later piece, from place ``first`` on the axis "member"."""
    import xarray as xr

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
