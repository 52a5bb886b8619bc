"""Train all populations of one question as one piece of work, on any engine, and test every model.

Rerun the same command to resume an interrupted sweep.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

from emt import runs
from emt.commands import sweep as sweeps
from emt.commands.script import run_script
from emt.config import ExecutionConfig, RunConfig
from emt.errors import UserError
from emt.options import Option, Parser, add_flags, check, options_of_model
from experiments.ethereal import configs as shipped
from experiments.ethereal import summary

MAP = tuple(
    Option(name, annotation, None, text)
    for name, annotation, text in (
        ("rates", tuple[float, ...], "learning rates (default: 0.001 0.003 0.01 0.03 0.1)"),
        ("clips", tuple[float, ...], "plasticities (default: 10 100 1000 10000 100000)"),
        ("dataset", str, "published name (default: 3_palindrome_dataset_vary_length)"),
        ("hidden_dim", int, "units (default: 60)"),
        ("layers", int, "layers (default: 3)"),
        ("batch_size", int, "strings in a batch (default: 16)"),
        ("n_iters", int, "steps, a multiple of 500 (default: 500)"),
    )
)
"""What may be chosen of the map."""


def main(arguments: list[str] | None = None) -> int:
    """Parse, train, test, summarise; return the exit code."""
    from emt.training import sweep

    given = vars(parser().parse_args(arguments))
    question = given["question"]
    output = Path(given.get("output_dir") or runs.default_folder()) / f"ethereal_{question}"
    smaller, execution = sweeps.run_settings(given)
    configs = [sweeps.with_overrides(config, smaller, execution) for config in _configs(question, given)]
    code = sweeps.train(sweep.prepare(f"ethereal_{question}", configs, output), execution, output)
    return code or summary.main([str(output)])


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    result = Parser(
        prog="python -m experiments.ethereal.sweep",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    add = result.add_argument
    add("question", choices=shipped.SWEEPS, help="which populations, see experiments/ethereal/README.md")
    add("--output_dir", metavar="DIR", help="folder in which to create it (default: $EXPERIMENT_OUTPUT_DIR, else here)")
    add_flags(result.add_argument_group("the map"), MAP)
    add_flags(result.add_argument_group("a smaller trial (default: as in configs.py)"), sweeps.SIZES)
    add_flags(result.add_argument_group("execution"), options_of_model(ExecutionConfig))
    return result


def _configs(question: str, given: dict[str, Any]) -> tuple[RunConfig, ...]:
    given_options = sweeps.given_options(given, MAP)
    if not given_options:
        return shipped.SWEEPS[question]
    if question != "map":
        raise UserError(f"--{next(iter(given_options))}: applies to the map only; {question} is defined in configs.py")
    return shipped.explosion_map(**check(MAP, given_options, "the map", words=True, partial=True))


if __name__ == "__main__":
    sys.exit(run_script("sweep", main))
