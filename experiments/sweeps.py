"""The command line of an experiment's sweeps: train all populations of a question, or some, and then sum them up."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from emt.commands import evaluate
from emt.commands import sweep as sweeps
from emt.commands.sweep import name_of
from emt.config import RunConfig
from emt.options import Option

TRIALS = 256
"""Recorded trials: of fewer, dynamics and codes are not resolved."""


class Part(NamedTuple):
    """A flag that chooses runs of a sweep, and what each run is chosen by."""

    option: Option
    of: Callable[[RunConfig], Any]


def record(folder: Path, config: RunConfig, outside: Sequence[str], flags: str = "") -> int:
    """Evaluate a trained run in a folder of runs, with outputs on other trials; return the exit code."""
    words = f"--no_figures --trace_sequences {TRIALS} --num_workers 1 --accelerator cpu {flags}".split()
    return evaluate.main(["--models_dir", str(folder / name_of(config)), *words, "--outside", *outside])


def run_sweep(
    arguments: Sequence[str] | None,
    experiment: str,
    text: str | None,
    what: str,
    questions: Mapping[str, Iterable[RunConfig]],
    finish: Callable[[Path, Sequence[RunConfig]], int],
    parts: Sequence[Part] = (),
) -> int:
    """Parse, train, finish; return the exit code.

    Parameters
    ----------
    arguments
        The words of the command line; None: those of the process.
    experiment
        Folder below experiments/.
    text, what
        What ``--help`` says about the command, and what a question chooses.
    questions
        Runs by question.
    finish
        What is done with the folder of the runs after training, and their configurations; returns the exit code.
    parts
        Flags besides ``--runs`` that choose some of the runs; the others may follow in the same folder.
    """
    chosen_by = f"{what}; experiments/{experiment}/README.md describes them"
    parts = [Part(sweeps.RUNS, name_of), *parts]
    groups = {"part of it": [part.option for part in parts]}
    program = f"python -m experiments.{experiment}.sweep"
    given = vars(sweeps.build_parser(program, text, questions, chosen_by, groups).parse_args(arguments))
    name, chosen = f"{experiment}_{given['question']}", list(questions[given["question"]])
    for part in parts:
        chosen = sweeps.part_of(chosen, given, part.option, part.of)
    code = sweeps.run(name, chosen, given)
    return code if code or given["cost"] else finish(sweeps.folder_of(name, given), chosen)
