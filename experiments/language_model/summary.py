"""Validation of the models of a folder, by run, and how much worse they are than an LSTM of the same seed.

Losses are the lowest of a training, in nats a word; those of a run are compared with the first run of AWD-LSTM in the
folder, seed by seed. Nothing is tested: `experiments.language_model.evaluate` does that.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.statistics import mean_interval
from analysis.statistics.intervals import mean_text
from emt import files, runs
from emt.commands.output import open_console
from emt.commands.script import run_script
from emt.config import RunConfig
from emt.errors import UserError
from emt.training.population import done_markers
from experiments.command_line import add_folder, build_parser, find_runs


def main(arguments: list[str] | None = None) -> int:
    """Parse, read, print; return the exit code."""
    from rich.table import Table

    parser = build_parser("experiments.language_model.summary", __doc__)
    add_folder(parser, "a run, or a folder of runs", output=None)
    folder = parser.parse_args(arguments).folder
    found = find_runs(folder, "words")
    losses = {run.name: losses_of(run, config) for run, config in found.items()}
    plain = next((losses[run.name] for run, config in found.items() if config.model_type == "awd_lstm"), None)
    if not any(map(len, losses.values())):
        raise UserError(f"{folder}: expected finished models; found none")
    title = "Validation of finished models; mean over seeds with its 95 % interval"
    table = Table("", "seeds", "perplexity", "lowest, highest", "loss", "minus LSTM", title=title, box=None)
    for name, own in losses.items():
        perplexity = np.exp(own)
        apart = own[:0] if plain is None or own is plain else (own - plain).dropna()
        extremes = f"{perplexity.min():.1f}, {perplexity.max():.1f}" if len(own) else ""
        table.add_row(name, str(len(own)), _text(perplexity, 1), extremes, _text(own, 3), _text(apart, 3))
    open_console(width=max(open_console().width, 130), soft_wrap=False).print(table)
    return 0


def losses_of(run: Path, config: RunConfig) -> "pd.Series[float]":
    """Return the lowest validation loss of each finished model that has not diverged, by seed."""
    found = {}
    for number, marker in done_markers(config, run).items():
        curve = files.read_curve(runs.model_folder(run, number) / "training_curve.csv")
        if marker["status"] != "diverged":
            found[int(marker["seed"])] = min(point.val_loss for point in curve if point.is_validation)
    return pd.Series(found, dtype=float)


def _text(values: "pd.Series[float]", digits: int) -> str:
    return mean_text(mean_interval(values), digits) if len(values) else ""


if __name__ == "__main__":
    sys.exit(run_script("summary", main))
