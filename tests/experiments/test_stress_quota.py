"""A quota that is used up refuses each kind of call that writes, and costs no file that was whole."""

import os
from functools import partial

import pytest
import xarray as xr

from emt import files, locks, netcdf
from experiments.stress.outcome import Attack, Outcome, try_each
from experiments.stress.quota import use_up_quota
from experiments.stress.results import left_over

CALLS = {
    "file": lambda folder: (folder / "new").write_text("a"),
    "no file that is there": lambda folder: (folder / "old").open().close(),
    "folder": lambda folder: (folder / "new").mkdir(),
    "name": lambda folder: (folder / "old").rename(folder / "new"),
    "name in place of another": lambda folder: (folder / "old").replace(folder / "new"),
    "link": lambda folder: os.link(folder / "old", folder / "new"),
    "symbolic link": lambda folder: (folder / "new").symlink_to("old"),
    "flush": lambda folder: os.fsync(os.open(folder / "old", os.O_RDWR)),
    "content": lambda folder: os.fdopen(os.open(folder / "old", os.O_RDWR), "w+b").write(b"a" * 10**5),
    "content at a place": lambda folder: os.pwrite(os.open(folder / "old", os.O_RDWR), b"a", 0),
}
FREE = ("no file that is there",)


def trial(work):
    """Do it in a child: a quota stays used up."""
    [found] = try_each([Attack("quota", work)], 60.0)
    return found


def use(call, folder, quota_of):
    use_up_quota(quota_of, 0)
    call(folder)
    return Outcome.SAME


@pytest.mark.parametrize("name", CALLS)
def test_each_kind_of_call_is_refused_below_the_folder_alone(name, tmp_path):
    for quota_of in ("here", "elsewhere"):
        folder = tmp_path / quota_of
        folder.mkdir()
        (folder / "old").write_text("old")
        found = trial(partial(use, CALLS[name], folder, tmp_path / "here"))
        refused = quota_of == "here" and name not in FREE
        assert found.outcome == (Outcome.CLEAR if refused else Outcome.SAME), found.text
        assert ("the disk quota is used up" in found.text) == refused
        assert not refused or os.listdir(folder) == ["old"]


def write_dataset(folder):
    netcdf.write(xr.Dataset({"x": ("y", [1.0, 2.0])}), folder / "new" / "a")


def write_locked(folder):
    with locks.writing_into(folder / "new"):
        files.write_text(folder / "new" / "a", "new")


WRITERS = {
    "bytes": lambda folder: files.write_bytes(folder / "new" / "a", b"new" * 10**5),
    "table of values": lambda folder: files.write_json(folder / "new" / "a", {"a": [1.5]}),
    "recorded run": write_dataset,
    "in a locked folder": write_locked,
}


def write(writer, folder, calls):
    use_up_quota(folder, calls)
    writer(folder)
    return Outcome.SAME


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_is_whole_or_not_there_whichever_call_is_refused(name, tmp_path):
    outcomes = []
    WRITERS[name](tmp_path)
    expected = (tmp_path / "new" / "a").read_bytes()
    for calls in range(20):
        folder = tmp_path / f"{calls}"
        folder.mkdir()
        found = trial(partial(write, WRITERS[name], folder, calls))
        outcomes.append(found.outcome)
        path = folder / "new" / "a"
        assert found.outcome in (Outcome.CLEAR, Outcome.SAME), found.text
        assert found.outcome == Outcome.SAME or found.text.startswith(str(folder)), (
            "the message names the file"
        )
        assert path.read_bytes() == expected if found.outcome == Outcome.SAME else not path.exists()
        assert left_over(folder) == []
    # Every call up to the last is refused once.
    assert outcomes == sorted(outcomes, key=[Outcome.CLEAR, Outcome.SAME].index)
    assert outcomes.count(Outcome.CLEAR) >= 4
    assert outcomes.count(Outcome.SAME) > 0
