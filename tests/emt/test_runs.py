"""Files of a run directory: whole or absent, refused by name where they are broken."""

import errno
import json
import os
import pickle
import signal
import subprocess
import sys

import numpy as np
import pytest

from emt import files, runs
from emt.errors import UserError

WEIGHTS = {
    "rnn.weight_hh_l0": np.arange(49, dtype=np.float32).reshape(7, 7),
    "readout.weight": np.arange(42, dtype=np.float32).reshape(6, 7),
}


@pytest.fixture
def member(tmp_path):
    folder = tmp_path / "model-3"
    runs.write_weights(folder, WEIGHTS, {"step": 5, "status": "finished"})
    return folder


def visible(folder):
    return sorted(p.name for p in folder.iterdir() if not p.name.startswith("."))


# Writing


def test_a_file_is_replaced_in_one_piece_with_ordinary_permissions(tmp_path):
    path = tmp_path / "new" / "folder" / "file.txt"
    files.write_text(path, "first")
    files.write_text(path, "sécond")
    assert path.read_bytes() == "sécond".encode()
    assert os.listdir(path.parent) == ["file.txt"]
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("step", ["fsync", "chmod", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path, monkeypatch, step):
    path = tmp_path / "file.txt"
    files.write_text(path, "old")

    def fail(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(f"emt.runs.os.{step}", fail)
        with pytest.raises(OSError, match=r"No space left on device.*file\.txt"):
            files.write_text(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file.txt"]


def test_a_killed_write_leaves_nothing_under_the_final_name(tmp_path):
    code = (
        "import os, signal, sys; from pathlib import Path; from emt import files\n"
        "os.replace = os.fsync = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "files.write_bytes(Path(sys.argv[1]), b'x' * 10**6)"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "weights"], check=False)
    assert done.returncode == -signal.SIGKILL
    assert visible(tmp_path) == []
    assert len(os.listdir(tmp_path)) == 1, "the write was killed before it began"


def test_the_disk_is_named_when_it_is_full():
    full = OSError(errno.ENOSPC, "No space left on device", "/runs/a/config.json")
    said = "/runs/a/config.json: no space left on the disk; free some and rerun the same command"
    assert files.explain_os_error(full) == said
    quota = OSError(errno.EDQUOT, "Disk quota exceeded", "x")
    assert files.explain_os_error(quota).startswith("x: the disk quota is used up; free some of it")
    nameless = OSError(errno.ENOSPC, "No space left on device")
    assert files.explain_os_error(nameless).startswith("standard output or a temporary file: no space left")
    assert (
        files.explain_os_error(PermissionError(errno.EACCES, "Permission denied", "x"))
        == "x: permission denied"
    )


# JSON


def test_json_survives_its_file(tmp_path):
    path = tmp_path / "file.json"
    content = {
        "text": 'a "[b]" \n [ 1,\n 2 ] é',
        "exact": [2**53, -(2**53), 0],
        "large": [2**53 + 1, -(2**63), 9241421688590303745],
        "digits": "0000000000000000012",
        "nested": {"1": [[0.1, 1e-300], []], "none": None, "yes": True},
    }
    files.write_json(path, content)
    assert files.read_json(path) == content
    files.write_json(path, content, indent=None)
    assert files.read_json(path) == content


def test_large_integers_are_text_in_the_file_and_read_either_way(tmp_path):
    path = tmp_path / "file.json"
    files.write_json(path, [2**53, 2**53 + 1, -(2**53) - 1])
    assert json.loads(path.read_text()) == [2**53, "9007199254740993", "-9007199254740993"]
    path.write_text('[9007199254740993, "9007199254740993", "9007199254740992", "12"]')
    assert files.read_json(path) == [2**53 + 1, 2**53 + 1, "9007199254740992", "12"]


def test_arrays_become_lists_and_numbers_that_are_not_finite_null(tmp_path):
    path = tmp_path / "file.json"
    files.write_json(
        path,
        {
            "floats": np.array([0.5, np.nan, np.inf, -np.inf]),
            "plain": (float("nan"), float("-inf")),
            "complex": np.array([1 + 2j, complex(np.nan, 3)]),
            "scalar": np.float32(0.25),
            "big": np.array([2**63 - 1]),
            "flag": np.bool_(True),
            "path": path.relative_to(tmp_path),
            3: 1,
        },
    )
    assert json.loads(path.read_text(), parse_constant=pytest.fail) == {
        "floats": [0.5, None, None, None],
        "plain": [None, None],
        "complex": [[1, 2], [None, 3]],
        "scalar": 0.25,
        "big": [str(2**63 - 1)],
        "flag": True,
        "path": "file.json",
        "3": 1,
    }


def test_innermost_lists_stand_on_one_line(tmp_path):
    path = tmp_path / "file.json"
    files.write_json(path, {"values": [[1, 2], [3, 4]]})
    assert [line.split() for line in path.read_text().splitlines()][2] == ["[", "1,", "2", "],"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b'{"a": [1, 2',
        b'{"a": 1} trailing',
        b"\xff\xfe\x00",
        b"9" * 5000,
        b'"' + b"9" * 5000 + b'"',
        b"[" * 10**5,
    ],
)
def test_broken_json_is_refused_by_path(tmp_path, content):
    path = tmp_path / "file.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"file\.json: not valid JSON: ") as caught:
        files.read_json(path)
    assert "\n" not in str(caught.value)


def test_missing_json_is_refused_by_path(tmp_path):
    with pytest.raises(UserError, match=r"no such file: .*file\.json"):
        files.read_json(tmp_path / "file.json")


# Weights


def test_weights_survive_their_file(member):
    weights, marker = runs.read_weights(member)
    assert weights.keys() == WEIGHTS.keys()
    for name, value in WEIGHTS.items():
        np.testing.assert_array_equal(weights[name], value)
    content = (member / "checkpoint" / "weights.safetensors").read_bytes()
    assert marker == {"sha256": files.sha256(content), "step": 5, "status": "finished"}
    assert runs.is_done(member.parent, 3)


def test_equal_weights_are_equal_bytes(member, tmp_path):
    again = {name: value.copy() for name, value in reversed(WEIGHTS.items())}
    runs.write_weights(tmp_path / "model-4", again, {})
    paths = [folder / "checkpoint" / "weights.safetensors" for folder in (member, tmp_path / "model-4")]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_the_marker_is_written_last(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(runs, "write_json", fail)
    with pytest.raises(OSError, match="full"):
        runs.write_weights(tmp_path / "model-1", WEIGHTS, {})
    assert not runs.is_done(tmp_path, 1)
    with pytest.raises(UserError, match=r"model-1: expected a finished model; .*done\.json does not exist"):
        runs.read_weights(tmp_path / "model-1")


def damage(kind, folder):
    weights, marker = folder / "checkpoint" / "weights.safetensors", folder / "checkpoint" / "done.json"
    content = weights.read_bytes()
    if kind == "truncated":
        weights.write_bytes(content[:-1])
    elif kind == "changed":
        weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif kind == "absent":
        weights.unlink()
    elif kind == "not safetensors":
        weights.write_bytes(b"text")
        files.write_json(marker, {"sha256": files.sha256(b"text")})
    elif kind == "no marker":
        marker.unlink()
    elif kind == "half a marker":
        marker.write_text('{"sha256": "')
    elif kind == "no object":
        marker.write_text("[]")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("truncated", r"model-3: .*weights\.safetensors is truncated or changed"),
        ("changed", r"model-3: .*weights\.safetensors is truncated or changed"),
        ("absent", r"model-3: expected a whole weight file .*weights\.safetensors"),
        ("not safetensors", r"model-3: expected a whole weight file .*weights\.safetensors"),
        ("no marker", r"model-3: expected a finished model"),
        ("half a marker", r"model-3.*done\.json: not valid JSON"),
        ("no object", r"model-3.*done\.json: expected an object; got \[\]"),
    ],
)
def test_damaged_members_are_refused_by_name(member, kind, message):
    damage(kind, member)
    with pytest.raises(UserError, match=message) as caught:
        runs.read_weights(member)
    assert "\n" not in str(caught.value)
    assert not runs.is_done(member.parent, 3)


def test_nothing_is_unpickled(member, tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "executed"),)

    content = pickle.dumps(Bomb())
    (member / "checkpoint" / "weights.safetensors").write_bytes(content)
    files.write_json(member / "checkpoint" / "done.json", {"sha256": files.sha256(content)})
    with pytest.raises(UserError, match="model-3"):
        runs.read_weights(member)
    assert not (tmp_path / "executed").exists()


# Folders


def test_models_sort_by_number(tmp_path):
    for number in (10, 2, 1):
        (tmp_path / f"model-{number}").mkdir()
    (tmp_path / "model-3").touch()
    folders = runs.model_folders(tmp_path)
    assert [f.name for f in folders] == ["model-1", "model-2", "model-10"]
    assert [runs.model_number(f) for f in folders] == [1, 2, 10]
    assert [f.name for f in runs.model_folders(tmp_path, "model-1*")] == ["model-1", "model-10"]


def test_any_names_can_be_sorted():
    names = ["model-10", "1²", "2", "b", "model-2", "10", "a1b10", "a1b9"]
    assert sorted(names, key=runs.sort_key) == ["1²", "2", "10", "a1b9", "a1b10", "b", "model-2", "model-10"]


@pytest.mark.parametrize("pattern", ["../*", "a/b", "", "/etc/*", "nothing-*", ".."])
def test_patterns_stay_inside_the_experiment(tmp_path, pattern):
    (tmp_path / "model-1").mkdir()
    with pytest.raises(UserError, match=r"pattern: (must be a pattern|expected folders)"):
        runs.model_folders(tmp_path, pattern)


@pytest.mark.parametrize("name", ["model-0", "model-01", "model-", "model-1-2", "population"])
def test_only_numbered_folders_are_models(tmp_path, name):
    with pytest.raises(UserError, match="folder: expected folders named model-<number>"):
        runs.model_number(tmp_path / name)


def test_paths_are_looked_up_here_and_in_the_experiment_folder(tmp_path, monkeypatch):
    here, there = tmp_path / "here", tmp_path / "there"
    (there / "run").mkdir(parents=True)
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("EXPERIMENT_OUTPUT_DIR", str(there))
    assert runs.find("run", "models_dir") == there / "run"
    (here / "run").mkdir()
    assert runs.find("run", "models_dir").resolve() == here / "run"
    assert runs.find(there / "run", "models_dir") == there / "run"
    with pytest.raises(UserError, match=r"models_dir: no such file: other \(also tried .*there/other\)"):
        runs.find("other", "models_dir")
    monkeypatch.delenv("EXPERIMENT_OUTPUT_DIR")
    assert runs.default_folder().resolve() == here


# Summaries


def test_a_summary_is_read_from_its_folder_and_sorted(tmp_path):
    metrics = [{"model_name": f"model-{n}"} for n in (10, 2, 1)]
    files.write_json(tmp_path / "evaluation_summary.json", {"metrics": metrics})
    for path in (tmp_path, tmp_path / "evaluation_summary.json"):
        assert [m["model_name"] for m in runs.read_summary(path)["metrics"]] == [
            "model-1",
            "model-2",
            "model-10",
        ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"metrics": []}, "expected at least one evaluated model; the population is empty"),
        ({"metrics": {"model-1": {}}}, "expected an evaluation summary with a list 'metrics'; found none"),
        ([1], "expected an evaluation summary with a list 'metrics'; found none"),
        ({"metrics": [{"model_name": "a"}, {}]}, r"expected a 'model_name' in metrics\[1\]; found none"),
        ({"metrics": [{"model_name": 5}]}, r"expected a 'model_name' in metrics\[0\]; found none"),
        ({"metrics": ["model-1"]}, r"expected a 'model_name' in metrics\[0\]; found none"),
    ],
)
def test_what_is_no_summary_is_refused_by_path(tmp_path, content, message):
    path = tmp_path / "evaluation_summary.json"
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=rf"evaluation_summary\.json: {message}"):
        runs.read_summary(path)


def test_a_summary_that_holds_a_model_twice_is_refused_by_its_name(tmp_path):
    path = tmp_path / "evaluation_summary.json"
    names = ["model-2", "model-1", "model-3", "model-1", "model-3", "model-3"]
    files.write_json(path, {"metrics": [{"model_name": name} for name in names]})
    with pytest.raises(
        UserError, match=r"expected each model once; got model-1 \(2 times\), model-3 \(3 times\)"
    ):
        runs.read_summary(path)
    files.write_json(path, {"metrics": [{"model_name": name} for name in names[:3]]})
    assert len(runs.read_summary(path)["metrics"]) == 3


def test_a_compact_summary_holds_the_same_spectra_as_arrays(tmp_path):
    pairs = [[1.0, -0.0], [0.25, 1e-300], [-3.5, 2.0]]
    entry = {"model_name": "model-1", "eigenvalues_rnn_seq8": pairs, "eigenvalues_theory_seq8": []}
    files.write_json(
        tmp_path / "evaluation_summary.json", {"metrics": [entry, {"model_name": "model-0"}], "n_models": 2}
    )
    compact, plain = (runs.read_summary(tmp_path, compact=c) for c in (True, False))
    array = compact["metrics"][1].pop("eigenvalues_rnn_seq8")
    assert array.dtype == float
    assert array.tolist() == plain["metrics"][1].pop("eigenvalues_rnn_seq8") == pairs
    assert np.signbit(array[0, 1])
    assert compact == plain
