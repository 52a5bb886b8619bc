"""Compare the seeds of all runs in a folder, and how much they differ over widths, penalties and task loads.

Writes what `emt analyze degeneracy` writes for each group of runs that differ in one thing, and a table and a figure of
all trends.
"""

import sys
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from analysis.degeneracy.measure import Degeneracy, compare_settings
from analysis.degeneracy.settings import Setting
from analysis.figures.degeneracy.measure import draw
from analysis.figures.style import save_figure
from analysis.tables import save_results
from emt import locks, runs
from emt.commands.output import say
from emt.commands.script import run_script
from emt.commands.subjects import read_networks
from emt.errors import UserError
from experiments.command_line import add_folder, build_parser, find_runs
from experiments.degeneracy.configs import FACTORS
from experiments.degeneracy.figures import draw_widths

COMPONENTS = 10
"""Principal components of the linear models."""


class Trends:
    """Trends of all groups of runs.

    Parameters
    ----------
    groups
        The comparison of each group, by name.
    """

    def __init__(self, groups: Mapping[str, Degeneracy]) -> None:
        self.groups = groups

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return settings and trends by group."""
        return {
            f"degeneracy_{name}": pd.concat(
                {group: getattr(result, name) for group, result in self.groups.items()}, names=["group"]
            )
            for name in ("settings", "trends", "levels")
        }


def main(arguments: list[str] | None = None) -> int:
    """Parse, measure, save, print; return the exit code."""
    parser = build_parser("experiments.degeneracy.summary", __doc__)
    add_folder(parser, "folder of a sweep")
    options = parser.parse_args(arguments)
    folder = runs.find(options.folder, "folder")
    configs = find_runs(folder, *FACTORS)
    recorded = [run for run in configs if (run / "evaluation_summary.json").exists()]
    if not recorded:
        raise UserError(f"{folder}: expected evaluated runs; found none")
    networks = {run.name: read_networks(run, run.name) for run in recorded}
    found = {name: Setting.of(name, own, COMPONENTS, False, 0) for name, own in networks.items()}
    factors = FACTORS[next(iter(configs.values())).task_name]
    groups = {}
    for group, factor in factors.items():
        names = [name for name in factor.runs if name in found]
        if len(names) > 1:
            groups[group] = compare_settings(
                {name: networks[name] for name in names},
                {name: found[name] for name in names},
                setting=factor.setting,
                scale=factor.scale,
            )
    output = Path(options.output_dir) if options.output_dir else folder / "summary"
    with locks.writing_into(output):
        written = save_results(Trends(groups), output)
        for group, result in groups.items():
            say(f"{group}:", *(f"  {line}" for line in result.headline().split("\n")))
            save_results(result, output / group)
            for name, figure in draw(result):
                save_figure(figure, output / group / name)
        written += save_figure(draw_widths(groups), output / "degeneracy")
    say(
        f"Written to {output}: {', '.join(path.name for path in written)}, and a folder for each of {', '.join(groups)}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(run_script("summary", main))
