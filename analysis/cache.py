"""A cache of expensive results, keyed by a hash of their inputs, so that adding a member computes that member only.

Analyses neither know nor choose the folder: inside ``with cached_in(folder):`` the functions below look
results up in ``folder/cache`` and write new ones there; outside nothing is cached. A file that cannot be read
is ignored and recomputed. The cache holds what the last run needed, no more.
"""

import contextlib
import hashlib
import io
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.parallel import run_parallel
from emt.files import write_bytes
from emt.npz import read_npz

Array = NDArray[np.float64]
Places = NDArray[np.intp]

VERSION = 3
"""Increase this number when a cached result is computed in another way: older entries are then stale and ignored."""

N_JOBS = 64
"""Number of parts into which the pairs are divided."""

MANY_PAIRS = 5000
"""Number of pairs from which starting processes is worth it."""

_FOLDER: ContextVar[Path | None] = ContextVar("folder", default=None)


@contextlib.contextmanager
def cached_in(folder: Path) -> Iterator[None]:
    """Cache expensive results in ``folder/cache`` and look them up there."""
    token = _FOLDER.set(folder / "cache")
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
    """Return one array for each key; ``compute`` returns those at the given places, in their order."""
    cached = _read(name)
    missing = [place for place, key in enumerate(keys) if key not in cached]
    found = (
        {keys[place]: values for place, values in zip(missing, compute(missing), strict=True)}
        if missing
        else {}
    )
    values = {key: found[key] if key in found else cached[key] for key in keys}
    if missing or len(cached) > len(values):
        _write(name, values)
    return [values[key] for key in keys]


def all_pairs(
    name: str,
    keys: Sequence[str],
    compute: Callable[[tuple[Places, Places]], Array],
    measures: int = 1,
    parallel: bool = True,
) -> Array:
    """Return symmetric distances (measure, item, item) with zeros on the diagonal; many pairs are computed in parallel.

    Parameters
    ----------
    name
        Name of the file in the cache; a later call with the same name replaces it.
    keys
        A hash for each item of all that its distances depend on.
    compute
        Distances (measure, pair) between items at the first and at the second places; must be picklable.
    measures
        Number of distances per pair.
    parallel
        False computes all in this process: a million cheap distances take less time than starting processes.
    """
    distances, known = _known_pairs(_read(name), keys, measures)
    first, second = np.nonzero(np.triu(~known, 1))
    if not len(first):
        return distances
    many = parallel and len(first) >= MANY_PAIRS
    # Strided parts have equal work: later items have fewer pairs in which they come first.
    jobs = [(first[k::N_JOBS], second[k::N_JOBS]) for k in range(N_JOBS)] if many else [(first, second)]
    for (i, j), values in zip(jobs, run_parallel(compute, jobs, name.replace("_", " "), many), strict=True):
        distances[:, i, j] = distances[:, j, i] = values
    _write(name, {"keys": np.array(keys), "distances": distances})
    return distances


def _known_pairs(
    cached: dict[str, Any], keys: Sequence[str], measures: int
) -> tuple[Array, NDArray[np.bool_]]:
    """Return the cached distances, zero elsewhere, and a mask of the pairs that are cached."""
    distances = np.zeros((measures, len(keys), len(keys)))
    before, values = cached.get("keys", np.array([])), cached.get("distances", distances[:, :0, :0])
    if values.shape != (measures, len(before), len(before)):
        return distances, np.zeros(distances.shape[1:], bool)
    place = _places(keys, before.tolist())
    here = np.flatnonzero(place >= 0)
    distances[:, here[:, None], here] = values[:, place[here, None], place[here]]
    # Equal items that share a place would have the zero of the diagonal as their distance.
    apart = (place[:, None] != place) | np.eye(len(keys), dtype=bool)
    return distances, (place[:, None] >= 0) & (place >= 0) & apart


def _places(keys: Sequence[str], before: Sequence[str]) -> Places:
    """Return each key's place among those before, -1 for none; a key that is there several times takes them in turn."""
    places: dict[str, list[int]] = {}
    for place, key in enumerate(before):
        places.setdefault(key, []).append(place)
    used = Counter[str]()
    found = []
    for key in keys:
        options = places.get(key, [-1])
        found.append(options[min(used[key], len(options) - 1)])
        used[key] += 1
    return np.array(found, dtype=np.intp)


def _read(name: str) -> dict[str, Any]:
    folder = _FOLDER.get()
    if folder is None:
        return {}
    try:
        return read_npz(folder / f"{name}.npz")
    except (OSError, ValueError):
        return {}


def _write(name: str, arrays: dict[str, Any]) -> None:
    folder = _FOLDER.get()
    if folder is not None:
        content = io.BytesIO()
        np.savez(content, **arrays)
        write_bytes(folder / f"{name}.npz", content.getvalue())
