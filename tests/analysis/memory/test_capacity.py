"""Capacity: pairs read by their own keys, eigenvalues of transitions, answers by pairs, similarity and lag."""

import json

import numpy as np
import pytest
import xarray as xr

from analysis.errors import AnalysisError, NoMemoryError
from analysis.figures.memory.capacity import draw, plot_contents
from analysis.memory.capacity import measure_capacity
from analysis.memory.capacity_lines import mean_of_values, rank_floor, summed
from analysis.memory.log import memory_log, select
from analysis.memory.own_keys import key_similarity, read_own_keys, stored_pairs
from analysis.memory.transitions import smallest_eigenvalues
from emt import trace

MEMBERS, BATCH, KEY, VALUE = 2, 3, 5, 7


@pytest.fixture
def make_store(recall, trace_of):
    """Return a function that makes members that store pairs under random unit keys and are asked for all of them.

    Their answers are what the memory returned; with ``items`` given (batch, pair) keys repeat.
    """

    def make(
        pairs=4,
        *,
        features=KEY,
        erase=0.0,
        keep=1.0,
        items=None,
        values=None,
        rule=None,
        loss="half_squares",
        seed=0,
    ):
        rng = np.random.default_rng(seed)
        items = np.tile(np.arange(pairs), (BATCH, 1)) if items is None else items
        symbols, steps = int(items.max()) + 1, 2 * items.shape[1]
        table = rng.normal(size=(MEMBERS, BATCH, symbols, features))
        table /= np.linalg.norm(table, axis=-1, keepdims=True)
        written = np.concatenate([items, np.full_like(items, -1)], axis=1)
        asked = np.concatenate([np.full_like(items, -1), items], axis=1)
        here, shape = written >= 0, (MEMBERS, BATCH, steps)
        places = np.arange(BATCH)[:, None]
        keys = np.where(here[..., None], table[:, places, written.clip(0)], np.nan)
        queries = np.where(here[..., None], np.nan, table[:, places, asked.clip(0)])[..., None, :]
        if values is None:
            values = np.stack([rng.permutation(np.eye(max(symbols, items.shape[1]))) for _ in range(BATCH)])
            values = values[:, : items.shape[1]]
        values = np.concatenate([values, np.full_like(values, np.nan)], axis=1)
        values = np.where(here[..., None], values, np.nan) * np.ones((MEMBERS, 1, 1, 1))
        numbers = [np.full(shape, x) for x in (1.0, erase, keep)]
        answers = np.empty((*shape, 1, values.shape[-1]))
        for place in np.ndindex(MEMBERS, BATCH):
            used = [x[place] for x in (keys, values, *numbers, queries)]
            answers[place] = recall(*used, "before")[1]
        names = ("write_strength", "write_erase", "write_keep")
        memory = dict(zip(names, numbers, strict=True)) | {"write_key": keys, "write_value": values}
        memory |= {
            "read_query": queries,
            "read_value": answers,
            "rule": rule or {"kind": "linear", "reads": "before"},
        }
        events = {"written": written, "asked": asked, "trial": np.zeros_like(written)}
        recording = trace_of({"m": memory}, events, {"accuracy": "argmax", "loss": loss})
        last = np.stack([[np.flatnonzero(row == item)[-1] for item in row] for row in items])
        right = np.take_along_axis(values[0], last[..., None], axis=1)
        targets = np.concatenate([np.zeros_like(right), right], axis=1)
        return recording.assign(
            targets=xr.Variable(("batch", "time", "target"), targets),
            outputs=xr.Variable((*trace.MEMBER_TIME, "output"), np.nan_to_num(answers[..., 0, :])),
            scored=xr.Variable(("batch", "time"), (asked >= 0).astype(int)),
        )

    return make


def test_pairs_are_the_last_writes_of_items_that_a_read_finds(make_store):
    recording = make_store(items=np.array([[0, 1, 0, 2], [3, 3, 3, 1], [0, 1, 2, 3]]))
    one = select(recording, member=[0])
    log = memory_log(one, "m")
    found = [np.flatnonzero(row).tolist() for row in stored_pairs(one, log, 0, np.array([0, 1, 2, 3, 7]))]
    assert found == [[], [0], [0, 1], [1, 2], [1, 2, 3]]
    assert np.flatnonzero(stored_pairs(one, log, 1, np.array([7]))).tolist() == [2, 3]
    del one["written"]
    assert np.flatnonzero(stored_pairs(one, log, 0, np.array([7]))).tolist() == [0, 1, 2, 3]


def test_a_write_of_several_items_is_a_pair_until_the_last_of_them_is_written_again(make_store):
    items = np.full((BATCH, 8, 2), -1)
    items[0, :4] = [[0, 1], [0, -1], [-1, -1], [1, 2]]
    one = select(make_store(), member=[0]).assign(written=xr.Variable(("batch", "time", "item"), items))
    pairs = stored_pairs(one, memory_log(one, "m"), 0, np.array([0, 1, 2, 3, 4]))
    assert [np.flatnonzero(row).tolist() for row in pairs] == [[], [0], [0, 1], [0, 1], [1, 3]]


@pytest.mark.parametrize(("erase", "keep"), [(0.0, 1.0), (0.0, 0.8), (1.0, 1.0), (0.6, 0.9)])
def test_errors_are_those_of_the_contents_read_by_the_keys(make_store, recall, erase, keep):
    one = select(make_store(6, erase=erase, keep=keep), member=[1], batch=[2])
    log, steps = memory_log(one, "m"), np.array([3, 11])
    pairs = stored_pairs(one, log, 0, steps)
    for step, row, held in zip(steps, pairs, read_own_keys(log, steps, pairs), strict=True):
        memory, places = np.zeros((6, KEY)), np.flatnonzero(row)
        for t in range(step):
            k = log.key[0, 0, t, 0]
            memory = log.keep[0, 0, t] * memory @ (np.eye(KEY) - log.erase[0, 0, t] * np.outer(k, k))
            memory += log.strength[0, 0, t] * np.outer(log.value[0, 0, t], k)
        right, returned = log.value[0, 0, places], log.key[0, 0, places, 0] @ memory.T
        scale = np.sum(right * returned) / np.sum(returned**2)
        assert held.pairs == len(places)
        assert held.plain_error == pytest.approx(np.sum((returned - right) ** 2) / len(places))
        assert held.error == pytest.approx(np.sum((scale * returned - right) ** 2) / len(places))
        np.testing.assert_allclose(held.errors, np.sum((scale * returned - right) ** 2, axis=-1))
        assert held.floor == pytest.approx(rank_floor(KEY, len(places)))
        assert held.error >= held.floor - 1e-12
        cosine = np.abs(log.key[0, 0, places, 0] @ log.key[0, 0, places, 0].T) - np.eye(len(places))
        np.testing.assert_allclose(held.similarity, cosine.max(axis=-1))
        assert held.lag.tolist() == (step - places).tolist()
        if not erase:
            np.testing.assert_allclose(held.left, keep ** (step - places - 1.0))


def test_keys_of_several_factors_are_as_similar_as_their_products():
    keys = np.random.default_rng(3).normal(size=(4, 2, 3))
    products = np.einsum("pi,pj->pij", keys[:, 0], keys[:, 1]).reshape(4, 1, 9)
    np.testing.assert_allclose(key_similarity(keys), key_similarity(products))
    assert key_similarity(keys[:1]).tolist() == [0.0]


# Eigenvalues


def matrices(log):
    """Return each write's transition of one key factor, spelt out."""
    key = log.key[..., 0, :]
    keep = log.keep if log.keep.ndim == key.ndim else np.repeat(log.keep[..., None], key.shape[-1], -1)
    query = keep * key if log.erase_query is None else log.erase_query
    erased = key if log.erase_key is None else log.erase_key
    return (
        keep[..., None] * np.eye(key.shape[-1])
        - log.erase[..., None, None] * query[..., None] * erased[..., None, :]
    )


def with_rule(recording, **changes):
    """Return a trace whose memory has other variables of the rule."""
    copied = recording.copy(deep=True)
    dims = {"write_keep": (*trace.MEMBER_TIME, "key")[: changes.get("write_keep", np.empty(3)).ndim]}
    named = {n: (dims.get(n, (*trace.MEMBER_TIME, "key")), value) for n, value in changes.items()}
    copied["memory/m"].dataset = copied["memory/m"].to_dataset(inherit=False).assign(named)
    return copied


@pytest.mark.parametrize("kind", ["scalar", "kda", "rwkv7"])
def test_eigenvalues_are_those_of_the_transition(make_store, kind):
    rng, recording = np.random.default_rng(4), make_store(6, erase=1.7, keep=0.9)
    shape = (*recording["memory/m/write_keep"].shape, KEY)
    if kind == "kda":
        recording = with_rule(recording, write_keep=rng.uniform(0.2, 1, shape))
    if kind == "rwkv7":
        query = rng.normal(size=shape)
        query /= np.linalg.norm(query, axis=-1, keepdims=True)
        keep, erased = rng.uniform(0.5452, 1, shape), query * rng.uniform(size=shape)
        recording = with_rule(recording, write_keep=keep, erase_query=query, erase_key=erased)
        recording["memory/m/write_erase"].values[:] = 1
    log = memory_log(recording, "m")
    found = smallest_eigenvalues(log)
    np.testing.assert_array_equal(np.isfinite(found), log.written)
    expected = np.linalg.eigvals(matrices(log)).real.min(axis=-1)
    np.testing.assert_allclose(found[log.written], expected[log.written], atol=1e-10)
    if kind == "scalar":
        np.testing.assert_allclose(found[log.written], 0.9 * (1 - 1.7), atol=1e-12)
    if kind == "rwkv7":
        assert found[log.written].min() > -0.4548


# The analysis


def test_a_sum_of_random_keys_is_on_its_line_and_above_the_floor(make_store):
    lengths = (2, 5, 12, 20)
    capacity = measure_capacity({n: make_store(n, features=8, seed=n) for n in lengths}, sequences=BATCH)
    table = capacity.pairs.loc["m"]
    assert table.index.tolist() == [*lengths]
    assert (table["error"] > table["value_floor"] - 1e-9).all()
    np.testing.assert_allclose(table["value_floor"], table["rank_floor"], atol=1e-9)
    np.testing.assert_allclose(table["sum"], [summed(8, n).scaled_error() for n in lengths])
    np.testing.assert_allclose(table["error"], table["sum"], atol=0.1)
    np.testing.assert_allclose(table["loss_floor"], table["rank_floor"] / 2)
    # What was answered is what was read, without any scaling.
    np.testing.assert_allclose(table["loss"], table["plain_error"] / 2, rtol=1e-6)
    assert (table["loss_members"] == MEMBERS).all()
    assert capacity.loss
    similar = capacity.similarity.loc["m"]
    assert similar["error"].iloc[-1] > similar["error"].iloc[0]
    assert (capacity.transitions["m"] == 1).all()
    assert set(capacity.tables()) == {
        f"capacity_{n}" for n in ("pairs", "similarity", "lags", "repeats", "eigenvalues", "memories")
    }


def test_values_of_other_pairs_are_not_recalled(make_store):
    recording = make_store(3, features=40)
    assert measure_capacity({3: recording}).pairs.loc["m", 3]["accuracy"] == 1
    outputs = recording["outputs"].values
    outputs[:] = outputs[..., [1, 2, 0]].copy()
    wrong = measure_capacity({3: recording}).pairs.loc["m", 3]
    assert wrong["accuracy"] == 0
    assert wrong["loss"] > 0.9


def test_repeated_keys_return_the_mean_of_their_values(make_store):
    rng = np.random.default_rng(5)
    items = np.stack([[0, 1, 0, 2, 0, 1], [1, 1, 2, 2, 0, 0], [2, 2, 2, 2, 1, 0]])
    symbols = 4
    values = np.eye(symbols)[rng.integers(0, symbols, items.shape)]
    recording = make_store(items=items, values=values, features=200)
    about = json.loads(recording.attrs["about"])
    repeats = measure_capacity({6: recording}).repeats.loc["m"]
    assert about["loss"] == "half_squares"
    assert repeats.index.tolist() == [1, 2, 3, 4]
    np.testing.assert_allclose(repeats["mean_of_values"], mean_of_values(repeats.index.to_numpy(), symbols))
    counts, pairs = repeats.index.to_numpy(), measure_capacity({6: recording}).pairs.loc["m"]
    assert counts.max() == 4
    assert pairs.index.tolist() == [3]
    without = measure_capacity({6: make_store(items=items, values=values, loss="cross_entropy")})
    assert "mean_of_values" not in without.repeats
    assert not without.loss


def test_what_is_left_decays_and_answers_have_a_lag(make_store):
    lags = measure_capacity({4: make_store(4, keep=0.7)}).lags.loc["m"]
    np.testing.assert_allclose(lags["left"], 0.7 ** (lags.index.to_numpy() - 1.0))
    assert lags["loss"].notna().any()


def test_a_dictionary_has_answers_and_no_floor(make_store):
    rule = {"kind": "dictionary", "reads": "before", "similarity": "cosine"}
    capacity = measure_capacity({4: make_store(4, rule=rule)})
    row = capacity.pairs.loc["m", 4]
    assert row["error"] == 0
    assert np.isnan(row["value_floor"])
    assert "rank_floor" not in capacity.pairs
    assert "loss_floor" not in capacity.pairs
    assert not len(capacity.eigenvalues)
    assert "eigenvalues" not in capacity.headline()


def test_the_headline_says_what_is_lost_and_how_sure_that_is(make_store):
    capacity = measure_capacity({10: make_store(10, erase=1.5)})
    text = capacity.headline()
    assert text.startswith("memory m: 5 features; of 10 pairs, read by their own keys, ")
    assert "no keys lose less than 50.0 %" in text
    assert "eigenvalues of writes from -0.5 to -0.5, 100.0 % below zero" in text
    assert "members: 2" in text


def test_figures_have_a_panel_for_each_thing_that_is_there(make_store, make_recording, layout_faults):
    rule = {"kind": "dictionary", "reads": "before", "similarity": "cosine"}
    cases = {
        6: {n: make_store(n, features=8, erase=0.5) for n in (2, 8, 14)},
        5: {4: make_store(4, rule=rule)},
        4: {11: make_recording(asked=False)},
    }
    for panels, recordings in cases.items():
        [(name, figure)] = draw(measure_capacity(recordings))
        assert name.startswith("capacity_")
        assert len(figure.axes) == panels
        assert layout_faults(figure) == []
        assert f"n = {next(iter(recordings.values())).sizes['member']} members" in figure.get_suptitle()
    ax = plot_contents(measure_capacity(cases[6]), "m")
    curves = {line.get_label(): line for line in ax.lines}
    x, y = curves["floor 1 − F/S (orthogonal values)"].get_data()
    np.testing.assert_allclose(y, [rank_floor(8, int(n)) for n in x])
    assert x[-1] > 14


def test_what_is_not_there_is_refused(make_store, make_recording):
    with pytest.raises(AnalysisError, match=r"^memory: must be one of m; got 'x'$"):
        measure_capacity({4: make_store()}, memory="x")
    with pytest.raises(AnalysisError, match=r"^sequences: must be 1 or more; got 0$"):
        measure_capacity({4: make_store()}, sequences=0)
    bare = make_store()
    del bare["memory"]
    with pytest.raises(NoMemoryError):
        measure_capacity({4: bare})
