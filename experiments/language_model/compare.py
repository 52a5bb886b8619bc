"""Compare two tested runs word by word, seed by seed: everywhere, and at rare words by when they were read last.

A word of the test text is rare if it is there at most ten times; its gap is the number of words since it was last read.
Intervals of a seed are by bootstrap over articles, those of means are t intervals over seeds.
"""

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analysis.accuracy.recency import RecencyGain, compare_by_recency
from analysis.accuracy.token_losses import Losses, compare_losses
from analysis.figures.accuracy.token_losses import draw
from analysis.figures.style import save_figure
from analysis.tables import save_results
from emt import config as configuration
from emt import locks, runs
from emt.commands.output import open_console, say
from emt.commands.script import run_script
from emt.config import RunConfig
from emt.errors import UserError
from emt.tasks.words import Words
from experiments.command_line import add_comparison, build_parser
from experiments.language_model.configs import LABELS

SEEDS_SHOWN = 3
"""Seeds that the printed table has a column for each of; of more it has the range. The files have all."""


def main(arguments: list[str] | None = None) -> int:
    """Parse, read, compare, save, print; return the exit code."""
    parser = build_parser("experiments.language_model.compare", __doc__)
    add = parser.add_argument
    for which in ("a", "b"):
        add(f"run_{which}", metavar=f"RUN_{which.upper()}", help=f"run of model {which}")
    add("--tempered", action="store_true", help="losses at each model's best temperature (default: at 1)")
    add_comparison(parser)
    options = parser.parse_args(arguments)
    folders = [runs.find(folder, "run") for folder in (options.run_a, options.run_b)]
    configs = [configuration.read(folder / "config.json") for folder in folders]
    task = _common_text(configs)
    numbers = _paired(configs)
    kind = "tempered" if options.tempered else "loss"
    losses = [
        _losses(folder, members, kind) for folder, members in zip(folders, numbers.values(), strict=True)
    ]
    if losses[0].shape != losses[1].shape:
        raise UserError(
            f"expected runs tested in equally many rows; got {losses[0].shape} and {losses[1].shape}"
        )
    places = _places(task, losses[0].shape[1:])
    if not 0 <= options.first < len(places):
        raise UserError(f"--first: must be from 0 to {len(places) - 1}; got {options.first}")
    flat = tuple(loss.reshape(len(loss), -1).astype(np.float64) for loss in losses)
    labels = tuple(LABELS.get(config.model_type, config.model_type) for config in configs)
    if labels[0] == labels[1]:
        labels = (f"{labels[0]} (a)", f"{labels[1]} (b)")
    words, articles = task.splits["test"], task.articles["test"]
    seeds = tuple(configs[0].training.seeds()[number - 1] for number in numbers[0])
    result = compare_by_recency(words, articles, places, (flat[0], flat[1]), (labels[0], labels[1]), seeds)
    text = tuple(task.tokens[i] for i in words[places])
    sides = [
        Losses(label, text, articles[places].astype(np.int64), loss[0])
        for label, loss in zip(labels, flat, strict=True)
    ]
    first = compare_losses(*sides, pieces="articles")
    output = Path(options.output_dir or folders[0] / "comparison")
    with locks.writing_into(output):
        written = save_results(result, output)
        written += [
            path for name, figure in draw(first, options.first) for path in save_figure(figure, output / name)
        ]
    _report(result)
    say(f"Written to {output}: {', '.join(path.name for path in written)}")
    return 0


def _common_text(configs: list[RunConfig]) -> Words:
    """Return the task of both runs.

    Raises
    ------
    UserError
        If they are of another task, or their vocabularies differ.
    """
    tasks = []
    for config in configs:
        if config.task_name != "words":
            raise UserError(f"expected runs of the task words; got {config.task_name}")
        tasks.append(Words(**config.task_options()))
    if tasks[0].tokens != tasks[1].tokens or not np.array_equal(
        tasks[0].splits["test"], tasks[1].splits["test"]
    ):
        raise UserError("expected two runs with the same text and vocabulary")
    return tasks[0]


def _paired(configs: list[RunConfig]) -> dict[int, list[int]]:
    """Return for each run the numbers of its models, in the order of the seeds that both have."""
    seeds = [config.training.seeds() for config in configs]
    common = [seed for seed in seeds[0] if seed in seeds[1]]
    if not common:
        raise UserError(f"expected runs with a seed in common; got {seeds[0]} and {seeds[1]}")
    return {which: [own.index(seed) + 1 for seed in common] for which, own in enumerate(seeds)}


def _losses(run: Path, numbers: list[int], kind: str) -> NDArray[np.float32]:
    """Return losses by word of some models of a run, (model, row, word)."""
    from experiments.language_model.results import read_losses

    return np.stack([read_losses(runs.model_folder(run, number))[kind] for number in numbers])


def _places(task: Words, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Return which words of the test text were named, (row · word,)."""
    rows, named = shape
    width = len(task.splits["test"]) // rows
    if named != width - 1:
        raise UserError(
            f"expected losses of {width - 1} words in each row, the text's; got {named}: test again"
        )
    return (width * np.arange(rows)[:, None] + np.arange(1, width)).ravel()


def _report(result: RecencyGain) -> None:
    from rich.table import Table

    a, b = result.labels
    seeds = list(dict.fromkeys(result.seeds["seed"]))
    few = len(seeds) <= SEEDS_SHOWN
    each = [f"seed {seed}" for seed in seeds] if few else ["least", "most", "seeds above 0"]
    names = ("", "words", a, b, *each, f"mean of {len(seeds)}")
    table = Table(
        *names, title=f"loss (nats); {b} minus {a} by seed and on average, with 95 % intervals", box=None
    )
    for _, mean in result.strata.iterrows():
        own = result.seeds[result.seeds["stratum"] == mean["stratum"]]
        found = own["difference"]
        apart = [_interval(row) for _, row in own.iterrows()]
        if not few:
            apart = [f"{found.min():.3f}", f"{found.max():.3f}", str((found > 0).sum())]
        losses = [f"{own[name].mean():.3f}" for name in ("loss_a", "loss_b")]
        table.add_row(str(mean["stratum"]), f"{own['n'].iloc[0]:,}", *losses, *apart, _interval(mean))
    open_console(width=max(open_console().width, 160), soft_wrap=False).print(table)


def _interval(row: "object") -> str:
    value, low, high = (row[name] for name in ("difference", "low", "high"))  # type: ignore[index]
    return f"{value:.3f} ({low:.3f} to {high:.3f})"


if __name__ == "__main__":
    sys.exit(run_script("compare", main))
