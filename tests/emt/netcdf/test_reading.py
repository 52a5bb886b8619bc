"""NetCDF files are read only where every byte is as it was written, in bounded time and memory."""

import re
import struct

import h5py
import numpy as np
import pytest
import xarray as xr

from emt.errors import TraceError
from emt.netcdf import read, reading, write
from emt.netcdf.checksum import LENGTH, MARK, has_checksum
from emt.netcdf.limits import check_end, check_storage


@pytest.fixture
def data():
    values = np.random.default_rng(0).standard_normal((3, 5))
    return xr.Dataset({"hidden": (("member", "unit"), values)}, {"member": [1, 2, 4]}, {"about": "{}"})


@pytest.fixture
def path(data, tmp_path):
    write(data, tmp_path / "a.nc")
    return tmp_path / "a.nc"


@pytest.fixture
def older(data, tmp_path):
    """A file as versions without checksums wrote it."""
    (tmp_path / "older.nc").write_bytes(bytes(data.to_netcdf(engine="h5netcdf")))
    return tmp_path / "older.nc"


def load(path):
    return read(path, xr.open_dataset, "test")


def refusal(path):
    with pytest.raises(TraceError) as caught:
        load(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: expected a whole NetCDF file; got ")
    assert text.isprintable()
    return text.partition("; got ")[2]


def test_other_programs_read_a_file_with_a_checksum(data, path):
    assert has_checksum(path)
    assert xr.load_dataset(path).identical(data)
    assert xr.load_dataset(path, engine="h5netcdf").identical(data)
    assert load(path).identical(data)


def test_any_byte_that_changes_is_found_before_the_file_is_parsed(path, monkeypatch):
    whole, random = path.read_bytes(), np.random.default_rng(0)
    monkeypatch.setattr(reading, "load", lambda *_: pytest.fail("it was parsed"))
    # The mark itself stands at the end: without it the file is longer than it says.
    for place in [*random.integers(len(whole), size=100), *range(len(whole) - LENGTH, len(whole))]:
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(random.integers(8))
        path.write_bytes(damaged)
        assert re.search("its checksum differs|bytes where its superblock says", refusal(path))


def test_a_change_that_takes_the_checksum_along_is_found_by_the_length(path, monkeypatch):
    whole = path.read_bytes()
    monkeypatch.setattr(reading, "load", lambda *_: pytest.fail("it was parsed"))
    path.write_bytes(whole[:-300] + bytes(300))
    assert "bytes where its superblock says" in refusal(path)
    path.write_bytes(whole[: -LENGTH - 1])
    assert "bytes where its superblock says" in refusal(path)


def test_a_file_without_a_checksum_is_read(data, older, path):
    assert not has_checksum(older)
    assert load(older).identical(data)
    # One that was whole without its last line is the same file.
    path.write_bytes(path.read_bytes()[:-LENGTH])
    assert load(path).identical(data)


def test_every_superblock_says_where_its_file_ends(tmp_path):
    for version in ("earliest", "v108", "v110"):
        with h5py.File(tmp_path / "a.nc", "w", libver=(version, "latest")) as file:
            file["x"] = np.arange(5)
        check_end(tmp_path / "a.nc")
        with (tmp_path / "a.nc").open("ab") as file:
            file.write(b"!")
        with pytest.raises(ValueError, match="bytes where its superblock says"):
            check_end(tmp_path / "a.nc")


def test_a_library_that_comes_to_no_end_is_stopped(older, monkeypatch):
    monkeypatch.setattr(reading, "SECONDS", 1)
    monkeypatch.setattr(reading, "_TRIAL", "import resource\nresource.setrlimit(0, (1, 2))\nwhile True: pass")
    assert refusal(older) == "no end of reading after 1 s of processor time"


def test_a_library_that_crashes_does_so_elsewhere(older, monkeypatch):
    monkeypatch.setattr(reading, "_TRIAL", "import os; os.abort()")
    assert refusal(older) == "a crash of the process that read it (SIGABRT)"


def test_what_claims_more_than_it_holds_is_refused_before_it_is_allocated(tmp_path):
    with h5py.File(tmp_path / "a.nc", "w") as file:
        file.create_dataset("steps", (2**31, 2**10), "f4")
    text = f"variable '/steps' of {2**43} bytes, of which 0 are stored"
    assert refusal(tmp_path / "a.nc") == text
    with pytest.raises(ValueError, match=text):
        check_storage(tmp_path / "a.nc")
    with h5py.File(tmp_path / "b.nc", "w") as file:
        file.create_dataset("steps", (2**20,), "f4", compression="gzip")[:] = 0
    check_storage(tmp_path / "b.nc")


def test_what_lies_in_other_files_is_not_read(tmp_path):
    (tmp_path / "secret").write_bytes(bytes(8))
    with h5py.File(tmp_path / "a.nc", "w") as file:
        file.create_dataset("x", (2,), "f4", external=[(str(tmp_path / "secret"), 0, 8)])
    assert refusal(tmp_path / "a.nc") == "variable '/x' with values in another file"
    with h5py.File(tmp_path / "b.nc", "w") as file:
        file["x"] = h5py.ExternalLink("other.nc", "x")
    assert refusal(tmp_path / "b.nc") == "a link to another place: 'x'"


def test_a_variable_that_cannot_be_read_is_named(data, path, monkeypatch):
    read_values = xr.Variable.load

    def failing(variable, **options):
        if variable.dims == ("member", "unit"):
            raise KeyError("no such chunk")
        return read_values(variable, **options)

    monkeypatch.setattr(xr.Variable, "load", failing)
    assert refusal(path) == "'no such chunk' in variable 'hidden'"


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("a\nb"), OSError("x" * 1000)])
def test_every_error_of_the_libraries_is_one_short_line(path, monkeypatch, error):
    def failing(*_, **__):
        raise error

    failing.__name__ = "open_dataset"
    with pytest.raises(TraceError) as caught:
        read(path, failing, "test")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < len(str(path)) + 400


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(TraceError, match=re.escape(f"no such file: {tmp_path / 'a.nc'} (test)")):
        load(tmp_path / "a.nc")
    with pytest.raises(TraceError, match=re.escape(f"{tmp_path}: expected a file (test); it is none")):
        load(tmp_path)
    (tmp_path / "a.nc").touch()
    assert refusal(tmp_path / "a.nc") == "no HDF5 signature at its start"
    (tmp_path / "a.nc").write_bytes(b"\x89HDF\r\n\x1a\n" + struct.pack("B", 9) + bytes(99))
    assert refusal(tmp_path / "a.nc") == "a superblock of 64 bytes and version 9"


def test_the_last_line_is_the_hash_of_all_before_it(path):
    import hashlib

    content = path.read_bytes()
    expected = hashlib.sha256(content[:-LENGTH]).hexdigest().encode()
    assert content[-LENGTH:] == MARK + expected + b"\n"
