"""Evaluate a trained population: accuracy on held-out sequences, spectra against theory, figures, traces.

Writes evaluation_summary.json, which `emt analyze` reads, figures for each model in model-k/results and
across models in global_analysis, and recorded runs in traces; with --dynamics also fixed points and Lyapunov
exponents, with --interventions what answers depend on, with --outside outputs on other trials. Models that
were evaluated before by the same code with the same settings are not evaluated again.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from emt import engine, files, locks, runs
from emt.commands.evaluate_members import evaluate_share, finish_population
from emt.commands.evaluate_outside import find_outside, write_outside
from emt.commands.evaluate_own import evaluate_recorded
from emt.commands.output import complain, complain_at_length, open_console
from emt.commands.script import program, shell_command
from emt.config import code_of_run
from emt.devices import choose_device
from emt.dynamics import STARTS
from emt.errors import UserError, renamed
from emt.evaluation import TRACE_SEQUENCES, Settings, Work, entry_path, forget, is_current, test_sequences
from emt.interventions.conditions_file import read_conditions_file
from emt.interventions.kinds import ALL_KINDS, KIND_TEXTS, TRIALS
from emt.options import Parser, load, plugins
from emt.own.folder import read_about
from emt.progress import Progress
from emt.tasks import TASKS
from emt.text import shell_path
from emt.training.sweep import read_run


def main(arguments: list[str] | None = None) -> int:
    """Parse, evaluate, report; return the exit code."""
    options = parser().parse_args(arguments)
    plugins.use(options.plugins)
    experiment = runs.find(options.models_dir, "models_dir")
    if not (experiment / "config.json").exists() and read_about(experiment):
        return evaluate_recorded(experiment, options, parser())
    config = read_run(experiment / "config.json")
    with renamed({"pattern": "model_pattern", "folder": "model_pattern"}):
        numbers = [
            runs.model_number(folder) for folder in runs.model_folders(experiment, options.model_pattern)
        ]
    task = load(TASKS, config.task_name, "task")(**config.task_options())
    lengths = wanted_lengths(options.seq_length, task)
    for name in ("test_horizon", "trace_sequences", "num_workers", "starts"):
        if getattr(options, name) < 1:
            raise UserError(f"--{name}: must be at least 1; got {getattr(options, name)}")
    if options.intervention_trials < 2:
        got = options.intervention_trials
        raise UserError(f"--intervention_trials: must be at least 2; got {got}")
    if options.interventions and options.intervention_file:
        raise UserError("--intervention_file: expected no kinds beside it, as after --interventions")
    options.outside = find_outside(config, options.outside) if options.outside else None
    options.conditions = read_conditions_file(options.intervention_file) if options.intervention_file else ()
    if options.accelerator == "gpu":
        choose_device("gpu")
    settings = Settings(
        lengths, options.test_horizon, options.accelerator, options.figures, options.trace_sequences
    )
    codes = []
    for step in options.step or [None]:
        work = Work(experiment, config, settings, tuple(numbers), step)
        with locks.writing_into(work.folder):
            codes.append(evaluate(work, options))
    return max(codes)


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = Parser(
        prog=program("evaluate"),
        description=__doc__,
    )
    add = parser.add_argument
    add(
        "--models_dir",
        required=True,
        metavar="DIR",
        help="the run's folder (also looked up in $EXPERIMENT_OUTPUT_DIR)",
    )
    add(
        "--seq_length",
        nargs="+",
        type=int,
        metavar="N",
        help="length to analyse, or an inclusive range (default: as trained)",
    )
    add(
        "--test_horizon",
        type=int,
        default=200,
        metavar="N",
        help="output steps of the accuracy sample (default: 200)",
    )
    add(
        "--trace_sequences",
        type=int,
        default=TRACE_SEQUENCES,
        metavar="N",
        help=f"trials of the recorded runs that analyses read (default: {TRACE_SEQUENCES})",
    )
    add(
        "--accelerator",
        choices=("auto", "cpu", "gpu"),
        default="auto",
        help="where the models run (default: auto)",
    )
    add("--model_pattern", default="model-*", metavar="GLOB", help="which models (default: model-*)")
    add(
        "--magnitude_threshold",
        type=float,
        default=0.0,
        metavar="X",
        help="hide eigenvalues of smaller modulus in global_complex_plane, and nowhere else (default: 0)",
    )
    add("--num_workers", type=int, default=2, metavar="N", help="worker processes (default: 2)")
    add(
        "--step",
        nargs="+",
        type=int,
        metavar="N",
        help="evaluate weights after N training steps, saved by `emt train --keep_checkpoints`; results go to "
        "checkpoints/step-N (default: the last weights)",
    )
    add(
        "--dynamics",
        nargs="?",
        choices=("moving", "whole"),
        const="moving",
        help="also search fixed points and take Jacobians and Lyapunov exponents; memory contents are held "
        "constant, or with --dynamics whole fast weights are part of the state (small networks: up to 1024 numbers)",
    )
    add(
        "--starts",
        type=int,
        default=STARTS,
        metavar="N",
        help=f"starting points of the search of --dynamics, for each model (default: {STARTS})",
    )
    add(
        "--interventions",
        nargs="*",
        choices=ALL_KINDS,
        metavar="KIND",
        help="also change runs and see what answers depend on (default: all kinds that apply): "
        + "; ".join(f"{kind}: {text}" for kind, text in KIND_TEXTS.items()),
    )
    add(
        "--intervention_trials",
        type=int,
        default=TRIALS,
        metavar="N",
        help=f"trials of --interventions, at least 2 (default: {TRIALS})",
    )
    add(
        "--intervention_file",
        type=Path,
        metavar="FILE",
        help="change runs by the conditions of a JSON file, and not by those of kinds",
    )
    add(
        "--outside",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="also record outputs on trials other than those that were trained on: options of the task with other "
        "values, input_noise (standard deviation), horizon (output steps), as in steps=150 input_noise=0.3",
    )
    plugins.add_flag(add)
    add("--no_figures", dest="figures", action="store_false", help="write numbers and traces only")
    return parser


def wanted_lengths(given: list[int] | None, task: Any) -> tuple[int, ...]:
    """Return the lengths to analyse: those given, or those the models were trained at.

    Raises
    ------
    UserError
        If they are no length or range, or the task does not exist at one of them.
    """
    if given is None:
        return tuple(task.lengths)
    if len(given) > 2 or min(given) < 1 or given != sorted(given):
        raise UserError(
            f"--seq_length: must be one length ≥ 1 or an ascending range; got {' '.join(map(str, given))}"
        )
    lengths = tuple(range(given[0], given[-1] + 1))
    for length in lengths:
        with renamed({"length": "seq_length"}):
            has_outputs = task.test_batch(0, length, 1, 1).scored.any()
        if not has_outputs:
            raise UserError(f"--seq_length: expected a length at which the task has outputs; got {length}")
    return lengths


def evaluate(work: Work, options: argparse.Namespace) -> int:
    """Evaluate all models with a progress bar, write the summary, draw the population; return the exit code."""
    console = open_console()
    when_trained = "" if work.step is None else f" after {work.step} training steps"
    lengths = " ".join(map(str, work.settings.seq_lengths))
    console.print(
        f"Evaluating {len(work.numbers)} models of {work.experiment}{when_trained} at length {lengths}"
    )
    config = evaluation_config(work, options)
    failed = evaluate_models(work, options.num_workers, console)
    files.write_json(work.folder / "eval_config.json", config)
    finished = replace(work, numbers=tuple(n for n in work.numbers if n not in failed))
    entries = write_summary(finished, config, failed)
    has_memory = finish_together(finished, options, console)
    remove_stale(finished, options, console)
    report(console, work, entries, failed, "match" if has_memory else "eigenvalue")
    return 1 if failed else 0


def evaluation_config(work: Work, options: argparse.Namespace) -> dict[str, Any]:
    """Return the content of eval_config.json."""
    settings = work.settings
    task = load(TASKS, work.config.task_name, "task")(**work.config.task_options())
    evaluation = {
        "seq_lengths": settings.seq_lengths,
        "test_horizon": settings.test_horizon,
        "test_sequences": test_sequences(task),
        "trace_sequences": settings.trace_sequences,
        "accelerator": settings.accelerator,
        "model_pattern": options.model_pattern,
        "magnitude_threshold": options.magnitude_threshold,
    }
    when = datetime.now().astimezone().isoformat(timespec="seconds")
    return {
        "metadata": {
            "evaluated_at": when,
            "script": "evaluate_multiple.py",
            "models_dir": str(work.experiment),
            **code_of_run(work.config, "analysis"),
        },
        "evaluation": evaluation | ({} if work.step is None else {"step": work.step}),
        "training_config": work.config.model_dump(),
    }


def evaluate_models(work: Work, num_workers: int, console: Any) -> dict[int, str]:
    """Evaluate each model in one of the worker processes; return why models failed, by number.

    Raises
    ------
    UserError
        If all of them failed.
    """
    shares = share_out(work, num_workers)
    with Progress("models", len(work.numbers), console) as progress:
        tick = lambda: progress.update(sum(is_current(work, n) for n in work.numbers))  # noqa: E731
        results = engine.run(evaluate_share, shares, len(shares), tick)
    failed = collect_failures(results)
    if len(failed) == len(work.numbers):
        first, alike = work.numbers[0], len(set(failed.values())) == 1
        reason = failed[first] if alike else f"model-{first}: {failed[first]}"
        raise UserError(f"{work.experiment}: none of the {len(failed)} models could be evaluated; {reason}")
    for number, reason in failed.items():
        complain(f"{program('evaluate')}: model-{number}: {reason}")
    return failed


def share_out(work: Work, num_workers: int) -> list[Work]:
    """Return each worker's share of the models; no share is empty."""
    workers = min(num_workers, len(work.numbers))
    return [replace(work, numbers=work.numbers[i::workers], workers=workers) for i in range(workers)]


def collect_failures(results: Sequence[engine.Result]) -> dict[int, str]:
    """Return why models failed, by number, and print what a dying worker left; all models of its share failed."""
    reasons: dict[int, str] = {}
    for result in results:
        reasons |= dict.fromkeys(result.item.numbers, result.failure) if result.failure else result.value
        complain_at_length(result.details)
    return {n: reasons[n].removeprefix(f"model-{n}: ") for n in sorted(reasons)}


def write_summary(work: Work, config: dict[str, Any], failed: Mapping[int, str]) -> list[dict[str, Any]]:
    """Write evaluation_summary.json of the models that were evaluated; return their entries."""
    entries = [files.read_json(entry_path(work, n))["entry"] for n in work.numbers]
    summary = {
        "timestamp": config["metadata"]["evaluated_at"],
        "n_models": len(entries),
        "evaluation_config": config,
        "failed": [{"model_name": f"model-{n}", "error": reason} for n, reason in failed.items()],
        "metrics": entries,
    }
    files.write_json(work.folder / "evaluation_summary.json", summary)
    return entries


def finish_together(work: Work, options: argparse.Namespace, console: Any) -> bool:
    """Write figures, traces and, where asked for, dynamics of all models; return whether they keep a memory.

    Raises
    ------
    UserError
        If the worker process fails.
    """
    console.print("Recording runs" + (" and drawing figures across models" if work.settings.figures else ""))
    with Progress("recording and drawing", console=console):
        (result,) = engine.run(finish_population, [(work, options.magnitude_threshold)], 1)
    if result.failure:
        what = "figures and traces across models"
        complain_at_length(result.details)
        raise UserError(f"{work.experiment}: {what}: {result.failure}")
    if options.outside is not None:
        write_outside(work, options.outside, console)
    if options.dynamics:
        from emt.commands.evaluate_dynamics import search_dynamics

        search_dynamics(work, options.dynamics, options.starts, options.num_workers, console)
    if options.interventions is not None or options.conditions:
        from emt.commands.evaluate_interventions import intervene_members

        kinds, trials = options.interventions or [], options.intervention_trials
        intervene_members(work, kinds, trials, options.conditions, options.num_workers, console)
    return bool(result.value)


def remove_stale(work: Work, options: argparse.Namespace, console: Any) -> None:
    """Remove traces and dynamics that were made from other models or at another length, and name them."""
    lengths = () if options.outside is None else (options.outside.length,)
    for path in forget(work, outside=lengths):
        console.print(f"Deleted, left over from an earlier run with other models or lengths: {path}")


def report(
    console: Any, work: Work, metrics: list[dict[str, Any]], failed: Mapping[int, str], analysis: str
) -> None:
    """Print a table of the population, the paths of its results, and the next command."""
    import statistics

    from rich.table import Table

    table = Table(
        "",
        "median",
        "lowest",
        "highest",
        title=f"{len(metrics)} models" + (f", {len(failed)} failed" if failed else ""),
    )
    keys = [
        k
        for k in metrics[0]
        if k in ("accuracy", "mean_return")
        or k.startswith(("spectral_error_deg_seq", "spectral_relative_error_seq"))
    ]
    for key in keys:
        values = [m[key] for m in metrics if m.get(key) is not None]
        if values:
            table.add_row(key, *(f"{f(values):.4f}" for f in (statistics.median, min, max)))
    console.print(table)
    summary = work.folder / "evaluation_summary.json"
    console.print(f"Summary: {summary}")
    if work.settings.figures:
        console.print(f"Figures: {work.folder / 'global_analysis'} and {work.folder / 'model-k' / 'results'}")
    console.print(f"Next: {shell_command('analyze')} {analysis} --summary_file {shell_path(summary)}")
