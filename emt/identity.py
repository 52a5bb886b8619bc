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
    """Return the hash of a package's files, or of a module's one file, by name and content; taken once a process."""
    found = importlib.util.find_spec(package)
    digest = hashlib.sha256()
    if found and found.submodule_search_locations is None and found.origin:
        digest.update(_portable(Path(found.origin)))
    for root in map(Path, (found and found.submodule_search_locations) or ()):
        files = {
            path.relative_to(root).as_posix(): path for path in root.rglob("*") if path.suffix in SUFFIXES
        }
        for name in sorted(files):
            digest.update(f"{name}\0".encode() + _portable(files[name]) + b"\0")
    return digest.hexdigest()[:16]


def _portable(path: Path) -> bytes:
    return path.read_bytes().replace(b"\r\n", b"\n")


def packages_of(*modules: str) -> tuple[str, ...]:
    """Return the packages that a run's numbers come from: this one, and those of modules from elsewhere.

    >>> packages_of("my_networks", "emt.models.gru", "lab.tasks.sums")
    ('emt', 'lab', 'my_networks')
    """
    return ("emt", *sorted({module.partition(".")[0] for module in modules if module} - {"emt"}))


def changes(before: Mapping[str, str], now: Mapping[str, str]) -> str:
    """Return what differs, ``torch_version 2.11 → 2.13``, of what was recorded; empty if nothing does.

    Source that was recorded and is not used any more differs too.

    >>> changes({"torch_version": "2.11"}, {"torch_version": "2.13", "emt_source": "5f"})
    'torch_version 2.11 → 2.13'
    """
    recorded = {name: old for name, old in before.items() if name in now or name.endswith("_source")}
    return ", ".join(
        f"{name} {old} → {now.get(name, 'not used')}"
        for name, old in recorded.items()
        if now.get(name) != old
    )
