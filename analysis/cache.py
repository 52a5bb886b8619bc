"""Dear results kept by content, so that one more member costs one member.

Analyses neither know nor choose where: inside ``with kept_in(folder):`` what they ask for here is looked up in
``folder/kept`` by a hash of all that it depends on, and written there; outside nothing is kept. A file that cannot be
read is made anew. What is kept is what the last run needed, no more.
"""

import contextlib
import hashlib
import io
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.parallel import run_parallel
from emt.files import write_bytes

Array = NDArray[np.float64]
Places = NDArray[np.intp]

VERSION = 1
"""To be raised when anything that is kept is computed in another way."""

N_JOBS = 64
"""Parts that all pairs are divided into."""

MANY_PAIRS = 5000
"""Pairs from which processes of their own are worth starting."""

_FOLDER: ContextVar[Path | None] = ContextVar("folder", default=None)


@contextlib.contextmanager
def kept_in(folder: Path) -> Iterator[None]:
    """Keep dear results below ``folder`` and look there for them."""
    token = _FOLDER.set(folder / "kept")
    try:
        yield
    finally:
        _FOLDER.reset(token)


def content_hash(*parts: Any) -> str:
    """Return a hash of arrays by their bytes, of partial functions by name and arguments, of the rest by its text."""
    digest = hashlib.blake2b(str(VERSION).encode(), digest_size=16)
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype} {part.shape}".encode() + np.ascontiguousarray(part).tobytes())
        elif isinstance(part, tuple | list):
            digest.update(content_hash(*part).encode())
        elif isinstance(part, partial):
            digest.update(content_hash(part.func, *part.args, *sorted(part.keywords.items())).encode())
        else:
            digest.update((part.__qualname__ if callable(part) else repr(part)).encode())
        digest.update(b";")
    return digest.hexdigest()


def each_item(name: str, keys: Sequence[str], compute: Callable[[list[int]], Iterator[Array]]) -> list[Array]:
    """Return one array for each key; ``compute`` gives those at the places that it is handed, in their order."""
    held = _read(name)
    missing = [place for place, key in enumerate(keys) if key not in held]
    found = {keys[place]: values for place, values in zip(missing, compute(missing), strict=True)} if missing else {}
    values = {key: found[key] if key in found else held[key] for key in keys}
    if missing or len(held) > len(values):
        _write(name, values)
    return [values[key] for key in keys]


def all_pairs(
    name: str,
    keys: Sequence[str],
    compute: Callable[[tuple[Places, Places]], Array],
    measures: int = 1,
    parallel: bool = True,
) -> Array:
    """Return symmetric distances (measure, item, item) with zeros on the diagonal; many pairs are shared among cores.

    Parameters
    ----------
    name
        What is kept: those of one name take each other's place.
    keys
        A hash for each item of all that its distances depend on.
    compute
        Distances (measure, pair) of the items at the first and the second places; must be picklable.
    measures
        How many.
    parallel
        False computes all of them here: a million cheap ones are done before processes have started.
    """
    distances, known = _known_pairs(_read(name), keys, measures)
    first, second = np.nonzero(np.triu(~known, 1))
    if not len(first):
        return distances
    many = parallel and len(first) >= MANY_PAIRS
    # Strides, because a later item has fewer pairs in which it comes first.
    jobs = [(first[k::N_JOBS], second[k::N_JOBS]) for k in range(N_JOBS)] if many else [(first, second)]
    for (i, j), values in zip(jobs, run_parallel(compute, jobs, name.replace("_", " "), many), strict=True):
        distances[:, i, j] = distances[:, j, i] = values
    _write(name, {"keys": np.array(keys), "distances": distances})
    return distances


def _known_pairs(held: dict[str, Any], keys: Sequence[str], measures: int) -> tuple[Array, NDArray[np.bool_]]:
    """Return the distances that are held, zero elsewhere, and which they are."""
    distances = np.zeros((measures, len(keys), len(keys)))
    before, values = held.get("keys", np.array([])), held.get("distances", distances[:, :0, :0])
    if values.shape != (measures, len(before), len(before)):
        return distances, np.zeros(distances.shape[1:], bool)
    place_of = {key: place for place, key in enumerate(before.tolist())}
    place = np.array([place_of.get(key, -1) for key in keys])
    here = np.flatnonzero(place >= 0)
    distances[:, here[:, None], here] = values[:, place[here, None], place[here]]
    return distances, (place[:, None] >= 0) & (place >= 0)


def _read(name: str) -> dict[str, Any]:
    folder = _FOLDER.get()
    if folder is None:
        return {}
    try:
        # From memory: of a file that it cannot read numpy leaves the handle open.
        return dict(np.load(io.BytesIO((folder / f"{name}.npz").read_bytes()), allow_pickle=False))
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile):
        return {}


def _write(name: str, arrays: dict[str, Any]) -> None:
    folder = _FOLDER.get()
    if folder is not None:
        content = io.BytesIO()
        np.savez(content, **arrays)
        write_bytes(folder / f"{name}.npz", content.getvalue())
