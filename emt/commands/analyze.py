"""Analyse evaluated populations: spectra, embeddings, topology, comparison of sets, what associative memories do."""

import argparse
import importlib
import inspect
import itertools
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis import COMMANDS
from analysis.command import SUBJECTS, Command
from emt import locks, stopping
from emt.commands.output import say
from emt.commands.script import program, shell_command
from emt.commands.working_memory import FEWER_MODELS, check_readable, explained_allocations
from emt.errors import RegistrationError, UserError, renamed, repeated
from emt.files import check_folder
from emt.identity import code_of
from emt.models import MODELS
from emt.options import Parser, add_flags, assigns, check, options_of, require, require_arguments, summary_of
from emt.own.folder import WITHOUT_STEPS, read_about
from emt.progress import Progress
from emt.runs import find, read_summary
from emt.text import shell_path, visible


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
            f"./{command.folder}, of one summary in its folder"
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


@dataclass(frozen=True)
class Request:
    """Which evaluated experiments are analysed, and where results go.

    Attributes
    ----------
    sources
        (path of a summary, label, sequence length or None) of each experiment.
    folder
        Folder of the results.
    """

    sources: Sequence[tuple[Path, str, int | None]]
    folder: Path


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
            question = {"command": command.name, "options": options, "seq_length": _length_of(subject)}
            _save(result, command, request.folder, question)
    return result


def _request(command: Command, given: dict[str, Any]) -> Request:
    """Take what every command has out of ``given``, which keeps the analysis' own options."""
    length, folder = given.pop("seq_length"), given.pop("output_dir")
    if command.several:
        paths = [find(path, "summary_files") for path in given.pop("summaries")]
        alone = len(paths) == 1
        names = [_name_of(path) for path in paths]
        labels = given.pop("labels") or (names if not repeated(names) else [])
        sources = [
            (path, label, length) for path, label in zip(paths, _labels(labels, len(paths)), strict=True)
        ]
        # What is found in one experiment belongs to it, and its report looks for it there.
        home = _experiment_of(paths[0]) if alone else Path()
        return Request(sources, check_folder(Path(folder or home / command.folder), "output_dir"))
    first, *others = given.pop("summaries")
    if others:
        several = ", ".join(name for name, other in COMMANDS.items() if other.several)
        text = f"{command.name} analyses one summary; got {1 + len(others)} ({several} take several)"
        raise UserError(text, parameter="summary_file")
    path = find(first, "summary_file")
    experiment = _experiment_of(path)
    output = check_folder(Path(folder or experiment / command.folder), "output_dir")
    return Request([(path, visible(_name_of(path)), length)], output)


def _experiment_of(path: Path) -> Path:
    """Return the experiment's folder where a summary, a recorded run, or that folder itself is given."""
    inside = path.suffix == ".nc" and path.parent.name in ("traces", "dynamics", "interventions")
    return path if path.is_dir() else path.parents[1] if inside else path.parent


def _name_of(path: Path) -> str:
    """Return what titles call what is given: the experiment, or a recorded run by itself."""
    experiment = _experiment_of(path)
    alone = path.suffix == ".nc" and experiment == path.parent
    return path.stem if alone else experiment.resolve().name


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


def _summary(path: Path, seq_length: int | None) -> dict[str, Any]:
    """Return the summary of an experiment, made of its recorded run if only that is given or there."""
    home, file = _experiment_of(path), "evaluation_summary.json"
    if path.suffix != ".nc" and ((home / file).exists() or path.is_file() or not (home / "traces").is_dir()):
        return read_summary(path, compact=True)
    from analysis.evaluation.from_recording import summarise_recording
    from emt import trace

    return summarise_recording(trace.load(_recording_file(path, seq_length)))


def _read_population(path: Path, label: str, seq_length: int | None) -> Any:
    from analysis.errors import AnalysisError
    from analysis.population import from_summary

    summary = _summary(path, seq_length)
    try:
        return from_summary(summary, label=label, seq_length=seq_length)
    except AnalysisError as error:
        # What is wrong is an option, or what the file holds.
        if error.parameter is not None:
            raise
        raise UserError(f"{path}: {error}") from None


def _population(path: Path, label: str, seq_length: int | None) -> Any:
    population = _read_population(path, label, seq_length)
    say(f"{label}: {len(population)} models at sequence length {population.seq_length} ({path})")
    if population.skipped:
        say(f"  skipped (no spectrum at that length): {', '.join(population.skipped)}")
    return population


def _recording(path: Path, label: str, seq_length: int | None) -> Any:
    from emt import trace

    file = _recording_file(path, seq_length)
    check_readable(file, "summary_file")
    recording = trace.load(file)
    members, sequences, steps = (recording.sizes[axis] for axis in trace.MEMBER_TIME)
    shortest = trace.present_steps(recording).sum(axis=1).min()
    span = str(steps) if shortest == steps else f"{shortest} to {steps}"
    say(f"{label}: {members} models on {sequences} sequences of {span} steps ({file})")
    return recording


def read_networks(path: Path, label: str, seq_length: int | None = None) -> Any:
    """Return the recorded networks of an experiment with their outputs on other trials (`Networks`), and say so."""
    from analysis.degeneracy.networks import Networks
    from emt import trace

    experiment = _experiment_of(path)
    recording, outside = _recording(path, label, seq_length), None
    files = _files_by_length(experiment / "outside")
    if files:
        file = files[max(files)]
        check_readable(file, "summary_file")
        outside = trace.load(file)
        say(
            f"  on other trials: {', '.join(f'{n} = {v}' for n, v in trace.about(outside).outside.items())} ({file})"
        )
    return Networks(recording, outside, _options_of(experiment))


def _options_of(experiment: Path) -> dict[str, Any]:
    """Return the options that an experiment was trained with, without those that name its task and its model."""
    file = experiment / "evaluation_summary.json"
    if not file.exists():
        return {}
    config = (read_summary(file, compact=True).get("evaluation_config") or {}).get("training_config") or {}
    return {
        name: value
        for part in ("task", "model", "training")
        for name, value in (config.get(part) or {}).items()
    }


def _recording_file(path: Path, seq_length: int | None) -> Path:
    """Return the file of a recorded run: what is given, or that of a length in the experiment."""
    if path.suffix == ".nc":
        return path
    experiment = _experiment_of(path)
    folder, writer = experiment / "traces", "`emt evaluate`"
    if read_about(experiment):
        writer = "Run.save"
    return _file_of_length(folder, seq_length, f"recorded runs in {folder}, written by {writer}")


def _lengths(path: Path, label: str, seq_length: int | None) -> Any:
    known = [] if path.suffix == ".nc" else sorted(_files_by_length(_experiment_of(path) / "traces"))
    wanted: list[int | None] = [*known] if known and seq_length is None else [seq_length]
    recordings = [_recording(path, label, length) for length in wanted]
    return {
        one.sizes["time"] if length is None else length: one
        for length, one in zip(wanted, recordings, strict=True)
    }


def _dynamics(path: Path, label: str, seq_length: int | None) -> Any:
    from emt import dynamics_file

    experiment = _experiment_of(path)
    command = f"{shell_command('evaluate')} --models_dir {shell_path(experiment)} --dynamics"
    about = read_about(experiment)
    if about and (why := WITHOUT_STEPS.get(about.recorded_with)):
        raise UserError(f"dynamics: {why}")
    if about:
        command = f"run.save({str(experiment)!r}, dynamics=True) of the run (emt.from_torch, emt.from_cells)"
    folder = experiment / "dynamics"
    if path.suffix == ".nc" and path.parent.name != "traces":
        file = path
    else:
        file = _file_of_length(folder, seq_length, f"fixed points in {folder}; write them with: {command}")
    found = dynamics_file.load(file)
    say(f"{label}: {found.sizes['member']} models, {found.sizes['point']} fixed and slow points ({file})")
    return found


def _interventions(path: Path, label: str, seq_length: int | None) -> Any:
    from emt import effects

    experiment = _experiment_of(path)
    folder = experiment / "interventions"
    about = read_about(experiment)
    if about:
        raise UserError("interventions: a recorded run holds no networks, which would have to run again")
    command = f"{shell_command('evaluate')} --models_dir {shell_path(experiment)} --interventions"
    given = path.suffix == ".nc" and path.parent.name != "traces"
    file = (
        path
        if given
        else _file_of_length(folder, seq_length, f"effects in {folder}; write them with: {command}")
    )
    found = effects.load(file)
    sizes = found.sizes
    say(
        f"{label}: {sizes['member']} models, {sizes['condition']} conditions, {sizes['query']} queries ({file})"
    )
    return found


def _checkpoints(path: Path, label: str, seq_length: int | None) -> Any:
    experiment = _experiment_of(path)
    summaries = {
        int(file.parent.name.removeprefix("step-")): file
        for file in (experiment / "checkpoints").glob("step-*/evaluation_summary.json")
        if file.parent.name.removeprefix("step-").isdecimal()
    }
    if not summaries and read_about(experiment):
        raise UserError(
            f"--summary_file: expected checkpoints in {experiment / 'checkpoints'}; record networks during training "
            f"and write them with: run.save({str(experiment)!r}, step=N)"
        )
    if not summaries:
        raise UserError(
            f"--summary_file: expected evaluated checkpoints in {experiment / 'checkpoints'}; train with "
            f"--keep_checkpoints and run: {shell_command('evaluate')} --models_dir {shell_path(experiment)} "
            "--step N …"
        )
    steps = sorted(summaries)
    say(f"{label}: checkpoints after {', '.join(map(str, steps))} training steps")
    return {step: _read_population(summaries[step], label, seq_length) for step in steps}


def _experiments(request: Request) -> Any:
    from analysis.report.sections import Experiments

    parts = tuple(_experiment(*source, request.folder) for source in request.sources)
    return Experiments(parts, request.folder)


def _experiment(path: Path, label: str, seq_length: int | None, page: Path) -> Any:
    from analysis.population import default_length, lengths_of
    from analysis.report.sections import Experiment

    experiment, summary = _experiment_of(path), _summary(path, seq_length)
    without = _has_no_memory(summary)
    made = [
        command
        for command in COMMANDS.values()
        if command.takes != "experiments" and not (command.memory and without)
    ]
    lengths = lengths_of(summary)
    shown = default_length(lengths) if seq_length is None else seq_length
    flag = f" --seq_length {shown}" if len(lengths) > 1 else ""
    return Experiment(
        folder=experiment,
        label=label,
        summary=summary,
        seq_length=seq_length,
        questions={command.name: summary_of(command.function) for command in made},
        commands={command.name: _command_line(command, experiment) + flag for command in made},
        links=Path(os.path.relpath(experiment, page)).as_posix(),
    )


def _has_no_memory(summary: Mapping[str, Any]) -> bool:
    """Whether an experiment's networks are of a model that never has an associative memory."""
    configuration = (summary.get("evaluation_config") or {}).get("training_config") or {}
    model = (configuration.get("model") or {}).get("type")
    return model in MODELS and not assigns(MODELS[model], "memories")


def _command_line(command: Command, experiment: Path) -> str:
    """Return what a user types to have an analysis beside the summary."""
    file = experiment / "evaluation_summary.json"
    summary, folder = (
        shell_path(x) for x in (file if file.exists() else experiment, experiment / command.folder)
    )
    given = f"--summary_files {summary} OTHER --output_dir {folder}"
    return f"{shell_command('analyze')} {command.name} {given if command.several else f'--summary_file {summary}'}"


def _files_by_length(folder: Path) -> dict[int, Path]:
    return {int(file.stem[3:]): file for file in folder.glob("seq*.nc") if file.stem[3:].isdecimal()}


def _file_of_length(folder: Path, seq_length: int | None, expected: str) -> Path:
    """Return the file seqL.nc of a length, without it of the only length, else of 8, else of the longest."""
    from analysis.population import default_length

    files = _files_by_length(folder)
    if not files:
        raise UserError(f"--summary_file: expected {expected}")
    length = default_length(files) if seq_length is None else seq_length
    if length not in files:
        held = ", ".join(map(str, sorted(files)))
        raise UserError(f"--seq_length: must be one of the lengths recorded ({held}); got {length}")
    return files[length]


WRITTEN = (".csv", ".json", ".npy", ".png", ".pdf", ".gif", ".mp4")
"""Kinds of file that an analysis writes."""

READERS: Mapping[str, Callable[[Request], Any]] = {
    "population": lambda request: _population(*request.sources[0]),
    "populations": lambda request: [_population(*source) for source in request.sources],
    "recording": lambda request: _recording(*request.sources[0]),
    "recordings": lambda request: {source[1]: _recording(*source) for source in request.sources},
    "networks": lambda request: {source[1]: read_networks(*source) for source in request.sources},
    "lengths": lambda request: _lengths(*request.sources[0]),
    "dynamics": lambda request: _dynamics(*request.sources[0]),
    "interventions": lambda request: _interventions(*request.sources[0]),
    "checkpoints": lambda request: _checkpoints(*request.sources[0]),
    "experiments": _experiments,
}
"""How each of `analysis.command.SUBJECTS` is read."""


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
