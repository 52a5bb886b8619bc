"""The hash of a package's source: the same wherever it is installed, another for any change."""

import shutil
from pathlib import Path

import pytest

import emt
from emt.identity import changes, code_of, source_hash

ROOT = Path(emt.__file__).parent


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """Return a function that gives the hash of a copy of the package under another name, changed as it says."""

    def hash_of(name, change):
        shutil.copytree(ROOT, tmp_path / name)
        change(tmp_path / name)
        monkeypatch.syspath_prepend(str(tmp_path))
        return source_hash(name)

    return hash_of


def compiled(folder):
    (folder / "__pycache__").mkdir(exist_ok=True)
    (folder / "__pycache__" / "new.pyc").write_bytes(b"x")
    (folder / "py.typed").unlink()
    path = folder / "streams.py"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))


def test_the_hash_is_that_of_the_source_wherever_it_is(copied):
    assert copied("same", lambda folder: None) == source_hash("emt")
    assert copied("compiled", compiled) == source_hash("emt")


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "streams.py").write_text("x = 1\n"),
        lambda folder: (folder / "ops" / "gru.py").unlink(),
        lambda folder: (folder / "ops" / "gru.py").rename(folder / "ops" / "gruu.py"),
        lambda folder: (folder / "models" / "new.py").touch(),
    ],
)
def test_any_change_changes_the_hash(copied, change):
    assert copied("changed", change) != source_hash("emt")


def test_what_was_not_recorded_is_no_change():
    now = code_of("emt", "analysis")
    assert changes({}, now) == ""
    assert (
        changes({"numpy_version": "1.0", "script": "a"}, now) == f"numpy_version 1.0 → {now['numpy_version']}"
    )
    assert now["emt_source"] != now["analysis_source"]
