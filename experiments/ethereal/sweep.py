"""Train all populations of one question as one piece of work, on any engine, and test every model.

Rerun the same command to resume an interrupted sweep.
"""

import argparse
import sys
from typing import Any

from emt.commands import sweep as sweeps
from emt.commands.script import run_script
from emt.config import RunConfig
from emt.errors import UserError
from emt.options import Option, check
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
    given = vars(parser().parse_args(arguments))
    name = f"ethereal_{given['question']}"
    code = sweeps.run(name, _configs(given["question"], given), given)
    return code if code or given["cost"] else summary.main([str(sweeps.folder_of(name, given))])


def parser() -> argparse.ArgumentParser:
    """Return the command line."""
    text = "which populations; experiments/ethereal/README.md describes them"
    groups = {"the map": MAP}
    return sweeps.build_parser("python -m experiments.ethereal.sweep", __doc__, shipped.SWEEPS, text, groups)


def _configs(question: str, given: dict[str, Any]) -> tuple[RunConfig, ...]:
    given_options = sweeps.given_options(given, MAP)
    if not given_options:
        return shipped.SWEEPS[question]
    if question != "map":
        raise UserError(
            f"--{next(iter(given_options))}: applies to the map only; {question} is defined in configs.py"
        )
    return shipped.explosion_map(**check(MAP, given_options, "the map", words=True, partial=True))


if __name__ == "__main__":
    sys.exit(run_script("sweep", main))
