"""The schema of a trace, and its file."""

import json
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

from emt import trace
from emt.trace import MEMBER_TIME, TraceError

SIZES = {
    "member": 2,
    "batch": 3,
    "time": 5,
    "channel": 4,
    "target": 6,
    "output": 6,
    "unit": 7,
    "key": 8,
    "value": 9,
    "read": 1,
    "factor": 10,
    "window": 12,
}
FACTORED = ("write_key", "read_query")


def array(dims, kind="f"):
    random = np.random.default_rng(0)
    shape = [SIZES[d] for d in dims]
    values = random.standard_normal(shape).astype(np.float32)
    return (dims, values if kind == "f" else random.integers(-1, 9, shape))


def root(**changes):
    variables = {name: array(dims) for name, dims in {**trace.REQUIRED, **trace.RECORDED}.items()}
    variables |= {event: array(("batch", "time"), "i") for event in trace.EVENTS}
    variables |= {"cell": array((*MEMBER_TIME, "unit")), "operator": array(("window", "target"))}
    return {name: value for name, value in (variables | changes).items() if value is not None}


def memory(factor=False, **changes):
    variables = {}
    for name, dims in trace.MEMORY.items():
        variables[name] = array((*dims[:-1], "factor", dims[-1]) if factor and name in FACTORED else dims)
    return {name: value for name, value in (variables | changes).items() if value is not None}


def make(variables=None, memories=None, **changes):
    about = {
        "model": {"type": "x"},
        "seeds": [3000, 10000],
        "memories": {key: {} for key in memories or ()},
        **changes,
    }
    return trace.make(variables or root(), [4, 11], about, memories)


@pytest.mark.parametrize("memories", [None, {"fast": memory(), "slow": memory(factor=True)}])
def test_a_trace_survives_its_file(tmp_path, memories):
    tree = make(memories=memories)
    tree["hidden"][0, 0, 0, 0] = np.nan
    path = tmp_path / "traces" / "seq3.nc"
    trace.save(tree, path)
    loaded = trace.load(path)
    xr.testing.assert_identical(loaded, tree)
    assert {n: v.dtype for n, v in loaded.data_vars.items()} == {
        n: v.dtype for n, v in tree.data_vars.items()
    }
    assert trace.about(loaded) == trace.about(tree)
    assert trace.about(loaded).seeds == (3000, 10000)
    assert trace.label(loaded) == "x"
    assert trace.member_names(loaded) == ("model-4", "model-11")
    assert loaded["member"].values.tolist() == [4, 11]
    assert set(trace.memories(loaded)) == set(memories or {})
    assert [p.name for p in path.parent.iterdir()] == ["seq3.nc"]
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_loaded_trace_needs_its_file_no_more(tmp_path):
    trace.save(make(), tmp_path / "a.nc")
    loaded = trace.load(tmp_path / "a.nc")
    (tmp_path / "a.nc").unlink()
    assert np.isfinite(loaded["hidden"].values).all()


@pytest.mark.parametrize("name", [*trace.REQUIRED, *trace.RECORDED])
def test_every_variable_of_the_root_is_needed(name):
    with pytest.raises(TraceError, match=rf"trace: expected the variable '{name}'; found .*operator"):
        make(root(**{name: None}))


@pytest.mark.parametrize("name", [*(e for e in trace.EVENTS[1:] if e != "written"), "cell", "operator"])
def test_other_variables_may_be_absent(name):
    assert set(make().variables) - set(make(root(**{name: None})).variables) == {name}


@pytest.mark.parametrize("name", root())
def test_wrong_axes_are_refused_by_name(name):
    dims, values = root()[name]
    with pytest.raises(
        TraceError, match=rf"trace: expected '{name}' with axes \(.* got \('{dims[1]}', '{dims[0]}'"
    ):
        make(root(**{name: ((dims[1], dims[0], *dims[2:]), values.swapaxes(0, 1))}))


@pytest.mark.parametrize("name", trace.MEMORY)
def test_a_memory_is_whole_and_its_axes_right(name):
    with pytest.raises(TraceError, match=rf"memory/fast: expected the variable '{name}'"):
        make(memories={"fast": memory(**{name: None})})
    dims, values = memory()[name]
    with pytest.raises(
        TraceError, match=rf"memory/fast: expected '{name}' with axes .*; got \('member', 'time'"
    ):
        make(
            memories={
                "fast": memory(**{name: (("member", "time", "batch", *dims[3:]), values.swapaxes(1, 2))})
            }
        )


@pytest.mark.parametrize("name", ["inputs", "targets", "phase"])
def test_what_a_model_changes_itself_may_differ_between_members(name):
    dims, values = root()[name]
    made = make(root(**{name: (("member", *dims), np.stack([values, values]))}))
    assert made[name].dims == ("member", *dims)
    with pytest.raises(TraceError, match=f"expected '{name}' with axes"):
        make(root(**{name: ((*dims, "member"), np.stack([values, values], axis=-1))}))


def test_outputs_always_have_a_member_axis():
    dims, values = root()["outputs"]
    with pytest.raises(TraceError, match="expected 'outputs' with axes"):
        make(root(outputs=(dims[1:], values[0])))


def test_variables_hold_numbers():
    with pytest.raises(TraceError, match="expected numbers in 'phase'; got "):
        make(root(phase=(("batch", "time"), np.full((3, 5), "input"))))


@pytest.mark.parametrize("text", [None, "text", "[1]", "{}", 5])
def test_a_trace_says_what_it_is_of(text):
    tree = make()
    tree.attrs = {} if text is None else {"about": text}
    with pytest.raises(
        TraceError, match="here: expected an attribute 'about' with a format version; found none"
    ):
        trace.check(tree, "here")


def test_what_a_trace_is_of_has_defaults_and_may_say_more():
    tree = make()
    tree.attrs["about"] = json.dumps({"format_version": 1, "adopted": {"by": "hand"}})
    trace.check(tree)
    about = trace.about(tree)
    assert (about.model, about.seeds, about.accuracy, about.states) == ({}, (), None, ("hidden",))
    assert about.adopted == {"by": "hand"}
    assert trace.label(tree) == "recording"
    with pytest.raises(ValueError, match="frozen"):
        about.length = 3


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"accuracy": "rank"}, "about: accuracy: must be 'sign' or 'argmax'; got 'rank'"),
        ({"seeds": "7"}, "about: seeds: must be a valid array; got '7'"),
        ({"seeds": [7]}, "about: seeds: expected one for each of 2 members; got 1"),
        (
            {"states": ["hidden", "gate"]},
            "about: states: expected variables of the trace; there is no 'gate'",
        ),
        ({"memories": {"slow": {}}}, r"about: memories: expected the rule of 'fast'; got \['slow'\]"),
    ],
)
def test_what_a_trace_says_of_itself_must_hold(wrong, message):
    rules = {"memories": {"fast": {}}}
    make(memories={"fast": memory()}, states=["hidden", "cell"], accuracy="argmax")
    with pytest.raises(TraceError, match=f"^trace: {message}$"):
        trace.make(root(), [4, 11], wrong if "memories" in wrong else wrong | rules, {"fast": memory()})


def test_a_linear_task_says_what_is_written_when():
    make(root(written=None, operator=None))
    with pytest.raises(TraceError, match=r"^trace: expected the event 'written' beside 'operator'"):
        make(root(written=None))


def test_other_versions_are_refused():
    tree = make()
    tree.attrs["about"] = json.dumps({"format_version": 3})
    with pytest.raises(TraceError, match="expected format version 2; got 3"):
        trace.check(tree)


def test_what_is_no_trace_is_not_saved(tmp_path):
    tree = make().drop_nodes([])
    del tree["hidden"]
    with pytest.raises(TraceError, match="'hidden'"):
        trace.save(tree, tmp_path / "a.nc")
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "a.nc"
    trace.save(make(), path)
    before = path.read_bytes()

    def fail(*_, **__):
        raise OSError("full")

    monkeypatch.setattr(xr.DataTree, "to_netcdf", fail)
    with pytest.raises(OSError, match="full"):
        trace.save(make(), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


BOTH = {"fast": memory(), "slow": memory(factor=True)}


def split(tree):
    """Return the trace of each member alone, as it would have been recorded."""
    alone = []
    for position, seed in enumerate(trace.about(tree).seeds):
        piece = tree.map_over_datasets(
            lambda node, at=position: node.isel(member=[at]) if "member" in node.dims else node
        )
        piece.attrs["about"] = json.dumps(json.loads(tree.attrs["about"]) | {"seeds": [seed]})
        alone.append(piece)
    return alone


@pytest.mark.parametrize("memories", [None, BOTH])
def test_a_trace_written_member_by_member_has_the_bytes_of_the_whole(tmp_path, memories):
    tree = make(memories=memories)
    trace.save(tree, tmp_path / "whole.nc")
    trace.save_members(iter(split(tree)), [4, 11], [3000, 10000], tmp_path / "pieces.nc")
    assert (tmp_path / "pieces.nc").read_bytes() == (tmp_path / "whole.nc").read_bytes()
    # Control: other numbers make other bytes.
    first, second = split(tree)
    second["hidden"][0, 0, 0, 0] += 1
    trace.save_members([first, second], [4, 11], [3000, 10000], tmp_path / "pieces.nc")
    assert (tmp_path / "pieces.nc").read_bytes() != (tmp_path / "whole.nc").read_bytes()
    assert (tmp_path / "pieces.nc").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(("order", "got"), [([1, 0], r"\[11\]"), ([0], r"\[4\]"), ([0, 0], r"\[4, 4\]")])
def test_pieces_of_other_members_are_refused_and_leave_no_file(tmp_path, order, got):
    pieces = [split(make())[at] for at in order]
    with pytest.raises(TraceError, match=rf"expected the members \[4, 11\].*; got {got}"):
        trace.save_members(pieces, [4, 11], [3000, 10000], tmp_path / "a.nc")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_disk_that_fills_up_while_members_are_written_is_an_error_of_the_disk(tmp_path, share):
    # The kernel refuses to write beyond a file's limit as it does on a full disk; in a process of its own, since the
    # HDF5 library that is told of it ends the process, at the latest when it ends anyway.
    tree = make(memories=BOTH)
    trace.save(tree, tmp_path / "whole.nc")
    size = int(share * (tmp_path / "whole.nc").stat().st_size)
    for number, piece in zip((4, 11), split(tree), strict=True):
        trace.save(piece, tmp_path / f"piece-{number}.nc")
    (tmp_path / "pieces.nc").write_bytes(b"old")
    program = f"""
import resource, signal
from pathlib import Path
from emt import trace
folder = Path({str(tmp_path)!r})
pieces = [trace.load(folder / f"piece-{{n}}.nc") for n in (4, 11)]
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))
try:
    trace.save_members(pieces, [4, 11], [3000, 10000], folder / "pieces.nc")
except OSError as error:
    print(error.filename == str(folder / "pieces.nc"), error.strerror)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "True File too large\n", "")
    assert (tmp_path / "pieces.nc").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("share", [0, 0.001, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused_by_path(tmp_path, share):
    path = tmp_path / "seq3.nc"
    trace.save(make(memories={"fast": memory()}), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(TraceError, match=r"seq3\.nc: expected a whole NetCDF file; got") as caught:
        trace.load(path)
    assert "\n" not in str(caught.value)


def test_missing_files_and_other_netcdf_files_are_refused_by_path(tmp_path):
    with pytest.raises(TraceError, match=r"no such file: .*seq3\.nc \(trace\)"):
        trace.load(tmp_path / "seq3.nc")
    xr.Dataset({"inputs": ("x", np.arange(3))}).to_netcdf(tmp_path / "seq3.nc", engine="h5netcdf")
    with pytest.raises(TraceError, match=r"seq3\.nc: expected an attribute 'about'"):
        trace.load(tmp_path / "seq3.nc")


def test_members_have_a_number_each():
    with pytest.raises(TraceError, match=r"^trace: expected each model once; got model-4 \(2 times\)$"):
        trace.make(root(), [4, 4], {"model": {"type": "x"}})
    with pytest.raises(TraceError, match="expected the coordinate 'member' with model numbers; found none"):
        trace.check(xr.DataTree(make().to_dataset().drop_vars("member")))
