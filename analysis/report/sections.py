"""What an experiment's folder holds for its report: members, maps of them, and what each analysis wrote.

Names of members come from a file and are never trusted as paths: only those of the form model-<number> are
looked up.
"""

import csv
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import numpy as np

from analysis import COMMANDS
from analysis.errors import AnalysisError
from analysis.population import Population, from_summary
from emt.files import is_plain, read_curve
from emt.schema import Count, Positive, Schema, Share, read, required
from emt.text import from_cell, shortened, visible

GLOBAL = "global"
"""Name of the section of figures that evaluation draws across members."""

CURVE_POINTS = 100
"""Points of a learning curve that are kept, at even distances; the last is always one of them."""

PAGE_POINTS = {"curve": 50_000, "spectrum": 50_000, "diagram": 50_000}
"""Points of each chart that the page holds for all members together, at least ten for each member."""

MEMBER_FILES = {
    "weights": "checkpoint/weights.safetensors",
    "learning curve": "training_curve.csv",
    "training log": "training.log",
    "figures": "results",
}
"""What the page links for each member, where it is there."""


FileName = Annotated[
    str,
    required(
        lambda name: Path(name).name == name not in ("", "..") and visible(name) == name, "a file's name"
    ),
]


class About(Schema):
    """Content of the ``about.json`` that an analysis leaves beside its results.

    Attributes
    ----------
    headline
        Its answer in words.
    command, options, seq_length
        What was asked.
    summaries
        What was analysed, as paths from this folder; None where it does not say.
    files
        What it wrote; None where it does not say.
    sha256
        Hashes of the files' contents, by name.
    """

    headline: str = ""
    command: str | None = None
    options: dict[str, Any] = {}
    seq_length: Positive | None = None
    summaries: list[str] | None = None
    files: list[FileName] | None = None
    sha256: dict[FileName, str] = {}


class Ending(Schema):
    """What the page shows of a member's ``done.json``."""

    step: Count | None = None
    status: str | None = None
    train_acc: Share | None = None
    seed: Count | None = None


class Recorded(Schema):
    """What the page shows of ``adopted.json``, which marks networks that were not trained here."""

    recorded_with: str = ""
    proof: dict[str, float] = {}


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

    def address(self, path: str) -> str:
        """Return the address of a path below the experiment's folder, from the page's folder."""
        return quote(f"{self.links}/{path}")


@dataclass(frozen=True)
class Experiments:
    """Evaluated experiments that one page is about.

    Attributes
    ----------
    parts
        One or more of them.
    folder
        The page's folder, in which analyses that compare them are looked for.
    """

    parts: tuple[Experiment, ...]
    folder: Path


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
        Pairs (re, im), where a page cannot hold all those of largest modulus.
    bars
        (dimension, birth, death), death None where a bar does not end; where a page cannot hold all the
        longest.
    training, validation
        (step, accuracy).
    files
        Label -> path below the experiment's folder.
    n_eigenvalues, n_bars
        How many there are.
    """

    name: str
    entry: Mapping[str, Any]
    ending: Mapping[str, Any]
    eigenvalues: Sequence[tuple[float, float]]
    bars: Sequence[tuple[int, float, float | None]]
    training: Sequence[tuple[float, float]]
    validation: Sequence[tuple[float, float]]
    files: Mapping[str, str]
    n_eigenvalues: int = 0
    n_bars: int = 0


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
    most = {name: max(total // len(experiment.summary["metrics"]), 10) for name, total in PAGE_POINTS.items()}
    bars = _bars(_tables(sections, "persistence", "persistence_diagrams"), most["diagram"])
    spectra = {} if population is None else dict(zip(population.names, population.eigenvalues, strict=True))
    suffix = "" if population is None else f"_seq{population.seq_length}"
    members = []
    for entry in experiment.summary["metrics"]:
        name = entry["model_name"]
        folder = experiment.folder / name if re.fullmatch(r"model-[1-9]\d*", name) else None
        path = folder / "training_curve.csv" if folder else None
        curve = read_curve(path) if folder and path and is_inside(path, experiment.folder) else []
        values, (kept, n_bars) = spectra.get(name, np.empty(0)), bars.get(name, ([], 0))
        leading = values[np.argsort(-np.abs(values), kind="stable")[: most["spectrum"]]]
        members.append(
            Member(
                name=name,
                entry={key.removesuffix(suffix): value for key, value in entry.items()},
                ending=_ending(folder / "checkpoint" / "done.json", experiment.folder) if folder else {},
                eigenvalues=[(float(v.real), float(v.imag)) for v in leading],
                bars=kept,
                training=_thin([(p.step, p.train_acc) for p in curve if p.is_training], most["curve"]),
                validation=_thin([(p.step, p.val_acc) for p in curve if p.is_validation], most["curve"]),
                files=_files(experiment.folder, folder) if folder else {},
                n_eigenvalues=len(values),
                n_bars=n_bars,
            )
        )
    return tuple(members)


def find_sections(experiment: Experiment, seq_length: int | None) -> tuple[Section, ...]:
    """Return what lies in ``<command>_analysis`` beside the summary, in the order of ``questions``.

    Analyses that were made at another length than ``seq_length`` are left out; so are files of earlier
    options.
    """
    questions = {GLOBAL: "All members, as evaluated."} | dict(experiment.questions)
    found = (_section(experiment, command, question, seq_length) for command, question in questions.items())
    return tuple(section for section in found if section is not None)


def find_maps(sections: Sequence[Section]) -> dict[str, dict[str, tuple[float, float]]]:
    """Return positions of members in the plane by map and member, from the tables ``*_embedding.csv``."""
    maps = {}
    for command in ("embedding", "persistence"):
        for path in _tables(sections, command, "_embedding"):
            table = read_columns(path, "model_name", "dimension_1", "dimension_2", absent=True)
            rows = {name: (number_in(x, at), number_in(y, at)) for at, (name, x, y) in table}
            points = {name: (x, y) for name, (x, y) in rows.items() if x is not None and y is not None}
            maps[f"{command}: {path.stem.removesuffix('_embedding').replace('_', ' ')}"] = points
    return maps


def read_table(path: Path, most_cells: int | None = None) -> tuple[list[list[str]], int]:
    """Return the rows of a CSV file, the header first, and how many there are; none where the file is missing.

    A table of more than ``most_cells`` cells has no rows here, only their number.
    """
    rows: list[list[str]] = []
    cells = number = 0
    for _, row in _lines(path):
        number, cells = number + 1, cells + len(row)
        if most_cells is None or cells <= most_cells:
            rows.append(row)
    return (rows if most_cells is None or cells <= most_cells else []), number


def read_columns(path: Path, *names: str, absent: bool = False) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield of each row of a CSV file where it stands, for messages, and what it has in these columns.

    Raises
    ------
    AnalysisError
        If the file lacks one of the columns, unless it may be ``absent``: then there are no rows; or a row ends
        before them.
    """
    lines = _lines(path)
    _, header = next(lines, ("", []))
    if not set(names) <= set(header):
        if not absent:
            raise AnalysisError(f"{path}: expected the columns {', '.join(names)}; got {shortened(header)}")
        return
    places = [header.index(name) for name in names]
    for at, row in lines:
        if len(row) != len(header):
            raise AnalysisError(f"{at}: expected {len(header)} cells; got {len(row)}")
        yield at, tuple(row[k] for k in places)


def _lines(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield the rows of a CSV file one at a time: a matrix of distances may be too large to hold; and where each is."""
    if not path.is_file():
        return
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.reader(file)
            for row in rows:
                yield f"{path}: line {rows.line_num}", [from_cell(text) for text in row]
    except (csv.Error, UnicodeDecodeError) as error:
        raise AnalysisError(f"{path}: expected a table as CSV in UTF-8; got {error}") from None


def _columns(path: Path, *names: str) -> Iterator[tuple[str | None, ...]]:
    """Yield of each row what stands in these columns, None in those that the table lacks."""
    lines = _lines(path)
    _, header = next(lines, ("", []))
    places = [header.index(name) if name in header else len(header) for name in names]
    return (tuple(row[k] if k < len(row) else None for k in places) for _, row in lines)


def read_about(folder: Path) -> About:
    """Return what an analysis says of its results, an empty one where it says nothing.

    Raises
    ------
    UserError
        If its ``about.json`` holds something else.
    """
    path = folder / "about.json"
    about: About = read(path, About) if is_plain(path, folder) else About()
    return about


def is_inside(path: Path, folder: Path) -> bool:
    """Whether a path is a plain file of its own in a folder or below it, on no way through a link out of it."""
    return is_plain(path, path.parent) and path.parent.resolve().is_relative_to(folder.resolve())


def _ending(path: Path, folder: Path) -> dict[str, Any]:
    ending: Ending = read(path, Ending) if is_inside(path, folder) else Ending()
    return ending.model_dump(exclude_none=True)


def recorded_networks(folder: Path) -> str:
    """Return how networks that were not trained here were recorded, and their proofs; empty for others."""
    path = folder / "adopted.json"
    about: Recorded = read(path, Recorded) if is_plain(path, folder) else Recorded()
    told = ", ".join(f"{name} {value:.1g}" for name, value in about.proof.items())
    text = f"emt.{about.recorded_with}" if about.recorded_with else ""
    return f"{text} (proofs passed, largest relative difference: {told})" if text and told else text


def _tables(sections: Sequence[Section], command: str, ending: str) -> list[Path]:
    """Return the tables of an analysis whose names end so."""
    return [
        path
        for one in sections
        if one.command == command
        for path in one.tables
        if path.stem.endswith(ending)
    ]


def _section(experiment: Experiment, command: str, question: str, seq_length: int | None) -> Section | None:
    # What evaluation draws belongs to no command.
    folder = experiment.folder / (COMMANDS[command].folder if command in COMMANDS else f"{command}_analysis")
    about = read_about(folder) if is_inside(folder / "about.json", experiment.folder) else About()
    if seq_length is not None and about.seq_length not in (None, seq_length):
        return None
    held = sorted(path for path in folder.glob("*") if is_inside(path, experiment.folder))
    # In the order in which the analysis drew them: what says most comes first.
    files = [path for path in held if about.files is None or path.name in about.files]
    files.sort(key=lambda path: (about.files or []).index(path.name) if about.files else 0)
    figures = tuple(path for path in files if path.suffix in (".png", ".gif"))
    tables = tuple(path for path in files if path.suffix == ".csv")
    if not figures and not tables:
        return None
    rows = {row for path in tables for row in _columns(path, "label", "model_name")}
    members = {entry["model_name"] for entry in experiment.summary["metrics"]}
    # Names of members repeat between sets, and those of other sets are not in this summary.
    named = {
        (label, name) for label, name in rows if name is not None and (label is not None or name in members)
    }
    return Section(
        command=command,
        question=question,
        headline=visible(about.headline, lines=True),
        options=about.options,
        n=len(named),
        sets=len({label for label, _ in named if label is not None}),
        figures=figures,
        tables=tables,
    )


Bar = tuple[int, float, float | None]


def _bars(paths: Sequence[Path], most: int) -> dict[str, tuple[list[Bar], int]]:
    """Return the ``most`` longest bars of each member, in the order of the file, and how many it has."""
    bars: dict[str, list[Bar]] = {}
    number: Counter[str] = Counter()
    columns = ("model_name", "dimension", "birth", "death")
    for at, (name, *cells) in (row for path in paths for row in read_columns(path, *columns)):
        dimension, birth, death = (number_in(text, at) for text in cells)
        if dimension is not None and birth is not None:
            held = bars.setdefault(name, [])
            held.append((_dimension(dimension, at), birth, death))
            number[name] += 1
            if len(held) > 2 * most:
                bars[name] = _longest(held, most)
    return {name: (_longest(held, most), number[name]) for name, held in bars.items()}


def _longest(bars: list[Bar], most: int) -> list[Bar]:
    lengths = [math.inf if death is None else death - birth for _, birth, death in bars]
    return [bars[k] for k in sorted(sorted(range(len(bars)), key=lambda k: -lengths[k])[:most])]


def _thin(curve: list[tuple[float, float]], most: int) -> list[tuple[float, float]]:
    """Return at most ``most`` points of a curve, and at most `CURVE_POINTS`, the last one included."""
    curve = [(step, value) for step, value in curve if math.isfinite(value)]
    stride = -(-len(curve) // min(CURVE_POINTS, most)) or 1
    return curve[::-stride][::-1]


def _files(experiment: Path, folder: Path) -> dict[str, str]:
    paths = {label: folder / name for label, name in MEMBER_FILES.items()}
    return {label: path.relative_to(experiment).as_posix() for label, path in paths.items() if path.exists()}


def number_in(text: str, at: str) -> float | None:
    """Return the number in a cell, None in an empty one or where it is not finite."""
    try:
        value = float(text or "nan")
    except ValueError:
        raise AnalysisError(f"{at}: expected a number; got {shortened(text)!r}") from None
    return value if abs(value) < float("inf") else None


def _dimension(value: float, at: str) -> int:
    if value not in range(10):
        raise AnalysisError(f"{at}: expected a dimension of homology from 0 to 9; got {value:g}")
    return int(value)
