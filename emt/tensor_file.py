"""Arrays by name in a safetensors file, with a checksum of all of them among its metadata.

A file without a checksum, of an earlier version or another program, is read too.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Arrays = Mapping[str, Any]
"""numpy arrays by name; numpy is imported where it is needed, since help comes without it."""

KEY = "emt"
"""Of the metadata, whose one value is JSON: the library writes several in an order that changes."""


def to_bytes(arrays: Arrays, about: str | None = None) -> bytes:
    """Return the content of a file of these arrays and a text."""
    import numpy as np
    from safetensors.numpy import save

    arrays = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    return save(arrays, {KEY: json.dumps({"sha256": _checksum(arrays, about), "about": about})})


def from_bytes(content: bytes, *, checked: bool = False) -> tuple[dict[str, Any], str | None]:
    """Return the arrays and the text of a file's content.

    Arrays lie in ``content`` as they lie in the file: whoever computes with them copies them, since sums over
    unaligned memory round otherwise.

    Parameters
    ----------
    content
        The whole file.
    checked
        Whether a file without a checksum is refused.

    Raises
    ------
    ValueError
        If the content is damaged.
    """
    from safetensors.numpy import load

    try:
        arrays = load(content)
        written = _written(content)
        about = written.get("about")
    except Exception as error:
        # The library raises its own error, KeyError, TypeError and more.
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from None
    if checked and not written:
        raise ValueError("no checksum")
    if written and written.get("sha256") != _checksum(arrays, about):
        raise ValueError("its checksum does not match its content")
    return arrays, about


def text_of(path: Path) -> str | None:
    """Return the text of a file by its header alone: no array is read, and no checksum.

    Raises
    ------
    ValueError
        If the header is damaged.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        # As long as safetensors permits.
        header = file.read(min(length, 100_000_000))
    try:
        text: str | None = _written(length.to_bytes(8, "little") + header).get("about")
    except (AttributeError, TypeError) as error:
        raise ValueError(f"damaged header: {error}") from None
    return text


def has_checksum(content: bytes) -> bool:
    """Whether a file that the library reads is one that `to_bytes` wrote."""
    return bool(_written(content))


def _written(content: bytes) -> dict[str, Any]:
    """Return what `to_bytes` wrote among the metadata; nothing for a file of others."""
    length = int.from_bytes(content[:8], "little")
    metadata = json.loads(content[8 : 8 + length]).get("__metadata__") or {}
    written: dict[str, Any] = json.loads(metadata.get(KEY, "{}"))
    return written


def _checksum(arrays: Arrays, about: Any) -> str:
    import numpy as np

    digest = hashlib.sha256(json.dumps(about).encode())
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype} {array.shape};".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
