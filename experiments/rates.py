"""Populations over learning rates and seeds: what experiments that compare networks at several rates share."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator
from torch import Tensor

from analysis.figures.style import COLORS, GRAY, column_figure, save_figure, styled
from analysis.statistics import mean_interval
from analysis.tables import save_results
from emt import locks, runs
from emt.commands.output import say
from emt.config import RunConfig
from emt.errors import UserError
from emt.record import Loaded, to_tensors
from emt.tasks.base import Batch
from emt.training.population import done_markers
from experiments.command_line import add_folder, build_parser, each_run

PIECE = 16
"""Rows that are run at once."""


@dataclass(frozen=True)
class Rates:
    """Runs side by side.

    Attributes
    ----------
    subject
        What the files of the tables begin with.
    rates
        A row for each run and learning rate: mean and 95 % interval over members of each measure.
    members
        A row for each member.
    """

    subject: str
    rates: pd.DataFrame
    members: pd.DataFrame

    @property
    def runs(self) -> list[str]:
        """Names of the runs, in order."""
        return list(self.rates.index.unique("run"))

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return both tables."""
        return {f"{self.subject}_rates": self.rates, f"{self.subject}_members": self.members}


def rows_of_members(run: Path, config: RunConfig) -> dict[int, dict[str, Any]]:
    """Return for each finished member of a run, by number, what names it in a table."""
    return {
        number: {
            "run": run.name,
            "model": f"model-{number}",
            "learning_rate": config.training.rates()[number - 1],
            "seed": config.training.seeds()[number - 1],
        }
        for number in sorted(done_markers(config, run))
    }


def over_rates(
    subject: str,
    members: pd.DataFrame,
    measures: Sequence[str],
    further: Callable[[pd.DataFrame], Mapping[str, Any]] = lambda group: {},
) -> Rates:
    """Return the tables of members: by run and learning rate, and as they are.

    Parameters
    ----------
    subject
        What the files of the tables begin with.
    members
        A row for each, with the columns of `rows_of_members`.
    measures
        Columns, shares of one each, whose mean and 95 % interval are taken; those that no member has are left out.
    further
        What else is said of the members of a run at a rate.
    """
    rows = []
    for (run, rate), group in members.groupby(["run", "learning_rate"], sort=False):
        row: dict[str, Any] = {"run": run, "learning_rate": rate, "n": len(group)}
        for name in (name for name in measures if name in group):
            interval = mean_interval(group[name], bounds=(0.0, 1.0))
            row |= {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}
        rows.append({**row, **further(group)})
    return Rates(
        subject,
        pd.DataFrame(rows).set_index(["run", "learning_rate"]),
        members.set_index(["run", "model"]),
    )


def report(
    arguments: Sequence[str] | None,
    module: str,
    text: str,
    tasks: Iterable[str],
    members_of: Callable[[Path, RunConfig], Sequence[Mapping[str, Any]]],
    summarise: Callable[[pd.DataFrame], Rates],
    figures: Callable[[Rates], Mapping[str, Figure]],
) -> int:
    """Parse a folder, test the finished models of its runs, save tables and figures, print; return the exit code.

    Parameters
    ----------
    arguments
        The words of the command line; None: those of the process.
    module, text
        What is run, and what ``--help`` says about it.
    tasks
        Names of the tasks whose runs are tested.
    members_of
        Rows of a run's finished members.
    summarise, figures
        What is made of all rows, and figures of that by file name.
    """
    parser = build_parser(module, text)
    add_folder(parser, "a run, or a folder of runs")
    options = parser.parse_args(arguments)
    folder = runs.find(options.folder, "folder")
    rows = [row for run, config in each_run(folder, *tasks) for row in members_of(run, config)]
    if not rows:
        raise UserError(f"{folder}: expected finished models; found none")
    summary = summarise(pd.DataFrame(rows))
    output = Path(options.output_dir) if options.output_dir else folder / "summary"
    with locks.writing_into(output):
        written = save_results(summary, output)
        for name, figure in figures(summary).items():
            written += save_figure(figure, output / name)
    say(*summary.rates.to_string(float_format="{:.3f}".format).splitlines())
    say(f"Written to {output}: {', '.join(path.name for path in written)}")
    return 0


@torch.no_grad()
def answers(loaded: Loaded, batch: Batch) -> Iterator[tuple[Batch, Tensor, Tensor, dict[str, Tensor]]]:
    """Yield pieces of a batch, their inputs, which answers are right (member, row, time), and the log."""
    for start in range(0, batch.sequences, PIECE):
        piece = batch.part(slice(start, start + PIECE))
        inputs, context = to_tensors(loaded, piece)
        outputs, _, log = loaded.model(inputs, None, piece.steps, context)
        yield piece, inputs, outputs.argmax(dim=-1) == torch.from_numpy(piece.targets), log


class Panel(NamedTuple):
    """A part of a figure: its title, the measure that it shows, and how it calls the runs that it shows."""

    title: str
    measure: str
    runs: Mapping[str, str]


@styled
def draw_rates(
    summary: Rates,
    panels: Sequence[Panel],
    subject: str,
    chance: float | None = None,
    label: str = "accuracy",
) -> Figure:
    """Return curves over learning rates with 95 % intervals, and a point for each member.

    Parameters
    ----------
    summary
        Tables by run and learning rate, and by member.
    panels
        What is drawn side by side; what has the same name has the same colour.
    subject
        What the figure's title begins with.
    chance
        Accuracy of a guess, a dashed line.
    label
        Of the vertical axis.
    """
    rates, members = summary.rates, summary.members
    names = list(dict.fromkeys(name for panel in panels for name in panel.runs.values()))
    height = 2.9 + 0.16 * -(-len(names) // 3)
    figure, axes = column_figure("double", height=height, columns=len(panels), sharey=True)
    values = sorted(set(rates.index.get_level_values("learning_rate")))
    handles: dict[str, Any] = {}
    for ax, (title, measure, shown) in zip(axes[0], panels, strict=True):
        for run, name in shown.items():
            place, of_run, seeds = names.index(name), rates.loc[run], members.loc[run]
            color = COLORS[place % len(COLORS)]
            x = np.array(of_run.index, dtype=float) * 1.06 ** (place - (len(names) - 1) / 2)
            mean = of_run[measure]
            low, high = (of_run[f"{measure}_{end}"].fillna(mean) for end in ("low", "high"))
            curve = {"color": color, "marker": "o", "ms": 3, "capsize": 2, "lw": 1}
            handles[name] = ax.errorbar(x, mean, [mean - low, high - mean], **curve)
            at = seeds["learning_rate"].map(dict(zip(of_run.index, x, strict=True)))
            ax.plot(at, seeds[measure], ".", color=color, ms=2.5, alpha=0.5, lw=0)
        if chance is not None:
            handles["chance"] = ax.axhline(chance, color=GRAY, ls="--", lw=0.8, zorder=0)
        ax.set_xscale("log")
        ax.set_xlim(values[0] / 1.4, values[-1] * 1.4)
        ax.xaxis.set_major_locator(FixedLocator(values))
        ax.xaxis.set_major_formatter(FixedFormatter([f"{value:g}" for value in values]))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.set(xlabel="learning rate", title=title)
    axes[0, 0].set_ylabel(label)
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=3)
    counts = sorted(set(rates["n"]))
    n = " to ".join(str(c) for c in dict.fromkeys((counts[0], counts[-1])))
    figure.suptitle(f"{subject}, n = {n} for each learning rate: mean over seeds and 95 % interval")
    return figure
