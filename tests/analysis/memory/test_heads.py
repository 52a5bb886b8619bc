"""Heads of a layer as memories of their own: patterns, how many are drawn, normalisers, what captions say."""

import json

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from analysis.errors import AnalysisError
from analysis.figures.memory import contents as content_figures
from analysis.figures.memory import matching as match_figures
from analysis.memory import log
from analysis.memory.contents import analyse_memory
from analysis.memory.log import memory_log, memory_names
from analysis.memory.matching import match_memories
from analysis.memory.replay import match_grids, recall_error
from emt import trace


@pytest.fixture(autouse=True)
def few_relabellings(monkeypatch):
    """What they test is not asked here."""
    for module in ("exchanged_queries", "relabelling"):
        monkeypatch.setattr(f"analysis.memory.{module}.RELABELLINGS", 3)


def as_heads(recording, name="layer1"):
    """Return a trace whose memories are the heads of one node."""
    nodes = [node.to_dataset(inherit=False) for node in trace.nodes(recording).values()]
    stacked = xr.concat(nodes, "head").transpose("member", "batch", "time", "head", ...)
    rule = next(iter(trace.about(recording).memories.values()))
    root = recording.to_dataset().assign_attrs(
        about=json.dumps(json.loads(recording.attrs["about"]) | {"memories": {name: rule}})
    )
    tree = xr.DataTree.from_dict({"/": root, f"memory/{name}": stacked})
    trace.check(tree)
    return tree


def declare(recording, **rule):
    """Return a copy whose memories have more in their rules."""
    about = json.loads(recording.attrs["about"])
    about["memories"] = {name: old | rule for name, old in about["memories"].items()}
    copied = recording.copy()
    copied.attrs["about"] = json.dumps(about)
    return copied


def test_heads_are_matched_and_described_as_memories_of_their_own(make_recording):
    apart = make_recording(members=2, trials=6, pairs=2, memories=("a", "b", "c"))
    together, names = as_heads(apart), {"a": "layer1_head0", "b": "layer1_head1", "c": "layer1_head2"}
    first, second = match_memories(apart, trials=1), match_memories(together, trials=1)
    pd.testing.assert_frame_equal(first.scores.rename(index=names), second.scores)
    assert [grid.memory for grid in second.grids] == [*names.values()]
    for one, other in zip(first.grids, second.grids, strict=True):
        np.testing.assert_array_equal(one.weight, other.weight)
    held, heads = analyse_memory(apart).tables(), analyse_memory(together).tables()
    for name, table in held.items():
        pd.testing.assert_frame_equal(table.rename(index=names), heads[name])


def test_memories_are_named_by_patterns(make_recording):
    heads = as_heads(make_recording(memories=("a", "b", "c")), "layer3")
    assert memory_names(heads) == memory_names(heads, "layer3_*")
    assert memory_names(heads, "*_head[02]") == ("layer3_head0", "layer3_head2")
    assert set(match_memories(heads, memory="*1").population.index) == {"layer3_head1"}
    with pytest.raises(AnalysisError, match=r"^memory: must be one of layer3_head0, .*; got 'layer4_\*'$"):
        memory_names(heads, "layer4_*")


def test_many_memories_need_a_pattern_and_the_best_are_drawn(make_recording, monkeypatch):
    monkeypatch.setattr(log, "MOST_MEMORIES", 4)
    monkeypatch.setattr(log, "MOST_DRAWN", 2)
    apart = make_recording(members=2, trials=6, pairs=2, memories="abcde")
    for name in "ace":  # these read by other steps' keys, so that they find the wrong writes
        queries = apart[f"memory/{name}/read_query"].values
        queries[:] = queries[..., ::-1].copy()
    heads = as_heads(apart)
    names = "layer1_head0, …, layer1_head4"
    expected = rf"^memory: expected a pattern such as layer1_\*: the model keeps 5 memories, {names}$"
    for analysis in (match_memories, analyse_memory):
        with pytest.raises(AnalysisError, match=expected):
            analysis(heads)
    match = match_memories(heads, memory="layer1_*", trials=1)
    assert len(match.population) == 5
    right = ("layer1_head1", "layer1_head3")
    assert match.shown == right
    assert set(match.population.loc[[*right], "score"]) == {1.0}
    assert [grid.memory for grid in match.grids] == [*right]
    assert match.headline().endswith("\n3 further memories have lower scores: see the tables")
    assert len(match.headline().splitlines()) == 3
    assert len([*match_figures.draw(match)]) == 4
    held = analyse_memory(heads, memory="layer1_head*")
    assert held.shown == right
    assert len(held.tables()["memory_separation"]) == 5
    assert {name.split("_")[2] for name in held.arrays()} == {"head1", "head3"}


@pytest.fixture
def normalised(make_recording):
    """Return a trace of a memory, and the same with a normaliser: a last entry of values that is always 1."""
    plain = make_recording(members=2, trials=6, pairs=2)
    grids = match_grids(plain, "fast")
    total = np.zeros(plain["memory/fast/read_value"].shape[:-1])
    total[:, :, grids.read_steps] = np.nansum(grids.mean_weight, axis=-1)
    node = plain["memory/fast"].to_dataset(inherit=False)
    further = {
        "write_value": np.concatenate(
            [node["write_value"].values, np.ones((*node["write_value"].shape[:-1], 1))], -1
        ),
        "read_value": np.concatenate([node["read_value"].values, total[..., None]], -1),
    }
    node = node.drop_vars([*further]).assign(
        {name: (trace.MEMORY[name], value) for name, value in further.items()}
    )
    tree = xr.DataTree.from_dict({"/": plain.to_dataset(), "memory/fast": node})
    return plain, declare(tree, normaliser="last")


def test_a_normaliser_divides_what_is_drawn_and_is_no_content(normalised):
    plain, divided = normalised
    grids = match_grids(divided, "fast")
    assert (recall_error(divided, "fast", grids) < 1e-5).all()
    assert memory_log(divided, "fast").held_value.shape[-1] == memory_log(plain, "fast").value.shape[-1]
    first, second = match_memories(plain, trials=1), match_memories(divided, trials=1)
    shared = ["score", "chance", "shuffled", "score_sign", "score_magnitude"]
    pd.testing.assert_frame_equal(first.scores[shared], second.scores[shared])
    one, other = first.grids[0], second.grids[0]
    totals = np.nansum(one.weight, axis=-1, keepdims=True)
    np.testing.assert_allclose(other.weight, one.weight / totals, rtol=1e-6)
    np.testing.assert_allclose(np.nansum(other.weight, axis=-1), 1.0, rtol=1e-6)
    assert match_figures.plot_weight(other).get_title().startswith("weight / normaliser")
    assert match_figures.plot_weight(one).get_title().startswith("effective weight")
    for contents in ("values", "matrices"):
        held, of_divided = (analyse_memory(one, contents=contents).tables() for one in (plain, divided))
        for name, table in held.items():
            pd.testing.assert_frame_equal(table, of_divided[name])


def test_captions_say_that_a_write_mixes_tokens(make_recording, make_stories, layout_faults):
    def figures(recording):
        match, held = match_memories(recording, trials=1), analyse_memory(recording)
        return [figure for _, figure in (*match_figures.draw(match), *content_figures.draw(held))]

    few = make_recording(members=2, trials=4, pairs=2)
    mixed = figures(declare(few, mixes=4))
    stories = match_memories(declare(make_stories(streams=2), mixes=4), trials=1)
    mixed += [figure for _, figure in match_figures.draw(stories)]
    assert len(mixed) == 7
    for figure in mixed:
        assert "a write mixes the last 4 tokens" in figure.get_suptitle()
        assert layout_faults(figure) == []
    assert not any("mixes" in figure.get_suptitle() for figure in figures(few))


DICTIONARY = {"kind": "dictionary", "similarity": "dot"}


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"mixes": 0}, "expected 'mixes' to be a number of tokens; got 0"),
        ({"mixes": 2.5}, "expected 'mixes' to be a number of tokens; got 2.5"),
        ({"normaliser": "first"}, "expected 'normaliser' to be one of last; got 'first'"),
        (DICTIONARY | {"recall": "softmax"}, "expected a 'scale' above 0 of a softmax; got None"),
        (DICTIONARY | {"recall": "kernel"}, "expected a distance for the 'kernel'; got 'dot'"),
        (
            DICTIONARY | {"recall": "all"},
            "expected 'recall' to be one of nearest, kernel, softmax; got 'all'",
        ),
    ],
)
def test_rules_that_say_nothing_are_refused(make_recording, rule, message):
    with pytest.raises(AnalysisError, match=f"^memory/fast: {message}$"):
        memory_log(declare(make_recording(members=1, trials=2), **rule), "fast")
