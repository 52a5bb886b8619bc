"""Evaluate trained agents with frozen weights and draw all figures of a run; compare several runs in a table.

In each run's folder it writes report/: correct_rate.csv (greedy and sampled, by agent, condition and step),
returns.csv (by agent and epoch), figures, and the tables and figures of analyze.py match and memory for some
recorded episodes.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.population import median_over_members
from analysis.statistics import Interval, mean_interval
from emt import config as configuration
from emt import locks, runs
from emt.commands.output import open_console, say
from emt.commands.script import run_script
from emt.config import RunConfig
from emt.errors import UserError
from emt.options import load
from emt.tasks import TASKS
from experiments.command_line import build_parser
from experiments.contextual_choice.results import CONDITIONS, evaluate, last_returns, returns_of
from experiments.contextual_choice.train import TASK

SHARE = (0.0, 1.0)
"""Smallest and largest share of right choices."""

RECORDED_EPISODES = 4
"""Held-out episodes that match and memory look at; all agents see the same."""


@dataclass(frozen=True)
class Report:
    """What one run gave: its returns and rates (`experiments.contextual_choice.results`) and a row for the table."""

    label: str
    returns: pd.DataFrame
    rates: pd.DataFrame
    row: dict[str, Interval | float]

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return returns by epoch and rates of right choices by step, for each agent."""
        return {"returns": self.returns, "correct_rate": self.rates}


def main(arguments: list[str] | None = None) -> int:
    """Parse, evaluate, save, print; return the exit code."""
    parser = build_parser("experiments.contextual_choice.report", __doc__)
    parser.add_argument("runs", nargs="+", metavar="DIR", help="folders of trained runs")
    parser.add_argument(
        "--output_dir", metavar="DIR", help="where the comparison of runs goes (default: the first run)"
    )
    options = parser.parse_args(arguments)
    folders = [runs.find(path, "runs") for path in options.runs]
    reports = [report_run(folder) for folder in folders]
    if len(reports) > 1:
        from analysis.figures.style import save_figure
        from experiments.contextual_choice.figures import draw_comparison

        sizes = _task(configuration.read(folders[0] / "config.json")).sizes
        figure = draw_comparison({r.label: r.rates for r in reports}, sizes)
        save_figure(figure, Path(options.output_dir or folders[0] / "report") / "comparison")
    _print(reports)
    return 0


def report_run(folder: Path) -> Report:
    """Evaluate a run, write its tables and figures.

    Raises
    ------
    UserError
        If the run is of another task or has no finished agents.
    """
    from analysis.figures.style import save_figure
    from analysis.tables import save_results
    from experiments.contextual_choice.figures import draw

    config = configuration.read(folder / "config.json")
    if config.task_name != TASK:
        raise UserError(f"{folder}: expected a run of {TASK}; got {config.task_name}")
    numbers = [n for n in range(1, config.training.num_models + 1) if runs.is_done(folder, n)]
    if not numbers:
        raise UserError(f"{folder}: expected finished agents; found none")
    output, task = folder / "report", _task(config)
    with locks.writing_into(output):
        returns = returns_of(folder, config, numbers)
        rates = evaluate(folder, config, numbers)
        batch = task.test_batch(config.training.seed, task.lengths[0], 1, RECORDED_EPISODES)
        figures = list(draw(batch, task.sizes, returns, rates, folder.name))
        scores, drawn = _look_into(folder, config, numbers, output)
        for name, figure in [*figures, *drawn]:
            save_figure(figure, output / name)
        say(f"{folder.name}: tables and {len(figures) + len(drawn)} figures in {output}")
        halves = rates["sampled"].drop("retrieval off", level="condition").groupby(["model", "step"]).mean()
        row = {"return": last_returns(returns), "frozen return": mean_interval(halves.groupby("model").sum())}
        at_once = rates.xs(0, level="step")
        for condition in CONDITIONS:
            row[f"{condition}, t = 0"] = mean_interval(
                at_once["greedy"].xs(condition, level="condition"), bounds=SHARE
            )
        row["seen, sampled"] = mean_interval(at_once["sampled"].xs("seen", level="condition"), bounds=SHARE)
        report = Report(folder.name, returns, rates, {**row, **scores})
        save_results(report, output)
        return report


def _task(config: RunConfig) -> Any:
    return load(TASKS, config.task_name, "task")(**config.task_options())


def _look_into(
    folder: Path, config: RunConfig, numbers: Sequence[int], output: Path
) -> tuple[dict[str, Interval | float], list[tuple[str, Any]]]:
    """Record some episodes; return how often the right trial is recalled and how choices separate, and the figures."""
    from analysis.figures.memory import contents as memory_figures
    from analysis.figures.memory import matching as match_figures
    from analysis.memory.contents import analyse_memory
    from analysis.memory.log import select
    from analysis.memory.matching import match_memories
    from analysis.memory.queries import read_queries
    from analysis.memory.query_scores import score_member
    from analysis.tables import save_results
    from emt import record

    loaded = record.load_members(folder, config, numbers)
    length = loaded.task.lengths[0]
    batch = loaded.task.test_batch(config.training.seed, length, 1, RECORDED_EPISODES)
    recording = record.record(loaded, batch, length)
    match, memory = match_memories(recording, trials=1), analyse_memory(recording, color_by="token")
    for result in (match, memory):
        save_results(result, output)
        say(result.headline())
    held, sizes = memory.memories[0], _task(config).sizes
    # Where keys are inputs every agent recalls the same trials.
    places = range(len(numbers)) if config.model["key"] == "hidden" else [0]
    asks = [score_member(read_queries(select(recording, member=[place]), "dnd")).asks for place in places]
    early = [one["score"][one["step"] % sizes.steps < sizes.t_off].mean() for one in asks]
    scores: dict[str, Interval | float] = {
        "correct trial recalled": mean_interval(held.recalled, bounds=SHARE),
        "before evidence": float(np.mean(early)),
        "AUC": median_over_members(held.score("auc")),
        "shuffled": median_over_members(held.score("shuffled_auc")),
    }
    return scores, [*match_figures.draw(match), *memory_figures.draw(memory)]


def _print(reports: Sequence[Report]) -> None:
    from rich.table import Table

    columns = list(reports[0].row)
    table = Table(
        "", "agents", *columns, box=None, title="Means over agents with 95 % intervals; AUC: medians"
    )
    for report in reports:
        n = report.rates.index.get_level_values("model").nunique()
        table.add_row(report.label, str(n), *(_text(report.row[column]) for column in columns))
    open_console(width=200, soft_wrap=False).print(table)


def _text(value: Interval | float) -> str:
    if isinstance(value, float):
        return f"{value:.3f}"
    spread = f" ({value.low:.3f}–{value.high:.3f})" if value.n > 1 else ""
    return f"{value.estimate:.3f}{spread}"


if __name__ == "__main__":
    sys.exit(run_script("report", main))
