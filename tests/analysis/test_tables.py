"""Saving results."""

import json
import stat

import numpy as np
import pandas as pd
import pytest

from analysis.tables import save_results, to_csv, to_json
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


def test_a_matrix_is_written_as_pandas_writes_it():
    values = np.random.default_rng(0).normal(size=(3, 4)) * 10.0 ** np.array([-300, -5, 20, 300])
    values[1, 2], values[2, 0], values[0] = np.nan, -np.inf, [0.0, -0.0, 1.0, 1e16]
    table = pd.DataFrame(
        values, index=pd.Index(["a", 'b,"c"', "d"], name="model_name"), columns=["x", "y,z", "w", "v"]
    )
    assert to_csv(table) == table.replace([np.inf, -np.inf], np.nan).to_csv(lineterminator="\n").encode()


def test_records_hold_plain_values_of_every_kind(tmp_path):
    class Mixed:
        def tables(self):
            columns = {
                "f": [0.5, np.nan],
                "n": [1, 2],
                "b": [True, False],
                "t": ["x", None],
                "o": [np.int64(3), [1.5]],
            }
            index = pd.MultiIndex.from_tuples([("s", 1), ("s", 2)], names=["label", "k"])
            return {"mixed": pd.DataFrame(columns, index=index), "empty": pd.DataFrame({"a": []})}

    save_results(Mixed(), tmp_path)
    assert json.loads((tmp_path / "mixed.json").read_text()) == [
        {"label": "s", "k": 1, "f": 0.5, "n": 1, "b": True, "t": "x", "o": 3},
        {"label": "s", "k": 2, "f": None, "n": 2, "b": False, "t": None, "o": [1.5]},
    ]
    assert json.loads((tmp_path / "empty.json").read_text()) == []
