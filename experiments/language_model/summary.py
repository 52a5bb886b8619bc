"""Validation of the models of a folder, by run, and how much worse they are than an LSTM of the same seed.

Losses are the lowest of a training, in nats a word; those of a run are compared with the first run of AWD-LSTM in the
folder, seed by seed. Nothing is tested: `experiments.language_model.evaluate` does that.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.statistics import Interval, mean_interval
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
    losses = {run.name: losses_of(run, config) for run, config in find_runs(folder, "words").items()}
    kinds = {run.name: config.model_type for run, config in find_runs(folder, "words").items()}
    if not any(map(len, losses.values())):
        raise UserError(f"{folder}: expected finished models; found none")
    plain = next((losses[name] for name, kind in kinds.items() if kind == "awd_lstm"), pd.Series(dtype=float))
    title = "Validation of finished models; mean over seeds with its 95 % interval"
    table = Table("", "seeds", "perplexity", "lowest, highest", "loss", "minus LSTM", title=title, box=None)
    for name, own in losses.items():
        perplexity = np.exp(own.to_numpy())
        apart = (own - plain).dropna().to_numpy() if own is not plain else np.zeros(0)
        extremes = f"{perplexity.min():.1f}, {perplexity.max():.1f}" if len(own) else ""
        table.add_row(
            name, str(len(own)), _text(perplexity, 1), extremes, _text(own.to_numpy(), 3), _text(apart, 3)
        )
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


def _text(values: NDArray[np.float64], digits: int) -> str:
    if not len(values):
        return ""
    interval: Interval = mean_interval(values)
    if interval.n < 2:
        return f"{interval.estimate:.{digits}f}"
    return f"{interval.estimate:.{digits}f} ({interval.low:.{digits}f} to {interval.high:.{digits}f})"


if __name__ == "__main__":
    sys.exit(run_script("summary", main))
