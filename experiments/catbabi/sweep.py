"""Train all populations of one of the paper's questions as one piece of work, on any engine, on the stories in DIR.

Rerun the same command to resume an interrupted sweep.
"""

import argparse
import sys
from pathlib import Path

from emt import runs
from emt.commands import sweep as sweeps
from emt.commands.script import run_script
from emt.config import ExecutionConfig, RunConfig
from emt.options import Parser, add_flags, check, options_of, options_of_model
from emt.tasks import TASKS
from experiments.catbabi.configs import SWEEPS
from experiments.catbabi.train import VARIANTS, with_whole_validation

STORIES = tuple(o for o in options_of(TASKS["catbabi"]) if o.name in ("data", "tasks", "derived_files"))


def main(arguments: list[str] | None = None) -> int:
    """Parse, train, report; return the exit code."""
    from emt.training import sweep

    given = vars(parser().parse_args(arguments))
    question = f"catbabi_{given['question']}"
    output = Path(given.get("output_dir") or runs.default_folder()) / question
    smaller, execution = sweeps.run_settings(given)
    stories = check(STORIES, sweeps.given_options(given, STORIES), "task catbabi", words=True, partial=True)
    task = {**stories, "folder": VARIANTS[given["variant"]]}
    configs = [
        sweeps.with_overrides(with_stories(config, task), smaller, execution) for config in SWEEPS[given["question"]]
    ]
    return sweeps.train(sweep.prepare(question, configs, output), execution, output)


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    result = Parser(
        prog="python -m experiments.catbabi.sweep",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    add = result.add_argument
    add("question", choices=SWEEPS, help="which populations, see experiments/catbabi/README.md")
    add("--output_dir", metavar="DIR", help="folder in which to create it (default: $EXPERIMENT_OUTPUT_DIR, else here)")
    add("--variant", choices=VARIANTS, default="10k", help="questions per task, 10,000 or 1,000 (default: 10k)")
    add_flags(result.add_argument_group("stories"), STORIES)
    add_flags(result.add_argument_group("a smaller trial (default: as in the paper)"), sweeps.SIZES)
    add_flags(result.add_argument_group("execution"), options_of_model(ExecutionConfig))
    return result


def with_stories(config: RunConfig, task: dict[str, object]) -> RunConfig:
    """Return a configuration with these options of the task, validated on the whole split."""
    return with_whole_validation(config.model_copy(update={"task": {**config.task, **task}}))


if __name__ == "__main__":
    sys.exit(run_script("sweep", main))
