"""What a result comes from: a hash of the project's source, versions of the libraries that do the arithmetic."""

import hashlib
import importlib.util
import json
from collections.abc import Mapping
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

LIBRARIES = ("torch", "pytorch_lightning", "numpy")

SUFFIXES = (".py", ".js", ".css")
"""What a package's source is made of, in a checkout and in a wheel."""


def code_of(*packages: str) -> dict[str, str]:
    """Return the versions of libraries and the hash of the source of each of these packages.

    >>> sorted(code_of("emt"))
    ['emt_source', 'numpy_version', 'pytorch_lightning_version', 'torch_version']
    """
    return library_versions() | {f"{package}_source": source_hash(package) for package in packages}


@cache
def library_versions() -> dict[str, str]:
    """Return the versions of `LIBRARIES`; they are looked up once for each process."""
    return {f"{library}_version": version(library) for library in LIBRARIES}


def hash_of(content: Any) -> str:
    """Return the hash of plain values, and of others by their text: of what a result depends on, or of a result.

    >>> hash_of({"a": 1, "b": 2}) == hash_of({"b": 2, "a": 1}), hash_of([1]) == hash_of([2])
    (True, False)
    """
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


@cache
def source_hash(package: str) -> str:
    """Return the hash of a package's files by name and content; it is taken once for each process."""
    found = importlib.util.find_spec(package)
    digest = hashlib.sha256()
    for root in map(Path, (found and found.submodule_search_locations) or ()):
        files = {
            path.relative_to(root).as_posix(): path for path in root.rglob("*") if path.suffix in SUFFIXES
        }
        for name in sorted(files):
            digest.update(f"{name}\0".encode() + files[name].read_bytes().replace(b"\r\n", b"\n") + b"\0")
    return digest.hexdigest()[:16]


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Return what differs, ``torch_version 2.11 → 2.13``, of what was recorded; empty if nothing does.

    >>> changes({"torch_version": "2.11"}, {"torch_version": "2.13", "emt_source": "5f"})
    'torch_version 2.11 → 2.13'
    """
    return ", ".join(
        f"{name} {before[name]} → {value}"
        for name, value in now.items()
        if name in before and before[name] != value
    )
