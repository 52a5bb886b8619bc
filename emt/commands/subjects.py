"""What an analysis is given: it is found by a summary or a recorded run, read, and named in a line."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from analysis import COMMANDS
from analysis.command import Command
from emt.commands.output import say
from emt.commands.script import shell_command
from emt.commands.working_memory import check_readable
from emt.errors import UserError
from emt.models import MODELS
from emt.options import assigns, summary_of
from emt.own.folder import WITHOUT_STEPS, read_about
from emt.runs import read_summary
from emt.text import shell_path


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


def experiment_of(path: Path) -> Path:
    """Return the experiment's folder where a summary, a recorded run, or that folder itself is given."""
    inside = path.suffix == ".nc" and path.parent.name in ("traces", "dynamics", "interventions")
    return path if path.is_dir() else path.parents[1] if inside else path.parent


def name_of(path: Path) -> str:
    """Return what titles call what is given: the experiment, or a recorded run by itself."""
    experiment = experiment_of(path)
    alone = path.suffix == ".nc" and experiment == path.parent
    return path.stem if alone else experiment.resolve().name


def _summary(path: Path, seq_length: int | None) -> dict[str, Any]:
    """Return the summary of an experiment, made of its recorded run if only that is given or there."""
    home, file = experiment_of(path), "evaluation_summary.json"
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

    experiment = experiment_of(path)
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
    from analysis.population import training_configuration

    file = experiment / "evaluation_summary.json"
    if not file.exists():
        return {}
    config = training_configuration(read_summary(file, compact=True))
    return {
        name: value
        for part in ("task", "model", "training")
        for name, value in (config.get(part) or {}).items()
    }


def _recording_file(path: Path, seq_length: int | None) -> Path:
    """Return the file of a recorded run: what is given, or that of a length in the experiment."""
    if path.suffix == ".nc":
        return path
    experiment = experiment_of(path)
    folder, writer = experiment / "traces", "`emt evaluate`"
    if read_about(experiment):
        writer = "Run.save"
    return _file_of_length(folder, seq_length, f"recorded runs in {folder}, written by {writer}")


def _lengths(path: Path, label: str, seq_length: int | None) -> Any:
    known = [] if path.suffix == ".nc" else sorted(_files_by_length(experiment_of(path) / "traces"))
    wanted: list[int | None] = [*known] if known and seq_length is None else [seq_length]
    recordings = [_recording(path, label, length) for length in wanted]
    return {
        one.sizes["time"] if length is None else length: one
        for length, one in zip(wanted, recordings, strict=True)
    }


def _dynamics(path: Path, label: str, seq_length: int | None) -> Any:
    from emt import dynamics_file

    experiment = experiment_of(path)
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

    experiment = experiment_of(path)
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
    experiment = experiment_of(path)
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

    experiment, summary = experiment_of(path), _summary(path, seq_length)
    no_memory, no_theory = _has_no_memory(summary), _has_no_theory(summary)
    made = [
        command
        for command in COMMANDS.values()
        if command.takes != "experiments"
        and not (command.memory and no_memory)
        and not (command.theory and no_theory)
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
    from analysis.population import training_configuration

    model = (training_configuration(summary).get("model") or {}).get("type")
    return model in MODELS and not assigns(MODELS[model], "memories")


def _has_no_theory(summary: Mapping[str, Any]) -> bool:
    """Whether no theory says the spectrum of an experiment's task."""
    return not any(key.startswith("eigenvalues_theory") for entry in summary["metrics"] for key in entry)


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
