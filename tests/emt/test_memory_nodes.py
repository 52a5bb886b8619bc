"""Nodes of memories: their axes, heads as memories of their own, what does not go together, old files."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from analysis.memory.matching import match_memories
from analysis.memory.replay import match_grids, recall_error
from emt import memory_nodes, trace
from emt.memory_nodes import MEMBER_TIME, axes, name_axes
from emt.trace import TraceError

SIZES = dict(
    zip((*MEMBER_TIME, "head", "read", "factor", "key", "value"), (2, 3, 5, 4, 1, 6, 7, 8), strict=True)
)
OLD = Path(__file__).parent / "data" / "trace_version_1.nc"


def node(*, heads=False, by_key=False, erase=False, masks=(), factor=False):
    """Return the variables of a node, each with numbers of its own."""
    rng = np.random.default_rng(0)
    names = [*memory_nodes.MEMORY, *(memory_nodes.ERASE if erase else ()), *masks]
    dims = {name: axes(name, heads=heads, by_key=by_key) for name in names}
    if factor:
        dims |= {name: (*dims[name][:-1], "factor", "key") for name in ("write_key", "read_query")}
    return {name: (d, rng.normal(size=[SIZES[x] for x in d])) for name, d in dims.items()}


def make(nodes, rules=None):
    """Return a trace with these nodes."""
    sizes = SIZES | {"channel": 2, "target": 3, "output": 3, "unit": 4}
    root = {
        name: (dims, np.ones([sizes[d] for d in dims]))
        for name, dims in (trace.REQUIRED | trace.RECORDED).items()
    }
    about = {"memories": {name: {"kind": "linear", "reads": "after"} for name in nodes} | (rules or {})}
    return trace.make(root, [4, 11], about, nodes)


@pytest.mark.parametrize(
    "options", [{}, {"by_key": True, "erase": True}, {"masks": ("gain", "keep", "base")}]
)
def test_each_head_is_a_memory_by_its_name(tmp_path, options):
    tree = make({"layer1": node(heads=True, **options), "layer2": node()}, {"layer1": {"mixes": 4}})
    trace.save(tree, tmp_path / "a.nc")
    loaded = trace.load(tmp_path / "a.nc")
    assert [*trace.memories(loaded)] == [*(f"layer1_head{h}" for h in range(4)), "layer2"]
    assert [*trace.nodes(loaded)] == ["layer1", "layer2"]
    for head in range(SIZES["head"]):
        view = trace.memory(loaded, f"layer1_head{head}")
        assert trace.memory_rule(loaded, f"layer1_head{head}") == {"mixes": 4}
        for name, variable in view.data_vars.items():
            assert variable.dims == axes(name, by_key=options.get("by_key", False))
            stored = loaded["memory/layer1"][name]
            np.testing.assert_array_equal(variable.values, stored.isel(head=head).values)
            assert np.shares_memory(variable.values, stored.values)
    assert trace.memory_rule(loaded, "layer2")["kind"] == "linear"


def test_heads_may_have_numbers(tmp_path):
    variables = node(heads=True)
    numbered = variables | {"head": (("head",), np.array([7, 0, 2, 5]))}
    trace.save(make({"layer1": numbered}), tmp_path / "a.nc")
    loaded = trace.load(tmp_path / "a.nc")
    assert [*trace.places(loaded)] == ["layer1_head7", "layer1_head0", "layer1_head2", "layer1_head5"]
    view, plain = (
        trace.memory(loaded, "layer1_head2"),
        trace.memory(make({"layer1": variables}), "layer1_head2"),
    )
    assert set(view.data_vars) == set(plain.data_vars)
    np.testing.assert_array_equal(view["write_key"], variables["write_key"][1][:, :, :, 2])


@pytest.mark.parametrize("name", memory_nodes.MEMORY)
def test_all_variables_of_a_node_have_heads_or_none(name):
    mixed = node(heads=True) | {name: node()[name]}
    with pytest.raises(TraceError, match=rf"^trace: memory/m: expected '{name}' with axes .*'head'.*; got"):
        make({"m": mixed})


@pytest.mark.parametrize("name", memory_nodes.ERASE)
def test_an_erase_has_its_query_and_its_key_or_neither(name):
    make({"m": node(erase=True)})
    with pytest.raises(TraceError, match=rf"^trace: memory/m: expected the variable '{name}'; found"):
        make({"m": {n: v for n, v in node(erase=True).items() if n != name}})


@pytest.mark.parametrize("added", [{"by_key": True}, {"erase": True}])
@pytest.mark.parametrize("other", [{"factor": True}, {"masks": ("gain",)}, {"masks": ("keep",)}])
def test_products_of_keys_and_masks_go_with_neither_addition(added, other):
    make({"m": node(**added), "n": node(**other)})
    name = "factor" if "factor" in other else other["masks"][0]
    beside = "'write_keep' by key channel" if "by_key" in added else "'erase_query'"
    with pytest.raises(TraceError, match=f"^trace: memory/m: expected no '{name}' beside {beside}$"):
        make({"m": node(**added, **other)})


def test_a_memory_with_the_name_of_another_ones_head_is_refused():
    with pytest.raises(TraceError, match=r"expected memories with different names; got m_head1 \(2 times\)"):
        make({"m": node(heads=True), "m_head1": node()})


@pytest.mark.parametrize("heads", [False, True])
@pytest.mark.parametrize("options", [{}, {"by_key": True, "erase": True}, {"factor": True}])
def test_axes_are_told_by_how_many_there_are(options, heads):
    content = node(heads=heads, **options)
    assert name_axes({n: array.ndim for n, (_, array) in content.items()}) == {
        n: d for n, (d, _) in content.items()
    }


def test_a_trace_of_version_1_is_read_and_gives_the_numbers_that_it_gave():
    old = trace.load(OLD)
    assert trace.about(old).format_version == 1
    assert [*trace.memories(old)] == ["fast"]
    match = match_memories(old)
    assert match.scores["score"].tolist() == [1.0, 1.0]
    assert match.population.loc["fast", "chance"] == pytest.approx(1 / 6)
    weights = [-0.03437221, -0.06146127, -0.01830707, 0.40471878, -0.03539145, 0.02671587]
    np.testing.assert_allclose(match.grids[0].weight[-1], weights, atol=1e-7)
    assert (recall_error(old, "fast", match_grids(old, "fast")) < 1e-6).all()
    xr.testing.assert_identical(trace.memory(old, "fast").to_dataset(), old["memory/fast"].to_dataset())
