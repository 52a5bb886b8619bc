"""Train all populations of one of the paper's questions as one piece of work, on any engine, on the stories in DIR.

Rerun the same command to resume an interrupted sweep.
"""

import argparse
import sys
from typing import Literal

from emt.commands import sweep as sweeps
from emt.commands.script import run_script
from emt.config import RunConfig
from emt.options import Option, options_of
from emt.tasks import TASKS
from experiments.catbabi.configs import SWEEPS
from experiments.catbabi.train import VARIANTS, with_whole_validation
from experiments.command_line import values_of

STORIES = tuple(o for o in options_of(TASKS["catbabi"]) if o.name in ("data", "tasks", "derived_files"))
VARIANT = Option("variant", Literal[tuple(VARIANTS)], "10k", "questions per task, 10,000 or 1,000")


def main(arguments: list[str] | None = None) -> int:
    """Parse, train, report; return the exit code."""
    given = vars(parser().parse_args(arguments))
    stories = values_of(STORIES, given, "task catbabi", partial=True)
    task = {**stories, "folder": VARIANTS[values_of((VARIANT,), given, "stories")["variant"]]}
    chosen = sweeps.part_of(SWEEPS[given["question"]], given, sweeps.RUNS, sweeps.name_of)
    return sweeps.run(f"catbabi_{given['question']}", [with_stories(one, task) for one in chosen], given)


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    text = "which populations; experiments/catbabi/README.md describes them"
    groups = {"stories": (VARIANT, *STORIES)}
    return sweeps.build_parser("python -m experiments.catbabi.sweep", __doc__, SWEEPS, text, groups)


def with_stories(config: RunConfig, task: dict[str, object]) -> RunConfig:
    """Return a configuration with these options of the task, validated on the whole split."""
    return with_whole_validation(config.model_copy(update={"task": {**config.task, **task}}))


if __name__ == "__main__":
    sys.exit(run_script("sweep", main))
