"""Grids and contents of memories, against the equation in a loop."""

import numpy as np
import pytest

from analysis.errors import AnalysisError, NoMemoryError
from analysis.memory.log import memory_log, memory_names, select
from analysis.memory.replay import match_grids, recall_error, replay_memory
from emt import trace

MEMBERS, BATCH, STEPS, READS, KEY, VALUE = 2, 3, 9, 4, 5, 6


@pytest.fixture
def make_log(recall, trace_of):
    """Return a function that makes a trace of a random linear memory, its answers and contents by a loop."""

    def make(
        rule="decay", *, factors=1, reads="before", masks=False, silent=True, dtype=np.float64, steps=STEPS
    ):
        rng = np.random.default_rng(7)
        shape = (MEMBERS, BATCH, steps)
        keys = rng.normal(size=(*shape, factors, KEY)) / KEY ** (0.5 / factors)
        queries = rng.normal(size=(*shape, READS, factors, KEY))
        values = rng.normal(size=(*shape, VALUE))
        strength, erase, keep = rng.uniform(0.1, 1.0, (3, *shape))
        if rule == "decay":
            erase[:] = 0
        if rule == "delta":
            erase, keep = strength.copy(), np.ones(shape)
        if rule == "rescaled":
            erase, keep = strength.copy(), rng.uniform(1e-3, 1.0, shape)
            strength = strength * keep
        if silent:
            keys[0, 1, 2], values[1, 2, 4] = np.nan, np.nan
            keep[0, 1, 2] = np.nan
            keep[1, 0, 3] = 0.0
            queries[:, :, 1, 1:] = np.nan
            keys[:, :, 5] = np.nan
        gain_mask, keep_mask = (
            rng.uniform(1, 40, (MEMBERS, VALUE, KEY)),
            rng.choice([1.0, 0.9], (MEMBERS, VALUE, KEY)),
        )
        contents, answers = [], []
        for m, b in np.ndindex(MEMBERS, BATCH):
            k, q = _kronecker(keys[m, b]), _kronecker(queries[m, b])
            k = np.where(np.isfinite(values[m, b]).all(-1, keepdims=True), k, np.nan)
            used = (gain_mask[m], keep_mask[m]) if masks else ()
            log = (values[m, b], strength[m, b], erase[m, b], keep[m, b])
            content, answer = recall(k, *log, q, reads, *used)
            contents.append(content)
            answers.append(answer)
        if factors == 1:
            keys, queries = keys[..., 0, :], queries[..., 0, :]
        names = (
            "write_key",
            "write_value",
            "write_strength",
            "write_erase",
            "write_keep",
            "read_query",
            "read_value",
        )
        answers = np.reshape(answers, (*shape, READS, VALUE))
        memory = dict(zip(names, (keys, values, strength, erase, keep, queries, answers), strict=True))
        memory |= {"gain": gain_mask, "keep": keep_mask} if masks else {}
        memory = {n: a.astype(dtype) for n, a in memory.items()} | {
            "rule": {"kind": "linear", "reads": reads}
        }
        return trace_of({"m": memory}, {}, {}), np.reshape(contents, (*shape, VALUE, -1))

    return make


def _kronecker(x):
    """Return tensor products of (…, factor, key)."""
    product = x[..., 0, :]
    for factor in range(1, x.shape[-2]):
        product = np.einsum("...i,...j->...ij", product, x[..., factor, :]).reshape(*x.shape[:-2], -1)
    return product


def edit(recording, name, change):
    """Return a copy of a recording with one variable of its memory changed."""
    copied = recording.copy(deep=True)
    copied["memory/m"][name].values[:] = change(copied["memory/m"][name].values)
    return copied


@pytest.mark.parametrize("reads", ["before", "after"])
@pytest.mark.parametrize("factors", [1, 2, 3])
@pytest.mark.parametrize("rule", ["decay", "delta", "rescaled", "any"])
def test_weights_times_written_values_are_what_the_memory_returned(make_log, rule, factors, reads):
    for dtype, tolerance in ((np.float64, 1e-10), (np.float32, 1e-5)):
        recording, _ = make_log(rule, factors=factors, reads=reads, dtype=dtype)
        grids = match_grids(recording, "m")
        assert grids.weight.shape == (MEMBERS, BATCH, STEPS, READS, STEPS - 1, 1)
        error = recall_error(recording, "m", grids)
        assert error.shape == (MEMBERS,)
        assert (error < tolerance).all()


@pytest.mark.parametrize("reads", ["before", "after"])
@pytest.mark.parametrize(("rule", "factors"), [("decay", 1), ("delta", 2), ("rescaled", 3), ("any", 2)])
def test_contents_are_those_of_the_loop_at_any_steps(make_log, rule, factors, reads):
    recording, contents = make_log(rule, factors=factors, reads=reads)
    steps = [6, 0, 3, 8]
    replayed = replay_memory(recording, "m", steps)
    assert replayed.shape == (MEMBERS, BATCH, 4, VALUE, KEY**factors)
    np.testing.assert_allclose(replayed, contents[:, :, steps], atol=1e-12)
    assert replay_memory(recording, "m", []).shape == (MEMBERS, BATCH, 0, VALUE, KEY**factors)


@pytest.mark.parametrize("reads", ["before", "after"])
def test_with_masks_the_weight_of_a_write_is_a_vector_over_values(make_log, reads):
    recording, contents = make_log("decay", masks=True, reads=reads)
    grids = match_grids(recording, "m")
    assert grids.weight.shape[-1] == VALUE
    assert np.ptp(np.nan_to_num(grids.weight), axis=-1).max() > 1
    assert (recall_error(recording, "m", grids) < 1e-10).all()
    np.testing.assert_allclose(replay_memory(recording, "m", [7]), contents[:, :, [7]], atol=1e-12)
    values = memory_log(recording, "m").value[:, :, None, None, grids.write_steps]
    rest = grids.weight * values - grids.mean_weight[..., None] * values
    scale = np.nanmax(np.abs(grids.weight))
    np.testing.assert_allclose(np.nan_to_num((rest * values).sum(-1)), 0, atol=1e-12 * scale)
    plain = grids.weight * values - grids.weight.mean(-1, keepdims=True) * values
    assert np.nanmax(np.abs((plain * values).sum(-1))) > 1e-3 * scale


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("write_keep", np.ones_like),
        ("write_erase", np.zeros_like),
        ("write_strength", lambda x: 1.01 * x),
        ("write_key", lambda x: x[..., ::-1]),
        ("read_query", lambda x: x[:, :, ::-1]),
    ],
)
def test_whatever_is_ignored_or_wrong_shows(make_log, name, change):
    recording, _ = make_log("rescaled", factors=2, silent=False)
    wrong = edit(recording, name, change)
    assert (recall_error(recording, "m", match_grids(recording, "m")) < 1e-10).all()
    assert (recall_error(recording, "m", match_grids(wrong, "m")) > 1e-3).all()


def test_the_place_of_the_read_in_a_step_counts(make_log):
    recording, _ = make_log("delta", reads="after", silent=False)
    before = recording.copy()
    before.attrs["about"] = before.attrs["about"].replace('"after"', '"before"')
    assert (recall_error(recording, "m", match_grids(before, "m")) > 1e-2).all()


def test_long_logs_with_strong_rescales_stay_finite_and_exact(make_log):
    recording, _ = make_log("rescaled", factors=2, reads="after", steps=120)
    assert np.nancumprod(recording["memory/m/write_keep"].values, axis=-1).min() < 1e-40
    with np.errstate(over="raise", divide="raise", invalid="raise"):
        grids = match_grids(recording, "m")
    assert (recall_error(recording, "m", grids) < 1e-10).all()


def test_rows_can_be_chosen_and_what_is_not_there_is_nan(make_log):
    recording, _ = make_log("delta")
    everything, some = match_grids(recording, "m"), match_grids(recording, "m", [7, 1])
    np.testing.assert_array_equal(some.weight, everything.weight[:, :, [7, 1]])
    assert 5 not in everything.write_steps
    weight = everything.mean_weight
    columns = list(everything.write_steps)
    assert np.isnan(weight[:, :, 0]).all()  # reads before its own write: nothing is there yet
    assert np.isnan(weight[0, 1, :, :, columns.index(2)]).all()  # nothing written
    assert np.isnan(weight[:, :, 1, 1:]).all()  # nothing read
    assert not np.isnan(weight[:, :, 8, :, columns.index(0)]).any()
    assert np.isnan(weight[:, :, 4, :, columns.index(4)]).all()  # the future
    np.testing.assert_array_equal(np.isnan(weight), np.isnan(everything.similarity))


def test_similarity_is_the_inner_product_of_tensor_products(make_log):
    recording, _ = make_log("any", factors=3)
    grids, log = match_grids(recording, "m"), memory_log(recording, "m")
    q, k = _kronecker(log.query), _kronecker(log.key)
    assert grids.similarity[1, 0, 8, 2, 3] == pytest.approx(q[1, 0, 8, 2] @ k[1, 0, grids.write_steps[3]])


def test_a_plain_outer_product_memory_weighs_by_decay_strength_and_similarity(make_log):
    recording, _ = make_log("decay", silent=False)
    grids, log = match_grids(recording, "m"), memory_log(recording, "m")
    expected = log.strength[1, 2, 3] * log.keep[1, 2, 4:6].prod() * grids.similarity[1, 2, 6, 0, 3]
    assert grids.weight[1, 2, 6, 0, 3, 0] == pytest.approx(expected)


def test_some_members_and_trials_can_be_taken_alone(make_log):
    recording, _ = make_log("rescaled", factors=2, silent=False)
    alone = select(recording, member=[1], batch=[2])
    expected = match_grids(recording, "m", [4, 8]).weight[1:, 2:]
    np.testing.assert_allclose(match_grids(alone, "m", [4, 8]).weight, expected, rtol=1e-12)


def test_nothing_is_written_to_the_recording(make_log):
    recording, _ = make_log("any", masks=False)
    before = recording.copy(deep=True)
    for variable in recording["memory/m"].data_vars.values():
        variable.values.setflags(write=False)
    match_grids(recording, "m")
    replay_memory(recording, "m", [3])
    assert before.identical(recording)


def test_a_memory_that_never_wrote_returns_zero(make_log):
    recording, _ = make_log("delta")
    empty = edit(edit(recording, "write_key", lambda x: np.nan * x), "read_value", np.zeros_like)
    grids = match_grids(empty, "m")
    assert grids.weight.shape == (MEMBERS, BATCH, STEPS, READS, 0, 1)
    assert (recall_error(empty, "m", grids) == 0).all()
    assert not replay_memory(empty, "m", [8]).any()


# -- dictionaries --


@pytest.fixture
def make_dictionary(trace_of):
    def make(similarity="l2", capacity=None, reads="before"):
        rng = np.random.default_rng(3)
        shape = (MEMBERS, BATCH, 12)
        keys, values, queries = (rng.normal(size=(*shape, *s)) for s in ((KEY,), (VALUE,), (READS, KEY)))
        keys[:, :, 1::3], values[:, :, 1::3] = np.nan, np.nan
        keys[1, 0, 6], values[1, 0, 6] = np.nan, np.nan
        answers = np.zeros((*shape, READS, VALUE))
        for m, b, t, r in np.ndindex(*shape, READS):
            slots = [s for s in range(t + (reads == "after")) if np.isfinite(keys[m, b, s, 0])]
            slots = slots[-capacity:] if capacity else slots
            scores = [_alike(queries[m, b, t, r], keys[m, b, s], similarity) for s in slots]
            if slots:
                answers[m, b, t, r] = values[m, b, slots[int(np.argmax(scores))]]
        ones = np.ones(shape)
        rule = {"kind": "dictionary", "reads": reads, "similarity": similarity}
        memory = {"write_key": keys, "write_value": values, "write_strength": ones, "write_erase": 0 * ones}
        memory |= {"write_keep": ones, "read_query": queries, "read_value": answers}
        return trace_of({"m": memory | {"rule": rule | ({"capacity": capacity} if capacity else {})}}, {}, {})

    return make


def _alike(q, k, similarity):
    if similarity == "cosine":
        return q @ k / np.linalg.norm(q) / np.linalg.norm(k)
    return -np.linalg.norm(q - k + 1e-6, ord=int(similarity[1]))


@pytest.mark.parametrize("reads", ["before", "after"])
@pytest.mark.parametrize("capacity", [None, 3])
@pytest.mark.parametrize("similarity", ["cosine", "l1", "l2"])
def test_a_dictionary_returns_the_value_of_the_most_similar_key_it_still_holds(
    make_dictionary, similarity, capacity, reads
):
    recording = make_dictionary(similarity, capacity, reads)
    grids = match_grids(recording, "m")
    assert (recall_error(recording, "m", grids) == 0).all()
    weight = grids.mean_weight
    held = (~np.isnan(weight)).sum(axis=-1)
    assert set(np.nansum(weight, axis=-1)[held > 0]) == {1.0}
    assert held.max() == (capacity or len(grids.write_steps) - (reads == "before"))
    other = recording.copy()
    other.attrs["about"] = other.attrs["about"].replace(
        f'"{similarity}"', '"l1"' if similarity != "l1" else '"l2"'
    )
    assert (recall_error(recording, "m", match_grids(other, "m")) > 0.1).all()


@pytest.mark.parametrize("capacity", [None, 3])
@pytest.mark.parametrize("similarity", ["cosine", "l1", "l2"])
def test_a_dictionary_with_a_kernel_returns_an_average(make_dictionary, similarity, capacity):
    recording = make_dictionary(similarity, capacity)
    memory = recording["memory/m"]
    recording.attrs["about"] = recording.attrs["about"].replace('"reads"', '"recall": "kernel", "reads"')
    for m, b, t, r in np.ndindex(MEMBERS, BATCH, 12, READS):
        held = [s for s in range(t) if np.isfinite(memory["write_key"].values[m, b, s, 0])]
        held = held[-capacity:] if capacity else held
        query, keys = memory["read_query"].values[m, b, t, r], memory["write_key"].values[m, b]
        alike = np.array([_alike(query, keys[s], similarity) for s in held])
        weights = 1 / ((1 - alike if similarity == "cosine" else alike) ** 2 + 1e-3)
        average = (
            weights @ memory["write_value"].values[m, b, held] / weights.sum() if held else np.zeros(VALUE)
        )
        memory["read_value"].values[m, b, t, r] = average
    grids = match_grids(recording, "m")
    assert (recall_error(recording, "m", grids) < 1e-10).all()
    nearest = recording.copy()
    nearest.attrs["about"] = nearest.attrs["about"].replace('"kernel"', '"nearest"')
    assert (recall_error(nearest, "m", match_grids(nearest, "m")) > 0.1).all()


def test_of_keys_alike_but_for_rounding_the_one_whose_value_was_returned_counts(make_dictionary):
    recording = make_dictionary()
    memory = recording["memory/m"]
    memory["write_key"].values[:, :, 3] = memory["write_key"].values[:, :, 0] + 1e-7
    memory["read_query"].values[:, :, 5] = memory["write_key"].values[:, :, 0, None]
    for step in (0, 3):
        memory["read_value"].values[:, :, 5] = memory["write_value"].values[:, :, step, None]
        grids = match_grids(recording, "m", [5])
        assert (recall_error(recording, "m", grids) == 0).all()
        column = grids.write_steps.tolist().index(step)
        assert (grids.mean_weight[..., column] == 1).all()
    memory["read_value"].values[:, :, 5] = memory["write_value"].values[:, :, 2, None]
    assert (recall_error(recording, "m", match_grids(recording, "m", [5])) > 0.1).all()


def test_a_dictionary_forgets_the_oldest(make_dictionary):
    contents = replay_memory(make_dictionary(capacity=3), "m", [0, 8])
    assert contents.shape == (MEMBERS, BATCH, 2, 8, VALUE)
    held = np.isfinite(contents).all(-1)
    assert np.flatnonzero(held[0, 0, 0]).tolist() == [0]
    assert np.flatnonzero(held[0, 0, 1]).tolist() == [3, 4, 5]  # steps 5, 6, 8
    assert np.flatnonzero(held[1, 0, 1]).tolist() == [2, 3, 5]  # step 6 did not write


# -- refusals --


def test_a_model_without_memory_is_named(make_log):
    recording, _ = make_log()
    bare = trace.make(
        {n: (v.dims, v.values) for n, v in recording.data_vars.items()}, [1, 3], {"model": {"type": "rnn"}}
    )
    with pytest.raises(NoMemoryError, match=r"^model 'rnn' has no associative memory$"):
        memory_names(bare)


def test_memories_are_found_by_name(make_recording):
    recording = make_recording(memories=("a", "b"))
    assert memory_names(recording) == ("a", "b")
    assert memory_names(recording, "b") == ("b",)
    with pytest.raises(AnalysisError, match=r"^memory: must be one of a, b; got 'c'$"):
        memory_names(recording, "c")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"linear"', '"tree"', "memory/m: expected 'kind' to be one of linear, dictionary; got 'tree'"),
        ('"before"', '"never"', "memory/m: expected 'reads' to be one of before, after; got 'never'"),
        (
            '"linear"',
            '"dictionary"',
            "memory/m: expected 'similarity' to be one of cosine, l1, l2, dot; got None",
        ),
    ],
)
def test_unknown_rules_are_refused(make_log, old, new, message):
    recording, _ = make_log()
    recording.attrs["about"] = recording.attrs["about"].replace(old, new)
    with pytest.raises(AnalysisError, match=f"^{message}$"):
        match_grids(recording, "m")


@pytest.mark.parametrize("steps", [[-1], [0, STEPS], [[1]]])
def test_steps_outside_the_recording_are_refused(make_log, steps):
    recording, _ = make_log()
    for function in (match_grids, replay_memory):
        with pytest.raises(AnalysisError, match=r"^steps: expected steps from 0 to 8; got"):
            function(recording, "m", steps)


def test_masks_and_erasing_do_not_go_together(make_log):
    recording, _ = make_log("delta", masks=True)
    with pytest.raises(AnalysisError, match="expected plain keys and no erasing"):
        match_grids(recording, "m")
