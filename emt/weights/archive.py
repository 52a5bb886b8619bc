"""Checkpoints in torch's zip format, ``.pt``, ``.pth``, ``.bin`` and Lightning's ``.ckpt``: tensors by name.

The archive holds a pickle, which `emt.weights.pickled` reads as text, and a member for each storage. torch
compresses nothing, so that nothing is larger in memory than the file is.
"""

import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from emt.weights.pickled import Storage, Stored, Unread, read_pickle

TYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
}
STATES = ("state_dict", "model_state_dict", "model")
"""Where checkpoints have the tensors of the network, beside those of the optimizer."""

DEEPEST = 16
"""Dicts within each other that are searched for tensors."""


def read_archive(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint by name, those of nested dicts with dots between the names.

    Tensors that share a storage share memory, as they did when they were saved.

    Raises
    ------
    ValueError
        If the file is damaged or of another kind; one line.
    """
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError) as error:
        raise ValueError(f"expected an archive that torch.save wrote; got {error}") from None
    with archive:
        return _Members(archive, path.stat().st_size).tensors()


class _Members:
    """The members of an archive, and the storages that were read."""

    def __init__(self, archive: zipfile.ZipFile, size: int) -> None:
        self.archive = archive
        self.members = {info.filename: info for info in archive.infolist()}
        if sum(info.compress_size for info in self.members.values()) > size:
            raise ValueError("expected members beside each other; got an archive whose members overlap")
        pickles = [name for name in self.members if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError(f"expected an archive that torch.save wrote; found {len(pickles)} with data.pkl")
        self.folder = pickles[0].removesuffix("data.pkl")
        self.storages: dict[Storage, Tensor] = {}

    def tensors(self) -> dict[str, Tensor]:
        if self.read("byteorder", b"little") != b"little":
            raise ValueError("expected numbers in little-endian order; save it again on this machine")
        found = _state(read_pickle(self.read("data.pkl")))
        return {name: self.tensor(name, value) for name, value in _named(found)}

    def read(self, name: str, default: bytes | None = None) -> bytes:
        info = self.members.get(self.folder + name)
        if info is None:
            if default is None:
                raise ValueError(f"expected a member {name}; the archive has none")
            return default
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            raise ValueError(
                f"expected members that are not compressed, as torch.save writes them; got {name}"
            )
        try:
            return self.archive.read(info)
        except (zipfile.BadZipFile, NotImplementedError, EOFError, RuntimeError) as error:
            raise ValueError(f"{name}: {error}") from None

    def tensor(self, name: str, value: Any) -> Tensor:
        if isinstance(value, Unread):
            raise ValueError(f"{name}: expected a dense tensor; got one that _rebuild_{value.maker} makes")
        numbers, shape, strides = self.storage(value.storage), value.shape, value.strides
        count = math.prod(shape)
        last = value.offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=False))
        outside = count and last >= len(numbers)
        # Overlapping elements would let a small file describe any number of them.
        if (
            len(shape) != len(strides)
            or min(value.offset, *shape, *strides, 0) < 0
            or outside
            or count > len(numbers)
        ):
            raise ValueError(
                f"{name}: expected a shape within the {len(numbers)} numbers of its storage; got {shape} "
                f"with strides {strides} from {value.offset}"
            )
        return numbers.as_strided(shape, strides, value.offset) if count else numbers.new_empty(shape)

    def storage(self, storage: Storage) -> Tensor:
        """Return a storage's numbers in memory of their own."""
        if storage not in self.storages:
            dtype = TYPES.get(storage.type)
            if dtype is None:
                raise ValueError(f"expected numbers of {', '.join(TYPES)}; got {storage.type}")
            content = self.read(f"data/{storage.member}")
            if len(content) != storage.numbers * dtype.itemsize:
                raise ValueError(
                    f"data/{storage.member}: expected {storage.numbers} numbers of {dtype.itemsize} bytes; "
                    f"got {len(content)} bytes"
                )
            self.storages[storage] = torch.tensor(np.frombuffer(content, np.uint8)).view(dtype)
        return self.storages[storage]


def _state(checkpoint: Any) -> Any:
    """Return what holds the network's tensors, the whole if it has no such part."""
    if isinstance(checkpoint, dict):
        for name in STATES:
            if isinstance(checkpoint.get(name), dict):
                return checkpoint[name]
    return checkpoint


def _named(found: Any) -> Iterator[tuple[str, Stored | Unread]]:
    """Yield tensors by name; a dict that is met several times is looked into once."""
    waiting, seen = [("", found, 0)], set()
    while waiting:
        name, value, depth = waiting.pop()
        if isinstance(value, Stored | Unread):
            yield name, value
        elif isinstance(value, dict) and depth < DEEPEST and id(value) not in seen:
            seen.add(id(value))
            parts = [(f"{name}.{key}" if name else key, part, depth + 1) for key, part in value.items()]
            waiting += reversed(parts)
