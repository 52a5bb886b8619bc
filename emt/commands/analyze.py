"""Analyse evaluated populations: spectra, embeddings, topology, comparison of sets, what associative memories do."""

import argparse
import importlib
import inspect
import itertools
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis import COMMANDS
from analysis.command import SUBJECTS, Command
from emt import locks, stopping
from emt.commands.output import say
from emt.commands.script import program
from emt.commands.subjects import READERS, Request, experiment_of, name_of
from emt.commands.working_memory import FEWER_MODELS, explained_allocations
from emt.errors import RegistrationError, UserError, renamed, repeated
from emt.files import check_folder
from emt.identity import code_of
from emt.models import MODELS
from emt.options import Parser, add_flags, assigns, check, options_of, require, require_arguments, summary_of
from emt.progress import Progress
from emt.runs import find
from emt.text import visible


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one analysis and return the exit code."""
    parser = build_parser()
    given = vars(parser.parse_args(arguments))
    if given["command"] is None:
        parser.print_help()
        return 1
    run(COMMANDS[given.pop("command")], given)
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Return the parser: one sub-command for each analysis, its flags read from the analysis' signature."""
    parser = Parser(prog=program("analyze"), description=__doc__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for command in COMMANDS.values():
        summary = summary_of(command.function).rstrip(".")
        sub = commands.add_parser(command.name, help=summary, description=summary + ".")
        _add_summaries(sub, command)
        if command.several:
            sub.add_argument(
                "--labels",
                nargs="+",
                default=[],
                metavar="TEXT",
                help='names of the sets (default: their folders; "Set k" where these have one name)',
            )
        folder = (
            f"./{command.folder}, with _2, … for further sets; of one summary in its folder"
            if command.several
            else f"{command.folder} in the folder of the summary file"
        )
        sub.add_argument(
            "--output_dir", metavar="PATH", help=f"where results go (default: {folder.removeprefix('. ')})"
        )
        sub.add_argument(
            "--seq_length",
            type=int,
            metavar="N",
            help="length to analyse (default: the only one, else 8 or the longest)",
        )
        require_arguments(command.function, [command.takes])
        add_flags(sub, options_of(command.function))
    return parser


def _add_summaries(parser: argparse.ArgumentParser, command: Command) -> None:
    """Add ``--summary_file`` and ``--summary_files``, which mean the same: a command for one summary takes one path."""
    flags, text = (
        ["--summary_file", "--summary_files"],
        "evaluation_summary.json of the population, or a recorded run (traces/seqL.nc)",
    )
    if command.several:
        flags, text = flags[::-1], "one evaluation summary for each set"
    parser.add_argument(*flags, dest="summaries", nargs="+", required=True, metavar="PATH", help=text)


def run(command: Command, given: dict[str, Any]) -> Any:
    """Read what the analysis takes, analyse it, save tables and then figures, say where they are; return the result."""
    if command.takes != "experiments":
        require(f"{command.figures}:draw", f"which yields names and figures of a result of {command.name!r}")
    request = _request(command, given)
    options = check(options_of(command.function), given, f"{program('analyze')} {command.name}", words=True)
    subject = READERS[command.takes](request)
    with locks.writing_into(request.folder):
        result = _analyse(command, subject, options, request.folder)
        if not hasattr(result, "pages") and not hasattr(result, "tables"):
            raise RegistrationError(
                f"{command.function}: expected a result with a method tables(), which returns name -> DataFrame; "
                f"got {type(result).__name__}"
            )
        if hasattr(result, "pages"):
            _save_pages(result, request.folder)
        else:
            question = {
                "command": command.name,
                "options": options,
                "seq_length": _length_of(subject),
                "summaries": _from_folder([source[0] for source in request.sources], request.folder),
            }
            _save(result, command, request.folder, question)
    return result


def _request(command: Command, given: dict[str, Any]) -> Request:
    """Take what every command has out of ``given``, which keeps the analysis' own options."""
    length, folder = given.pop("seq_length"), given.pop("output_dir")
    if command.several:
        paths = [find(path, "summary_files") for path in given.pop("summaries")]
        alone = len(paths) == 1
        names = [name_of(path) for path in paths]
        labels = given.pop("labels") or (names if not repeated(names) else [])
        sources = [
            (path, label, length) for path, label in zip(paths, _labels(labels, len(paths)), strict=True)
        ]
        # What is found in one experiment belongs to it, and its report looks for it there.
        home = experiment_of(paths[0]) / command.folder if alone else _folder_of(command, paths)
        return Request(sources, check_folder(Path(folder) if folder else home, "output_dir"))
    first, *others = given.pop("summaries")
    if others:
        several = ", ".join(name for name, other in COMMANDS.items() if other.several)
        text = f"{command.name} analyses one summary; got {1 + len(others)} ({several} take several)"
        raise UserError(text, parameter="summary_file")
    path = find(first, "summary_file")
    experiment = experiment_of(path)
    output = check_folder(Path(folder or experiment / command.folder), "output_dir")
    return Request([(path, visible(name_of(path)), length)], output)


def _folder_of(command: Command, paths: Sequence[Path]) -> Path:
    """Return a folder here for results of several sets: that of the same sets, or one without results of others."""
    if command.takes == "experiments":
        return Path(command.folder)
    candidates = (Path(f"{command.folder}{f'_{k}' if k > 1 else ''}") for k in itertools.count(1))
    return next(
        folder for folder in candidates if _analysed_in(folder) in (None, _from_folder(paths, folder))
    )


def _analysed_in(folder: Path) -> list[str] | None:
    """Return what the results in a folder are of; None if there are no results, or they do not say."""
    from analysis.report.sections import read_about

    try:
        return read_about(folder).summaries
    except UserError:
        return None


def _from_folder(paths: Sequence[Path], folder: Path) -> list[str]:
    """Return paths as they are from a folder: they hold when all is moved together."""
    return [Path(os.path.relpath(path.absolute(), folder.absolute())).as_posix() for path in paths]


def _length_of(subject: Any) -> int | None:
    """Return the sequence length of what is analysed, of several things of the first."""
    from emt.labelled import about

    if isinstance(subject, dict | list):
        subject = next(iter(subject.values() if isinstance(subject, dict) else subject))
    length: int | None = (
        subject.seq_length if hasattr(subject, "seq_length") else about(subject).get("length")
    )
    return length


def _analyse(command: Command, subject: Any, options: dict[str, Any], folder: Path) -> Any:
    from analysis.cache import cached_in
    from analysis.errors import NoMemoryError

    module, _, name = command.function.partition(":")
    function = getattr(importlib.import_module(module), name)
    given = [*SUBJECTS, next(iter(inspect.signature(function).parameters))]
    try:
        flag = "summary_files" if command.several else "summary_file"
        fewer = FEWER_MODELS if command.takes.startswith("recording") else "analyse fewer models"
        with (
            cached_in(folder),
            Progress(command.name),
            explained_allocations(fewer, flag),
            renamed(dict.fromkeys(given, flag)),
        ):
            return function(subject, **options)
    except NoMemoryError as error:
        if _is_recorded(subject):
            raise UserError(
                f"{command.name}: {error}; no log of one came with what was recorded (emt.log_write)"
            ) from None
        able = [name for name, model in MODELS.items() if assigns(model, "memories")]
        some = " that is logged, with its options" if any(repr(name) in str(error) for name in able) else ""
        raise UserError(
            f"{command.name}: {error}{some}; models that have one: {', '.join(able) or 'none yet'}"
        ) from None


def _is_recorded(subject: Any) -> bool:
    """Whether a trace, or the first of several, is of networks that were not trained here."""
    from emt import trace

    recording = next(iter(subject.values())) if isinstance(subject, dict) else subject
    return bool(trace.about(recording).recorded_with)


WRITTEN = (".csv", ".json", ".npy", ".png", ".pdf", ".gif", ".mp4")
"""Kinds of file that an analysis writes."""


def _labels(given: Sequence[str], n_sets: int) -> list[str]:
    if len(given) > n_sets:
        raise UserError(
            f"--labels: expected at most one label for each of {n_sets} summary files; got {len(given)}"
        )
    if not all(label.strip() for label in given):
        raise UserError("--labels: expected labels with at least one character; got an empty one")
    if repeated(given):
        raise UserError(f"--labels: labels must all differ; got {', '.join(given)}")
    labels = [visible(label) for label in given]
    for place in range(len(given) + 1, n_sets + 1):
        free = itertools.chain([f"Set {place}"], (f"Set {place} ({k})" for k in itertools.count(2)))
        labels.append(next(label for label in free if label not in labels))
    return labels


def _save_pages(result: Any, folder: Path) -> None:
    from emt.files import write_bytes

    say(result.headline())
    for name, page in result.pages().items():
        path = folder / f"{name}.html"
        write_bytes(path, page.encode())
        say(f"page: {path}")


def _save(result: Any, command: Command, folder: Path, question: dict[str, Any]) -> None:
    from analysis.report.sections import About, read_about
    from analysis.tables import save_results, to_json
    from emt.files import write_bytes

    try:
        earlier = read_about(folder)
    except UserError:
        # It is written anew, and nothing is deleted on its word.
        earlier = About()
    headline = result.headline() if hasattr(result, "headline") else ""
    if headline:
        # A line for each memory or member.
        say(*headline.split("\n"))
    with stopping.deferred():
        # These files belong together.
        tables = save_results(result, folder)
        about = {"headline": headline, **question, "code": code_of("emt", "analysis")}
        write_bytes(folder / "about.json", to_json(about | _files(tables)))
    say(f"tables in {folder}: {_by_stem(tables)}")

    # Imported here: a figure that fails must not cost the tables.
    from analysis.figures.style import save_figure, save_film

    drawing = importlib.import_module(command.figures)
    with Progress("figures"):
        figures = [
            path for name, figure in drawing.draw(result) for path in save_figure(figure, folder / name)
        ]
        if hasattr(drawing, "animate"):
            films = drawing.animate(result)
            figures += [path for name, film in films for path in save_film(film, folder / name)]
    listed = _files([*tables, *figures])
    write_bytes(folder / "about.json", to_json(about | listed))
    # Output left over from an earlier run of this command, such as a figure without a subject now, is deleted.
    if all(getattr(earlier, key) == asked for key, asked in json.loads(to_json(question)).items()):
        for name in set(earlier.sha256) - set(listed["files"]):
            _delete(folder / name, earlier.sha256[name])
    say(f"figures in {folder}: {_by_stem(figures)}")


def _files(paths: Sequence[Path]) -> dict[str, Any]:
    """Return what about.json says of files: their names, and the hashes of their contents."""
    from emt.files import sha256

    hashes = {path.name: sha256(path.read_bytes()) for path in paths}
    return {"files": list(hashes), "sha256": hashes}


def _delete(path: Path, content: str) -> None:
    """Delete what an analysis wrote: a file of a kind that analyses write, in whose place nobody has put another."""
    from emt.files import is_plain, sha256

    if path.suffix in WRITTEN and is_plain(path, path.parent) and sha256(path.read_bytes()) == content:
        path.unlink()


def _by_stem(paths: Sequence[Path]) -> str:
    """Return "a (csv, json), b (npy)"."""
    kinds: dict[str, list[str]] = {}
    for path in paths:
        kinds.setdefault(path.stem, []).append(path.suffix.removeprefix("."))
    return ", ".join(f"{stem} ({', '.join(suffixes)})" for stem, suffixes in kinds.items())
