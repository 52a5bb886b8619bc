"""Save results: each table as CSV and JSON, documents as JSON, arrays as .npy. The one module that writes them."""

import csv
import io
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from emt.files import write_bytes
from emt.text import cell


def save_results(result: Any, folder: str | Path) -> list[Path]:
    """Write what a result's ``tables()``, ``documents()`` and ``arrays()`` return, as far as it has them.

    A table ``x`` becomes ``x.csv`` and ``x.json`` (a list of records, one a line, the index included). A
    document ``x`` becomes ``x.json`` and takes the place of that list; an array ``x`` becomes ``x.npy``.
    Values that are not finite are empty in CSV and null in JSON.

    Returns
    -------
    paths
        The files written.

    Examples
    --------
    >>> summary = summarise_eigenvalues(from_summary(read_summary("demo/repeat_copy")))
    >>> [path.name for path in save_results(summary, "tables")][:2]
    ['eigenvalue_statistics.csv', 'eigenvalue_statistics.json']
    """
    folder = Path(folder)
    tables, documents, arrays = (contents_of(result, kind) for kind in ("tables", "documents", "arrays"))
    contents: dict[str, bytes] = {}
    for name, table in tables.items():
        contents[f"{name}.csv"] = to_csv(table)
        contents[f"{name}.json"] = _to_records(table)
    contents |= {f"{name}.json": to_json(document) for name, document in documents.items()}
    contents |= {f"{name}.npy": _to_npy(array) for name, array in arrays.items()}
    for name, content in contents.items():
        write_bytes(folder / name, content)
    return [folder / name for name in contents]


def to_csv(table: pd.DataFrame) -> bytes:
    """Return a table as CSV with its index, numbers in full."""
    table = _with_cells(table)
    if _is_matrix(table):
        return _matrix_to_csv(table)
    return (
        table.replace([np.inf, -np.inf], np.nan).to_csv(lineterminator="\n").encode(errors="backslashreplace")
    )


def _with_cells(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table whose texts, in its headings too, no spreadsheet computes (`emt.text.cell`)."""
    text = [name for name, dtype in enumerate(table.dtypes) if not pd.api.types.is_numeric_dtype(dtype)]
    shown = table.copy(deep=False)
    for place in text:
        shown.isetitem(place, table.iloc[:, place].map(cell))
    return shown.rename(index=cell, columns=cell).rename_axis(index=cell, columns=cell)


def to_json(content: Any) -> bytes:
    """Return JSON text; numpy values become plain ones, numbers that are not finite null."""
    return (json.dumps(_plain(content), indent=1, allow_nan=False) + "\n").encode()


def _is_matrix(table: pd.DataFrame) -> bool:
    flat = not isinstance(table.index, pd.MultiIndex) and not isinstance(table.columns, pd.MultiIndex)
    return flat and table.size > 0 and all(dtype == np.float64 for dtype in table.dtypes)


def _matrix_to_csv(table: pd.DataFrame) -> bytes:
    """Return what pandas writes, several times as fast: distances of 2,000 members are four million numbers."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow([table.index.name or "", *table.columns])
    values = table.to_numpy()
    for label, row, finite in zip(table.index, values.tolist(), np.isfinite(values).all(axis=1), strict=True):
        rows.writerow([label, *(row if finite else (v if math.isfinite(v) else "" for v in row))])
    return text.getvalue().encode(errors="backslashreplace")


def _to_records(table: pd.DataFrame) -> bytes:
    """Return a table as a JSON list of records, each on a line of its own."""
    columns = {str(name): _column(values) for name, values in table.reset_index().items()}
    rows = zip(*columns.values(), strict=True)
    records = (json.dumps(dict(zip(columns, row, strict=True)), allow_nan=False) for row in rows)
    return ("[\n" + ",\n".join(records) + "\n]\n").encode()


def _column(values: pd.Series) -> list[Any]:
    """Return plain values, None for numbers that are not finite."""
    plain: list[Any] = values.tolist()
    return (
        plain
        if values.dtype == np.float64 and np.isfinite(values.to_numpy()).all()
        else [_plain(v) for v in plain]
    )


def contents_of(result: Any, kind: str) -> Mapping[str, Any]:
    """Return what a result's method of that name returns; nothing where it has none."""
    return getattr(result, kind)() if hasattr(result, kind) else {}


def _to_npy(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
