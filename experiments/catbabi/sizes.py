"""Print weights and activations of the paper's five models, counted, beside those of its table 1.

Activations are the numbers that a word depends on besides itself, at most: states and contents of memories; of
Transformer-XL keys and values of all words that it sees. Segments have 200 words, and the vocabulary has 200: with
that many the sizes are the paper's.
"""

import sys

from emt.commands.output import open_console
from emt.commands.script import run_script
from emt.models import MODELS as CLASSES
from emt.models.base import Model
from emt.options import load
from experiments.catbabi.configs import LABELS, MODELS, PAPER_SIZES
from experiments.command_line import build_parser

VOCABULARY = SEGMENT = 200


def main(arguments: list[str] | None = None) -> int:
    """Parse, count, print; return the exit code."""
    from rich.table import Table

    build_parser("experiments.catbabi.sizes", __doc__).parse_args(arguments)
    table = Table("", "weights", "paper", "activations", "paper", box=None)
    for name, (weights, activations) in sizes().items():
        kind = MODELS[name]["type"]
        table.add_row(
            LABELS[kind], f"{weights:,}", PAPER_SIZES[kind][0], f"{activations:,}", PAPER_SIZES[kind][1]
        )
    open_console().print(table)
    return 0


def sizes() -> dict[str, tuple[int, int]]:
    """Return weights and activations by the short name of the model."""
    counted = {}
    for name, options in MODELS.items():
        own = {option: value for option, value in options.items() if option != "type"}
        model: Model = load(CLASSES, options["type"], "model_type")((0,), VOCABULARY, VOCABULARY, **own)
        counted[name] = (sum(p.numel() for p in model.parameters()), model.activations(SEGMENT))
    return counted


if __name__ == "__main__":
    sys.exit(run_script("sizes", main))
