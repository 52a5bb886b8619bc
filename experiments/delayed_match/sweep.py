"""Train twenty networks, record them, analyse their states by condition and how alike they are, and draw it all.

Rerun the same command to resume it.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from analysis import COMMANDS
from analysis.figures.style import save_figure
from emt import locks
from emt.commands import analyze
from emt.commands.output import say
from emt.commands.script import run_script
from emt.commands.sweep import name_of
from emt.config import RunConfig
from experiments.delayed_match.configs import OUTSIDE, SWEEPS
from experiments.delayed_match.figures import draw_population
from experiments.sweeps import record, run_sweep

ANALYSES = {
    "trajectories": "--label sample",
    "decode": "--label sample --matrix",
    "geometry": "--label sample --model sample",
    "degeneracy": "",
}
"""What is asked, and of which label."""


def main(arguments: list[str] | None = None) -> int:
    """Parse, train, record, analyse, draw; return the exit code."""
    return run_sweep(arguments, "delayed_match", __doc__, "which population", SWEEPS, finish)


def finish(folder: Path, configs: Sequence[RunConfig]) -> int:
    """Record the runs, analyse each and draw it; return the exit code."""
    for config in configs:
        if code := record(folder, config, OUTSIDE):
            return code
        draw(folder / name_of(config))
    return 0


def draw(folder: Path) -> None:
    """Analyse an evaluated run, and draw what was found in one figure."""
    results = {
        name: analysed([name, "--summary_file", str(folder), *flags.split()])
        for name, flags in ANALYSES.items()
    }
    output = folder / "summary"
    with locks.writing_into(output):
        written = save_figure(draw_population(results), output / "delayed_match")
    say(f"Written to {output}: {', '.join(path.name for path in written)}")


def analysed(words: list[str]) -> Any:
    """Return the result of `emt analyze`, whose tables and figures are saved."""
    given = vars(analyze.build_parser().parse_args(words))
    return analyze.run(COMMANDS[given.pop("command")], given)


if __name__ == "__main__":
    sys.exit(run_script("sweep", main))
