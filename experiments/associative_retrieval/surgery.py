"""The write that a read found, and what happens without it: a figure of one evaluated population.

``python -m experiments.associative_retrieval.surgery fw`` after ``evaluate --interventions`` of ``fw``.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.figures.style import SEQUENTIAL, column_figure, save_figure, styled
from analysis.interventions.summary import summarise_interventions
from analysis.interventions.writes import map_table
from analysis.memory.log import select
from analysis.memory.queries import read_queries, share_of_weight
from emt import effects, runs, trace
from emt.commands.output import say
from emt.commands.script import run_script
from emt.errors import UserError
from emt.own.folder import recordings
from experiments.command_line import add_folder, build_parser


def main(arguments: list[str] | None = None) -> int:
    """Parse, read, draw, print; return the exit code."""
    parser = build_parser("experiments.associative_retrieval.surgery", __doc__)
    add_folder(parser, "the run's folder")
    options = parser.parse_args(arguments)
    folder = runs.find(options.folder, "folder")
    recording, found = (
        trace.load(_longest(folder / "traces")),
        effects.load(_longest(folder / "interventions")),
    )
    shares = shares_found(recording)
    left = (
        map_table(found, effects.conditions(found))
        .reset_index()
        .pivot_table("accuracy", "item", "steps_before")
    )
    output = Path(options.output_dir) if options.output_dir else folder / "summary"
    label = f"{trace.label(recording)}: n = {recording.sizes['member']} networks"
    for path in save_figure(draw(shares, left, label), output / "surgery"):
        say(f"Written: {path}")
    say("Share of the query's absolute weight, by queried pair and steps before the query:")
    say(shares.round(3).to_string())
    say(summarise_interventions(found).headline().partition("\n")[0])
    return 0


def shares_found(recording: xr.DataTree) -> pd.DataFrame:
    """Return the mean share of the absolute weight of the query's read, by item and steps before the query."""
    rows = []
    for place in range(recording.sizes["member"]):
        reading = read_queries(select(recording, member=[place]), "fast")
        share = np.abs(share_of_weight(reading.weight)).mean(axis=1)
        rows += [
            {"item": int(items[0]), "steps_before": int(step - write), "share": row[write]}
            for row, step, items in zip(share, reading.asks.step, reading.asks.items, strict=True)
            for write in np.flatnonzero(np.isfinite(row))
        ]
    return pd.DataFrame(rows).pivot_table("share", "item", "steps_before")


@styled
def draw(shares: pd.DataFrame, left: pd.DataFrame, label: str) -> Figure:
    """Draw what the query's read found beside what is answered without each write."""
    figure, axes = column_figure("double", height=2.2, columns=2)
    _grid(axes[0, 0], shares, "share of the read's weight", "what the query's read found")
    _grid(axes[0, 1], left, "right answers", "without one write")
    figure.suptitle(label)
    return figure


def _grid(ax: Axes, table: pd.DataFrame, what: str, title: str) -> None:
    table = table.sort_index(axis=1, ascending=False)
    table = table[[step for step in table.columns if step > 0]]
    image = ax.imshow(table, vmin=0, vmax=1, cmap=SEQUENTIAL, aspect="auto", interpolation="nearest")
    ax.set_xticks(range(table.shape[1]), table.columns)
    ax.set_yticks(range(len(table)), [item + 1 for item in table.index])
    ax.set(xlabel="steps before the query", ylabel="queried pair", title=title)
    ax.figure.colorbar(image, ax=ax, label=what)


def _longest(folder: Path) -> Path:
    """Return the file of the folder's longest sequences.

    Raises
    ------
    UserError
        If there is none.
    """
    if not (files := recordings(folder)):
        raise UserError(
            f"{folder}: expected seqL.nc; run evaluate --models_dir {folder.parent} --interventions first"
        )
    return max(files, key=lambda path: int(path.stem.removeprefix("seq")))


if __name__ == "__main__":
    sys.exit(run_script("surgery", main))
