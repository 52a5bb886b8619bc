"""Compare agents with the published runs at equal updates: returns on test graphs, all seeds, and their score.

Plays each agent's kept weights on four episodes of each test graph, and writes tables and figures; agents that are
still trained are played as far as they are. The score is 0 for an agent that acts at random and 1 for one that knows
the graph, on the same graphs.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.figures.style import save_figure
from analysis.statistics import Interval, mean_interval
from analysis.tables import save_results
from emt import files, locks, runs
from emt.commands.output import say
from emt.commands.script import run_script
from emt.config import RunConfig
from emt.errors import UserError
from emt.options import load
from emt.progress import Progress
from emt.tasks import TASKS
from experiments.command_line import add_folder, build_parser, find_runs
from experiments.graph_navigation.figures import draw_episode, draw_returns
from experiments.graph_navigation.measure import (
    KeptSteps,
    Yardsticks,
    episode_of,
    kept_steps,
    measure,
    yardsticks,
)
from experiments.graph_navigation.published import PUBLISHED

AROUND = 500
"""A return on training graphs is the mean over updates no further than this."""

AGENT = "fwm"
"""The agent that others are compared with."""


@dataclass(frozen=True)
class Summary:
    """Agents side by side.

    Attributes
    ----------
    members
        A row for each member and update: mean return on test graphs, score, and mean return while it trained.
    agents
        A row for each agent and update: mean over members with its 95 % interval (Student t), score, and the
        published run.
    differences
        Return of the Fast Weight Memory minus that of each other agent at equal updates, with a 95 % interval
        (Welch).
    yardsticks
        By dynamics, agents that are compared with: exact returns, and the planner's.
    """

    members: pd.DataFrame
    agents: pd.DataFrame
    differences: pd.DataFrame
    yardsticks: pd.DataFrame

    @property
    def shown(self) -> tuple[pd.DataFrame, ...]:
        """The tables to print: those that are not empty."""
        tables = (self.yardsticks, self.agents, self.differences)
        return tuple(table for table in tables if len(table))

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return all tables but empty ones."""
        tables = {
            "graph_navigation_members": self.members,
            "graph_navigation_agents": self.agents,
            "graph_navigation_differences": self.differences,
            "graph_navigation_yardsticks": self.yardsticks,
        }
        return {name: table for name, table in tables.items() if len(table)}


def main(arguments: list[str] | None = None) -> int:
    """Parse, play, summarise, save, print; return the exit code."""
    parser = build_parser("experiments.graph_navigation.summary", __doc__)
    add_folder(parser, "a run, or a folder of runs")
    options = parser.parse_args(arguments)
    folder = runs.find(options.folder, "folder")
    found = find_runs(folder, "graph_navigation")
    kept = {run: steps for run, config in found.items() if (steps := kept_steps(run, config))}
    if not kept:
        raise UserError(
            f"{folder}: expected models that are done, or kept weights (keep_checkpoints); found none"
        )
    summary = summarise({run: found[run] for run in kept}, kept)
    first = next(iter(kept))
    updates, (step, numbers) = max(kept[first].items())
    output = Path(options.output_dir) if options.output_dir else folder / "summary"
    with locks.writing_into(output):
        written = save_results(summary, output)
        written += save_figure(draw_returns(summary.agents, summary.yardsticks), output / "returns")
        episode = episode_of(first, found[first], numbers[0], step)
        name = f"{first.name}, model-{numbers[0]}, after {updates:,} updates"
        written += save_figure(draw_episode(episode, name), output / "episode")
    for table in summary.shown:
        say(*table.to_string(float_format="{:.2f}".format).splitlines(), "")
    say(f"Written to {output}: {', '.join(path.name for path in written)}")
    return 0


def summarise(found: dict[Path, RunConfig], kept: dict[Path, KeptSteps]) -> Summary:
    """Return the tables of members of runs, as far as their weights were kept."""
    compared: dict[Any, Yardsticks] = {}
    of_run: dict[Path, Yardsticks] = {}
    for run in kept:
        task = load(TASKS, found[run].task_name, "task")(**found[run].task_options())
        key = task.dynamics, task.lengths, task.test_sequences
        if key not in compared:
            compared[key] = yardsticks(task)
        of_run[run] = compared[key]
    members = []
    for run, updates, number, returns in play(found, kept):
        row: dict[str, Any] = {"agent": run.name, "updates": updates, "model": f"model-{number}"}
        row |= {"seed": found[run].training.seeds()[number - 1], "test": returns.mean()}
        row |= {"score": of_run[run].score(returns), "train": train_return(run, number, updates)}
        members.append(row)
    table = pd.DataFrame(members)
    names = ["dynamics", "agent"]
    yards = pd.concat({key[0]: one.table() for key, one in compared.items()}, names=names)
    agents = agents_of(table)
    return Summary(table.set_index(["agent", "updates", "model"]), agents, differences_of(table), yards)


def play(
    found: dict[Path, RunConfig], kept: dict[Path, KeptSteps]
) -> Iterator[tuple[Path, int, int, NDArray[np.float64]]]:
    """Yield run, updates and number of each member whose weights were kept, with its mean return on each graph."""
    with Progress("kept weights", total=sum(map(len, kept.values()))) as progress:
        done = 0
        for run, steps in kept.items():
            for updates, (step, numbers) in steps.items():
                progress.update(done, f"{run.name}, {updates:,} updates")
                for number, returns in zip(numbers, measure(run, found[run], numbers, step), strict=True):
                    yield run, updates, number, returns
                done += 1
        progress.update(done)


def train_return(run: Path, number: int, updates: int) -> float:
    """Return a member's mean return on training graphs around an update; NaN where it did not train."""
    curve = files.read_curve(runs.model_folder(run, number) / "training_curve.csv")
    near = [-p.train_loss for p in curve if p.is_training and abs(p.step - updates) <= AROUND]
    return float(np.mean(near)) if near else np.nan


def agents_of(members: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each agent and update."""
    rows = []
    for (agent, updates), group in members.groupby(["agent", "updates"], sort=False):
        mean, score = mean_interval(group["test"]), mean_interval(group["score"])
        published = PUBLISHED.get(agent, {}).get(updates)
        row: dict[str, Any] = {"agent": agent, "updates": updates, "n": len(group)}
        row |= {"test": mean.estimate, "low": mean.low, "high": mean.high, "train": group["train"].mean()}
        row |= {"score": score.estimate, "score_low": score.low, "score_high": score.high}
        row |= {"published_test": np.nan if published is None else published.test}
        row |= {"published_train": np.nan if published is None else published.train}
        rows.append(row)
    return pd.DataFrame(rows).set_index(["agent", "updates"])


def differences_of(members: pd.DataFrame) -> pd.DataFrame:
    """Return `AGENT` minus each other agent at equal updates; empty without it."""
    rows = []
    for updates, group in members.groupby("updates"):
        returns = {agent: one["test"].to_numpy() for agent, one in group.groupby("agent", sort=False)}
        ours = returns.pop(AGENT, np.empty(0))
        for agent, theirs in returns.items() if len(ours) else ():
            found = welch_interval(ours, theirs)
            row = {"agent": agent, "updates": updates, "n": len(theirs), "difference": found.estimate}
            rows.append(row | {"low": found.low, "high": found.high})
    return pd.DataFrame(rows).set_index(["agent", "updates"]) if rows else pd.DataFrame()


def welch_interval(a: Any, b: Any) -> Interval:
    """Return the difference of two means with its 95 % interval (Welch); NaN where a sample has one value."""
    from scipy import stats

    difference, n = float(np.mean(a) - np.mean(b)), min(len(a), len(b))
    if n < 2:
        return Interval(difference, np.nan, np.nan, n)
    found = stats.ttest_ind(a, b, equal_var=False).confidence_interval()
    return Interval(difference, float(found.low), float(found.high), n)


if __name__ == "__main__":
    sys.exit(run_script("summary", main))
