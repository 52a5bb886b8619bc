"""Print the words of a text in DIR, and how many weights the published models have with its vocabulary, counted."""

import sys
from collections.abc import Mapping

from emt.commands.output import say
from emt.commands.script import run_script
from emt.models import MODELS as CLASSES
from emt.models.base import Model
from emt.options import load
from emt.tasks.words import Words
from experiments.command_line import build_parser, values_of
from experiments.language_model.configs import LABELS
from experiments.language_model.sweep import TEXT


def main(arguments: list[str] | None = None) -> int:
    """Parse, read, count, print; return the exit code."""
    given = vars(
        build_parser("experiments.language_model.sizes", __doc__, {"text": TEXT}).parse_args(arguments)
    )
    task = Words(**values_of(TEXT, given, "task words"))
    for split, words in task.splits.items():
        say(f"{split}: {len(words):,} words, {task.articles[split].max() + 1:,} articles or blocks")
    say(f"vocabulary: {len(task.tokens):,} words")
    for name, weights in sizes(len(task.tokens)).items():
        say(f"{name}: {weights:,} weights")
    return 0


def sizes(vocabulary: int) -> Mapping[str, int]:
    """Return the number of weights by model at full size."""
    counted = {}
    for kind, label in LABELS.items():
        model: Model = load(CLASSES, kind, "model_type")((0,), vocabulary, vocabulary)
        counted[label] = sum(p.numel() for p in model.parameters())
    return counted


if __name__ == "__main__":
    sys.exit(run_script("sizes", main))
