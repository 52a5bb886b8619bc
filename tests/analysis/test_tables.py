"""Saving results."""

import json
import stat

import numpy as np
import pandas as pd
import pytest

from analysis.tables import save_results, to_json
from emt.files import write_bytes


class Result:
    def tables(self):
        index = pd.Index(["model-1", "model-2"], name="model_name")
        return {
            "points": pd.DataFrame({"x": [1 / 3, np.nan], "n": [2, 3]}, index=index),
            "fixed": pd.DataFrame({"a": [np.inf]}),
        }

    def documents(self):
        return {"fixed": {"value": np.float64("nan"), "count": np.int64(3), "flag": np.bool_(True)}}

    def arrays(self):
        return {"matrix": np.arange(6.0).reshape(2, 3)}


def test_tables_documents_and_arrays_are_written(tmp_path):
    paths = save_results(Result(), tmp_path / "new" / "folder")
    assert {p.name for p in paths} == {"points.csv", "points.json", "fixed.csv", "fixed.json", "matrix.npy"}
    assert all(stat.S_IMODE(p.stat().st_mode) == 0o644 for p in paths)
    folder = tmp_path / "new" / "folder"
    assert json.loads((folder / "points.json").read_text()) == [
        {"model_name": "model-1", "x": 1 / 3, "n": 2},
        {"model_name": "model-2", "x": None, "n": 3},
    ]
    assert json.loads((folder / "fixed.json").read_text()) == {"value": None, "count": 3, "flag": True}
    assert (folder / "points.csv").read_text() == f"model_name,x,n\nmodel-1,{1 / 3},2\nmodel-2,,3\n"
    np.testing.assert_array_equal(np.load(folder / "matrix.npy"), np.arange(6.0).reshape(2, 3))


def test_results_without_a_method_leave_its_files_out(tmp_path):
    assert save_results(object(), tmp_path) == []


def test_json_holds_no_bare_nan():
    assert json.loads(to_json([float("nan"), float("inf"), (1, "a")])) == [None, None, [1, "a"]]


def test_a_write_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(TypeError):
        write_bytes(tmp_path / "x.csv", "text")  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []
