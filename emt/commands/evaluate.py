"""Evaluate a trained population: accuracy on held-out sequences, spectra against theory, figures, traces.

Writes evaluation_summary.json, which `emt analyze` reads, figures for each model in model-k/results and across models
in global_analysis, and recorded runs in traces; with --dynamics also fixed points and Lyapunov exponents. Models that
were evaluated before with the same settings are not evaluated again.
"""

import argparse
import shlex
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from emt import config as configuration
from emt import engine, files, runs
from emt.commands.script import program, shell_command
from emt.devices import choose_device
from emt.errors import UserError
from emt.evaluation import Settings, Work, entry_path, fingerprint, forget, is_current, trace_batch, write_dynamics
from emt.options import Parser, load
from emt.tasks import TASKS

TEST_SEQUENCES = 256
"""Held-out sequences of each length in the accuracy sample."""


def main(arguments: list[str] | None = None) -> int:
    """Parse, evaluate, report; return the exit code."""
    options = parser().parse_args(arguments)
    experiment = runs.find(options.models_dir, "models_dir")
    config = configuration.read(experiment / "config.json")
    numbers = [runs.model_number(folder) for folder in runs.model_folders(experiment, options.model_pattern)]
    task = load(TASKS, config.task_name, "task")(**config.task_options())
    lengths = wanted_lengths(options.seq_length, task)
    for name in ("test_horizon", "num_workers"):
        if getattr(options, name) < 1:
            raise UserError(f"--{name}: expected at least 1; got {getattr(options, name)}")
    if options.accelerator == "gpu":
        choose_device("gpu")
    settings = Settings(lengths, options.test_horizon, options.accelerator, options.figures)
    codes = [evaluate(Work(experiment, config, settings, tuple(numbers), n), options) for n in options.step or [None]]
    return max(codes)


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = Parser(
        prog=program("evaluate"),
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--models_dir", required=True, metavar="DIR", help="the run's folder (also looked up in $EXPERIMENT_OUTPUT_DIR)"
    )
    add(
        "--seq_length",
        nargs="+",
        type=int,
        metavar="N",
        help="length to analyse, or an inclusive range (default: as trained)",
    )
    add("--test_horizon", type=int, default=200, metavar="N", help="output steps of the accuracy sample (default: 200)")
    add("--accelerator", choices=("auto", "cpu", "gpu"), default="auto", help="where the models run (default: auto)")
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
        help="evaluate weights after N training steps, kept with `emt train --keep_checkpoints`; results go to "
        "checkpoints/step-N (default: the last weights)",
    )
    add(
        "--dynamics",
        nargs="?",
        choices=("moving", "whole"),
        const="moving",
        help="also search fixed points and take Jacobians and Lyapunov exponents; contents of associative memories "
        "stand still, or with --dynamics whole fast weights are part of the state (small networks: up to 1024 numbers)",
    )
    add("--no_figures", dest="figures", action="store_false", help="numbers and traces only")
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
            f"--seq_length: expected one length from 1 or an ascending range; got {' '.join(map(str, given))}"
        )
    lengths = tuple(range(given[0], given[-1] + 1))
    for length in lengths:
        if not task.test_batch(0, length, 1, 1).scored.any():
            raise UserError(f"--seq_length: expected a length at which the task has outputs; got {length}")
    return lengths


def evaluate(work: Work, options: argparse.Namespace) -> int:
    """Evaluate all models with a progress bar, write the summary, draw the population."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress

    console = Console(highlight=False, soft_wrap=True)
    experiment, settings, numbers = work.experiment, work.settings, work.numbers
    when_trained = "" if work.step is None else f" after {work.step} training steps"
    lengths = " ".join(map(str, settings.seq_lengths))
    console.print(f"Evaluating {len(numbers)} models of {experiment}{when_trained} at length {lengths}")
    workers = min(options.num_workers, len(numbers))
    shares = [replace(work, numbers=numbers[i::workers]) for i in range(workers)]
    evaluation = {
        "seq_lengths": settings.seq_lengths,
        "test_horizon": settings.test_horizon,
        "test_sequences": TEST_SEQUENCES,
        "accelerator": settings.accelerator,
        "model_pattern": options.model_pattern,
        "magnitude_threshold": options.magnitude_threshold,
    } | ({} if work.step is None else {"step": work.step})
    when = datetime.now().astimezone().isoformat(timespec="seconds")
    eval_config = {
        "metadata": {"evaluated_at": when, "script": "evaluate_multiple.py", "models_dir": str(experiment)},
        "evaluation": evaluation,
        "training_config": work.config.model_dump(),
    }
    files.write_json(work.folder / "eval_config.json", eval_config)
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), *Progress.get_default_columns()[3:])
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        progress = bar.add_task("models", total=len(numbers))
        tick = lambda: bar.update(progress, completed=sum(is_current(work, n) for n in numbers))  # noqa: E731
        results = engine.run(evaluate_share, shares, workers, tick)
    reasons: dict[int, str] = {}
    for result in results:
        reasons |= dict.fromkeys(result.item.numbers, result.failure) if result.failure else result.value
        print(result.details, end="", file=sys.stderr)
    failed = {n: reasons[n].removeprefix(f"model-{n}: ") for n in sorted(reasons)}
    good = [n for n in numbers if n not in failed]
    if not good:
        first = f"model-{numbers[0]}: {failed[numbers[0]]}"
        raise UserError(f"{experiment}: none of the {len(numbers)} models could be evaluated; {first}")
    for number, reason in failed.items():
        print(f"{program('evaluate')}: model-{number}: {reason}", file=sys.stderr)
    entries = [files.read_json(entry_path(work, n))["entry"] for n in good]
    summary = {
        "timestamp": when,
        "n_models": len(good),
        "evaluation_config": eval_config,
        "failed": [{"model_name": f"model-{n}", "error": reason} for n, reason in failed.items()],
        "metrics": entries,
    }
    files.write_json(work.folder / "evaluation_summary.json", summary)
    finished = replace(work, numbers=tuple(good))
    results = engine.run(finish_population, [(finished, options.magnitude_threshold)], 1)
    if options.dynamics:
        console.print("Fixed points and Lyapunov exponents: this takes minutes where states have hundreds of numbers")
        with console.status("at work"):
            results += engine.run(write_dynamics, [(finished, options.dynamics)], 1)
    for result in results:
        if result.failure:
            raise UserError(
                f"{experiment}: figures, traces and dynamics across models: {result.failure}\n{result.details}"
            )
    for path in forget(finished):
        console.print(f"Removed, since it was made from other models or at another length: {path}")
    report(console, work, entries, failed, "match" if results[0].value else "eigenvalue")
    return 1 if failed else 0


def report(console: Any, work: Work, metrics: list[dict[str, Any]], failed: Mapping[int, str], analysis: str) -> None:
    """Print a table of the population, where everything is, and the command to go on with."""
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
        if k == "accuracy" or k.startswith(("spectral_error_deg_seq", "spectral_relative_error_seq"))
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
    console.print(f"Next: {shell_command('analyze')} {analysis} --summary_file {shlex.quote(str(summary))}")


def evaluate_share(work: Work) -> dict[int, str]:
    """Evaluate a share of the models; return what failed, by model number."""
    import torch

    from analysis.errors import AnalysisError

    torch.set_num_threads(1)
    failed = {}
    for number in work.numbers:
        try:
            runs.read_checkpoint(runs.model_folder(work.experiment, number), work.step)
            if not is_current(work, number):
                evaluate_model(work, number)
        except (UserError, AnalysisError, OSError) as error:
            failed[number] = str(error)
        except Exception as error:
            failed[number] = f"{type(error).__name__}: {error}"
    return failed


def evaluate_model(work: Work, number: int) -> None:
    """Write one model's figures and then its entry."""
    from analysis.evaluation.inspection import inspect_circuit
    from analysis.evaluation.summary import sequence_accuracy, summarise
    from analysis.figures.evaluation.inspection import draw_model
    from analysis.figures.style import save_figure

    circuit, operators, parts = load_circuit(work, number)
    lengths = work.settings.seq_lengths
    folder = entry_path(work, number).parent
    entry = summarise(circuit, operators, lengths)
    for length, rows in parts.items():
        accuracy, interval = sequence_accuracy(
            circuit.outputs[rows], circuit.targets[rows], circuit.scored[rows], circuit.rule
        )
        entry |= {f"accuracy_seq{length}": accuracy, f"accuracy_interval_seq{length}": interval}
    entry |= {"model_path": str(runs.model_folder(work.experiment, number)), "output_dir": str(folder)}
    if work.settings.figures:
        for name, figure in draw_model(inspect_circuit(circuit, operators, lengths)):
            save_figure(figure, folder / name, formats=("png",), dpi=150)
    files.write_json(entry_path(work, number), {"fingerprint": fingerprint(work, number), "entry": entry})


def load_circuit(work: Work, number: int) -> tuple[Any, dict[int, Any], dict[int, slice]]:
    """Record a model on its held-out sequences.

    Returns
    -------
    circuit, operators, rows
        The member as arrays, all lengths one after the other on the batch axis and padded with steps that are not
        scored; the task's operator for each length; the batch rows of each length.
    """
    import numpy as np

    from analysis.evaluation.summary import Circuit
    from emt import record, trace

    device = choose_device(work.settings.accelerator)
    loaded = record.load_members(work.experiment, work.config, [number], device, work.step)
    weights = runs.read_checkpoint(runs.model_folder(work.experiment, number), work.step)
    seed, horizon = work.config.training.seed, work.settings.test_horizon
    lengths = work.settings.seq_lengths
    traces = [
        record.record(loaded, loaded.task.test_batch(seed, length, horizon, TEST_SEQUENCES), length)
        for length in lengths
    ]
    steps = max(t.sizes["time"] for t in traces)

    def joined(name: str) -> Any:
        values = [np.asarray(t[name]) for t in traces]
        arrays = [v[0] if "member" in t[name].dims else v for v, t in zip(values, traces, strict=True)]
        padding = [(0, 0), (0, steps)] + [(0, 0)] * (arrays[0].ndim - 2)
        return np.concatenate([np.pad(a, padding)[:, :steps] for a in arrays])

    model = loaded.model
    recurrent = weights[model.recurrent_name] if model.recurrent_name else None
    circuit = Circuit(
        name=f"model-{number}",
        recurrent=None if recurrent is None else recurrent.astype(float),
        readout=weights[model.readout_name].astype(float) if model.readout_name else None,
        jacobian=None if recurrent is not None else record.mean_state_jacobian(loaded, traces[0])[0],
        hidden=joined("hidden"),
        inputs=joined("inputs"),
        # A critic's value, the last output, is no choice and has no target.
        outputs=joined("outputs")[..., : traces[0].sizes["target"]],
        targets=joined("targets"),
        scored=joined("scored").astype(bool),
        rule=trace.about(traces[0])["accuracy"],
    )
    operators = {n: t["operator"].values for n, t in zip(lengths, traces, strict=True) if "operator" in t}
    rows = {n: slice(i * TEST_SEQUENCES, (i + 1) * TEST_SEQUENCES) for i, n in enumerate(lengths)}
    return circuit, operators, rows


def finish_population(item: tuple[Work, float]) -> bool:
    """Record all models on the same trials, draw the figures across models; return whether they keep a memory."""
    from analysis.figures.spectra.overview import draw_population
    from analysis.figures.style import save_figure
    from analysis.population import from_summary
    from emt import record, trace

    work, threshold = item
    device = choose_device(work.settings.accelerator)
    loaded = record.load_members(work.experiment, work.config, work.numbers, device, work.step)
    summary = runs.read_summary(work.folder)
    several = len(work.settings.seq_lengths) > 1
    for length in work.settings.seq_lengths:
        recorded = record.record(loaded, trace_batch(work, loaded.task, length), length)
        trace.save(recorded, work.folder / "traces" / f"seq{length}.nc")
        if not work.settings.figures:
            continue
        population = from_summary(summary, label=work.experiment.name, seq_length=length)
        for name, figure in draw_population(population, magnitude_threshold=threshold):
            stem = f"{name}_seq{length}" if several else name
            save_figure(figure, work.folder / "global_analysis" / stem)
    return bool(loaded.model.memories)
