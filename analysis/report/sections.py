"""What an experiment's folder holds for its report: members, maps of them, and what each analysis wrote.

Names of members come from a file and are never trusted as paths: only those of the form model-<number> are looked up.
"""

import csv
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis import COMMANDS
from analysis.errors import AnalysisError
from analysis.population import Population, from_summary
from emt.files import read_curve

GLOBAL = "global"
"""Name of the section of figures that evaluation draws across members."""

CURVE_POINTS = 100
"""Points of a learning curve that are kept, at even distances; the last is always one of them."""

MEMBER_FILES = {
    "weights": "checkpoint/weights.safetensors",
    "learning curve": "training_curve.csv",
    "training log": "training.log",
    "figures": "results",
}
"""What the page links for each member, where it is there."""


@dataclass(frozen=True)
class Experiment:
    """An evaluated experiment on disk.

    Attributes
    ----------
    folder
        Where the summary lies.
    label
        What the page calls the experiment.
    summary
        Contents of its ``evaluation_summary.json``.
    seq_length
        The length whose spectra are shown; None: the only one, else 8, else the longest.
    questions
        Each analysis by its command, and in a sentence what it does.
    commands
        Command line that makes each analysis.
    links
        Path from the page's folder to ``folder``, as text.
    """

    folder: Path
    label: str
    summary: Mapping[str, Any]
    seq_length: int | None
    questions: Mapping[str, str]
    commands: Mapping[str, str]
    links: str = "."


@dataclass(frozen=True)
class Member:
    """One member: its entry of the summary, how its training ended, and what its charts show.

    Attributes
    ----------
    name
        As in the summary, unchecked.
    entry
        Its numbers at the length shown, without their ``_seqL``.
    ending
        Its done marker; empty if there is none.
    eigenvalues
        Pairs (re, im).
    bars
        (dimension, birth, death), death None where a bar does not end.
    training, validation
        (step, accuracy).
    files
        Label -> path below the experiment's folder.
    """

    name: str
    entry: Mapping[str, Any]
    ending: Mapping[str, Any]
    eigenvalues: Sequence[tuple[float, float]]
    bars: Sequence[tuple[int, float, float | None]]
    training: Sequence[tuple[float, float]]
    validation: Sequence[tuple[float, float]]
    files: Mapping[str, str]


@dataclass(frozen=True)
class Section:
    """What one analysis left: what was asked, its answer in words, and its files.

    Attributes
    ----------
    n
        Members that its tables name, of all sets; 0 where they name none.
    sets
        Sets that its tables label; 0 if there is only this experiment.
    figures
        PNG and GIF files.
    tables
        CSV files.
    """

    command: str
    question: str
    headline: str
    options: Mapping[str, Any]
    n: int
    sets: int
    figures: tuple[Path, ...]
    tables: tuple[Path, ...]


def find_population(experiment: Experiment) -> Population | None:
    """Return members with their spectra; None where they have none at the default length."""
    try:
        return from_summary(experiment.summary, label=experiment.label, seq_length=experiment.seq_length)
    except AnalysisError:
        if experiment.seq_length is not None:
            raise
        return None


def find_members(
    experiment: Experiment, population: Population | None, sections: Sequence[Section]
) -> tuple[Member, ...]:
    """Return all members of the summary, those without a spectrum too; their diagrams are in the sections."""
    bars = _bars(_tables(sections, "persistence", "persistence_diagrams"))
    spectra = {} if population is None else dict(zip(population.names, population.eigenvalues, strict=True))
    suffix = "" if population is None else f"_seq{population.seq_length}"
    members = []
    for entry in experiment.summary["metrics"]:
        name = entry["model_name"]
        folder = experiment.folder / name if re.fullmatch(r"model-[1-9]\d*", name) else None
        path = folder / "training_curve.csv" if folder else None
        curve = read_curve(path) if path and path.is_file() else []
        members.append(
            Member(
                name=name,
                entry={key.removesuffix(suffix): value for key, value in entry.items()},
                ending=read_object(folder / "checkpoint" / "done.json") if folder else {},
                eigenvalues=[(v.real, v.imag) for v in spectra.get(name, ())],
                bars=bars.get(name, []),
                training=_thin([(point.step, point.train_acc) for point in curve if point.is_training]),
                validation=_thin([(point.step, point.val_acc) for point in curve if point.is_validation]),
                files=_files(experiment.folder, folder) if folder else {},
            )
        )
    return tuple(members)


def find_sections(experiment: Experiment, seq_length: int | None) -> tuple[Section, ...]:
    """Return what lies in ``<command>_analysis`` beside the summary, in the order of ``questions``.

    Analyses that were made at another length than ``seq_length`` are left out; so are files of earlier options.
    """
    questions = {GLOBAL: "All members, as evaluated."} | dict(experiment.questions)
    found = (_section(experiment, command, question, seq_length) for command, question in questions.items())
    return tuple(section for section in found if section is not None)


def find_maps(sections: Sequence[Section]) -> dict[str, dict[str, tuple[float, float]]]:
    """Return positions of members in the plane by map and member, from the tables ``*_embedding.csv``."""
    maps = {}
    for command in ("embedding", "persistence"):
        for path in _tables(sections, command, "_embedding"):
            rows = {row["model_name"]: (_number(row["dimension_1"]), _number(row["dimension_2"])) for row in _map(path)}
            points = {name: (x, y) for name, (x, y) in rows.items() if x is not None and y is not None}
            maps[f"{command}: {path.stem.removesuffix('_embedding').replace('_', ' ')}"] = points
    return maps


def read_table(path: Path) -> list[list[str]]:
    """Return the rows of a CSV file, the header first; none where the file is missing."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        return list(csv.reader(file))


def read_rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a CSV file by column; none where the file is missing."""
    header, *rows = read_table(path) or [[]]
    return [dict(zip(header, row, strict=False)) for row in rows]


def read_object(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file, an empty one where the file is missing or holds something else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _tables(sections: Sequence[Section], command: str, ending: str) -> list[Path]:
    """Return the tables of an analysis whose names end so."""
    return [path for one in sections if one.command == command for path in one.tables if path.stem.endswith(ending)]


def _section(experiment: Experiment, command: str, question: str, seq_length: int | None) -> Section | None:
    # What evaluation draws belongs to no command.
    folder = experiment.folder / (COMMANDS[command].folder if command in COMMANDS else f"{command}_analysis")
    about = read_object(folder / "about.json")
    if seq_length is not None and about.get("seq_length") not in (None, seq_length):
        return None
    made = about.get("files")
    files = sorted(path for path in folder.glob("*") if not isinstance(made, list) or path.name in made)
    figures = tuple(path for path in files if path.suffix in (".png", ".gif"))
    tables = tuple(path for path in files if path.suffix == ".csv")
    if not figures and not tables:
        return None
    rows = (row for path in tables for row in read_rows(path) if "model_name" in row)
    members = {entry["model_name"] for entry in experiment.summary["metrics"]}
    # Names of members repeat between sets, and those of other sets are not in this summary.
    named = {(row.get("label"), row["model_name"]) for row in rows if "label" in row or row["model_name"] in members}
    options = about.get("options")
    return Section(
        command=command,
        question=question,
        headline=str(about.get("headline", "")),
        options=options if isinstance(options, dict) else {},
        n=len(named),
        sets=len({label for label, _ in named if label is not None}),
        figures=figures,
        tables=tables,
    )


def _bars(paths: Sequence[Path]) -> dict[str, list[tuple[int, float, float | None]]]:
    bars: dict[str, list[tuple[int, float, float | None]]] = {}
    for row in (row for path in paths for row in read_rows(path)):
        dimension, birth = _number(row["dimension"]), _number(row["birth"])
        if dimension is not None and birth is not None:
            bars.setdefault(row["model_name"], []).append((int(dimension), birth, _number(row["death"])))
    return bars


def _thin(curve: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return at most `CURVE_POINTS` points of a curve, the last one included."""
    curve = [(step, value) for step, value in curve if math.isfinite(value)]
    stride = -(-len(curve) // CURVE_POINTS) or 1
    return curve[::-stride][::-1]


def _files(experiment: Path, folder: Path) -> dict[str, str]:
    paths = {label: folder / name for label, name in MEMBER_FILES.items()}
    return {label: path.relative_to(experiment).as_posix() for label, path in paths.items() if path.exists()}


def _map(path: Path) -> Iterator[dict[str, str]]:
    needed = {"model_name", "dimension_1", "dimension_2"}
    return (row for row in read_rows(path) if needed <= row.keys())


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) < float("inf") else None
