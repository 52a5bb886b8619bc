"""Evaluate a folder of recorded networks that were not trained here: summary and figures anew from the recording."""

import argparse
from pathlib import Path
from typing import Any

from emt import locks
from emt.commands.output import say
from emt.commands.script import shell_command
from emt.errors import UserError
from emt.own.folder import recordings, write_summary
from emt.progress import Progress
from emt.text import shell_path

FIXED = ("seq_length", "test_horizon", "step", "model_pattern", "accelerator")
"""Options that only networks with weights and a task of the registry have."""


def evaluate_recorded(experiment: Path, options: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Write summary and figures of a run that `emt.own.run.Run.save` wrote; return the exit code.

    Raises
    ------
    UserError
        If an option needs the networks themselves, or the folder does not hold one recorded run.
    """
    from analysis.evaluation.from_recording import summarise_recording
    from emt import trace

    if options.dynamics:
        raise UserError(
            f"--dynamics: {experiment} holds no networks; search where you have them: run.save(folder, dynamics=True)"
        )
    if options.interventions is not None:
        raise UserError("--interventions: a recorded run holds no networks, which would have to run again")
    for name in FIXED:
        if getattr(options, name) != parser.get_default(name):
            raise UserError(
                f"--{name}: {experiment} holds a recorded run, whose trials are fixed (emt.from_torch)"
            )
    files = recordings(experiment / "traces")
    if len(files) != 1:
        raise UserError(
            f"--models_dir: expected one recorded run in {experiment / 'traces'}; found {len(files)}"
        )
    recording = trace.load(files[0])
    summary = summarise_recording(recording)
    with locks.writing_into(experiment):
        write_summary(experiment, summary)
        if options.figures:
            with Progress("figures"):
                _draw(experiment, recording, summary, options.magnitude_threshold)
    say(f"Evaluated {recording.sizes['member']} networks of {experiment} from {files[0]}")
    say(f"Summary: {experiment / 'evaluation_summary.json'}")
    states = "eigenvalue" if "step_matrix" in recording else "topology"
    analysis = "match" if trace.nodes(recording) else states
    say(f"Next: {shell_command('analyze')} {analysis} --summary_file {shell_path(experiment)}")
    return 0


def _draw(experiment: Path, recording: Any, summary: dict[str, Any], threshold: float) -> None:
    from analysis.evaluation.from_recording import recorded_members, recorded_operators
    from analysis.evaluation.inspection import inspect_member
    from analysis.figures.evaluation.inspection import draw_model
    from analysis.figures.spectra.overview import draw_population
    from analysis.figures.style import save_figure
    from analysis.population import from_summary, lengths_of
    from emt import trace

    lengths = lengths_of(summary)
    if not lengths:
        say("No figures: the members have no spectrum")
        return
    for member in recorded_members(recording):
        inspection = inspect_member(member, recorded_operators(recording), lengths)
        for name, figure in draw_model(inspection):
            save_figure(figure, experiment / member.name / "results" / name, ("png",), 150)
    population = from_summary(summary, label=trace.label(recording))
    for name, figure in draw_population(population, magnitude_threshold=threshold):
        save_figure(figure, experiment / "global_analysis" / name)
    say(f"Figures: {experiment / 'global_analysis'} and {experiment / 'model-k' / 'results'}")
