"""What an HDF5 file claims to hold, compared with what it can hold, before memory is allocated for it."""

import struct
from pathlib import Path
from typing import Any

SIGNATURE = b"\x89HDF\r\n\x1a\n"
END_AT = {0: 40, 1: 44, 2: 28, 3: 28}
"""Where the superblock of each version holds the address of the file's end."""

DENSEST = 1100
"""Times that compressed data may grow: deflate reaches 1,032."""

WITHOUT_VALUES = b"This is a netCDF dimension but not a netCDF variable"
"""How the NAME of a dataset begins that stands for an axis alone: it has a size, and no values."""


def check_end(path: Path) -> None:
    """Refuse a file that is shorter or longer than its own superblock says.

    Raises
    ------
    ValueError
    """
    with path.open("rb") as file:
        block, length = file.read(64), path.stat().st_size
    if not block.startswith(SIGNATURE):
        raise ValueError("no HDF5 signature at its start")
    version = block[len(SIGNATURE)]
    if version not in END_AT or len(block) < 64:
        raise ValueError(f"a superblock of {len(block)} bytes and version {version}")
    (end,) = struct.unpack_from("<Q", block, END_AT[version])
    if end != length:
        raise ValueError(f"{length} bytes where its superblock says {end}")


def check_storage(path: Path) -> None:
    """Refuse a file whose arrays claim more than it stores, or lie elsewhere than in the file itself.

    Raises
    ------
    ValueError
        Naming the variable.
    OSError, RuntimeError, KeyError
        And others of the library, if the file is damaged.
    """
    import h5py

    with h5py.File(path, "r") as file:
        _check_group(file, h5py)


def _check_group(group: Any, h5py: Any, depth: int = 0) -> None:
    if depth > 10:
        raise ValueError(f"groups within groups in {group.name!r}")
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"a link to another place: {name!r}")
        item = group[name]
        if isinstance(item, h5py.Group):
            _check_group(item, h5py, depth + 1)
        elif isinstance(item, h5py.Dataset):
            _check_dataset(item)


def _check_dataset(dataset: Any) -> None:
    if dataset.external or dataset.is_virtual:
        raise ValueError(f"variable {dataset.name!r} with values in another file")
    if bytes(dataset.attrs.get("NAME", b"")).startswith(WITHOUT_VALUES):
        return
    claimed, stored = dataset.size * dataset.dtype.itemsize, dataset.id.get_storage_size()
    if claimed > stored * (DENSEST if dataset.id.get_create_plist().get_nfilters() else 1):
        raise ValueError(f"variable {dataset.name!r} of {claimed} bytes, of which {stored} are stored")
