"""Print accuracy and spectral errors of all seeds beside the figures of the paper's table 1.

Reads what evaluate_multiple.py left in a sweep's populations. Errors are in radians, as the paper's: `angle`
is the mean angle of all modes under optimal assignment, a missing mode counting π; `reference` is the earlier
code's value, undefined where numbers of modes differ; `relative` is sqrt(Σ|λ-μ|²/Σ|μ|²). Intervals are 95 %,
over seeds: of medians BCa, of shares Wilson. A seed has converged if its accuracy at horizon 200 is at least
0.99; one that could not be evaluated has not. Of those that converged, `all modes` counts the ones with an
eigenvalue above 0.9 for each mode of the theory, and `of found` is the median of their mean angles over the
modes that they have. Where a median is over fewer seeds than were trained, their number follows.
"""

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.population import from_summary
from analysis.spectra.values import spectral_error
from analysis.statistics import bootstrap_interval, proportion_interval
from analysis.tables import to_csv
from emt import config as configuration
from emt import files, runs
from emt.commands.output import open_console, say
from emt.commands.script import run_script
from emt.errors import UserError
from emt.training.sweep import complete
from experiments.all_linear_vb.configs import PAPER_ERRORS
from experiments.command_line import add_folder, build_parser
from experiments.table1.configs import CONFIGS

CONVERGED = 0.99
HORIZON = 200

ERRORS = {
    "angle": ("spectral_error_deg", math.pi / 180),
    "reference": ("spectral_error_deg_reference", math.pi / 180),
    "relative": ("spectral_relative_error", 1.0),
}
"""Name -> key of an evaluation and the factor that makes it the error printed."""


def main(arguments: list[str] | None = None) -> int:
    """Parse, read, print, save; return the exit code."""
    parser = build_parser("experiments.table1.table", __doc__)
    add_folder(parser, "folder of the sweep", output=None)
    folder = runs.find(parser.parse_args(arguments).folder, "folder")
    rows, seeds, remarks = [], [], []
    for config in CONFIGS:
        path = folder / config.metadata["experiment_name"] / "evaluation_summary.json"
        if path.exists():
            differing = configuration.differences(
                complete(config), configuration.read(path.parent / "config.json")
            )
            remarks += (
                [f"Trained with other settings, {path.parent.name}: {'; '.join(differing)}"]
                if differing
                else []
            )
            key = {"task": config.task["task_id"], "units": config.model["hidden_dim"]}
            key["l2"] = config.training.l2_penalty
            summary = runs.read_summary(path)
            seeds.append(seeds_of(summary, path))
            failed = len(summary.get("failed") or [])
            rows.append(key | summarise(seeds[-1], failed) | {"paper": paper_error(**key)})
    if not rows:
        raise UserError(
            f"{folder}: expected evaluated populations such as {CONFIGS[0].metadata['experiment_name']}; found none"
        )
    table = pd.DataFrame(rows).set_index(["task", "units", "l2"]).sort_index()
    report(table)
    say(describe_converged(pd.concat(seeds, ignore_index=True)))
    for remark in remarks:
        say(remark)
    files.write_bytes(folder / "table1.csv", to_csv(table))
    say(f"Populations not evaluated yet: {len(CONFIGS) - len(rows)}. Written to {folder / 'table1.csv'}")
    return 0


def paper_error(task: str, units: int, l2: float) -> float:
    """Return the paper's figure, NaN where it has none."""
    return PAPER_ERRORS.get((units, l2), {}).get(task, math.nan)


def seeds_of(summary: dict[str, Any], path: Path) -> pd.DataFrame:
    """Return a row for each evaluated seed: accuracy, errors in radians, `missing` modes and angle of the `found`.

    Raises
    ------
    UserError
        If it was evaluated at another horizon.
    """
    horizon = summary["evaluation_config"]["evaluation"]["test_horizon"]
    if horizon != HORIZON:
        raise UserError(f"{path}: expected an evaluation with --test_horizon {HORIZON}; got {horizon}")
    population = from_summary(summary, seq_length=8)
    theory = np.array([]) if population.theory is None else population.theory
    found = {
        name: math.radians(spectral_error(values, theory).found_deg)
        for name, values in zip(population.names, population.eigenvalues, strict=True)
    }
    keys = {"accuracy": "accuracy", "missing": "missing_modes_seq8"}
    keys |= {name: f"{key}_seq8" for name, (key, _) in ERRORS.items()}
    metrics = pd.DataFrame(summary["metrics"]).set_index("model_name")
    seeds = metrics.reindex(columns=list(keys.values())).astype(float).set_axis(list(keys), axis="columns")
    scaled = {name: factor * seeds[name] for name, (_, factor) in ERRORS.items()}
    return seeds.assign(
        **scaled, found=pd.Series(found, dtype=float), converged=seeds["accuracy"] >= CONVERGED
    )


def summarise(seeds: pd.DataFrame, failed: int) -> dict[str, float]:
    """Return one population's row: medians over all seeds with intervals, the share that converged, and its errors.

    A seed that ``failed`` to be evaluated has not converged; its accuracy and errors are unknown.
    """
    converged = seeds[seeds["converged"]]
    trained = len(seeds) + failed
    share = proportion_interval(len(converged) / trained, trained)
    row = {
        "n": share.n,
        "converged": share.estimate,
        "converged_low": share.low,
        "converged_high": share.high,
    }
    for name in ("accuracy", *ERRORS):
        interval = bootstrap_interval(np.median, seeds[name])
        row |= {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}
        row |= {f"{name}_n": interval.n}
    row |= {f"{name}_converged": converged[name].median() for name in (*ERRORS, "found")}
    return row | {"converged_n": len(converged), "whole_n": (converged["missing"] == 0).sum()}


def describe_converged(seeds: pd.DataFrame) -> str:
    """Return the median errors of all seeds that converged, of whatever population, in one line."""
    errors = seeds.loc[seeds["converged"], list(ERRORS)]
    medians = (f"{name} {_number(errors[name].median())} (n = {errors[name].count()})" for name in ERRORS)
    return f"Medians over the {len(errors)} seeds of all populations that converged: {', '.join(medians)}"


def report(rows: pd.DataFrame) -> None:
    """Print the table."""
    from rich.table import Table

    header = "task units L2 seeds converged accuracy angle of_converged all_modes of_found reference relative paper"
    title = "Medians over all seeds (95 % interval), errors in radians"
    table = Table(*(name.replace("_", " ") for name in header.split()), title=title, box=None)
    for (task, units, l2), row in rows.iterrows():
        share = f"{row['converged']:.0%} ({row['converged_low']:.0%} to {row['converged_high']:.0%})"
        reference = _cell(row, "reference") if row["reference_n"] else "undefined"
        whole = f"{row['whole_n']:.0f} of {row['converged_n']:.0f}"
        angles = _cell(row, "angle"), _number(row["angle_converged"]), whole, _number(row["found_converged"])
        cells = *angles, reference, _cell(row, "relative"), _number(row["paper"])
        table.add_row(
            task, str(units), f"{l2:g}", f"{row['n']:.0f}", share, _cell(row, "accuracy", 3), *cells
        )
    open_console(width=260 if not sys.stdout.isatty() else None, soft_wrap=False).print(table)


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.4f}"


def _cell(row: pd.Series, name: str, digits: int = 4) -> str:
    value, low, high = (f"{row[key]:.{digits}f}" for key in (name, f"{name}_low", f"{name}_high"))
    return f"{value} ({low} to {high})" + (
        f", n = {row[f'{name}_n']:.0f}" if row[f"{name}_n"] < row["n"] else ""
    )


if __name__ == "__main__":
    sys.exit(run_script("table", main))
