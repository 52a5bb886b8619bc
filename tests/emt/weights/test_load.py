"""Weight files of other programs: tensors come out as torch saved them, and nothing that a file says is run."""

import argparse
import io
import os
import pathlib
import pickle
import struct
import zipfile

import pytest
import torch
from safetensors.torch import save_file

import emt
from emt import tensor_file
from emt.errors import UserError
from emt.weights.pickled import OPAQUE, read_pickle

CALLS: list[str] = []


def call(word):
    CALLS.append(word)


class Runs:
    """An object whose pickle calls a function."""

    def __reduce__(self):
        return call, ("ran",)


class Shell:
    """An object whose pickle runs a command."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(9, 5)
        self.rnn = torch.nn.GRU(5, 7)
        self.head = torch.nn.Linear(7, 3)


def lightning(network, **more):
    """Return what Lightning saves of a network, with what people put into it."""
    given = {"a": argparse.Namespace(lr=0.1, path=pathlib.Path("x")), "kind": Net, ("a", 1): {1, 2}}
    optimizer = {"state": {0: {"step": torch.tensor(1.0), "exp_avg": torch.ones(3)}}, "param_groups": []}
    about = {"epoch": 3, "pytorch-lightning_version": "2.6", "optimizer_states": [optimizer]}
    return {**about, "hyper_parameters": given, "state_dict": network.state_dict(), **more}


def equal(found, expected):
    return set(found) == set(expected) and all(
        torch.equal(found[name], value) and found[name].dtype == value.dtype
        for name, value in expected.items()
    )


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("name", ["a.pt", "a.pth", "a.bin", "a.ckpt"])
def test_a_checkpoint_gives_the_networks_tensors_whatever_else_it_holds(name, protocol, tmp_path):
    network = Net()
    torch.save(lightning(network), tmp_path / name, pickle_protocol=protocol)
    assert equal(emt.load_weights(tmp_path / name), network.state_dict())
    fresh = Net()
    fresh.load_state_dict(emt.load_weights(tmp_path / name))
    assert torch.equal(fresh.rnn.weight_hh_l0, network.rnn.weight_hh_l0)


@pytest.mark.parametrize("part", ["state_dict", "model_state_dict", "model", None])
def test_the_networks_part_is_found(part, tmp_path):
    tensors = Net().state_dict()
    other = {"optimizer": {"x": torch.ones(2)}} if part else {}
    torch.save({part: tensors, **other} if part else tensors, tmp_path / "a.pt")
    assert equal(emt.load_weights(tmp_path / "a.pt"), tensors)


def test_nested_parts_are_named_with_dots_and_a_shared_part_is_read_once(tmp_path):
    shared = {"w": torch.arange(3.0)}
    torch.save({"actor": {"net": shared}, "critic": shared}, tmp_path / "a.pt")
    assert list(emt.load_weights(tmp_path / "a.pt")) == ["actor.net.w"]


def test_types_views_and_parameters_come_out_as_they_were(tmp_path):
    base = torch.arange(12.0).view(3, 4)
    tensors = {
        "transposed": base.t()[1:],
        "part": base[1],
        "scalar": torch.tensor(3.0),
        "empty": torch.empty(0, 3),
        "parameter": torch.nn.Parameter(torch.ones(2)).data,
    }
    kinds = (
        torch.float64,
        torch.float16,
        torch.bfloat16,
        torch.int64,
        torch.int8,
        torch.bool,
        torch.complex64,
    )
    tensors |= {str(kind): torch.ones(3).to(kind) for kind in kinds}
    torch.save({**tensors, "parameter": torch.nn.Parameter(torch.ones(2))}, tmp_path / "a.pt")
    assert equal(emt.load_weights(tmp_path / "a.pt"), tensors)


def test_tensors_lie_in_aligned_memory_that_stays_when_the_file_is_gone(tmp_path):
    torch.save({"a": torch.ones(3, dtype=torch.bool), "b": torch.arange(5.0)}, tmp_path / "a.pt")
    save_file({"a": torch.ones(3, dtype=torch.bool), "b": torch.arange(5.0)}, tmp_path / "a.safetensors")
    for name in ("a.pt", "a.safetensors"):
        found = emt.load_weights(tmp_path / name)["b"]
        assert found.data_ptr() % 64 == 0
        (tmp_path / name).unlink()
        assert torch.equal(found.add_(1), torch.arange(1.0, 6.0))


def test_safetensors_of_any_type_are_read_and_a_checksum_of_ours_is_compared(tmp_path):
    tensors = {"a": torch.ones(3, dtype=torch.bfloat16), "b": torch.arange(6).view(2, 3)}
    save_file(tensors, tmp_path / "a.safetensors")
    assert equal(emt.load_weights(tmp_path / "a.safetensors"), tensors)
    content = bytearray(tensor_file.to_bytes({"a": torch.ones(3).numpy()}))
    content[-1] ^= 1
    (tmp_path / "b.safetensors").write_bytes(content)
    with pytest.raises(UserError, match="checksum does not match"):
        emt.load_weights(tmp_path / "b.safetensors")


def test_nothing_in_a_checkpoint_is_run(tmp_path):
    """The positive control: torch runs both when it is told that the file can be trusted."""
    network, ran = Net(), tmp_path / "ran"
    torch.save(lightning(network, more=[Runs(), Shell(ran)]), tmp_path / "a.ckpt")
    assert equal(emt.load_weights(tmp_path / "a.ckpt"), network.state_dict())
    assert not ran.exists()
    assert CALLS == []
    torch.load(tmp_path / "a.ckpt", weights_only=False)
    assert ran.exists()
    assert CALLS.pop() == "ran"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (pickle.dumps({"a": Runs(), "b": 1}), {"a": OPAQUE, "b": 1}),
        (b"cos\nsystem\n(S'touch ran'\ntR.", OPAQUE),
        (b"(S'touch ran'\nios\nsystem\n.", OPAQUE),
        (b"(cos\nsystem\nS'touch ran'\no.", OPAQUE),
        (b"\x80\x02cos\nsystem\nX\x09\x00\x00\x00touch ran\x85\x81.", OPAQUE),
        (b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x09touch ran\x85R.", OPAQUE),
        (b"\x80\x02\x82\x01.", OPAQUE),
        (b"\x80\x02]q\x00(K\x01K\x02e.", [1, 2]),
    ],
)
def test_an_opcode_that_calls_or_imports_stands_for_an_object_that_is_not_read(content, expected):
    assert read_pickle(content) == expected


def zipped(path, content, **members):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", content)
        for name, data in members.items():
            archive.writestr(f"x/{name.replace('__', '/')}", data)
    return path


def tensor_pickle(offset=0, shape=(2, 3), strides=(3, 1), numbers=6, kind=torch.FloatStorage, member="0"):
    """Return a pickle of {"w": tensor} with these figures."""

    class Described:
        def __reduce__(self):
            return torch._utils._rebuild_tensor_v2, (STORAGE, offset, shape, strides, False, {})

    file = io.BytesIO()
    writer = pickle.Pickler(file, protocol=2)
    writer.persistent_id = lambda o: ("storage", kind, member, "cpu", numbers) if o is STORAGE else None
    writer.dump({"w": Described()})
    return file.getvalue()


STORAGE = object()


def test_a_tensor_described_by_hand_is_read(tmp_path):
    """The control of the next test."""
    found = emt.load_weights(
        zipped(tmp_path / "a.pt", tensor_pickle(), data__0=struct.pack("<6f", *range(6)))
    )
    assert torch.equal(found["w"], torch.arange(6.0).view(2, 3))


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"offset": 1}, "within the 6 numbers"),
        ({"offset": -1}, "within the 6 numbers"),
        ({"strides": (4, 1)}, "within the 6 numbers"),
        ({"strides": (-3, 1)}, "within the 6 numbers"),
        ({"strides": (3,)}, "within the 6 numbers"),
        ({"shape": (-2, 3)}, "within the 6 numbers"),
        ({"shape": (2**40, 2**40), "strides": (0, 0)}, "within the 6 numbers"),
        ({"numbers": 7}, "expected 7 numbers of 4 bytes; got 24 bytes"),
        ({"numbers": 2**60}, "got 24 bytes"),
        ({"numbers": -6}, "got 24 bytes"),
        ({"kind": torch.DoubleStorage}, "expected 6 numbers of 8 bytes; got 24 bytes"),
        ({"kind": torch.QInt8Storage}, "got QInt8Storage"),
        ({"member": "../0"}, "the archive has none"),
        ({"shape": (2.0, 3)}, "damaged pickle"),
    ],
)
def test_a_tensor_beyond_its_storage_is_refused(changes, told, tmp_path):
    path = zipped(tmp_path / "a.pt", tensor_pickle(**changes), data__0=struct.pack("<6f", *range(6)))
    with pytest.raises(UserError, match=told) as refusal:
        emt.load_weights(path)
    assert str(refusal.value).startswith(f"{path}: ")
    assert "\n" not in str(refusal.value)


def deep(opcodes, ends, depth=100_000):
    return b"\x80\x02" + opcodes * depth + ends


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b".",
        b"\x80\x02R.",
        b"\x80\x02K\x01K\x02s.",
        b"\x80\x02h\x07.",
        b"\x80\x02e.",
        b"\x80\x02t.",
        b"\x80\x02}K\x01a",
        # Objects within each other without end, as values, as a key and as what is built.
        deep(b"(", b"t" * 100_000 + b"."),
        deep(b"]", b"a" * 99_999 + b"."),
        b"\x80\x02}" + b"N" + b"\x85" * 100_000 + b"K\x01s.",
        # A memo of two thousand million places.
        b"\x80\x02Nr\xff\xff\xff\x7f.",
        # A text and a number of two thousand million bytes.
        b"\x80\x02X\xff\xff\xff\x7fa.",
        b"\x80\x02\x8b\xff\xff\xff\x7fa.",
        b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7fa.",
        # Each list holds the one before twice: 2^60 in all.
        b"\x80\x02]q\x00" + b"".join(b"]q%c(h%ch%ce" % (i + 1, i, i) for i in range(60)) + b".",
        b"\x80\x02(X\x01\x00\x00\x00a" + b"K\x01d" + b"2" * 100_000 + b".",
    ],
)
def test_a_hostile_pickle_ends_in_one_line(content, tmp_path):
    with pytest.raises(UserError) as refusal:
        emt.load_weights(zipped(tmp_path / "a.pt", content))
    assert str(refusal.value).isprintable()


def test_dicts_that_hold_each_other_are_read_once(tmp_path):
    first, second = {}, {}
    first["b"], second["a"] = second, first
    for _ in range(60):
        first = {"x": first, "y": first}
    torch.save({**first, "w": torch.ones(2)}, tmp_path / "a.pt")
    assert list(emt.load_weights(tmp_path / "a.pt")) == ["w"]


def test_compressed_and_overlapping_members_are_refused(tmp_path):
    path = tmp_path / "a.pt"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x/data.pkl", tensor_pickle(numbers=10**7, shape=(10**7,), strides=(1,)))
        archive.writestr("x/data/0", bytes(4 * 10**7))
    with pytest.raises(UserError, match="not compressed"):
        emt.load_weights(path)
    zipped(path, tensor_pickle(), data__0=bytes(24))
    with zipfile.ZipFile(path) as archive:
        directory = archive.start_dir
    content = path.read_bytes()
    # The directory names the same place for a hundred more members.
    entries = content[directory : content.index(b"PK\x05\x06")]
    first = entries[: entries.index(b"PK\x01\x02", 4)]
    more = b"".join(first.replace(b"x/data.pkl", b"x/%08d" % i) for i in range(100))
    end = bytearray(content[content.index(b"PK\x05\x06") :])
    end[8:16] = struct.pack("<HHI", 102, 102, len(entries) + len(more))
    path.write_bytes(content[:directory] + entries + more + end)
    with pytest.raises(UserError, match="overlap"):
        emt.load_weights(path)


@pytest.mark.parametrize(
    ("save", "told"),
    [
        (
            lambda path: torch.save(Net().state_dict(), path, _use_new_zipfile_serialization=False),
            "older one",
        ),
        (lambda path: torch.save(Net(), path), "not the network"),
        (lambda path: torch.save([torch.ones(2)], path), "found none"),
        (lambda path: torch.save({"w": torch.eye(3).to_sparse()}, path), "w: expected a dense tensor"),
        (lambda path: path.write_bytes(b"PK\x03\x04" + bytes(30)), "torch.save wrote"),
        (lambda path: path.write_bytes(b""), "expected safetensors or torch's zip format"),
        (lambda path: path.write_bytes(b"hello, world"), "expected safetensors or torch's zip format"),
        (lambda path: path.mkdir(), "no such file"),
    ],
)
def test_other_files_are_refused_in_one_line(save, told, tmp_path):
    save(tmp_path / "a.pt")
    with pytest.raises(UserError, match=told) as refusal:
        emt.load_weights(tmp_path / "a.pt")
    assert str(refusal.value).isprintable()
