"""Writes that had held something else: laws over all memories, closed forms, and which writes are chosen."""

import numpy as np
import pytest
import torch

from emt import effects
from emt.errors import UserError
from emt.interventions.condition import Condition
from emt.interventions.driver import run_between, run_edited
from emt.interventions.intervene import intervene
from emt.interventions.memories import product, writes_of
from emt.interventions.queries import queries_of
from emt.interventions.states import unchanged
from emt.interventions.targets import exchanged, sources_of, targets_of
from emt.interventions.writes import Rewriting, read_signs, scaled
from emt.models import MODELS
from emt.options import assigns, load, options_of
from emt.record import Loaded
from emt.tasks.associative_retrieval import AssociativeRetrieval

SEEDS, BATCH, TIME, IN, OUT = (11, 1011), 3, 6, 4, 5
QUERY, WRITE = 5, 2
"""Step of the query, and that of the write that is changed."""

with_memory = pytest.mark.parametrize(
    "name", [n for n, model in MODELS.items() if assigns(model, "memories")]
)


def build(name, **options):
    known = {o.name for o in options_of(MODELS[name])}
    wanted = {"hidden_dim": 8, "embedding_dim": 5, "memory_dim": 3, "reads": 1, **options}
    model = load(MODELS, name, "model_type")(
        SEEDS, IN, OUT, **{k: v for k, v in wanted.items() if k in known}
    )
    return model.double().requires_grad_(False)


def trials(model):
    """Return inputs, and a context in which steps 1 and 2 write where the task says what is written."""
    rng = np.random.default_rng(0)
    x = torch.tensor(rng.standard_normal((len(SEEDS), BATCH, TIME, IN)))
    targets = torch.tensor(rng.integers(0, OUT, (len(SEEDS), BATCH, TIME)))
    written = torch.full(targets.shape, -1)
    written[:, :, 1:3] = 0
    context = {"targets": targets, "written": written, "start": torch.full_like(written, -1)}
    return x, {n: t for n, t in context.items() if n in model.context}


def rewriting(model, x, context, values, at="write"):
    with torch.no_grad():
        log = model(x, None, TIME, context)[2]
    memories = writes_of(model, log)
    rows = torch.zeros(BATCH, TIME, dtype=torch.bool)
    rows[:, WRITE] = True
    return memories, Rewriting(memories, rows, lambda name: values, torch.full((BATCH,), QUERY), at)


@with_memory
def test_a_write_of_strength_one_is_what_it_was_and_one_of_none_is_not(name):
    model = build(name)
    x, context = trials(model)
    cut, _ = run_edited(model, x, TIME, context, dict.fromkeys(range(1, QUERY + 1), unchanged()))
    for amount, same in ((1.0, True), (0.0, False)):
        _, change = rewriting(model, x, context, scaled(amount))
        changed, _ = run_edited(model, x, TIME, context, change.edits(QUERY))
        # A dictionary's slot gets the value of the run without cuts, which differs by rounding.
        exact = name not in ("dnd_lstm", "attention")
        assert (
            torch.equal(changed, cut) if exact else torch.allclose(changed, cut, rtol=0, atol=1e-12)
        ) == same
        # Nothing is changed before the step after the write.
        assert torch.equal(changed[:, :, : WRITE + 1], cut[:, :, : WRITE + 1])


@with_memory
def test_the_log_of_a_write_is_what_the_state_gained(name):
    """M_t − (what the step leaves of M_{t-1}) = c v kᵀ; a dictionary has v in its newest slot."""
    model = build(name)
    x, context = trials(model)
    memories, _ = rewriting(model, x, context, scaled(0.0))
    _, before = run_between(model, x, context, None, 0, WRITE)
    _, after = run_between(model, x, context, before, WRITE, WRITE + 1)
    for writes in memories.values():
        if writes.kind == "dictionary":
            newest = after[writes.tensors[2]][:, :, -1]
            torch.testing.assert_close(newest, writes.value[:, :, WRITE].reshape(newest.shape))
            continue
        [tensor] = writes.tensors
        old, new = ((s[tensor] if s[tensor].ndim == 5 else s[tensor].unsqueeze(2)) for s in (before, after))
        gained = writes.change_at(WRITE, 2 * writes.value[:, :, WRITE])
        torch.testing.assert_close(new - writes.advance(old, WRITE), gained, atol=1e-12, rtol=0)


@pytest.mark.parametrize("name", ["fw", "fwm", "fwp", "deltanet", "linear_attention"])
def test_a_read_without_a_write_is_less_by_its_weight_times_its_value(name):
    """Removed right before the query, write i takes W_ti v_i from what the query reads, W_ti = q_t · e_i(t)."""
    model = build(name)
    x, context = trials(model)
    memories, change = rewriting(model, x, context, scaled(0.0), at="query")
    _, before = run_between(model, x, context, None, 0, QUERY)
    edit = change.edits(QUERY)
    state = before
    for after in range(1, QUERY + 1):
        # Up to the query nothing changes, but what will be taken away is followed.
        state = {**before, **edit[after](before)}
    reads = "memory/{}/read_value"
    given = {n: part[:, :, QUERY:] for n, part in context.items()}
    log = model(x[:, :, QUERY:], before, 1, given)[2]
    without = model(x[:, :, QUERY:], state, 1, given)[2]
    for node, writes in memories.items():
        key = writes.key_at(WRITE).unsqueeze(-2) * writes.strength[:, :, WRITE, :, None, None]
        for step in range(WRITE + 1, QUERY):
            key = writes.advance(key, step)
        if model.memories[node]["reads"] == "after":
            key = writes.advance(key, QUERY)
        first = product(writes.query[:, :, QUERY])[:, :, :, 0]
        weight = (key.squeeze(-2) * first).sum(dim=-1, keepdim=True)
        less = (weight * writes.value[:, :, WRITE]).unsqueeze(3)
        shape = less.shape if log[reads.format(node)].ndim == 6 else less.squeeze(2).shape
        found = (log[reads.format(node)] - without[reads.format(node)])[:, :, 0, ..., :1, :]
        torch.testing.assert_close(found, less.reshape(shape), atol=1e-12, rtol=0)
        signs = read_signs(writes, torch.full((BATCH,), QUERY), model.memories[node]["reads"])
        if writes.query.shape[4] == 1:
            weight = weight.squeeze(-1)
            assert torch.equal(signs[:, :, WRITE], torch.where(weight < 0, -1.0, 1.0).to(weight))
        # Later deeper layers read other things: the law is of the first.
        break


def test_where_no_read_changes_a_write_when_it_is_removed_does_not_matter():
    """Keys of fwm come from an LSTM that never sees its reads: until the query, removal changes nothing."""
    model = build("fwm", variant="paper")
    x, context = trials(model)
    outputs = {}
    for at in ("write", "query", "between"):
        _, change = rewriting(model, x, context, scaled(0.0), at)
        outputs[at] = run_edited(model, x, TIME, context, change.edits(QUERY))[0][:, :, QUERY]
    cut = run_edited(model, x, TIME, context, {})[0][:, :, QUERY]
    torch.testing.assert_close(outputs["write"], outputs["query"], atol=1e-10, rtol=0)
    torch.testing.assert_close(outputs["between"], cut, atol=1e-10, rtol=0)
    assert not torch.allclose(outputs["write"], cut, atol=1e-6)


def test_an_entry_that_no_read_finds_can_be_removed_and_one_that_is_found_cannot():
    """The nearest key counts: with the queries at the first entry the second one is of no use."""
    model = build("dnd_lstm")
    x, context = trials(model)
    x[:, :, 3:] = x[:, :, 1:2]
    cut, _ = run_edited(model, x, TIME, context, dict.fromkeys(range(1, QUERY + 1), unchanged()))
    for write, same in ((2, True), (1, False)):
        _, change = rewriting(model, x, context, scaled(0.0))
        change.rows[:] = False
        change.rows[:, write] = True
        changed, _ = run_edited(model, x, TIME, context, change.edits(QUERY))
        assert torch.equal(changed[:, :, 3:], cut[:, :, 3:]) == same


def retrieval(size=40, **options):
    task = AssociativeRetrieval(pairs=3)
    model = load(MODELS, "fw", "model_type")(
        SEEDS, task.input_channels, task.output_channels, hidden_dim=9, **options
    )
    labels = {"model": {"type": "fw"}, "task": {}, "experiment": "", "seeds": list(SEEDS)}
    return Loaded(model.requires_grad_(False), task, (1, 2), labels), task.test_batch(0, 9, 1, size)


def test_queried_writes_and_those_of_another_item_are_at_the_same_distances():
    _, batch = retrieval()
    queries = queries_of(batch, batch.judged_steps[0], True, 0)
    targets = targets_of(batch, queries)
    # Item k is written at step 2 k + 1.
    assert [np.flatnonzero(row).tolist() for row in targets.queried] == [
        [2 * k + 1] for k in queries.items[:, 0]
    ]
    other = targets.other(np.random.default_rng(0))
    assert (other.sum(axis=1) == 1).all()
    assert not (other & targets.queried).any()
    assert sorted(targets.lag(other)) == sorted(targets.lag(targets.queried))
    wide = targets_of(batch, queries, mixes=2)
    assert (wide.queried.sum(axis=1) == 2).all()


def test_where_all_are_alike_no_exchange_can_part_them():
    generator = np.random.default_rng(0)
    mixed = np.repeat([1.0, 2.0], 5)
    assert (exchanged(mixed, generator) != mixed).all()
    assert exchanged(np.ones(3), generator).tolist() == [1.0] * 3


def test_sources_have_their_writes_at_the_same_steps_and_the_answers_that_are_wanted():
    mask = np.eye(4, dtype=bool)[[0, 0, 1, 1, 0, 2]]
    answers = np.array([0, 1, 1, 1, 0, 3])
    generator = np.random.default_rng(0)
    assert sources_of(mask, answers, False, generator).tolist()[1] in (0, 4)
    assert sources_of(mask, answers, False, generator).tolist()[2:] == [-1, -1, 1, -1]
    assert sources_of(mask, answers, True, generator).tolist() == [4, -1, 3, 2, 0, -1]


def test_without_fast_weights_no_write_matters_and_with_them_it_does():
    for eta, same in ((0.0, True), (0.5, False)):
        loaded, batch = retrieval(eta=eta)
        found = intervene(loaded, batch, kinds=("writes",))
        base = found["margin"].sel(condition="unchanged")
        removed = found["margin"].sel(condition="without queried")
        assert (removed.equals(base) or bool((removed == base).all())) == same
        assert np.isfinite(found["right"].sel(condition="without queried")).all()
    said = {c.name: c for c in effects.conditions(found)}
    assert {c.kind for c in said.values()} == {"writes", "dose", "map"}
    lags = found["lag"].sel(condition=["without queried", "without other"]).mean("query")
    assert lags[0] == lags[1]
    swapped = found.sel(condition="queried with the value of another answer")
    assert np.isfinite(swapped["counterfactual_right"]).all()
    assert np.isnan(found["counterfactual_right"].sel(condition="without queried")).all()


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (
            {"edit": "shuffle", "target": "queried"},
            "edit must be one of unchanged, scale, swap, jolt; got 'shuffle'",
        ),
        (
            {"edit": "scale", "target": "queries"},
            "target must be one of queried, other, all, but queried, but other",
        ),
        ({"edit": "swap", "target": "queried"}, "source must be one of another answer, same answer; got ''"),
        ({"edit": "scale", "target": "all", "part": "slow"}, "part must be one of all, fast; got 'slow'"),
        (
            {"edit": "scale", "target": "all", "at": "once"},
            "at must be one of write, query, between; got 'once'",
        ),
    ],
)
def test_writes_that_cannot_be_changed_so_are_refused(condition, message):
    with pytest.raises(UserError, match=message):
        intervene(*retrieval(4), [Condition("a", kind="writes", **condition)])


def test_models_without_memory_have_no_writes():
    task = AssociativeRetrieval(pairs=3)
    model = load(MODELS, "rnn", "model_type")(SEEDS, task.input_channels, task.output_channels, hidden_dim=9)
    labels = {"model": {"type": "rnn"}, "task": {}, "experiment": "", "seeds": list(SEEDS)}
    loaded = Loaded(model.requires_grad_(False), task, (1, 2), labels)
    with pytest.raises(
        UserError, match="writes: the model has no associative memory that is logged; states would do"
    ):
        intervene(loaded, task.test_batch(0, 9, 1, 4), kinds=("writes",))
    found = intervene(loaded, task.test_batch(0, 9, 1, 4))
    assert {c.kind for c in effects.conditions(found)} == {"states"}
