"""Compare two models on the same text, word by word: what each lost on it, and the difference (figure 6 of the paper).

Words are those that count for the loss in the runs' mode: the answers (qa) or all (lm).
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.accuracy.token_losses import Losses, compare_losses
from analysis.figures.accuracy.token_losses import draw
from analysis.figures.style import save_figure
from analysis.tables import save_results
from emt import config as configuration
from emt import locks, runs
from emt.commands.output import say
from emt.commands.script import run_script
from emt.config import RunConfig
from emt.errors import UserError
from experiments.catbabi.configs import LABELS
from experiments.command_line import add_comparison, build_parser

if TYPE_CHECKING:
    from experiments.catbabi.results import Start


def main(arguments: list[str] | None = None) -> int:
    """Parse, run both models, compare, save, print; return the exit code."""
    parser = build_parser("experiments.catbabi.compare", __doc__)
    add = parser.add_argument
    for which in ("a", "b"):
        add(f"run_{which}", metavar=f"RUN_{which.upper()}", help=f"run of model {which}")
        add(f"--model_{which}", type=int, default=1, metavar="N", help="which of its models (default: 1)")
    add(
        "--words",
        type=int,
        default=20_000,
        metavar="N",
        help="words of the test stories to read (default: 20000)",
    )
    add(
        "--start",
        choices=("first_row", "zero"),
        default="first_row",
        help="as in evaluate (default: first_row)",
    )
    add_comparison(parser)
    options = parser.parse_args(arguments)
    if options.words < 1 or options.first < 0:
        raise UserError(
            f"--words, --first: must be at least 1 and 0; got {options.words} and {options.first}"
        )
    folders = [runs.find(folder, "run") for folder in (options.run_a, options.run_b)]
    configs = [configuration.read(folder / "config.json") for folder in folders]
    labels = _labels(folders, configs)
    numbers = options.model_a, options.model_b
    sides = [
        _losses(*each, options.start, options.words)
        for each in zip(folders, configs, numbers, labels, strict=True)
    ]
    result = compare_losses(*sides)
    if options.first >= len(result.tokens):
        raise UserError(
            f"--first: must be less than the {len(result.tokens)} words predicted; got {options.first}"
        )
    output = Path(options.output_dir or folders[0] / "comparison")
    with locks.writing_into(output):
        written = save_results(result, output)
        written += [
            path
            for name, figure in draw(result, options.first)
            for path in save_figure(figure, output / name)
        ]
    for label, row in result.models.iterrows():
        say(f"{label}: loss {row['loss']:.4f}, perplexity {row['perplexity']:.3f} on {row['n']:.0f} words")
    apart, (first, second) = result.difference, result.labels
    interval = f"95 % {apart['low']:.4f} to {apart['high']:.4f}, n = {apart['stories']:.0f} stories"
    say(f"{second} minus {first}: {apart['mean']:.4f} nats ({interval})")
    say(f"Written to {output}: {', '.join(path.name for path in written)}")
    return 0


def _labels(folders: list[Path], configs: list[RunConfig]) -> list[str]:
    labels = [LABELS.get(config.model_type, config.model_type) for config in configs]
    if labels[0] != labels[1]:
        return labels
    names = [folder.name for folder in folders]
    return (
        names
        if names[0] != names[1]
        else [f"{name} ({place})" for name, place in zip(names, "ab", strict=True)]
    )


def _losses(run: Path, config: RunConfig, number: int, label: str, start: "Start", words: int) -> Losses:
    """Run one model through the first words of the test stories."""
    from emt.record import load_members
    from experiments.catbabi.results import run_through, start_state

    loaded = load_members(run, config, [number])
    counted: list[Any] = []
    for segment, answers in enumerate(run_through(loaded, start_state(run, loaded, start, 1))):
        if segment * config.task["segment"] >= words:
            break
        counted.append(
            (answers.target[answers.scored], answers.trial[answers.scored], answers.loss[0, answers.scored])
        )
    target, story, loss = (np.concatenate(parts) for parts in zip(*counted, strict=True))
    return Losses(label, tuple(loaded.task.tokens[i] for i in target), story, loss)


if __name__ == "__main__":
    sys.exit(run_script("compare", main))
