"""Arrays of an npz file, each read to its end, where its checksum stands, and never larger than its content."""

import io
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

DENSEST = 1100
"""Times that compressed content may grow: deflate reaches 1,032."""


def read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of an npz file by name.

    `numpy.load` reads no further than an array's header says, so that the checksum of content whose header
    was damaged is never compared, and allocates what the header claims.

    Raises
    ------
    ValueError
        If the file is damaged; one line.
    OSError
        If it cannot be read.
    """
    content = path.read_bytes()
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            return {info.filename.removesuffix(".npy"): _array(file, info) for info in file.infolist()}
    except Exception as error:
        # The libraries raise errors of every kind: BadZipFile, zlib.error, NotImplementedError, SyntaxError, …
        raise ValueError(" ".join(str(error).split())[:200] or type(error).__name__) from None


def _array(file: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
    if info.file_size > DENSEST * info.compress_size:
        raise ValueError(f"{info.filename} of {info.file_size} bytes in {info.compress_size}")
    stream = io.BytesIO(file.read(info))
    readers = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
    version = npy.read_magic(stream)
    if version not in readers:
        raise ValueError(f"{info.filename} of format version {version}")
    shape, transposed, dtype = readers[version](stream)
    claimed, held = math.prod(shape) * dtype.itemsize, info.file_size - stream.tell()
    if claimed != held or dtype.hasobject:
        raise ValueError(f"{info.filename} with {claimed} bytes of {dtype}; it holds {held}")
    array = np.frombuffer(stream.read(), dtype).copy()
    return array.reshape(shape[::-1]).T if transposed else array.reshape(shape)
