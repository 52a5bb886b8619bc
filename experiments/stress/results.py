"""What a command leaves on disk, but for times of day, and copies of it."""

import json
import shutil
from pathlib import Path
from typing import Any

from emt.files import TEMPORARY, sha256

TIMES = ("created_at", "evaluated_at", "timestamp")
"""Values of JSON files that are times of day."""

OWN = ("population", "training.log", "lightning_logs")
"""Names of what does not belong to the results: resume states, and logs and events with times of day."""


def results_of(folder: Path) -> dict[str, str]:
    """Return the hash of each file of results by its path in the folder."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder): path for path in paths}
    return {str(n): _hash(p) for n, p in names.items() if not set(n.parts) & set(OWN)}


def left_over(folder: Path) -> list[str]:
    """Return what should not be there after a command has ended: temporary files, locks, resume states."""
    return sorted(
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if TEMPORARY.fullmatch(path.name) or path.name in (".lock", "lock") or path.suffix == ".lock"
    )


def _hash(path: Path) -> str:
    content = path.read_bytes()
    if path.suffix == ".json":
        try:
            return sha256(json.dumps(_timeless(json.loads(content))).encode())
        except ValueError:
            pass
    return sha256(content)


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(v) for key, v in value.items() if key not in TIMES}
    return [_timeless(v) for v in value] if isinstance(value, list) else value


def differing(before: dict[str, str], after: dict[str, str]) -> list[str]:
    """Return the names of files that differ or are missing on one side."""
    return sorted(name for name in {**before, **after} if before.get(name) != after.get(name))


def copy(source: Path, target: Path) -> None:
    """Copy a folder's content into a new folder."""
    shutil.copytree(source, target, symlinks=True)
