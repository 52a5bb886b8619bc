"""Save results: each table as CSV and JSON, documents as JSON, arrays as .npy. The one module that writes them."""

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


def save_results(result: Any, folder: str | Path) -> list[Path]:
    """Write what a result's ``tables()``, ``documents()`` and ``arrays()`` return, as far as it has them.

    A table ``x`` becomes ``x.csv`` and ``x.json`` (a list of records, the index included); a document ``x`` becomes
    ``x.json`` and takes the place of that list; an array ``x`` becomes ``x.npy``. Values that are not finite are empty
    in CSV and null in JSON.

    Returns
    -------
    paths
        The files written.
    """
    folder = Path(folder)
    tables, documents, arrays = (_contents(result, kind) for kind in ("tables", "documents", "arrays"))
    contents: dict[str, bytes] = {}
    for name, table in tables.items():
        contents[f"{name}.csv"] = to_csv(table)
        contents[f"{name}.json"] = to_json(table.reset_index().to_dict("records"))
    contents |= {f"{name}.json": to_json(document) for name, document in documents.items()}
    contents |= {f"{name}.npy": _to_npy(array) for name, array in arrays.items()}
    for name, content in contents.items():
        write_bytes(folder / name, content)
    return [folder / name for name in contents]


def to_csv(table: pd.DataFrame) -> bytes:
    """Return a table as CSV with its index, numbers in full."""
    return table.replace([np.inf, -np.inf], np.nan).to_csv(lineterminator="\n").encode()


def to_json(content: Any) -> bytes:
    """Return JSON text; numpy values become plain ones, numbers that are not finite null."""
    return (json.dumps(_plain(content), indent=1, allow_nan=False) + "\n").encode()


def _contents(result: Any, kind: str) -> Mapping[str, Any]:
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
