"""The folder of a run of one's own networks: what marks it, and its summary (`emt.own.run` lists all of it)."""

import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from emt import files
from emt.errors import UserError
from emt.schema import Schema, read

FORMAT_VERSION = 1
WITHOUT_STEPS = {
    "from_arrays": "states given as arrays have no step that could be searched for fixed points",
    "from_transformers": "the state of a language model is too large to be searched for fixed points",
}
"""Why a run has no dynamics, by the function that recorded it."""

ABOUT = "adopted.json"
"""File that marks a folder as that of recorded networks which were not trained here."""


def write_summary(folder: Path, summary: Mapping[str, Any]) -> None:
    """Write ``evaluation_summary.json`` with the time."""
    when = datetime.now().astimezone().isoformat(timespec="seconds")
    folders = {e["model_name"]: folder / e["model_name"] for e in summary["metrics"]}
    entries = [
        {**entry, "model_path": str(path), "output_dir": str(path / "results")}
        for entry, path in zip(summary["metrics"], folders.values(), strict=True)
    ]
    files.write_json(folder / "evaluation_summary.json", {"timestamp": when, **summary, "metrics": entries})


class About(Schema):
    """Content of ``adopted.json`` that commands read.

    Attributes
    ----------
    recorded_with
        Function of `emt` that recorded the run.
    label
        What figures call it.
    """

    format_version: Literal[1]
    recorded_with: Literal["from_torch", "from_cells", "from_arrays", "from_transformers"]
    label: str


def read_about(folder: Path) -> About | None:
    """Return what ``adopted.json`` says; None in a folder without.

    Raises
    ------
    UserError
        If the file is broken.
    """
    path = folder / ABOUT
    about: About | None = read(path, About) if path.exists() else None
    return about


def recordings(folder: Path) -> list[Path]:
    """Return the files seqL.nc in a folder, and no others that lie there."""
    paths = sorted(folder.glob("seq*.nc"))
    return [
        path for path in paths if re.fullmatch(r"seq[0-9]+\.nc", path.name) and files.is_plain(path, folder)
    ]


def check_free(folder: Path, label: str) -> None:
    """Refuse a folder that holds another run.

    Raises
    ------
    UserError
    """
    if (folder / "config.json").exists():
        raise UserError(
            f"expected a folder of its own; {folder} holds a run trained here", parameter="folder"
        )
    there = read_about(folder)
    if there is not None and there.label != label:
        raise UserError(
            f"expected a folder of its own; {folder} holds the run {there.label!r}, this one is {label!r}",
            parameter="folder",
        )
