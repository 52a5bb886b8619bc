"""Matrices of dissimilarities that a hypothesis predicts: from variables of the trials, or from a file."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from analysis.conditions.design import Design
from analysis.conditions.labels import find_labels
from analysis.errors import AnalysisError
from emt.text import shortened

Array = NDArray[np.float64]

NUMBERS = ":difference"
"""Ending of the name of a variable whose numbers count."""


def find_models(recording: xr.DataTree, design: Design, names: Sequence[str]) -> dict[str, Array]:
    """Return matrices (condition, condition) by name; without names those of the labels of the conditions.

    Parameters
    ----------
    recording
        The recorded run.
    design
        Its trials and conditions.
    names
        ``V``: 0 for conditions with the same value of V, else 1; ``V:difference``: the difference of its numbers;
        or the path of a CSV file with a row and a column for each condition, under their names.

    Raises
    ------
    AnalysisError
        If there is no such variable, it has several values within a condition, or a file is no such table.
    """
    found = {}
    for name in names or [factor.name for factor in design.factors]:
        path = Path(name)
        if path.suffix == ".csv":
            found[path.stem] = read_matrix(path, design.conditions.values)
        else:
            found[name] = _of_variable(recording, design, name)
    return found


def read_matrix(path: Path, conditions: Sequence[str]) -> Array:
    """Return the matrix of a CSV file: a header and a first column of the conditions' names, in any order, numbers.

    Raises
    ------
    AnalysisError
        Saying what the file lacks.
    """
    try:
        rows = list(csv.reader(path.read_text(encoding="utf-8").splitlines()))
    except FileNotFoundError:
        raise AnalysisError(f"no such file: {path}", parameter="model") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise AnalysisError(
            f"{path}: expected a table as CSV in UTF-8; got {error}", parameter="model"
        ) from None
    named = [row[0] for row in rows[1:] if row]
    header = rows[0][1:] if rows else []
    if sorted(header) != sorted(conditions) or sorted(named) != sorted(conditions):
        raise AnalysisError(
            f"{path}: expected a row and a column for each of {shortened(', '.join(conditions))}; "
            f"got columns {shortened(', '.join(header)) or 'none'}, rows {shortened(', '.join(named)) or 'none'}",
            parameter="model",
        )
    try:
        values = np.array([[float(cell) for cell in row[1:]] for row in rows[1:] if row])
    except ValueError as error:
        raise AnalysisError(f"{path}: expected numbers; {error}", parameter="model") from None
    if values.shape != (len(conditions),) * 2 or not np.isfinite(values).all():
        raise AnalysisError(
            f"{path}: expected a finite number in each of {len(conditions)} columns and rows",
            parameter="model",
        )
    columns, places = ([names.index(name) for name in conditions] for names in (header, named))
    matrix = values[np.ix_(places, columns)]
    if not np.allclose(matrix, matrix.T):
        raise AnalysisError(f"{path}: expected a symmetric matrix", parameter="model")
    return np.asarray(matrix)


def _of_variable(recording: xr.DataTree, design: Design, name: str) -> Array:
    variable = name.removesuffix(NUMBERS)
    at = "first" if variable.startswith("target:") else ""
    try:
        labels = find_labels(recording, design.trials, variable, at)
    except AnalysisError as error:
        raise AnalysisError(error.args[0], parameter="model") from None
    numbers = labels.numbers[:, 0] if name.endswith(NUMBERS) else labels.first.astype(float)
    values = np.zeros(design.count)
    for condition in range(design.count):
        own = np.unique(numbers[design.classes == condition])
        if len(own) != 1 or labels.first[design.classes == condition].min() < 0:
            raise AnalysisError(
                f"must have one value in each condition; {variable!r} has several, or none, in "
                f"{design.conditions.values[condition]}",
                parameter="model",
            )
        values[condition] = own[0]
    difference = np.abs(values[:, None] - values)
    return difference if name.endswith(NUMBERS) else (difference > 0).astype(float)
