"""Locks of folders, and what killed writers leave in them."""

import errno
import os
import subprocess
import sys

import pytest

from emt import files, locks
from emt.errors import UserError


def test_a_second_holder_is_refused_by_name(tmp_path):
    path = tmp_path / "population" / "lock"
    with (
        locks.lock(path),
        pytest.raises(UserError, match=rf"population: in use by process {os.getpid()} on "),
        locks.lock(path),
    ):
        pass
    with locks.lock(path):
        pass


def test_a_file_system_without_locks_is_refused_in_one_line(tmp_path, monkeypatch):
    def flock(_file, _operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(locks.fcntl, "flock", flock)
    refusal = rf"{tmp_path}: expected a file system with file locks \(flock\), .*; got 'No locks available'"
    with pytest.raises(UserError, match=refusal), locks.lock(tmp_path / "lock"):
        pass


def test_the_lock_of_a_killed_process_is_free(tmp_path):
    code = (
        "import sys; from pathlib import Path; from emt import locks\n"
        "with locks.lock(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    path = tmp_path / "lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", code, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=f"in use by process {holder.pid} on "), locks.lock(path):
            pass
        holder.kill()
        holder.wait()
        with locks.lock(path):
            pass


def test_the_holder_is_named_with_its_command_in_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train", "--experiment_name", "a\nb\x1b[2J", "x" * 999])
    with (
        locks.lock(tmp_path / "lock"),
        pytest.raises(UserError, match=r"process \d+ on \S+: train --experiment_name 'a\\nb\\x1b\[2J' x+…$"),
        locks.lock(tmp_path / "lock"),
    ):
        pass


def test_nothing_stays_of_a_lock_and_of_a_folder_made_for_it(tmp_path):
    folder = tmp_path / "a" / "b"
    with pytest.raises(UserError, match="no such"), locks.writing_into(folder):
        raise UserError("no such option")
    assert os.listdir(tmp_path) == []
    with locks.writing_into(folder):
        files.write_text(folder / "table.csv", "x\n")
    assert os.listdir(folder) == ["table.csv"]


def test_the_last_of_several_sharers_deletes_the_file(tmp_path):
    path = tmp_path / "lock"
    with locks.lock(path, shared=True):
        with locks.lock(path, shared=True):
            pass
        assert "several processes, the latest process" in path.read_text()
        with pytest.raises(UserError, match="in use by several processes"), locks.lock(path):
            pass
    assert not path.exists()


def test_a_lock_that_was_deleted_in_the_meantime_is_none(tmp_path, monkeypatch):
    path, flock, deleted = tmp_path / "lock", locks.fcntl.flock, []

    def slow(file, operation):
        if not deleted:
            deleted.append(path.unlink())
        return flock(file, operation)

    monkeypatch.setattr(locks.fcntl, "flock", slow)
    with locks.lock(path):
        assert path.exists()


def test_a_link_is_no_lock_and_its_target_stays(tmp_path):
    (tmp_path / "thesis.tex").write_text("all of it")
    (tmp_path / "lock").symlink_to(tmp_path / "thesis.tex")
    with (
        pytest.raises(UserError, match="expected a plain file, a lock; got a link"),
        locks.lock(tmp_path / "lock"),
    ):
        pass
    assert (tmp_path / "thesis.tex").read_text() == "all of it"


def test_leftovers_of_dead_writers_go_and_all_else_stays(tmp_path):
    code = (
        "import os, signal, sys; from pathlib import Path; from emt import files\n"
        "with files.writing(Path(sys.argv[1])) as file: os.kill(os.getpid(), signal.SIGKILL)"
    )
    target = tmp_path / "model-1" / "weights.safetensors"
    subprocess.run([sys.executable, "-c", code, str(target)], check=False)
    [left] = target.parent.iterdir()
    others = [".thesis.tex", ".thesis.tex.12345678.tmp", "x.12345678.emt-tmp", "weights.safetensors"]
    for name in others:
        (target.parent / name).write_text("mine")
    (target.parent / ".a.12345678.emt-tmp").symlink_to(target)
    (target.parent / ".b.12345678.emt-tmp").mkdir()
    kept = {*others, ".a.12345678.emt-tmp", ".b.12345678.emt-tmp"}
    with files.writing(target.parent / "state") as file:
        with locks.writing_into(tmp_path):
            assert len(list(target.parent.iterdir())) == len(kept) + 1
        file.write(b"whole")
    assert not left.exists()
    assert {path.name for path in target.parent.iterdir()} == kept | {"state"}
    assert (target.parent / "state").read_bytes() == b"whole"


def test_a_writer_whose_file_is_taken_for_a_leftover_takes_another(tmp_path, monkeypatch):
    flock, removed = files.fcntl.flock, []

    def slow(file, operation):
        if not removed:
            removed.append(True)
            monkeypatch.setattr(files.fcntl, "flock", flock)
            assert len(locks.remove_leftovers(tmp_path)) == 1
        return flock(file, operation)

    monkeypatch.setattr(files.fcntl, "flock", slow)
    files.write_text(tmp_path / "a.txt", "whole")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert removed


def test_a_new_file_never_takes_another_s_place(tmp_path):
    files.write_text(tmp_path / "a", "first")
    with pytest.raises(FileExistsError), files.writing(tmp_path / "a", new=True) as file:
        file.write(b"second")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a", "first")]


def test_who_lost_its_folder_deletes_no_lock_of_another(tmp_path):
    with locks.lock(tmp_path / "lock"):
        (tmp_path / "lock").unlink()
        with locks.lock(tmp_path / "other"):
            (tmp_path / "other").rename(tmp_path / "lock")
    assert (tmp_path / "lock").exists()
