"""Training curves: written and read by one pair of functions. Long lists in JSON: item by item equals at once."""

import json
import math

import numpy as np
import pytest

from emt import files
from emt.errors import UserError
from emt.files import CurvePoint, read_curve, read_norms, write_curve, write_norms

HEADER = "step,horizon,train_loss,train_acc,val_loss,val_acc"
NAN = math.nan


def test_a_curve_is_read_as_it_was_written(tmp_path):
    points = [
        CurvePoint(50, 10, 0.5, 0.25, NAN, NAN),
        CurvePoint(75, 20, math.inf, 0.0, NAN, NAN),
        CurvePoint(75, 100, NAN, NAN, 1234567.0, 0.875),
    ]
    path = tmp_path / "training_curve.csv"
    write_curve(path, points)
    assert path.read_text() == f"{HEADER}\n50,10,0.5,0.25,,\n75,20,inf,0,,\n75,100,,,1.23457e+06,0.875\n"
    found = read_curve(path)
    np.testing.assert_allclose(np.array(found), np.array(points), rtol=3e-6)
    assert [(p.is_training, p.is_validation) for p in found] == [(True, False), (True, False), (False, True)]
    write_curve(tmp_path / "again.csv", found)
    assert (tmp_path / "again.csv").read_bytes() == path.read_bytes()


def test_a_curve_without_points_is_empty(tmp_path):
    write_curve(tmp_path / "curve.csv", [])
    assert read_curve(tmp_path / "curve.csv") == []


@pytest.mark.parametrize(
    ("content", "got"),
    [
        (b"", "the columns of an empty file"),
        (b"step,train_acc\n1,0.5\n", "the columns step,train_acc"),
        (f"{HEADER}\n50,10,0.5,0.2".encode(), "'50,10,0.5,0.2' in line 2"),
        (f"{HEADER}\n50,10,0.5,0.2,,\n75,10,0.5,0.2,,,\n".encode(), "'75,10,0.5,0.2,,,' in line 3"),
        (f"{HEADER}\n50,10,low,0.2,,\n".encode(), "'50,10,low,0.2,,' in line 2"),
        (f"{HEADER}\n5.5,10,0.5,0.2,,\n".encode(), "'5.5,10,0.5,0.2,,' in line 2"),
        (f"{HEADER}\n\n".encode(), "'' in line 2"),
        (b"\xff\xfe\x00", "'utf-8' codec can't decode"),
    ],
)
def test_a_broken_curve_is_refused_in_one_line(tmp_path, content, got):
    path = tmp_path / "training_curve.csv"
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        read_curve(path)
    expected = f"{path}: expected a training curve with the columns {HEADER}; got {got}"
    assert str(error.value).startswith(expected)
    assert "\n" not in str(error.value)


def test_a_missing_curve_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no such file: .*none\.csv"):
        read_curve(tmp_path / "none.csv")


def test_norms_are_read_as_they_were_written(tmp_path):
    path = tmp_path / "norms.csv"
    assert read_norms(path) == {}, "runs of earlier versions have none"
    write_norms(path, ("grad_norm", "weight_norm"), [(50, [0.5, 12.0]), (75, [math.inf, 1e-7])])
    assert path.read_text() == "step,grad_norm,weight_norm\n50,0.5,12\n75,inf,1e-07\n"
    assert read_norms(path) == {
        50: {"grad_norm": 0.5, "weight_norm": 12.0},
        75: {"grad_norm": math.inf, "weight_norm": 1e-7},
    }
    write_norms(path, ("grad_norm", "plasticity"), [(50, [0.5, NAN])])
    assert path.read_text() == "step,grad_norm,plasticity\n50,0.5,\n"
    np.testing.assert_equal(read_norms(path), {50: {"grad_norm": 0.5, "plasticity": NAN}})
    for content in (
        b"",
        b"grad_norm\n1\n",
        b"step,grad_norm\n5\n",
        b"step,grad_norm\n5,low\n",
        b"step\nx\n",
        b"\xff\xfe",
    ):
        path.write_bytes(content)
        with pytest.raises(UserError, match=r"norms\.csv: expected norms by step; got "):
            read_norms(path)


def whole(item):
    return item


@pytest.mark.parametrize("window", [1, 7, 2**20])
@pytest.mark.parametrize(
    "content",
    [
        {
            "before": {"a": [1, [2, "]}"]]},
            "items": [{"x": [[0.5, -1e-300], [1.25, 2.0]]}, {"y": 'é\n"{[,'}],
            "after": -12,
        },
        {"items": [], "n": None, "big": str(2**60), "text": "123"},
        {"items": [str(2**60), 3, [], {}, True, "x"]},
        {"items": {"not": "a list"}, "other": [1.5, 2.5]},
        {},
    ],
)
@pytest.mark.parametrize("indent", [None, 1])
def test_item_by_item_equals_at_once(tmp_path, monkeypatch, content, indent, window):
    path = tmp_path / "x.json"
    path.write_text(json.dumps(content, indent=indent, ensure_ascii=False), encoding="utf-8")
    monkeypatch.setattr(files, "WINDOW", window)
    assert files.read_long_list(path, "items", whole) == files.read_json(path)


def test_only_what_is_kept_of_an_item_is_returned(tmp_path):
    path = tmp_path / "x.json"
    path.write_text('{"items": [{"a": 1, "b": 2}, {"a": 3}]}')
    assert files.read_long_list(path, "items", lambda item: item["a"]) == {"items": [1, 3]}


@pytest.mark.parametrize(
    "text",
    [
        '{"items": [1, 2',
        '{"items": [1,]}',
        '{"items": [1] "a": 2}',
        '{"items": [1]} x',
        '{"items": 1,}',
        "",
        "{",
    ],
)
def test_broken_documents_are_refused_in_one_line(tmp_path, text):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(UserError, match="not valid JSON") as error:
        files.read_long_list(path, "items", whole)
    assert "\n" not in str(error.value)


def test_a_document_that_is_no_object_is_read_as_it_is(tmp_path):
    path = tmp_path / "x.json"
    path.write_text("[1, 2]")
    assert files.read_long_list(path, "items", whole) == [1, 2]


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match="no such file: "):
        files.read_long_list(tmp_path / "x.json", "items", whole)
