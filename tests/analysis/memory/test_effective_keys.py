"""Linear memories with transitions of their own: grids and contents against the equation in a loop."""

import numpy as np
import pytest

from analysis.memory import replay
from analysis.memory.effective_keys import effective_contents, effective_weights
from analysis.memory.log import memory_log
from analysis.memory.matching import match_memories
from analysis.memory.replay import match_grids, recall_error, replay_memory
from emt import memory_nodes, trace

MEMBERS, BATCH, STEPS, HEADS, READS, KEY, VALUE = 2, 3, 29, 4, 6, 5, 7
"""All different, so that no axis can stand for another."""

CELLS = ("kda", "rwkv7", "gla", "negative", "free")


def cell(name, keys, rng):
    """Return the keep, and perhaps the erase and its vectors, of a cell as its equation has them."""
    shape = keys.shape[:-1]
    strength = rng.uniform(0.1, 1.0, shape)
    keep, query, erased = rng.uniform(0.3, 1.0, keys.shape), None, None
    if name == "gla":
        return {"strength": np.ones(shape), "erase": np.zeros(shape), "keep": keep}
    if name == "kda":
        return {"strength": strength, "erase": strength, "keep": keep}
    if name == "negative":  # eigenvalues below zero: β to 2
        return {"strength": 2 * strength, "erase": 2 * strength, "keep": keep}
    if name == "rwkv7":
        query = rng.normal(size=keys.shape)
        query /= np.linalg.norm(query, axis=-1, keepdims=True)
        erased = query * rng.uniform(size=keys.shape)
        return {
            "strength": np.ones(shape),
            "erase": np.ones(shape),
            "keep": rng.uniform(0.5452, 1, keys.shape),
            "x": query,
            "y": erased,
        }
    query, erased = rng.normal(size=(2, *keys.shape)) / 3
    return {"strength": strength, "erase": strength, "keep": strength, "x": query, "y": erased}


@pytest.fixture
def make_memory(recall, trace_of):
    """Return a function that makes a trace of a memory with heads, and what it holds after each step, by a loop."""

    def make(name, reads="after", *, dtype=np.float64, silent=True, seed=3):
        rng = np.random.default_rng(seed)
        shape = (MEMBERS, BATCH, STEPS, HEADS)
        keys = rng.normal(size=(*shape, KEY))
        keys /= np.linalg.norm(keys, axis=-1, keepdims=True)
        values, queries = rng.normal(size=(*shape, VALUE)), rng.normal(size=(*shape, READS, KEY))
        rule = cell(name, keys, rng)
        if silent:
            keys[0, 1, 4], values[1, 2, 6] = np.nan, np.nan
            keys[:, :, 9] = np.nan
            rule["keep"][0, 1, 4] = np.nan
            rule["keep"][1, 0, 11] = 0.0  # a keep of zero forgets everything; nothing is divided by it
            queries[:, :, 13, :, 1:] = np.nan
        contents, answers = np.empty((*shape, VALUE, KEY)), np.empty((*shape, READS, VALUE))
        for m, b, h in np.ndindex(MEMBERS, BATCH, HEADS):
            k, v, q, s, e, w = (
                x[m, b, :, h] for x in (keys, values, queries, rule["strength"], rule["erase"], rule["keep"])
            )
            k = np.where(np.isfinite(v).all(-1, keepdims=True), k, np.nan)
            further = {
                f"erase_{n}": rule[x][m, b, :, h] for n, x in (("query", "x"), ("key", "y")) if x in rule
            }
            contents[m, b, :, h], answers[m, b, :, h] = recall(k, v, s, e, w, q, reads, **further)
        arrays = {"write_key": keys, "write_value": values, "read_query": queries, "read_value": answers}
        arrays |= {f"write_{n}": rule[n] for n in ("strength", "erase", "keep")}
        arrays |= {f"erase_{n}": rule[x] for n, x in (("query", "x"), ("key", "y")) if x in rule}
        memory = {n: a.astype(dtype) for n, a in arrays.items()} | {
            "rule": {"kind": "linear", "reads": reads}
        }
        return trace_of({"m": memory}, {}, {}), contents

    return make


def edit(recording, **changes):
    """Return a copy of a recording with variables of its memory set."""
    copied = recording.copy(deep=True)
    named = {
        name: (memory_nodes.axes(name, heads=True, by_key=value.ndim == 5), value)
        for name, value in changes.items()
    }
    copied["memory/m"].dataset = copied["memory/m"].to_dataset(inherit=False).assign(named)
    return copied


def worst(recording):
    """Return the largest error of recall over heads and members."""
    return max(
        recall_error(recording, name, match_grids(recording, name)).max() for name in trace.places(recording)
    )


@pytest.mark.parametrize("reads", ["before", "after"])
@pytest.mark.parametrize("name", CELLS)
def test_weights_times_values_are_what_was_read_and_contents_those_of_the_loop(make_memory, name, reads):
    recording, contents = make_memory(name, reads)
    assert [*trace.places(recording)] == [f"m_head{h}" for h in range(HEADS)]
    steps = [6, 28, 0, 11, 6]
    for head, memory in enumerate(trace.places(recording)):
        grids = match_grids(recording, memory)
        assert grids.weight.shape == (MEMBERS, BATCH, STEPS, READS, STEPS - 1, 1)
        assert (recall_error(recording, memory, grids) < 1e-12).all()
        replayed = replay_memory(recording, memory, steps)
        np.testing.assert_allclose(replayed, contents[:, :, steps, head], atol=1e-12)
        assert replay_memory(recording, memory, []).shape == (MEMBERS, BATCH, 0, VALUE, KEY)
    single, _ = make_memory(name, reads, dtype=np.float32)
    assert worst(single) < 1e-5


def test_rows_can_be_chosen_and_what_is_not_there_is_nan(make_memory):
    recording, _ = make_memory("free", "before")
    everything, some = (match_grids(recording, "m_head2", steps) for steps in (None, [7, 1, 0]))
    np.testing.assert_allclose(some.weight, everything.weight[:, :, [7, 1, 0]], rtol=1e-12)
    assert np.isnan(some.weight[:, :, 2]).all()
    assert np.isnan(everything.weight[0, 1, :, :, everything.write_steps.tolist().index(4)]).all()
    assert np.isnan(everything.weight[:, :, 13, 1:]).all()


@pytest.mark.parametrize("reads", ["before", "after"])
@pytest.mark.parametrize("erases", [False, True])
def test_a_keep_that_is_one_number_gives_the_triangular_systems_numbers(make_memory, reads, erases):
    recording, _ = make_memory("gla", reads)
    keep = recording["memory/m/write_keep"].values[..., 0]
    erase = np.full_like(keep, 0.7 if erases else 0.0)
    recording = edit(recording, write_keep=keep, write_erase=erase)
    log = memory_log(recording, "m_head1")
    assert not log.erases_elsewhere
    grids, steps = match_grids(recording, "m_head1"), np.array([0, 28, 12])
    weights = effective_weights(log, grids.read_steps, grids.write_steps)
    np.testing.assert_allclose(
        np.nan_to_num(grids.mean_weight), weights * np.isfinite(grids.mean_weight), atol=1e-12
    )
    contents = effective_contents(log, grids.write_steps, steps)
    np.testing.assert_allclose(replay_memory(recording, "m_head1", steps.tolist()), contents, atol=1e-12)
    spelt_out = edit(recording, write_keep=np.repeat(keep[..., None], KEY, axis=-1))
    assert memory_log(spelt_out, "m_head1").erases_elsewhere
    np.testing.assert_allclose(
        np.nan_to_num(match_grids(spelt_out, "m_head1").weight), np.nan_to_num(grids.weight), atol=1e-12
    )


# Negative controls: a wrong reading of the rule shows


def test_a_decay_after_the_erase_instead_of_before_shows(make_memory):
    recording, _ = make_memory("kda", silent=False)
    keys, keep = (recording[f"memory/m/write_{n}"].values for n in ("key", "keep"))
    same = edit(recording, erase_query=keep * keys, erase_key=keys)
    assert worst(same) < 1e-12
    assert worst(edit(recording, erase_query=keys, erase_key=keys)) > 1e-2


def test_leaving_the_erase_out_shows(make_memory):
    recording, _ = make_memory("negative", silent=False)
    assert worst(edit(recording, write_erase=np.zeros((MEMBERS, BATCH, STEPS, HEADS)))) > 1e-2


def test_taking_away_where_it_was_looked_up_shows(make_memory):
    recording, _ = make_memory("rwkv7", silent=False)
    assert worst(recording) < 1e-12
    assert worst(edit(recording, erase_key=recording["memory/m/erase_query"].values)) > 1e-2


def test_one_decay_for_all_key_channels_shows(make_memory):
    recording, _ = make_memory("gla", silent=False)
    mean = recording["memory/m/write_keep"].values.mean(axis=-1)
    assert worst(edit(recording, write_keep=mean)) > 1e-2


# Running products


def test_decays_are_the_running_products_of_all_steps_at_once(monkeypatch):
    rng = np.random.default_rng(0)
    keep = rng.uniform(0.2, 1.0, (2, 3, 23))
    columns, rows = np.array([0, 4, 5, 20]), np.array([22, 3, 3, -1, 8])
    whole = np.where(np.arange(23)[:, None] > columns, keep[..., None], 1.0).cumprod(axis=-2)
    for block in (1, 4, 23, 64):
        monkeypatch.setattr(replay, "BLOCK", block)
        decays = replay._decays(keep, rows, columns)
        kept = rows >= 0
        np.testing.assert_array_equal(decays[:, :, kept], whole[:, :, rows[kept]])
    assert replay._decays(keep, rows[:0], columns).shape == (2, 3, 0, 4)


# Attention: a dictionary whose weights are a softmax


@pytest.fixture
def attention(trace_of):
    """Return a trace of causal attention with heads, by its equation, and the weights of each read."""
    rng = np.random.default_rng(8)
    shape, scale = (MEMBERS, BATCH, STEPS, HEADS), KEY**-0.5
    keys, queries = 3 * rng.normal(size=(2, *shape, KEY))
    values = rng.normal(size=(*shape, VALUE))
    logits = scale * np.einsum("mbthk,mbshk->mbhts", queries, keys)
    odds = np.where(np.tri(STEPS, dtype=bool), np.exp(logits), 0.0)
    weights = odds / odds.sum(axis=-1, keepdims=True)
    answers = np.einsum("mbhts,mbshv->mbthv", weights, values)
    nothing = np.full(shape, np.nan)
    rule = {"kind": "dictionary", "reads": "after", "similarity": "dot", "recall": "softmax", "scale": scale}
    log = {"write_key": keys, "write_value": values, "read_query": queries[..., None, :]}
    log |= {f"write_{n}": nothing for n in ("strength", "erase", "keep")}
    asked = np.full((BATCH, STEPS), -1)
    asked[:, -1] = 0
    events = {"written": np.where(np.arange(STEPS) == 2, 0, -1) * np.ones((BATCH, 1), int), "asked": asked}
    return trace_of({"m": log | {"read_value": answers[..., None, :], "rule": rule}}, events, {}), weights


def test_attention_is_a_dictionary_read_by_a_softmax(attention):
    recording, weights = attention
    for head, memory in enumerate(trace.places(recording)):
        grids = match_grids(recording, memory)
        found = np.isfinite(grids.mean_weight[:, :, :, 0])
        np.testing.assert_array_equal(found, np.broadcast_to(np.tri(STEPS, dtype=bool), found.shape))
        np.testing.assert_allclose(
            np.nan_to_num(grids.mean_weight[:, :, :, 0]), weights[:, :, head], atol=1e-12
        )
        assert (recall_error(recording, memory, grids) < 1e-12).all()
    assert replay_memory(recording, "m_head0", [3]).shape == (MEMBERS, BATCH, 1, STEPS, VALUE)
    match = match_memories(recording)
    np.testing.assert_allclose(match.scores["chance"], 1 / STEPS)
    np.testing.assert_array_equal(match.scores["score_sign"], match.scores["score_magnitude"])


def test_another_scale_or_a_read_before_the_write_shows(attention):
    recording, _ = attention
    about = recording.attrs["about"]
    for old, new in (
        (f'"scale": {KEY**-0.5}', '"scale": 1.0'),
        ('"after"', '"before"'),
        ('"softmax"', '"nearest"'),
    ):
        assert old in about
        recording.attrs["about"] = about.replace(old, new)
        assert worst(recording) > 1e-2


def test_large_similarities_do_not_overflow(attention):
    recording, _ = attention
    recording["memory/m/read_query"].values[:] *= 1e4
    with np.errstate(over="raise", invalid="raise"):
        weight = match_grids(recording, "m_head0").mean_weight
    np.testing.assert_allclose(np.nansum(weight, axis=-1), 1.0, atol=1e-12)
