"""Train the language models of one question as one piece of work, on any engine, on the text in DIR.

Rerun the same command to resume an interrupted sweep.
"""

import argparse
import sys
from collections.abc import Mapping

from emt.commands import sweep as sweeps
from emt.commands.script import run_script
from emt.config import RunConfig
from emt.options import options_of
from emt.tasks import TASKS
from emt.tasks.words import Words
from experiments.command_line import values_of
from experiments.language_model.configs import SWEEPS

TEXT = tuple(option for option in options_of(TASKS["words"]) if option.name == "data")


def main(arguments: list[str] | None = None) -> int:
    """Parse, train, report; return the exit code."""
    given = vars(parser().parse_args(arguments))
    text = values_of(TEXT, given, "task words", partial=True)
    chosen = sweeps.part_of(SWEEPS[given["question"]], given, sweeps.RUNS, sweeps.name_of)
    configs = (with_text(config, text) for config in chosen)
    return sweeps.run(f"language_model_{given['question']}", configs, given)


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    text = "which models; experiments/language_model/README.md describes them"
    return sweeps.build_parser(
        "python -m experiments.language_model.sweep", __doc__, SWEEPS, text, {"text": TEXT}
    )


def with_text(config: RunConfig, text: Mapping[str, object]) -> RunConfig:
    """Return a configuration with these options of the task, validated on the whole text."""
    config = config.model_copy(update={"task": {**config.task, **text}})
    task = Words(**{"data": "", **config.task_options()})
    rows = min(task.validation_rows, config.training.batch_size)
    batches = -(-(len(task.splits["validation"]) // rows - 1) // task.segment)
    training = config.training.model_copy(update={"validation_batches": batches})
    return config.model_copy(update={"training": training})


if __name__ == "__main__":
    sys.exit(run_script("sweep", main))
