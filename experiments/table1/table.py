"""Print accuracy and spectral errors of all seeds beside the figures of the paper's table 1.

Reads what evaluate_multiple.py left in a sweep's populations. Errors are in radians, as the paper's: `angle` is the
mean angle of all modes under optimal assignment, a missing mode counting π; `reference` is the earlier code's value,
undefined where numbers of modes differ; `relative` is sqrt(Σ|λ-μ|²/Σ|μ|²). Intervals are 95 %, over seeds: of medians
BCa, of shares Wilson. A seed has converged if its accuracy at horizon 200 is at least 0.99; one that could not be
evaluated has not. Of those that converged, `all modes` counts the ones with an eigenvalue above 0.9 for each mode of
the theory, and `of found` is the median of their mean angles over the modes that they have. Where a median is over
fewer seeds than were trained, their number follows.
"""

import argparse
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.population import from_summary
from analysis.spectra import spectral_error
from analysis.statistics import Interval, bootstrap_interval, proportion_interval
from analysis.tables import to_csv
from emt import config as configuration
from emt import runs
from emt.options import Parser, UserError
from emt.script import run_script
from emt.training.sweep import complete
from experiments.all_linear_vb.configs import PAPER_ERRORS
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
    parser = Parser(
        prog="experiments.table1.table", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", metavar="DIR", help="folder of the sweep")
    folder = runs.find(parser.parse_args(arguments).folder, "folder")
    rows, remarks = [], []
    for config in CONFIGS:
        path = folder / config.metadata["experiment_name"] / "evaluation_summary.json"
        if path.exists():
            differing = configuration.differences(complete(config), configuration.read(path.parent / "config.json"))
            remarks += [f"Trained otherwise, {path.parent.name}: {'; '.join(differing)}"] if differing else []
            key = {"task": config.task["task_id"], "units": config.model["hidden_dim"]}
            key["l2"] = config.training.l2_penalty
            rows.append(key | summarise(runs.read_summary(path), path) | {"paper": paper_error(**key)})
    if not rows:
        raise UserError(
            f"{folder}: expected evaluated populations such as {CONFIGS[0].metadata['experiment_name']}; found none"
        )
    table = pd.DataFrame(rows).set_index(["task", "units", "l2"]).sort_index()
    report(table)
    for remark in remarks:
        print(remark)
    runs.write_bytes(folder / "table1.csv", to_csv(table))
    print(f"Populations that are not evaluated yet: {len(CONFIGS) - len(rows)}. Written to {folder / 'table1.csv'}")
    return 0


def paper_error(task: str, units: int, l2: float) -> float:
    """Return the paper's figure, NaN where it has none."""
    return PAPER_ERRORS.get((units, l2), {}).get(task, math.nan)


def summarise(summary: dict[str, Any], path: Path) -> dict[str, float]:
    """Return one population's row: medians over all seeds with intervals, the share that converged, and its errors.

    Raises
    ------
    UserError
        If it was evaluated at another horizon.
    """
    horizon = summary["evaluation_config"]["evaluation"]["test_horizon"]
    if horizon != HORIZON:
        raise UserError(f"{path}: expected an evaluation with --test_horizon {HORIZON}; got {horizon}")
    accuracy = _values(summary, "accuracy")
    converged = accuracy >= CONVERGED
    # A seed that could not be evaluated has not converged; its accuracy and errors are unknown.
    trained = len(accuracy) + len(summary.get("failed") or [])
    share = proportion_interval(float(converged.sum()) / trained, trained)
    row = {"n": share.n, "converged": share.estimate, "converged_low": share.low, "converged_high": share.high}
    row |= _columns("accuracy", median_interval(accuracy)) | {"accuracy_n": len(accuracy)}
    for name, (key, factor) in ERRORS.items():
        values = factor * _values(summary, f"{key}_seq8")
        row |= _columns(name, median_interval(values)) | {f"{name}_n": int(np.isfinite(values).sum())}
        row |= {f"{name}_converged": median_interval(values[converged]).estimate}
    whole = converged & (_values(summary, "missing_modes_seq8") == 0)
    found = median_interval(angles_of_found_modes(summary)[converged]).estimate
    return row | {"converged_n": converged.sum(), "whole_n": whole.sum(), "found_converged": found}


def angles_of_found_modes(summary: dict[str, Any]) -> NDArray[np.float64]:
    """Return each seed's mean angle over the modes that it has, in radians; NaN without any."""
    population = from_summary(summary, seq_length=8)
    found = {
        name: spectral_error(values, [] if population.theory is None else population.theory).found_deg
        for name, values in zip(population.names, population.eigenvalues, strict=True)
    }
    return np.radians([found.get(m["model_name"], math.nan) for m in summary["metrics"]])


def median_interval(values: NDArray[np.float64]) -> Interval:
    """Return the median of the finite values with its interval."""
    return bootstrap_interval(np.median, values)


def _values(summary: dict[str, Any], key: str) -> NDArray[np.float64]:
    return np.array([m[key] if m.get(key) is not None else math.nan for m in summary["metrics"]], dtype=float)


def _columns(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}


def report(rows: pd.DataFrame) -> None:
    """Print the table."""
    from rich.console import Console
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
        table.add_row(task, str(units), f"{l2:g}", f"{row['n']:.0f}", share, _cell(row, "accuracy", 3), *cells)
    Console(width=260 if not sys.stdout.isatty() else None).print(table)


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.4f}"


def _cell(row: pd.Series, name: str, digits: int = 4) -> str:
    value, low, high = (f"{row[key]:.{digits}f}" for key in (name, f"{name}_low", f"{name}_high"))
    return f"{value} ({low} to {high})" + (f", n = {row[f'{name}_n']:.0f}" if row[f"{name}_n"] < row["n"] else "")


if __name__ == "__main__":
    sys.exit(run_script("table", main))
