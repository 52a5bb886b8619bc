"""Arrays of npz files."""

import io
import zipfile

import numpy as np
import pytest

from emt.npz import read_npz

ARRAYS = {
    "values": np.random.default_rng(0).standard_normal((3000, 5)),
    "turned": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "K": np.int64(4),
    "names": np.array(["a", "bc"]),
    "none": np.zeros((0, 2)),
}


@pytest.fixture(params=[np.savez, np.savez_compressed])
def path(request, tmp_path):
    request.param(tmp_path / "a.npz", **ARRAYS)
    return tmp_path / "a.npz"


def write(path, **members):
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)


def npy(array, **changes):
    """Return the content of an npy file, with other text in its header."""
    stream = io.BytesIO()
    np.save(stream, array)
    content = stream.getvalue()
    for old, new in changes.values():
        assert old in content
        content = content.replace(old, new.ljust(len(old)))
    return content


def test_it_reads_what_numpy_does(path):
    found, expected = read_npz(path), np.load(path)
    assert list(found) == list(expected)
    for name, array in found.items():
        assert (array.dtype, array.shape) == (expected[name].dtype, expected[name].shape)
        assert (array == expected[name]).all()
        assert array.flags.writeable


def test_a_header_that_hides_the_checksum_is_refused(tmp_path):
    # numpy reads fewer rows and compares no checksum, since that of an array stands behind its last row.
    path = tmp_path / "a.npz"
    np.savez(path, **ARRAYS)
    path.write_bytes(path.read_bytes().replace(b"(3000, 5)", b"(2000, 5)"))
    assert np.load(path)["values"].shape == (2000, 5)
    with pytest.raises(ValueError, match=r"^Bad CRC-32 for file 'values.npy'$"):
        read_npz(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (npy(np.arange(3), a=(b"(3,)", b"(2**30,)")), "malformed|Cannot parse"),
        (npy(np.arange(300), a=(b"(300,)", b"(999,)")), "a.npy with 7992 bytes of int64; it holds 2400"),
        (npy(np.array([None]), a=(b"|O", b"|O")), r"a.npy with 8 bytes of object; it holds \d+"),
        (b"", "magic string"),
        (npy(np.arange(3)).replace(b"NUMPY\x01", b"NUMPY\x09"), r"a.npy of format version \(9, 0\)|version"),
    ],
)
def test_what_an_array_claims_is_compared_with_what_it_holds(tmp_path, content, message):
    write(tmp_path / "a.npz", a=content)
    with pytest.raises(ValueError, match=message) as caught:
        read_npz(tmp_path / "a.npz")
    assert "\n" not in str(caught.value)


def test_what_is_no_npz_is_refused(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"text")
    with pytest.raises(ValueError, match=r"^File is not a zip file$"):
        read_npz(tmp_path / "a.npz")
    with pytest.raises(FileNotFoundError):
        read_npz(tmp_path / "b.npz")
